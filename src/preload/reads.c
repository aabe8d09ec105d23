/* SPDX-License-Identifier: MIT
 *
 * reads.c - the calls by which a program comes to wait for its input, each with the gate before it (gate read).
 *
 * Two ways lead here. What the program calls by name is found in this library first, and goes on to the C library's own.
 * What the C library calls within itself (fread() ends in read()) cannot be had so: it waits in the kernel on the socket that
 * stands for the connection. The supervisor sees that, and sends a signal. Its handler finds the process before a read of
 * descriptor 0 that the kernel will begin anew when the handler returns, which it does in the workers, on their connection.
 *
 * Making a thread is such a call too: a fork would lose it.
 */
#include "preload/reads.h"

#include "preload/files.h"
#include "preload/gate.h"
#include "preload/standard.h"
#include "sys/child.h"

#include <asm/ioctls.h>
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

/* glibc's own name for a parameter that takes each kind of address. */
#ifndef __SOCKADDR_ARG
#define __SOCKADDR_ARG struct sockaddr *
#endif

#define EXPORTED __attribute__((visibility("default")))

/*
 * NAME, what it returns, its parameters, its arguments, whether there is a gate before it: where it waits for descriptor 0, or is about the
 * connection. A program that executes another one before its gate is no template: without our library what comes then would read from what
 * stands for the connection, where nobody ever writes, and go on.
 */
#define CALLS(CALL)                                                                                        \
    CALL(read, ssize_t, (int fd, void *to, size_t size), (fd, to, size), fd == 0)                          \
    CALL(__read_chk, ssize_t, (int fd, void *to, size_t size, size_t room), (fd, to, size, room), fd == 0) \
    CALL(readv, ssize_t, (int fd, const struct iovec *to, int count), (fd, to, count), fd == 0)            \
    CALL(recv, ssize_t, (int fd, void *to, size_t size, int flags), (fd, to, size, flags), fd == 0)        \
    CALL(__recv_chk, ssize_t, (int fd, void *to, size_t size, size_t room, int flags),                     \
         (fd, to, size, room, flags), fd == 0)                                                             \
    CALL(recvfrom, ssize_t,                                                                                \
         (int fd, void *to, size_t size, int flags, __SOCKADDR_ARG from, socklen_t *length),               \
         (fd, to, size, flags, from, length), fd == 0)                                                     \
    CALL(__recvfrom_chk, ssize_t,                                                                          \
         (int fd, void *to, size_t size, size_t room, int flags, __SOCKADDR_ARG from, socklen_t *length),  \
         (fd, to, size, room, flags, from, length), fd == 0)                                               \
    CALL(recvmsg, ssize_t, (int fd, struct msghdr *message, int flags), (fd, message, flags), fd == 0)     \
    CALL(recvmmsg, int,                                                                                    \
         (int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout),          \
         (fd, messages, count, flags, timeout), fd == 0)                                                   \
    CALL(splice, ssize_t, (int fd, off_t *at, int to, off_t *to_at, size_t size, unsigned flags),          \
         (fd, at, to, to_at, size, flags), fd == 0)                                                        \
    CALL(ioctl, int, (int fd, unsigned long request, void *data), (fd, request, data),                     \
         fd == 0 && (uint32_t)request == FIONREAD)                                                         \
    CALL(poll, int, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout),               \
         polls_input(fds, count))                                                                          \
    CALL(__poll_chk, int, (struct pollfd * fds, nfds_t count, int timeout, size_t room),                   \
         (fds, count, timeout, room), polls_input(fds, count))                                             \
    CALL(ppoll, int,                                                                                       \
         (struct pollfd * fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask),        \
         (fds, count, timeout, mask), polls_input(fds, count))                                             \
    CALL(__ppoll_chk, int,                                                                                 \
         (struct pollfd * fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask,         \
          size_t room),                                                                                    \
         (fds, count, timeout, mask, room), polls_input(fds, count))                                       \
    CALL(select, int, (int count, fd_set *in, fd_set *out, fd_set *other, struct timeval *timeout),        \
         (count, in, out, other, timeout), selects_input(count, in))                                       \
    CALL(pselect, int,                                                                                     \
         (int count, fd_set *in, fd_set *out, fd_set *other, const struct timespec *timeout,               \
          const sigset_t *mask),                                                                           \
         (count, in, out, other, timeout, mask), selects_input(count, in))                                 \
    CALL(epoll_wait, int, (int fd, struct epoll_event *events, int count, int timeout),                    \
         (fd, events, count, timeout), waits_in_epoll(fd))                                                 \
    CALL(epoll_pwait, int,                                                                                 \
         (int fd, struct epoll_event *events, int count, int timeout, const sigset_t *mask),               \
         (fd, events, count, timeout, mask), waits_in_epoll(fd))                                           \
    CALL(epoll_pwait2, int,                                                                                \
         (int fd, struct epoll_event *events, int count, const struct timespec *timeout,                   \
          const sigset_t *mask),                                                                           \
         (fd, events, count, timeout, mask), waits_in_epoll(fd))                                           \
    CALL(setsockopt, int, (int fd, int level, int name, const void *value, socklen_t length),              \
         (fd, level, name, value, length), is_about_connection(fd))                                        \
    CALL(getsockopt, int, (int fd, int level, int name, void *value, socklen_t *length),                   \
         (fd, level, name, value, length), is_about_connection(fd))                                        \
    CALL(getsockname, int, (int fd, __SOCKADDR_ARG name, socklen_t *length), (fd, name, length),           \
         is_about_connection(fd))                                                                          \
    CALL(getpeername, int, (int fd, __SOCKADDR_ARG name, socklen_t *length), (fd, name, length),           \
         length != NULL && is_about_connection(fd) && !is_bash(*length))                                   \
    CALL(shutdown, int, (int fd, int how), (fd, how), is_about_connection(fd))                             \
    CALL(pthread_create, int,                                                                              \
         (pthread_t * thread, const pthread_attr_t *how, void *(*start)(void *), void *data),              \
         (thread, how, start, data), true)                                                                 \
    CALL(execve, int, (const char *path, char *const argv[], char *const envp[]), (path, argv, envp),      \
         gives_up())                                                                                       \
    CALL(execv, int, (const char *path, char *const argv[]), (path, argv), gives_up())                     \
    CALL(execvp, int, (const char *file, char *const argv[]), (file, argv), gives_up())                    \
    CALL(execvpe, int, (const char *file, char *const argv[], char *const envp[]), (file, argv, envp),     \
         gives_up())                                                                                       \
    CALL(fexecve, int, (int fd, char *const argv[], char *const envp[]), (fd, argv, envp), gives_up())     \
    CALL(execveat, int, (int folder, const char *path, char *const argv[], char *const envp[], int flags), \
         (folder, path, argv, envp, flags), gives_up())                                                    \
    CALL(semop, int, (int set, struct sembuf *steps, size_t count), (set, steps, count),                   \
         is_undone(steps, count))                                                                          \
    CALL(semtimedop, int, (int set, struct sembuf *steps, size_t count, const struct timespec *timeout),   \
         (set, steps, count, timeout), is_undone(steps, count))

