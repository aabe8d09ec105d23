/* SPDX-License-Identifier: MIT
 *
 * preload/reads.h - a gate at the first read.
 *
 * In the library for gate read only; the other has nothing in place of the C library's calls but the start. reads_open() finds
 * the calls that ours stand before, and sets the signal by which the supervisor asks a template that waits where no
 * call of ours could see it (wire/template_message.h has its number). It is called once, before main(). Constructors of other
 * libraries may come before it: their calls are passed on, and there is no gate yet. Fails silently: then those waits are
 * not seen and the template is given up.
 */
#ifndef PRELOAD_READS_H
#define PRELOAD_READS_H

void reads_open(void);

#endif
