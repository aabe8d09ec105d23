/* SPDX-License-Identifier: MIT */
#include "preload/handlers.h"

#include "preload/gate.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#define EXPORTED     __attribute__((visibility("default")))
#define HANDLERS_MAX 128

typedef void handler(void);
typedef int register_function(handler *before, handler *after, handler *in_child, void *library);

/* glibc's, of which its pthread_atfork() is made in each library; the other is musl's. */
EXPORTED register_function __register_atfork; /* NOLINT: the name is the C library's */
EXPORTED int pthread_atfork(handler *before, handler *after, handler *in_child);

static struct {
    handler *before;
    handler *after;
    handler *in_child;
} handlers[HANDLERS_MAX];
static unsigned handler_count;
static bool too_many;

static void note(handler *before, handler *after, handler *in_child)
{
    if (gate_is_behind())
        return;
    if (handler_count == HANDLERS_MAX) {
        too_many = true;
        return;
    }
    handlers[handler_count].before = before;
    handlers[handler_count].after = after;
    handlers[handler_count++].in_child = in_child;
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

static void call(handler *asked)
{
    Dl_info where;
    void *address;

    if (asked == NULL)
        return;
    memcpy(&address, &asked, sizeof(address));
    if (dladdr(address, &where) != 0)
        asked();
}

bool handlers_are_known(void)
{
    return !too_many;
}

void handlers_before(void)
{
    for (unsigned i = handler_count; i > 0; i--)
        call(handlers[i - 1].before);
}

void handlers_after(void)
{
    for (unsigned i = 0; i < handler_count; i++)
        call(handlers[i].after);
}

void handlers_in_worker(void)
{
    for (unsigned i = 0; i < handler_count; i++)
        call(handlers[i].in_child);
}
