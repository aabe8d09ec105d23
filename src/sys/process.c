/* SPDX-License-Identifier: MIT */
#include "sys/process.h"

#include "base/check.h"
#include "sys/fd.h"
#include "sys/loop.h"
#include "sys/read.h"
#include "sys/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#if defined(__GLIBC__)
#include <sys/single_threaded.h>
#endif
#include <time.h>
#include <unistd.h>

pid_t process_clone_vm(int (*run)(void *data), void *data, void *stack, size_t stack_bytes,
                       volatile int *in_use)
{
    int flags = CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD;

    return clone(run, (char *)stack + stack_bytes, flags, data, NULL, NULL, (int *)in_use);
}

pid_t process_fork(void)
{
    return fork();
}

bool process_has_one_thread(void)
{
#if defined(__GLIBC__)
    return __libc_single_threaded;
#else
    return false;
#endif
}

bool process_is_filtered(void)
{
    char status[4096];
    FD_AUTO fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read_all(fd, status, sizeof(status) - 1) : -1;

    status[length > 0 ? length : 0] = '\0';
    return strstr(status, "\nSeccomp:\t0\n") == NULL;
}

static int64_t microseconds(const struct timeval *time)
{
    return (int64_t)time->tv_sec * 1000000 + time->tv_usec;
}

/*
 * One that has itself traced by its parent (PTRACE_TRACEME) stops for us at each signal, and when it has executed another program, which
 * looks as if it had sent itself SIGTRAP. It goes on, and is traced no more. False: it was ended meanwhile.
 */
static bool let_go_on(pid_t pid, int number)
{
    siginfo_t info = {0};
    bool executes =
        number == SIGTRAP && ptrace(PTRACE_GETSIGINFO, pid, NULL, &info) == 0 && info.si_code == SI_USER;

    return ptrace(PTRACE_DETACH, pid, NULL, executes ? 0L : (long)number) == 0;
}

pid_t process_ended(void)
{
    siginfo_t info;

    do {
        info = (siginfo_t){0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WNOTHREAD | __WALL) < 0)
            return -1;
    } while (info.si_code == CLD_TRAPPED && let_go_on(info.si_pid, info.si_status));
    return info.si_pid;
}

int process_reap(pid_t pid, struct process_end *ret_end)
{
    struct rusage used;
    pid_t ended;
    int status;

    while ((ended = wait4(pid, &status, WNOHANG | __WNOTHREAD | __WALL, &used)) > 0 && WIFSTOPPED(status))
        let_go_on(ended, WSTOPSIG(status));
    if (ended <= 0)
        return (int)ended;
    *ret_end = (struct process_end){
        .pid = ended,
        .signalled = WIFSIGNALED(status),
        .code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
        .cpu_user_us = microseconds(&used.ru_utime),
        .cpu_system_us = microseconds(&used.ru_stime),
        .max_rss_kib = used.ru_maxrss,
    };
    return 1;
}

const char *process_end_text(const struct process_end *end, char text[PROCESS_END_TEXT_SIZE])
{
    char name[16];

    if (end->signalled)
        snprintf(text, PROCESS_END_TEXT_SIZE, "signal %s", signal_name(end->code, name, sizeof(name)));
    else
        snprintf(text, PROCESS_END_TEXT_SIZE, "exit %d", end->code);
    return text;
}

void process_signal(pid_t pid, int number)
{
    /* To 0 and -1 it would be sent to all. */
    CHECK(pid > 1);
    /* Not yet through setsid(2), it is no group leader; it has then nobody else with it either. */
    if (kill(-pid, number) < 0 && errno == ESRCH)
        kill(pid, number);
}

void process_signal_one(pid_t pid, int number)
{
    CHECK(pid > 1);
    kill(pid, number);
}

bool process_is_child(pid_t pid)
{
    siginfo_t info;

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT | __WNOTHREAD | __WALL) == 0;
}

bool process_kill(pid_t pid)
{
    if (!process_is_child(pid))
        return false;
    process_signal(pid, SIGKILL);
    return true;
}

pid_t process_self(void)
{
    return getpid();
}

pid_t process_session(pid_t pid)
{
    return getsid(pid);
}

void process_identity(unsigned *ret_uid, unsigned *ret_gid)
{
    *ret_uid = geteuid();
    *ret_gid = getegid();
}

int process_wait(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, __WALL) < 0) {
        if (errno != EINTR)
            return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool process_wait_until(pid_t pid, int64_t end_ns)
{
    struct timespec pause = {.tv_nsec = 50000};
    pid_t ended;

    while ((ended = waitpid(pid, NULL, WNOHANG | __WALL)) == 0 && clock_monotonic_ns() < end_ns) {
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < 10000000)
            pause.tv_nsec *= 2;
    }
    return ended != 0;
}

void process_exit(int status)
{
    _exit(status);
}

unsigned process_cpus(unsigned most)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return 1;
    unsigned count = (unsigned)CPU_COUNT(&set);
    return count < most ? count : most;
}

void process_execute(const char *path, char *const argv[], char *const envp[])
{
    execve(path, argv, envp);
}
