/* SPDX-License-Identifier: MIT
 *
 * sys/child.h - the system calls of a child between its clone and its program.
 *
 * Such a child may share the supervisor's memory (CLONE_VM), with the supervisor running on at the same time. So it
 * may not touch errno, which both would share, nor call anything of the C library: these are bare system calls that return a negative
 * errno. They are inline, and nothing else may be called from src/spawn/child.c.
 */
#ifndef SYS_CHILD_H
#define SYS_CHILD_H

#include <asm/unistd.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
static inline long child_call6(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
static inline long child_call6(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;

    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#else
#error "forkport runs on x86-64 and arm64: add the system call convention of this processor here"
#endif

static inline long child_call5(long number, long a, long b, long c, long d, long e)
{
    return child_call6(number, a, b, c, d, e, 0);
}

static inline long child_call(long number, long a, long b, long c, long d)
{
    return child_call6(number, a, b, c, d, 0, 0);
}

/* What the kernel, not the C library, means by an action: flags and restorer need not be set for the default one. */
struct child_sigaction {
    uintptr_t handler; /* 0: default, 1: ignored */
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

/* Is this the number of a call that reads, from the descriptor that is its first argument? */
static inline int child_call_reads(long number)
{
    return number == __NR_read || number == __NR_readv || number == __NR_recvfrom || number == __NR_recvmsg;
}

static inline long child_self(void)
{
    return child_call(__NR_getpid, 0, 0, 0, 0);
}

static inline long child_setsid(void)
{
    return child_call(__NR_setsid, 0, 0, 0, 0);
}

/* As dup2(2), but for equal descriptors it clears close-on-exec, which dup2 leaves. */
static inline long child_move(int from, int to)
{
    if (from == to)
        return child_call(__NR_fcntl, to, 2 /* F_SETFD */, 0, 0);
    return child_call(__NR_dup3, from, to, 0, 0);
}

static inline long child_close_range(unsigned first, unsigned last)
{
    return child_call(__NR_close_range, (long)first, (long)last, 0, 0);
}

static inline long child_default_signal(int number)
{
    struct child_sigaction action = {0};

    return child_call(__NR_rt_sigaction, number, (long)&action, 0, sizeof(uint64_t));
}

static inline long child_query_signal(int number, struct child_sigaction *ret_action)
{
    return child_call(__NR_rt_sigaction, number, 0, (long)ret_action, sizeof(uint64_t));
}

static inline long child_set_mask(uint64_t blocked)
{
    return child_call(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, (long)&blocked, 0, sizeof(blocked));
}

/* All of them; gives those that were blocked before. */
static inline uint64_t child_block_signals(void)
{
    const uint64_t all = ~UINT64_C(0);
    uint64_t before = 0;

    child_call(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, (long)&all, (long)&before, sizeof(all));
    return before;
}

/* Of what a fork returned: processes or memory are short. */
static inline bool child_is_short(long result)
{
    return result == -EAGAIN || result == -ENOMEM;
}

/* Does a filter of system calls hold (seccomp(2))? It may refuse one, or kill for it. */
static inline bool child_is_filtered(void)
{
    return child_call(__NR_prctl, PR_GET_SECCOMP, 0, 0, 0) != 0;
}

/* Private memory of zeros, where the kernel likes (0) or in the place of what stands there; or -errno. */
static inline long child_map_anonymous(uintptr_t place, long bytes, int protection)
{
    const int flags = 0x22 /* MAP_PRIVATE | MAP_ANONYMOUS */ | (place != 0 ? 0x10 /* MAP_FIXED */ : 0);

    return child_call6(__NR_mmap, (long)place, bytes, protection, flags, -1, 0);
}

/* What is pending of these blocked signals is none any more. */
static inline void child_forget_signals(uint64_t signals)
{
    const long at_once[2] = {0};

    while (child_call(__NR_rt_sigtimedwait, (long)&signals, 0, (long)at_once, sizeof(signals)) > 0)
        ;
}

/* How many processes one user may have, ours included; no limit where that cannot be known. */
static inline uint64_t child_process_limit(void)
{
    uint64_t limit[2] = {UINT64_MAX};

    child_call(__NR_prlimit64, 0, 6 /* RLIMIT_NPROC */, 0, (long)limit);
    return limit[0];
}

static inline long child_setgroups(size_t count, const unsigned *groups)
{
    return child_call(__NR_setgroups, (long)count, (long)groups, 0, 0);
}

static inline long child_setresgid(unsigned gid)
{
    return child_call(__NR_setresgid, gid, gid, gid, 0);
}

static inline long child_setresuid(unsigned uid)
{
    return child_call(__NR_setresuid, uid, uid, uid, 0);
}

/* Sets the effective id alone: the question whether an old id could be had again. */
static inline long child_try_uid(unsigned uid)
{
    return child_call(__NR_setresuid, -1, uid, -1, 0);
}

static inline long child_try_gid(unsigned gid)
{
    return child_call(__NR_setresgid, -1, gid, -1, 0);
}

/* Effective, permitted and inheritable set, each in two halves. */
struct child_capabilities {
    struct __user_cap_data_struct halves[_LINUX_CAPABILITY_U32S_3];
};

/* Empties all four sets of this process: the ambient one has a call of its own. */
static inline long child_drop_capabilities(void)
{
    struct __user_cap_header_struct self = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct child_capabilities none = {0};
    long result = child_call5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);

    return result < 0 ? result : child_call(__NR_capset, (long)&self, (long)none.halves, 0, 0);
}

/* 1: this process has a capability, or could pass one on. An ambient one is always permitted as well (capabilities(7)). */
static inline long child_has_capabilities(void)
{
    struct __user_cap_header_struct self = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct child_capabilities has = {0};
    long result = child_call(__NR_capget, (long)&self, (long)has.halves, 0, 0);
    uint32_t any = 0;

    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        any |= has.halves[i].effective | has.halves[i].permitted | has.halves[i].inheritable;
    return result < 0 ? result : any != 0;
}

static inline long child_execve(const char *path, char *const argv[], char *const envp[])
{
    return child_call(__NR_execve, (long)path, (long)argv, (long)envp, 0);
}

/* *length is in and out. Not getsockopt(3), which would be one more page of the C library to map in the child. */
static inline long child_getsockopt(int fd, int level, int name, void *value, unsigned *length)
{
    return child_call5(__NR_getsockopt, fd, level, name, (long)value, (long)length);
}

/* As ioctl(2) with a pointer. */
static inline long child_ioctl(int fd, unsigned long request, void *value)
{
    return child_call(__NR_ioctl, fd, (long)request, (long)value, 0);
}

/*
 * For the functions of such a child that do not return: AddressSanitizer would look for the stack that is left, not
 * find it, and say so on standard error, which is another's by then.
 */
#define CHILD_NO_RETURN __attribute__((noreturn, no_sanitize("address")))

CHILD_NO_RETURN static inline void child_exit(int status)
{
    for (;;)
        child_call(__NR_exit_group, status, 0, 0, 0);
}

#endif
