/* SPDX-License-Identifier: MIT
 *
 * spawn/fit.h - can this program be a template?
 *
 * Asked before it is started as one, since a program that our library is not loaded into would run, with no connection: a
 * static one, one that gains rights by being executed (the dynamic loader then leaves libraries out), one that is
 * not entered as the C library's programs are. A script is as fit as its interpreter. The answer is of now: nothing is
 * kept open, and nothing fails.
 */
#ifndef SPAWN_FIT_H
#define SPAWN_FIT_H

/* NULL: it can. Else why not, to be read after "PROGRAM ". */
const char *fit_why_not(const char *path);

#endif
