/* SPDX-License-Identifier: MIT */
#include "preload/handlers.h"

#include "preload/gate.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

#define EXPORTED     __attribute__((visibility("default")))
#define HANDLERS_MAX 128

typedef void handler(void);
typedef int register_function(handler *before, handler *after, handler *in_child, void *library);

/* glibc's, of which its pthread_atfork() is made in each library; the other is musl's. */
EXPORTED register_function __register_atfork; /* NOLINT: the name is the C library's */
EXPORTED int pthread_atfork(handler *before, handler *after, handler *in_child);

/* And the library that it lies in: where that has gone, another one may be at its place. */
struct asked {
    handler *function;
    const void *base;
    uint32_t name; /* a hash of its file's */
};

static struct {
    struct asked before;
    struct asked after;
    struct asked in_child;
} handlers[HANDLERS_MAX];
static unsigned handler_count;
static bool too_many;
static const void *program_base;

static void find_program(void)
{
    Dl_info program;

    if (program_base == NULL && dladdr((const void *)getauxval(AT_ENTRY), &program) != 0)
        program_base = program.dli_fbase;
}

static struct asked asked_now(handler *function)
{
    struct asked asked = {.function = function, .name = 2166136261};
    Dl_info where;
    void *address;

    memcpy(&address, &function, sizeof(address));
    if (function == NULL || dladdr(address, &where) == 0)
        return asked;
    asked.base = where.dli_fbase;
    /* The program itself is not unloaded, and its name is argv[0], which it may write to. */
    if (asked.base == program_base)
        return asked;
    for (const char *at = where.dli_fname; at != NULL && *at != '\0'; at++)
        asked.name = (asked.name ^ (unsigned char)*at) * 16777619; /* FNV-1a */
    return asked;
}

static void note(handler *before, handler *after, handler *in_child)
{
    if (gate_is_behind())
        return;
    if (handler_count == HANDLERS_MAX) {
        too_many = true;
        return;
    }
    find_program();
    handlers[handler_count].before = asked_now(before);
    handlers[handler_count].after = asked_now(after);
    handlers[handler_count++].in_child = asked_now(in_child);
}

int __register_atfork(handler *before, handler *after, handler *in_child, void *library) /* NOLINT */
{
    void *found = dlsym(RTLD_NEXT, "__register_atfork");
    register_function *real;

    memcpy(&real, &found, sizeof(real));
    note(before, after, in_child);
    return real != NULL ? real(before, after, in_child, library) : ENOMEM;
}

int pthread_atfork(handler *before, handler *after, handler *in_child)
{
    void *found = dlsym(RTLD_NEXT, "pthread_atfork");
    int (*real)(handler *, handler *, handler *);

    if (found == NULL)
        return __register_atfork(before, after, in_child, NULL);
    memcpy(&real, &found, sizeof(real));
    note(before, after, in_child);
    return real(before, after, in_child);
}

static void call(const struct asked *asked)
{
    struct asked now = asked_now(asked->function);

    if (now.base != NULL && now.base == asked->base && now.name == asked->name)
        asked->function();
}

bool handlers_are_known(void)
{
    return !too_many;
}

void handlers_before(void)
{
    for (unsigned i = handler_count; i > 0; i--)
        call(&handlers[i - 1].before);
}

void handlers_after(void)
{
    for (unsigned i = 0; i < handler_count; i++)
        call(&handlers[i].after);
}

void handlers_in_worker(void)
{
    for (unsigned i = 0; i < handler_count; i++)
        call(&handlers[i].in_child);
}