static bool waits_in_epoll(int fd)
{
    return gate_is_ahead(TEMPLATE_GATE_READ) && files_epoll_has_input(fd);
}

static bool polls_input(const struct pollfd *fds, nfds_t count)
{
    for (nfds_t i = 0; i < count; i++) {
        if (fds[i].events != 0 && (fds[i].fd == 0 || waits_in_epoll(fds[i].fd)))
            return true;
    }
    return false;
}

static bool selects_input(int count, const fd_set *in)
{
    return count > 0 && in != NULL && FD_ISSET(0, in);
}

/*
 * bash begins with getpeername(2), with room for no more than a struct sockaddr, to know whether there is a client, and
 * would be forked before it is ready. It is known by a name that it exports; one that does not is forked there.
 */
static bool is_bash(socklen_t room)
{
    if (room > sizeof(struct sockaddr))
        return false;
    bool is_it = dlsym(RTLD_DEFAULT, "bash_getcwd_errstr") != NULL;
    dlerror(); /* what it would say is not the program's error */
    return is_it;
}

/* Of what stands for it a program would get other answers, and what it sets would be lost. */
static bool is_about_connection(int fd)
{
    return gate_is_ahead(TEMPLATE_GATE_READ) && standard_is_connection(fd);
}

static bool gives_up(void)
{
    gate_give_up(TEMPLATE_REFUSAL_EXECUTES);
    return false;
}

