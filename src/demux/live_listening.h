/* SPDX-License-Identifier: MIT
 *
 * demux/live_listening.h - which listening socket a segment comes to, and the processes that hold that one.
 *
 * Takes over a table of pairs whose owners have been found, and answers from it for the segments that no connected
 * socket has: a SYN, and what comes to a connection that nobody has accepted yet. The rules are those of the library's
 * table (forkport/demux.h). Of sockets that share their address and port all are meant, since which of them the kernel
 * takes is its own affair: their processes are given together. The answer is as old as the table: which one holds for a
 * segment is for demux/live_history.h. Who counts as a holder: demux/live_holders.h. The only failure is of memory.
 */
#ifndef DEMUX_LIVE_LISTENING_H
#define DEMUX_LIVE_LISTENING_H

#include "base/error.h"
#include "demux/live_holders.h"

#include <forkport/demux.h>

struct live_listening {
    struct pairs_table table;
    struct live_holders holders;
    struct fp_demux *demux; /* its endpoints are rows of the table; NULL: there is none */
    int64_t from_ns;        /* the table was read from then ... */
    int64_t to_ns;          /* ... to then */
};

struct live_listener {
    struct pair pair;
    uint64_t cookie; /* of the first */
    size_t sockets;  /* that share it */
    size_t process_count;
    uint32_t more;
    struct live_process processes[LIVE_PROCESSES];
    bool not_permitted; /* it may not be known who holds it */
};

/* Of an empty one, with its times. The table is taken, also on failure; `before` are the holders of the one before. */
enum fp_status live_listening_set(struct live_listening *listening, const struct live_holders *before,
                                  struct pairs_table *take_table, struct fp_error *err);
/* Makes it empty. */
void live_listening_done(struct live_listening *listening);
/* `interface`: by which the segment of this pair comes in. False: nobody listens there. */
bool live_listening_find(const struct live_listening *listening, const struct pair *pair, uint32_t interface,
                         struct live_listener *ret_listener);
/* The socket is that one, or one of those that share its end. */
bool live_listening_has(const struct live_listening *listening, const struct live_listener *listener,
                        uint64_t cookie);

#endif
