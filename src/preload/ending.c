/* SPDX-License-Identifier: MIT */
#include "preload/ending.h"

#include "base/imports.h"
#include "preload/finish.h"
#include "preload/learn.h"
#include "sys/child.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

/* What registers functions, and what finds that, or brings objects that have it, by name. */
static const char *const registering[] = {
    "__cxa_atexit", "atexit", "on_exit", "__cxa_thread_atexit_impl", "dlopen", "dlmopen",
    "dlsym",        "dlvsym", NULL};

static struct {
    void *exit; /* the next ones after ours */
    void *leave;
    const struct link_map *first; /* of the objects; NULL: there may be something to do */
    const struct link_map *last;
    FILE *const *streams;
    const char *has_one_thread;
} ending;

EXPORTED exit_function exit;
EXPORTED exit_function _exit; /* NOLINT: the name is the C library's */

static exit_function *next(void **known, const char *name)
{
    exit_function *real;

    if (*known == NULL)
        *known = dlsym(RTLD_NEXT, name);
    memcpy(&real, known, sizeof(real));
    return real;
}

exit_function *ending_exit(void)
{
    return next(&ending.exit, "exit");
}

exit_function *ending_leave(void)
{
    return next(&ending.leave, "_exit");
}

#if defined(__GLIBC__)

/* One that is wide, or has been pushed back to, is not looked into. One that is in the middle of what it has read is put back by exit(3). */
static bool is_idle(const FILE *stream)
{
    return stream->_mode <= 0 && stream->_IO_write_ptr == stream->_IO_write_base &&
           stream->_IO_read_ptr == stream->_IO_read_end && stream->_IO_save_base == NULL;
}

static bool streams_are_idle(void)
{
    for (const FILE *stream = *ending.streams; stream != NULL; stream = stream->_chain)
        if (!is_idle(stream))
            return false;
    return true;
}

/* Is the next exit(3) the C library's, and not somebody's who wants to know of it? */
static bool is_of_library(void)
{
    Dl_info library;
    Dl_info where;

    return dladdr((const void *)ending.streams, &library) != 0 && dladdr(ending.exit, &where) != 0 &&
           where.dli_fbase == library.dli_fbase;
}

static const struct link_map *last_of(const struct link_map *object)
{
    while (object->l_next != NULL)
        object = object->l_next;
    return object;
}

/* Nothing is asked of the loader before it is known that no object asks it for anything: what it would say is left to be read. */
void ending_note(void)
{
    const struct link_map *first = finish_idle_objects();
    Dl_info own;

    if (first == NULL || dladdr((const void *)&ending, &own) == 0)
        return;
    for (const struct link_map *object = first; object != NULL; object = object->l_next)
        if (object->l_addr != (uintptr_t)own.dli_fbase &&
            imports_any(object->l_ld, object->l_addr, registering))
            return;
    ending.streams = dlsym(RTLD_DEFAULT, "_IO_list_all");
    ending.has_one_thread = dlsym(RTLD_DEFAULT, "__libc_single_threaded");
    if (ending.streams != NULL && ending.has_one_thread != NULL && is_of_library()) {
        ending.last = last_of(first);
        ending.first = first;
    }
    dlerror(); /* what it would say is not the program's error */
}

/* With another thread the list of the streams may change meanwhile. */
static bool ending_is_nothing(void)
{
    return ending.first != NULL && *ending.has_one_thread && last_of(ending.first) == ending.last &&
           streams_are_idle();
}

#else

void ending_note(void)
{
}

static bool ending_is_nothing(void)
{
    return false;
}

#endif

void ending_come(int status)
{
    bool is_nothing = ending_is_nothing();

    /* Else it is called behind all that exit(3) calls. */
    if (is_nothing || !finish_is_called())
        learn_at_end();
    if (is_nothing)
        child_exit(status);
}

void exit(int status)
{
    ending_come(status);
    ending_exit()(status);
    __builtin_unreachable();
}

void _exit(int status) /* NOLINT */
{
    learn_at_end();
    ending_leave()(status);
    __builtin_unreachable();
}
