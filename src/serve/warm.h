/* SPDX-License-Identifier: MIT
 *
 * serve/warm.h - what the engine keeps running between connections, and the starts that it has under way.
 *
 * warm_collect() takes in the outcomes of starts: the connection runs, or has its socket back and is held, to be started
 * another way. It is called in each turn, and by the reaper before an ended child that it does not know is reaped, since a worker
 * may have ended before its start was heard of. warm_turn() has the engine look after its templates when that is
 * due, and says in the log what happened to them. Nothing here waits or fails.
 */
#ifndef SERVE_WARM_H
#define SERVE_WARM_H

#include "serve/supervisor.h"

void warm_init(struct supervisor *supervisor);
void warm_done(struct supervisor *supervisor);
void warm_turn(struct supervisor *supervisor);
void warm_collect(struct supervisor *supervisor);

#endif
