/* SPDX-License-Identifier: MIT
 *
 * serve/account.h - what a connection used: its "end" event.
 *
 * Time, CPU and memory are known when the process has been reaped; the bytes of the connection are of its socket, which an
 * executed program closes by itself, sooner or later than that. A handler's process leaves them in its report. For a program, the
 * kernel's announcements are read (pairs/tally.h) and matched by cookie: those that came before the end stand in the connection,
 * and an end that comes first waits a moment for them, long after its slot has been given back. What is not
 * known by then is asked for, and left out where there is no answer. Nothing here blocks or fails a connection.
 */
#ifndef SERVE_ACCOUNT_H
#define SERVE_ACCOUNT_H

#include "serve/supervisor.h"
#include "sys/process.h"

/* Opens the announcements where they are needed; without them, bytes are unknown, which is said once. */
enum fp_status account_init(struct supervisor *supervisor, struct fp_error *err);
void account_done(struct supervisor *supervisor);
/* Its process is about to be made, from which on the socket is not ours. */
void account_start(struct supervisor *supervisor, struct connection *connection);
/* Takes in what has been announced; before ends are accounted. */
void account_read(struct supervisor *supervisor);
/* Its process has been reaped. The connection may be removed afterwards. */
void account_end(struct supervisor *supervisor, const struct connection *connection,
                 const struct process_end *end);
/* Are there such ends? None waits for much longer than a second. */
bool account_is_waiting(const struct supervisor *supervisor);
/* What an event says of the connection itself. */
void account_describe(const struct supervisor *supervisor, const struct connection *connection,
                      struct event *event);

#endif
