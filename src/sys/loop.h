/* SPDX-License-Identifier: MIT
 *
 * sys/loop.h - the event loop: descriptors that became ready and timers that ran out.
 *
 * A thin layer over epoll(7), level-triggered. A `struct loop_source` lives in its owner and must stay where it is
 * while it is added; the owner removes it before it closes the descriptor. A source may be removed, and its owner
 * freed, from within any call-back, its own or another's: events still pending for it are then dropped. Timers are
 * few (one for each listening socket, drain and the like), so they stand in a list; each fires once per setting.
 *
 * loop_turn() waits, calls, and returns; the caller decides when to stop and does its work after each turn there. Times are of
 * CLOCK_MONOTONIC in nanoseconds; loop_now_ns() is read once a turn. Functions return -1 with errno set.
 */
#ifndef SYS_LOOP_H
#define SYS_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#define LOOP_EVENTS 64 /* in a turn */

struct loop_source {
    int fd; /* not owned */
    void (*ready)(void *data);
    void *data;
    bool added;
};

struct loop_timer {
    int64_t at_ns; /* when it runs out; meaningful while set */
    void (*expired)(void *data);
    void *data;
    bool set;
    struct loop_timer *next;
};

struct loop {
    int fd;
    int64_t now_ns;
    int64_t stopped_ns;                      /* in all */
    struct loop_timer *timers;               /* set ones, soonest first */
    struct epoll_event pending[LOOP_EVENTS]; /* of the turn under way */
    int pending_count;
};

int loop_init(struct loop *loop);
void loop_done(struct loop *loop);

int loop_add(struct loop *loop, struct loop_source *source);
void loop_remove(struct loop *loop, struct loop_source *source);

void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t at_ns);
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);

/* Waits for events or the next timer and calls for each. 0, or -1 with errno (never EINTR). */
int loop_turn(struct loop *loop);
/* CLOCK_MONOTONIC at the start of the turn, or now where no turn has been. */
int64_t loop_now_ns(const struct loop *loop);
/*
 * The same without the time in which this process was stopped or had no processor, which is seen by how late it comes to its timers. It
 * is for who waits for processes that may have been stopped with it (a frozen cgroup, a virtual machine).
 */
int64_t loop_awake_ns(const struct loop *loop);

/* CLOCK_MONOTONIC and CLOCK_REALTIME now. */
int64_t clock_monotonic_ns(void);
int64_t clock_realtime_ns(void);

#endif
