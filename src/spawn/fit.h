/* SPDX-License-Identifier: MIT
 *
 * spawn/fit.h - can this program be a template?
 *
 * Asked before it is started as one, since a program that our library is not loaded into would run, with no connection: a
 * static one, one that gains rights by being executed (the dynamic loader then leaves libraries out), one that is
 * not entered as the C library's programs are. A script is as fit as its interpreter. The answer is of now: nothing of
 * the program is kept open.
 */
#ifndef SPAWN_FIT_H
#define SPAWN_FIT_H

#include "spawn/plan.h"

/* Our library, for a program that can be started with it; -1: not this one, or not here, and why, to be read after "PROGRAM ". */
int fit_open_library(const struct spawn_plan *plan, const char **ret_reason);

#endif
