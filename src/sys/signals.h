/* SPDX-License-Identifier: MIT
 *
 * sys/signals.h - signals as readable descriptors, and dispositions put in order.
 *
 * No handler of forkport ever runs: the supervisor blocks what it waits for and reads it from a signalfd(2). Calls
 * return -1 with errno set. The mask saved by signals_block_all() is restored by the same thread.
 */
#ifndef SYS_SIGNALS_H
#define SYS_SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* The kernel's signal set, one bit a signal from bit 0 (signal 1). */
typedef uint64_t signal_bits;
#define SIGNAL_BIT(number) ((signal_bits)1 << ((number)-1))

/* Sets every signal whose disposition is to be ignored back to its default: what was inherited is not ours. */
void signals_reset_ignored(void);
/* The signals whose disposition in this process is not the default. */
signal_bits signals_not_default(void);

/* A close-on-exec, non-blocking signalfd for `set`, whose signals are blocked first; *ret_old is the mask before. */
int signals_open(const sigset_t *set, sigset_t *ret_old);
/* Reads the numbers of up to `most` (at most 16) pending signals; how many there were. */
int signals_read(int fd, int *ret_numbers, int most);

/* A descriptor that is ready to be read while one of two blocked signals is pending. */
int signals_watch(int number, int other);
/* Is a blocked signal pending? It is not any more then. */
bool signals_take(int number);

void signals_block_all(sigset_t *ret_old);
void signals_set_mask(const sigset_t *mask, sigset_t *ret_old);
/* Lets SIGCHLD be sent and children be waited for, whatever was inherited; *ret_old takes what was. */
int signals_default_child(struct sigaction *ret_old);
void signals_restore_child(const struct sigaction *old);
/* "TERM" for SIGTERM; "35" for one without a name. */
const char *signal_name(int number, char *buffer, unsigned size);

#endif
