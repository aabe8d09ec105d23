/* SPDX-License-Identifier: MIT
 *
 * spawn/handler.h - the handler engine: a C function in a forked copy of the supervisor.
 *
 * Within the room only, behind spawn/engine.h. The copy becomes a worker as for any engine (spawn/child.h), sets its
 * environment, calls the handler and ends with what it returned. With --resolve, the exec engine's program is
 * run from such a copy too, since looking a name up needs a process that may wait.
 */
#ifndef SPAWN_HANDLER_H
#define SPAWN_HANDLER_H

#include "spawn/engine.h"

enum fp_status handler_start(struct engine *engine, const struct spawn_request *request, pid_t *ret_pid,
                             struct fp_error *err);

#endif
