/* SPDX-License-Identifier: MIT
 *
 * pairs/owner.h - who holds the sockets of the table.
 *
 * Takes a table that has been gathered and sorted, looks through the descriptors of the host's processes (of one alone
 * where that is all that was asked for), and says of each row that is shown by which processes it is held; that it
 * waits in the queue of a listening socket, and of which; that no process holds it; or why its processes are not known.
 * A connection that waits has no inode yet, as one that its process has closed, but only the latter has sent a FIN.
 * Nothing is changed or stopped. What comes and goes while it looks is found or not, but never given to a wrong row.
 */
#ifndef PAIRS_OWNER_H
#define PAIRS_OWNER_H

#include "base/error.h"
#include "pairs/pairs.h"

/*
 * For a row that waits: the listening rows whose queue it may be in. No connection says which, but it is in no empty queue
 * where another has something in it, whoever would receive a new one now. Where all are empty, it came or went while the
 * table was read, and may be of each; of none where there are programs that send it to another port (sk_lookup).
 */
void owner_find_listening(const struct pairs_table *table, struct pairs_row *row);
/* `pid` 0: all processes. */
enum fp_status owner_find(struct pairs_table *table, pid_t pid, struct fp_error *err);

#endif
