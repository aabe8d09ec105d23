/* SPDX-License-Identifier: MIT */
#include "sys/signals.h"

#include "sys/child.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

/* Of the kernel, since sigaction(3) hides the signals that the C library uses itself and that are inherited all the same. */
static struct child_sigaction disposition(int number)
{
    struct child_sigaction action = {0};

    child_query_signal(number, &action);
    return action;
}

static bool is_ignored(int number)
{
    return disposition(number).handler == (uintptr_t)SIG_IGN;
}

void signals_reset_ignored(void)
{
    for (int number = 1; number < NSIG; number++) {
        if (is_ignored(number))
            child_default_signal(number);
    }
}

signal_bits signals_not_default(void)
{
    signal_bits bits = 0;

    for (int number = 1; number < NSIG; number++) {
        /* The library's own handlers must stay in a copy that may start threads; a program starts without any. */
        bool is_the_librarys = number >= __SIGRTMIN && number < SIGRTMIN;
        if (is_ignored(number) || (!is_the_librarys && disposition(number).handler != (uintptr_t)SIG_DFL))
            bits |= SIGNAL_BIT(number);
    }
    return bits;
}

int signals_open(const sigset_t *set, sigset_t *ret_old)
{
    signals_set_mask(NULL, ret_old);
    sigprocmask(SIG_BLOCK, set, NULL);
    return signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int signals_read(int fd, int *ret_numbers, int most)
{
    struct signalfd_siginfo infos[16];
    ssize_t length = read(fd, infos, (size_t)most * sizeof(infos[0]));
    int count = length > 0 ? (int)((size_t)length / sizeof(infos[0])) : 0;

    for (int i = 0; i < count; i++)
        ret_numbers[i] = (int)infos[i].ssi_signo;
    return count;
}

int signals_watch(int number, int other)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, number);
    sigaddset(&set, other);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

bool signals_take(int number)
{
    const struct timespec at_once = {0};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, number);
    return sigtimedwait(&set, NULL, &at_once) == number;
}

void signals_block_all(sigset_t *ret_old)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, ret_old);
}

void signals_set_mask(const sigset_t *mask, sigset_t *ret_old)
{
    sigprocmask(SIG_SETMASK, mask, ret_old);
}

int signals_default_child(struct sigaction *ret_old)
{
    struct sigaction action = {.sa_handler = SIG_DFL};

    return sigaction(SIGCHLD, &action, ret_old);
}

void signals_restore_child(const struct sigaction *old)
{
    sigaction(SIGCHLD, old, NULL);
}

const char *signal_name(int number, char *buffer, unsigned size)
{
    /* sigabbrev_np(3) is glibc's alone. */
    static const char *const names[] = {
        [SIGHUP] = "HUP",       [SIGINT] = "INT",   [SIGQUIT] = "QUIT", [SIGILL] = "ILL",
        [SIGTRAP] = "TRAP",     [SIGABRT] = "ABRT", [SIGBUS] = "BUS",   [SIGFPE] = "FPE",
        [SIGKILL] = "KILL",     [SIGUSR1] = "USR1", [SIGSEGV] = "SEGV", [SIGUSR2] = "USR2",
        [SIGPIPE] = "PIPE",     [SIGALRM] = "ALRM", [SIGTERM] = "TERM", [SIGCHLD] = "CHLD",
        [SIGCONT] = "CONT",     [SIGSTOP] = "STOP", [SIGTSTP] = "TSTP", [SIGTTIN] = "TTIN",
        [SIGTTOU] = "TTOU",     [SIGURG] = "URG",   [SIGXCPU] = "XCPU", [SIGXFSZ] = "XFSZ",
        [SIGVTALRM] = "VTALRM", [SIGPROF] = "PROF", [SIGIO] = "IO",     [SIGSYS] = "SYS",
        [SIGWINCH] = "WINCH",   [SIGPWR] = "PWR",
    };

    if (number > 0 && (unsigned)number < sizeof(names) / sizeof(names[0]) && names[number] != NULL)
        return names[number];
    snprintf(buffer, size, "%d", number);
    return buffer;
}
