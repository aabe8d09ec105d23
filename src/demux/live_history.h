/* SPDX-License-Identifier: MIT
 *
 * demux/live_history.h - which listening socket a segment came to, at the time at which it came.
 *
 * A segment is told of a little later than it comes, and by then the socket may be gone, or another stand before it. So
 * the table that was read before the newest one is kept too, and each time at which a socket began or ceased to listen.
 * A table holds for a segment where nothing has changed at the port between the two; where none holds the answer is the
 * likeliest one, and said not to be sure. The owner tells of the changes, or that it cannot know them: `blind`. Times
 * are CLOCK_MONOTONIC. The only failure is of memory.
 */
#ifndef DEMUX_LIVE_HISTORY_H
#define DEMUX_LIVE_HISTORY_H

#include "demux/live_listening.h"

/* More of them within a second are for a time not told apart. */
#define LIVE_CHANGES 128

/* A socket began to listen, or ceased. */
struct live_change {
    int64_t from_ns; /* at some time from here ... */
    int64_t to_ns;   /* ... to here */
    uint64_t cookie; /* 0: of unknown sockets */
    in_port_t port;  /* 0: any */
    bool began;
};

struct live_history {
    struct live_listening now;
    struct live_listening before; /* as it was; empty: it is not kept any more */
    struct live_change changes[LIVE_CHANGES];
    uint64_t change_count;
    int64_t forgotten_ns; /* there were changes until then that are not kept */
    bool blind;           /* changes are not told of */
};

/* The table, which has been read from then to then, is taken, also on failure. What there was is then unchanged. */
enum fp_status live_history_set(struct live_history *history, struct pairs_table *take_table, int64_t from_ns,
                                int64_t to_ns, struct fp_error *err);
void live_history_change(struct live_history *history, const struct live_change *change);
/* The former table is given up, where it is older than that. */
void live_history_expire(struct live_history *history, int64_t before_ns);
void live_history_done(struct live_history *history);

/* A table holds for that port at that time. */
bool live_history_is_sure(const struct live_history *history, in_port_t port, int64_t time_ns);
/* As live_listening_find(), but for a segment of that time. */
bool live_history_find(const struct live_history *history, const struct pair *pair, uint32_t interface,
                       int64_t time_ns, struct live_listener *ret_listener);

#endif
