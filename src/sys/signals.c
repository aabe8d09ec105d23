/* SPDX-License-Identifier: MIT */
#include "sys/signals.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

void signals_reset_ignored(void)
{
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            signal(number, SIG_DFL);
    }
}

/* The kernel is asked itself: the C library hides the real-time signals that it uses, which may be ignored too. */
static bool is_default(int number)
{
    struct {
        void (*handler)(int);
        unsigned long rest[3]; /* of the kernel's struct sigaction: flags, restorer, mask */
    } action;

    return syscall(SYS_rt_sigaction, number, NULL, &action, sizeof(signal_bits)) < 0 ||
           action.handler == SIG_DFL;
}

signal_bits signals_not_default(void)
{
    signal_bits bits = 0;

    for (int number = 1; number < NSIG; number++) {
        if (!is_default(number))
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
