/* SPDX-License-Identifier: MIT
 *
 * spawn/exec.h - the exec engine: a new program for each connection.
 *
 * Within the room only, behind spawn/engine.h. The child is cloned into the supervisor's memory (CLONE_VM), on the
 * stack of a launch pad, and executes at once; the supervisor goes on meanwhile. A pad is in use until the kernel says that
 * the child has left the memory. With all of them in use there is no room, and starting fails with EAGAIN.
 */
#ifndef SPAWN_EXEC_H
#define SPAWN_EXEC_H

#include "spawn/engine.h"

enum fp_status exec_init(struct engine *engine, struct fp_error *err);
bool exec_has_room(const struct engine *engine);
void exec_done(struct engine *engine);
enum fp_status exec_start(struct engine *engine, const struct spawn_request *request, pid_t *ret_pid,
                          struct fp_error *err);

#endif