/* At its own end. A template would hold it on, for workers that all take it to be theirs, and what waits for its client keep others from it. */
static bool is_undone(const struct sembuf *steps, size_t count)
{
    for (size_t i = 0; gate_is_ahead(TEMPLATE_GATE_READ) && i < count; i++) {
        if ((steps[i].sem_flg & SEM_UNDO) != 0)
            gate_give_up(TEMPLATE_REFUSAL_UNDO);
    }
    return false;
}

static inline void pass(bool waits)
{
    if (waits && gate_is_ahead(TEMPLATE_GATE_READ))
        gate_pass(false);
}

static void find_real(void);

/* A library that the dynamic loader readied before ours may call from its constructor. */
#define CALL(name, type, parameters, arguments, waits) \
    static type(*real_##name) parameters;              \
    EXPORTED type name parameters;                     \
    type name parameters                               \
    {                                                  \
        if (real_##name == NULL)                       \
            find_real();                               \
        pass(waits);                                   \
        return real_##name arguments;                  \
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic" /* that parameter */
CALLS(CALL)
#pragma GCC diagnostic pop
#undef CALL

/* Of the arguments after `first`, the terminating null pointer not counted. */
static size_t count_arguments(const char *first, va_list *arguments)
{
    size_t count = 0;

    for (const char *at = first; at != NULL; at = va_arg(*arguments, const char *))
        count++;
    return count;
}

/* `first`, and so many of `arguments`, where there is room for one more. */
static void fill_arguments(char **argv, const char *first, size_t count, va_list *arguments)
{
    for (size_t i = 0; i <= count; i++)
        argv[i] = i == 0 ? (char *)first : va_arg(*arguments, char *);
}

/* Those that take a list, each by the one of ours that takes an array: the C library's own would not lead there. */
#define OF_A_LIST(name, call, rest)                                  \
    EXPORTED int name(const char *path, const char *first, ...);     \
    int name(const char *path, const char *first, ...)               \
    {                                                                \
        va_list arguments;                                           \
                                                                     \
        va_start(arguments, first);                                  \
        size_t count = count_arguments(first, &arguments);           \
        va_end(arguments);                                           \
        char **argv = __builtin_alloca((count + 1) * sizeof(*argv)); \
        va_start(arguments, first);                                  \
        fill_arguments(argv, first, count, &arguments);              \
        int result = call rest;                                      \
        va_end(arguments);                                           \
        return result;                                               \
    }
OF_A_LIST(execl, execv, (path, argv))
OF_A_LIST(execlp, execvp, (path, argv))
OF_A_LIST(execle, execve, (path, argv, va_arg(arguments, char **)))

/* For programs that know of it: here, and nowhere later. Whether this is a worker that came out of a gate. */
EXPORTED int fp_gate(void);
int fp_gate(void)
{
    pass(true);
    return gate_is_behind();
}

/* What another C library has not, its programs do not call. */
static void find_real(void)
{
#define CALL(name, type, parameters, arguments, waits) \
    do {                                               \
        void *found = dlsym(RTLD_NEXT, #name);         \
        memcpy(&real_##name, &found, sizeof(found));   \
    } while (0);
    CALLS(CALL)
#undef CALL
}

#if defined(__x86_64__)
/* The instruction that enters the kernel is next, and asks for a read of descriptor 0. */
static bool is_before_read(const ucontext_t *at)
{
    const greg_t *registers = at->uc_mcontext.gregs;
    const unsigned char *next = (const unsigned char *)registers[REG_RIP];
    long call = (long)registers[REG_RAX];

    return next[0] == 0x0f && next[1] == 0x05 && registers[REG_RDI] == 0 && child_call_reads(call);
}
#else
static bool is_before_read(const ucontext_t *at)
{
    const mcontext_t *machine = &at->uc_mcontext;
    long call = (long)machine->regs[8];

    return *(const uint32_t *)machine->pc == 0xd4000001 /* svc 0 */ && machine->regs[0] == 0 &&
           child_call_reads(call);
}
#endif

static void probed(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    if (gate_is_ahead(TEMPLATE_GATE_READ) && is_before_read(context))
        gate_pass(false);
}

void reads_open(void)
{
    struct sigaction action = {.sa_sigaction = probed, .sa_flags = SA_SIGINFO | SA_RESTART};

    find_real();
    if (gate_is_ahead(TEMPLATE_GATE_READ) && sigaction(TEMPLATE_PROBE_SIGNAL, &action, NULL) == 0)
        gate_can_be_probed((uintptr_t)probed);
}
