/* SPDX-License-Identifier: MIT
 *
 * sys/pinned.h - pages that a fork copies at once.
 *
 * A private page is shared by fork(2), and copied when it is first written to: a fault in the copy, and one in the process itself, for
 * each page that both write to. One that a device may be writing to, a pinned one, cannot be shared, and is copied by fork(2) itself
 * (Linux 5.9; copy_present_page() in mm/memory.c): one copy instead of two faults. The fixed buffers of an io_uring are pinned
 * (io_uring_register(2)); nothing else is done with it. Where it is not to be had (io_uring_disabled of sysctl(8)) pages are shared as
 * ever, and where it would take what others need: the last descriptor, or much of what the user may lock (RLIMIT_MEMLOCK), of which
 * it takes some 28 KiB. With a filter of system calls (seccomp(2)), which may kill for it, it is for the caller not to ask. Bare system
 * calls, inline (sys/child.h).
 */
#ifndef SYS_PINNED_H
#define SYS_PINNED_H

#include "sys/child.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

#ifndef MADV_COLD
#define MADV_COLD 20
#endif

#define PINNED_LOCKED_LEAST ((rlim_t)1 << 20)

/* A huge page would be copied as a whole. To call a part of it cold takes it apart (Linux 5.4). */
static inline void pinned_take_apart(const struct iovec *range)
{
    uintptr_t page = getauxval(AT_PAGESZ);
    uintptr_t start = (uintptr_t)range->iov_base & -page;
    uintptr_t end = ((uintptr_t)range->iov_base + range->iov_len + page - 1) & -page;

    child_call(__NR_madvise, (long)start, (long)(end - start), MADV_COLD, 0);
}

/* An io_uring of which something may be pinned, or a negative errno. */
static inline long pinned_ring(void)
{
    struct io_uring_params params = {0};
    struct rlimit locked = {0};
    long result = child_call(__NR_prlimit64, 0, RLIMIT_MEMLOCK, 0, (long)&locked);

    if (result < 0 || locked.rlim_cur < PINNED_LOCKED_LEAST)
        return result < 0 ? result : -ENOMEM;
    long fd = child_call(__NR_io_uring_setup, 1, (long)&params, 0, 0);
    if (fd < 0)
        return fd;
    long other = child_call(__NR_dup, fd, 0, 0, 0);
    child_call(__NR_close, other >= 0 ? other : fd, 0, 0, 0);
    return other < 0 ? other : fd;
}

/*
 * Pins the pages of so many ranges of memory that is mapped and may be written to, for as long as the close-on-exec descriptor is open
 * that it returns, in whatever process. Or a negative errno, and none is pinned.
 */
static inline long pinned_make(const struct iovec *ranges, unsigned count)
{
    long fd = pinned_ring();

    if (fd < 0)
        return fd;
    for (unsigned i = 0; i < count; i++)
        pinned_take_apart(&ranges[i]);
    long result = child_call(__NR_io_uring_register, fd, IORING_REGISTER_BUFFERS, (long)ranges, count);
    if (result < 0)
        child_call(__NR_close, fd, 0, 0, 0);
    return result < 0 ? result : fd;
}

#endif
