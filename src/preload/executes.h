/* SPDX-License-Identifier: MIT
 *
 * preload/executes.h - a template that becomes another program before its gate is none.
 *
 * In the library for gate read only, as preload/reads.h: before main() a program seldom does. executes_open() finds the calls that
 * ours stand before, so that none is looked for in the child of a vfork(2); it is called once, before main().
 */
#ifndef PRELOAD_EXECUTES_H
#define PRELOAD_EXECUTES_H

void executes_open(void);

#endif
