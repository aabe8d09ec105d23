/* SPDX-License-Identifier: MIT
 *
 * serve/worker_log.h - what workers write to standard error, as lines of the log.
 *
 * Each worker writes to a datagram socket of its own, handlers to one that they share (sys/log_socket.h; doc/decisions.md has what the ways cost), and the kernel
 * says with each datagram which socket it came from, so that what a child of the worker wrote, even one that is gone, is the
 * connection's as well. A write without a newline is kept until the rest of the line comes or the worker ends. A line is bounded,
 * and so is what one connection may write in its life; what is over is dropped, once with a word. The bytes are escaped by the log.
 */
#ifndef SERVE_WORKER_LOG_H
#define SERVE_WORKER_LOG_H

#include "serve/supervisor.h"

enum fp_status worker_log_init(struct supervisor *supervisor, struct fp_error *err);
/* Makes the reader part of the loop. */
enum fp_status worker_log_watch(struct supervisor *supervisor, struct fp_error *err);
void worker_log_done(struct supervisor *supervisor);
/* Logs what has been written, as far as it is there. */
void worker_log_read(struct supervisor *supervisor);
/* Logs the unfinished line of a worker that has ended. */
void worker_log_end(struct supervisor *supervisor, struct connection *connection);

#endif
