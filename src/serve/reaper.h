/* SPDX-License-Identifier: MIT
 *
 * serve/reaper.h - a process ends: reap, account, give the slot back.
 *
 * Called when SIGCHLD was seen, once or for many ends at once: it reaps until no ended child is left, so none can be
 * missed. What the worker wrote to standard error before its end is logged first. The slot is released here and
 * nowhere else for a connection that had a process. A worker that could not run is told from one that did, and slows the doors down. Nothing here
 * waits or fails.
 */
#ifndef SERVE_REAPER_H
#define SERVE_REAPER_H

#include "serve/supervisor.h"

void reaper_run(struct supervisor *supervisor);
/* Gives back the slot of a running connection whose process is none that the server could reap; `data` is the supervisor. */
void reaper_lost(struct connection *connection, void *data);

#endif
