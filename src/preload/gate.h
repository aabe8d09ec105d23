/* SPDX-License-Identifier: MIT
 *
 * preload/gate.h - the gate: where a template waits, and where its workers come out.
 *
 * Everything in this room is loaded into somebody else's program (LD_PRELOAD), whichever C library that has, and acts only
 * in a process whose environment has the marker of wire/template_message.h. gate_open() takes that out of the environment, and
 * gate_pass() is called where the program shall be forked from: in the template it never returns; it returns
 * in each worker, which by then is what an executed program would be: descriptors 0 to 2, session, environment, stack
 * canary. In a process that is no template, or after the gate, both do nothing. What fails makes the
 * process leave; the supervisor then serves without a template. Nothing here prints or changes errno, nor allocates, but where
 * the program has moved its environment (setenv(3) then).
 */
#ifndef PRELOAD_GATE_H
#define PRELOAD_GATE_H

#include "wire/template_message.h"

#include <stdbool.h>
#include <stdint.h>

/* Is this the process that shall wait, and at this kind of gate? */
bool gate_is_ahead(enum template_gate kind);
/* Is it one to fork from there, not a worker itself? */
bool gate_can_fork(void);
/* Is this a worker, that a gate was passed in? */
bool gate_is_behind(void);
/* In what is to wait, before its gate: it does what it could not wait with, and leaves. In others nothing. */
void gate_give_up(enum template_refusal refusal);
/* The supervisor may ask by the signal, which has this handler. */
void gate_can_be_probed(uintptr_t handler);
void gate_open(void);
/* `before_main`: nothing of main() is on the stack, so the canary can be renewed. */
void gate_pass(bool before_main);

#endif
