/* SPDX-License-Identifier: MIT
 *
 * serve/acceptor.h - a connection comes: accept, admit, start.
 *
 * Owns the doors. Each outcome of accept(2) is handled by its class (sys/accept.h): a door that must be left alone is
 * taken out of the loop, with a timer that grows and decays, and its queue waits in the kernel. A connection that is admitted has a
 * slot before its process is made; where none can be made it is held and tried again, oldest first, while the doors
 * stay shut. Doors take turns at what there is room for. Refusals cost no process and are counted. Nothing here waits.
 */
#ifndef SERVE_ACCEPTOR_H
#define SERVE_ACCEPTOR_H

#include "serve/supervisor.h"

enum fp_status acceptor_init(struct supervisor *supervisor, struct fp_error *err);
void acceptor_done(struct supervisor *supervisor);
/* Watches each door that should be watched now, and no other: after room was made or lost. */
void acceptor_update(struct supervisor *supervisor);
/* Processes have ended, which may be what a held connection waits for: it is tried in the next turn. */
void acceptor_retry(struct supervisor *supervisor);
/* A worker failed before it ran: leaves the doors alone, for longer each time, and says so where it is news. */
void acceptor_back_off(struct supervisor *supervisor, bool is_news);
/* The start of a connection that was under way: its process, or -1, and then its socket, the connection's again, or -1. */
void acceptor_started(struct supervisor *supervisor, struct connection *connection, pid_t pid, int take_fd);
/*
 * At the end: takes in what waits in the kernel's queues, and closes each socket then. One whose queue cannot be taken in for want
 * of descriptors or memory stays a while, and is closed when there were some.
 */
void acceptor_close(struct supervisor *supervisor);
/* Closes those that stayed, and says that what waits there is reset. */
void acceptor_give_up(struct supervisor *supervisor);

#endif
