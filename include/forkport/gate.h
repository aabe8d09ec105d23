/* SPDX-License-Identifier: MIT
 *
 * forkport/gate.h - the gate of a program that is forked for each connection, opened by the program itself.
 *
 * Under `forkport serve --engine fork --gate read` the program is started once, as the template, and forked for each
 * connection. That happens at its first use of descriptor 0, or where it calls fp_gate(), whichever comes first: what the
 * program did before is done for all connections. In the template fp_gate() does not return. It returns in each process that
 * serves a connection, with the connected socket as descriptors 0 and 1 and its variables (FORKPORT_PAIR and the others) in the
 * environment. Where there is no gate ahead (another engine, another server, a second call) it returns at once, so that a
 * program may always call it. It cannot fail and leaves errno. Whoever calls it must be the only thread of the
 * process, or the service does without templates.
 */
#ifndef FORKPORT_GATE_H
#define FORKPORT_GATE_H

#ifdef __cplusplus
extern "C" {
#endif

/* 1: this process was forked at its gate, for a connection; 0: there is no gate. */
int fp_gate(void);

#ifdef __cplusplus
}
#endif

#endif
