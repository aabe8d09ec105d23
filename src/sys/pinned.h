/* SPDX-License-Identifier: MIT
 *
 * sys/pinned.h - pages that a fork copies at once.
 *
 * A private page is shared by fork(2), and copied when it is first written to: a fault in the copy, and one in the process itself, for
 * each page that both write to. One that a device may be writing to, a pinned one, cannot be shared, and is copied by fork(2) itself
 * (Linux 5.9; copy_present_page() in mm/memory.c), at less than half the price. The fixed buffers of an io_uring are pinned
 * (io_uring_register(2)); nothing else is done with it. Where it is not to be had (io_uring_disabled of sysctl(8), RLIMIT_MEMLOCK), or a
 * filter of system calls is in place, which may kill for it (seccomp(2)), pages are shared as ever. Bare system calls, inline
 * (sys/child.h).
 */
#ifndef SYS_PINNED_H
#define SYS_PINNED_H

#include "sys/child.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <sys/uio.h>

/*
 * Pins the pages of so many ranges of memory that is mapped and may be written to, for as long as the close-on-exec descriptor is open
 * that it returns, in whatever process. Or a negative errno, and none is pinned.
 */
static inline long pinned_make(const struct iovec *ranges, unsigned count)
{
    struct io_uring_params params = {0};
    long filtered = child_call(__NR_prctl, PR_GET_SECCOMP, 0, 0, 0);

    if (filtered != 0)
        return filtered < 0 ? filtered : -EACCES;
    long fd = child_call(__NR_io_uring_setup, 1, (long)&params, 0, 0);
    if (fd < 0)
        return fd;
    long result = child_call(__NR_io_uring_register, fd, IORING_REGISTER_BUFFERS, (long)ranges, count);
    if (result < 0)
        child_call(__NR_close, fd, 0, 0, 0);
    return result < 0 ? result : fd;
}

#endif
