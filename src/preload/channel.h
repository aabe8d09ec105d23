/* SPDX-License-Identifier: MIT
 *
 * preload/channel.h - pipes, pairs of sockets, eventfds and timers, which have no name to be opened by: what is in one, and another that is like it.
 *
 * A program wakes itself by one, or a shell has a text in it. A worker gets its own, with the same in it; from the one that
 * is copied nothing is taken. Which of a template's descriptors are such ones, and where a worker has its own, files.h knows. Bare system
 * calls.
 */
#ifndef PRELOAD_CHANNEL_H
#define PRELOAD_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Of pipes, sockets and eventfds, where no system call tells it: are both descriptors of one end? */
bool channel_is_one(int fd, int other);

/* Its count; what it was made with is added to its flags. */
uint64_t channel_event_note(int fd, int *flags);
/* A descriptor, or less than 0. */
long channel_event_open(uint64_t count, int flags);

struct channel_timer {
    int clock;
    int set_flags;          /* of timerfd_settime(2) */
    struct itimerspec next; /* what it is to be set to: what is left of it, or a time */
    bool has_run_out;       /* which was not read yet */
};

struct channel_timer channel_timer_note(int fd);
/* A descriptor, or less than 0. */
long channel_timer_open(const struct channel_timer *timer, int flags);
bool channel_timer_runs(int fd);

/* Of one end of a pipe: is it the one that is read? */
bool channel_pipe_reads(int fd);
/* Nobody writes to it any more. */
bool channel_pipe_is_ended(int fd);
int64_t channel_pipe_size(int fd);

struct channel_pipe {
    int from; /* the end of the old one that is read */
    int64_t size;
    int read_flags; /* of open(2), of the old one's ends */
    int write_flags;
};

/* `ret_write` NULL: there is to be no writer. False where not all could be copied; what is in *ret_read and *ret_write is open even then. */
bool channel_pipe_open(const struct channel_pipe *pipe, int *ret_read, int *ret_write);

/* The inode of the socket at the other end of a socketpair(2); 0: it is none, or not as new: with something in it, told to be another way, or shut down. */
uint64_t channel_pair_peer(int fd);
/* Is it a stream, or of packets in order, that leads to somebody, or is about to? */
bool channel_is_connected(int fd);
/* Another pair of this type, with these flags of open(2). */
bool channel_pair_open(int fd, int flags, int other_flags, int *ret_end, int *ret_other);

#endif
