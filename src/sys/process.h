/* SPDX-License-Identifier: MIT
 *
 * sys/process.h - processes made, waited for and signalled.
 *
 * process_clone_vm() is the quick way for a program that will be executed; process_fork() gives a real copy, with the
 * C library's fork handlers run, for one that will not. Only children of the calling thread are waited for, so that a
 * program which serves in a thread of its own keeps its other children. Calls return -1 with errno set.
 */
#ifndef SYS_PROCESS_H
#define SYS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A child that runs run(data) on the given stack, in the caller's memory, beside the caller. *in_use must be non-zero;
 * the kernel clears it once the child has left the memory, by executing a program or by ending. run() must not return.
 */
pid_t process_clone_vm(int (*run)(void *data), void *data, void *stack, size_t stack_bytes,
                       volatile int *in_use);
pid_t process_fork(void);
/* False where it cannot be known. */
bool process_has_one_thread(void);
/* By a filter of system calls (seccomp(2)), which may kill for one that it does not know; by nothing but reading. True where it cannot be known. */
bool process_is_filtered(void);

/* How a child ended and what it used. */
struct process_end {
    pid_t pid;
    bool signalled;
    int code; /* exit status, or the signal's number */
    int64_t cpu_user_us;
    int64_t cpu_system_us;
    int64_t max_rss_kib;
};

/* "exit 3" or "signal SEGV". */
#define PROCESS_END_TEXT_SIZE 32
const char *process_end_text(const struct process_end *end, char text[PROCESS_END_TEXT_SIZE]);

/* A child of this thread that has ended, and keeps its pid until it is reaped. 0: none has ended, -1: there is none (ECHILD). */
pid_t process_ended(void);
/* Reaps an ended child of this thread, `pid` or any (-1): 1 and *ret_end, 0: none has ended, -1: there is none (ECHILD). */
int process_reap(pid_t pid, struct process_end *ret_end);

/* Sends a signal to every process of the group that `pid` leads, and to `pid` where it leads none yet. */
void process_signal(pid_t pid, int number);
/* Sends a signal to one process. */
void process_signal_one(pid_t pid, int number);
/* Ends a child at once, with those of its group if it leads one. False: it is none any more (process_is_child), nor killed. */
bool process_kill(pid_t pid);
/* Is it a child of this thread that nobody has waited for yet? */
bool process_is_child(pid_t pid);
/* The calling process: getpid(2), and so for signal handlers as well. */
pid_t process_self(void);
/* The leader of the session that pid is in, or -1. */
pid_t process_session(pid_t pid);
/* The effective user and group. */
void process_identity(unsigned *ret_uid, unsigned *ret_gid);
/* Waits for one child, however long. Its exit status, or -1 where a signal ended it. For the start only. */
int process_wait(pid_t pid);
/* Waits for one that was killed, until a time of CLOCK_MONOTONIC. False: it has not ended, or somebody traces it and knows it first. */
bool process_wait_until(pid_t pid, int64_t end_ns);
/* execve(2): returns only where it fails, with errno. */
void process_execute(const char *path, char *const argv[], char *const envp[]);
/* How many processors this thread may run on, `most` at most; 1 where the kernel does not tell. */
unsigned process_cpus(unsigned most);
/* Ends a forked child at once: no exit handlers, no buffers flushed, which are its parent's. */
__attribute__((noreturn)) void process_exit(int status);

#endif
