/* SPDX-License-Identifier: MIT
 *
 * preload/caught.h - the signals that a program has handlers for, or ignores, and that would end it, at a gate.
 *
 * A signal that comes to a template is not its workers'. The program's handler, run there, would leave in it what each later worker then
 * goes on with (a shell runs its trap, Python its function), and the template would not end, as an operator wants who sends
 * it SIGTERM. So caught_set_aside() gives these signals their default action at the gate, once, and caught_put_back()
 * gives a worker what the program had set. A call that fails leaves the program's own. Bare system calls; errno stays.
 */
#ifndef PRELOAD_CAUGHT_H
#define PRELOAD_CAUGHT_H

void caught_set_aside(void);
void caught_put_back(void);

#endif
