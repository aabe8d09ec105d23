/* SPDX-License-Identifier: MIT
 *
 * sys/thread.h - a thread as the kernel knows it, and a process forked from it without the C library.
 *
 * In the copy the kernel is told anew what fork(2) leaves out, and the C library finds its thread's number where it keeps it. Bare system
 * calls, inline (sys/child.h): for where the C library is not to be called, or its pages are not to be come to.
 */
#ifndef SYS_THREAD_H
#define SYS_THREAD_H

#include "sys/child.h"

#include <sched.h>

#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif

struct thread_known {
    int *cleared;      /* at the thread's end (set_tid_address(2)); NULL: not known */
    void *robust_list; /* head, or NULL (get_robust_list(2)) */
    unsigned long robust_bytes;
};

/* What the kernel was told of the calling thread. */
static inline void thread_ask(struct thread_known *ret_known)
{
    *ret_known = (struct thread_known){0};
    child_call(__NR_prctl, PR_GET_TID_ADDRESS, (long)&ret_known->cleared, 0, 0);
    child_call(__NR_get_robust_list, 0, (long)&ret_known->robust_list, (long)&ret_known->robust_bytes, 0);
}

/* In the copy. */
static inline long thread_tell_robust_list(const struct thread_known *known)
{
    return known->robust_list == NULL
               ? 0
               : child_call(__NR_set_robust_list, (long)known->robust_list, (long)known->robust_bytes, 0, 0);
}

/*
 * As fork(2), or a negative errno. The kernel writes the copy's number, before it runs, to *ret_started of the caller, if flags have
 * CLONE_PARENT_SETTID, and to *number of the copy, which is where it clears it at the end if they have CLONE_CHILD_CLEARTID.
 */
static inline long thread_fork(unsigned long flags, int32_t *ret_started, int *number)
{
    flags |= CLONE_CHILD_SETTID;
#if defined(__x86_64__)
    return child_call5(__NR_clone, (long)flags, 0, (long)ret_started, (long)number, 0);
#else
    return child_call5(__NR_clone, (long)flags, 0, (long)ret_started, 0, (long)number);
#endif
}

#endif
