/* SPDX-License-Identifier: MIT
 *
 * serve/reaper.h - a process ends: reap, account, give the slot back.
 *
 * Called when SIGCHLD was seen, once or for many ends at once: it reaps until no ended child is left, so none can be
 * missed, or goes on in the next turn after a thousand. What the worker wrote to standard error before its end is logged first. The slot is released here and
 * nowhere else for a connection that had a process. A worker that could not run is told from one that did, and slows the doors down. Nothing here
 * waits or fails.
 */
#ifndef SERVE_REAPER_H
#define SERVE_REAPER_H

#include "serve/supervisor.h"

void reaper_init(struct supervisor *supervisor);
void reaper_run(struct supervisor *supervisor);
/* After each turn: in a program with threads, where the signal may not come, it is also looked without one, a second later. */
void reaper_turn(struct supervisor *supervisor);
/*
 * Gives back the slots of running connections whose processes are none that the server could reap: a program with a server in it
 * may have waited for them, or a template have named them.
 */
void reaper_lost(struct supervisor *supervisor);

#endif
