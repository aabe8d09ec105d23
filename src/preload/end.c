/* SPDX-License-Identifier: MIT */
#include "preload/end.h"

#include "sys/child.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <linux/stat.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#define EXPORTED __attribute__((visibility("default")))

static struct {
    end_function *of_loader;
    const volatile char *is_single_threaded; /* glibc's own, since 2.32 */
    bool is_confined;
} state;

/* A program sets itself a filter of system calls by this, or asks first not to be given privileges, without which only root may. */
EXPORTED int prctl(int option, ...);
int prctl(int option, ...)
{
    long values[4];
    va_list arguments;

    /* Those that were not given as well, as the C library does. */
    va_start(arguments, option);
    for (unsigned i = 0; i < 4; i++)
        values[i] = va_arg(arguments, long);
    va_end(arguments);
    if (option == PR_SET_SECCOMP || option == PR_SET_NO_NEW_PRIVS)
        state.is_confined = true;
    long result = child_call5(__NR_prctl, option, values[0], values[1], values[2], values[3]);
    if (result >= 0)
        return (int)result;
    errno = (int)-result;
    return -1;
}

static void close_socket(int fd)
{
    struct statx status = {0};

    if (child_call5(__NR_statx, fd, (long)"", AT_EMPTY_PATH, STATX_TYPE, (long)&status) == 0 &&
        S_ISSOCK(status.stx_mode))
        child_call(__NR_close, fd, 0, 0, 0);
}

static void end(void)
{
    state.of_loader();
    if (state.is_confined || *state.is_single_threaded == 0)
        return;
    fflush(NULL);
    close_socket(0);
    close_socket(1);
}

end_function *end_after(end_function *last)
{
    state.of_loader = last;
    state.is_single_threaded = dlsym(RTLD_DEFAULT, "__libc_single_threaded");
    return last != NULL && state.is_single_threaded != NULL ? end : last;
}
