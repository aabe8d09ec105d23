/* SPDX-License-Identifier: MIT
 *
 * serve/drain.h - the server ends, step by step.
 *
 * SERVING, then DRAINING: the sockets are closed, as soon as what already waited in their queues was taken in, and
 * connections go on for as long as the option "drain" allows; then TERMINATING: workers are sent SIGTERM; then KILLING: SIGKILL. drain_step() goes to the
 * next step at once; each has a timer that does the same. The steps are over as soon as no connection is left, which the loop sees by
 * itself, or, LEAVING, when what SIGKILL does not end has been waited for long enough. Nothing here waits or fails.
 */
#ifndef SERVE_DRAIN_H
#define SERVE_DRAIN_H

#include "serve/supervisor.h"

void drain_init(struct supervisor *supervisor);
void drain_step(struct supervisor *supervisor);
/* Gives up the connections whose process could not be made yet: they would only be served when the time is over. */
void drain_held(struct supervisor *supervisor);

#endif
