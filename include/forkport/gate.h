/* SPDX-License-Identifier: MIT
 *
 * forkport/gate.h - the gate of a program that is forked for each connection, opened by the program itself.
 *
 * Under `forkport serve --engine fork --gate read` the program is started once, as the template, and forked for each
 * connection. That happens at its first use of descriptor 0, where it makes a thread, or where it calls fp_gate(),
 * whichever comes first: what the program did before is done for all connections. In the template fp_gate() does not
 * return. It returns in each process that serves a connection, with the connected socket as descriptors 0 and 1 and its
 * variables (FORKPORT_PAIR and the others) in the environment. Where there is no gate ahead (another engine, another
 * server, a second call) it returns at once, so that a program may always call it. It cannot fail and leaves errno.
 */
#ifndef FORKPORT_GATE_H
#define FORKPORT_GATE_H

#ifdef __cplusplus
extern "C" {
#endif

/* 1: this process came out of its gate, for a connection (forked there or, with --pool-start exec, held there); 0: there was none. */
int fp_gate(void);

#ifdef __cplusplus
}
#endif

#endif
