/* SPDX-License-Identifier: MIT
 *
 * demux/live_holders.h - since when a process has been seen to hold a socket.
 *
 * For a moment each forked child holds all that its parent does, and a look at the right time finds it with sockets
 * that it never has to do with. So who holds a socket is remembered from look to look: one that was there in the look
 * before too is believed to hold a connection, and one that has been there for a second to hold a listening socket,
 * which every new worker of its server comes by. The oldest process of all that hold one is no such child in any case.
 * Each look makes a new list of the one before, by cookie and pid. The only failure is of memory.
 */
#ifndef DEMUX_LIVE_HOLDERS_H
#define DEMUX_LIVE_HOLDERS_H

#include "demux/live_sockets.h"
#include "pairs/pairs.h"

struct live_holding {
    uint64_t cookie;
    int64_t since_ns;
    pid_t pid;
};

struct live_holders {
    struct live_holding *items; /* sorted */
    size_t count;
    int64_t looked_ns;
};

/* False: no memory. */
bool live_holders_look(const struct live_holders *before, const struct pairs_table *table, int64_t now_ns,
                       struct live_holders *ret_holders);
void live_holders_done(struct live_holders *holders);

/*
 * Of a row of the table that was looked at last: the processes that are believed to hold it are appended, each once,
 * to the `count` that are there; up to LIVE_PROCESSES are stored. How many there are then.
 */
size_t live_holders_add(const struct live_holders *holders, const struct pairs_table *table,
                        const struct pairs_row *row, struct live_process *processes, size_t count);

#endif
