/* SPDX-License-Identifier: MIT */
#include "preload/ending.h"

#include "base/imports.h"
#include "preload/finish.h"
#include "sys/child.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

static const char *const registering[] = {"__cxa_atexit", "atexit", "on_exit", "__cxa_thread_atexit_impl",
                                          NULL};

static struct {
    const struct link_map *last; /* of the objects at the gate; NULL: there may be something to do */
    char last_name[128];
    FILE *const *streams;
    const char *has_one_thread;
} ending;

EXPORTED exit_function exit;

exit_function *ending_exit(void)
{
    void *found = dlsym(RTLD_NEXT, "exit");
    exit_function *real;

    memcpy(&real, &found, sizeof(real));
    return real;
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
    exit_function *real = ending_exit();
    void *address;
    Dl_info where;
    Dl_info library;

    memcpy(&address, &real, sizeof(address));
    return dladdr(address, &where) != 0 && dladdr((const void *)ending.streams, &library) != 0 &&
           where.dli_fbase == library.dli_fbase;
}

void ending_note(void)
{
    const struct link_map *last = NULL;

    for (const struct link_map *object = finish_idle_objects(); object != NULL; object = object->l_next) {
        if (imports_any(object->l_ld, object->l_addr, registering))
            return;
        last = object;
    }
    ending.streams = dlsym(RTLD_DEFAULT, "_IO_list_all");
    ending.has_one_thread = dlsym(RTLD_DEFAULT, "__libc_single_threaded");
    if (last == NULL || strlen(last->l_name) >= sizeof(ending.last_name) || ending.streams == NULL ||
        ending.has_one_thread == NULL || !is_of_library()) {
        dlerror(); /* what it would say is not the program's error */
        return;
    }
    strcpy(ending.last_name, last->l_name);
    ending.last = last;
}

/* With another thread the list of the streams may change meanwhile. */
bool ending_is_nothing(void)
{
    return ending.last != NULL && ending.last->l_next == NULL &&
           strcmp(ending.last->l_name, ending.last_name) == 0 && *ending.has_one_thread && streams_are_idle();
}

#else

void ending_note(void)
{
}

bool ending_is_nothing(void)
{
    return false;
}

#endif

void exit(int status)
{
    if (ending_is_nothing())
        child_exit(status);
    ending_exit()(status);
    __builtin_unreachable();
}
