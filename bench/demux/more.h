/* SPDX-License-Identifier: MIT
 *
 * more.h - what of forkport's demultiplexer has nothing to stand against it in the table: IPv6, segments that no
 * connection takes and that fall back to a listening socket, and how much of the table a look-up examines.
 */
#ifndef MORE_H
#define MORE_H

#include <stddef.h>
#include <stdint.h>

/* Prints a line for each. */
void more_report(size_t connections, double seconds, uint64_t seed);

#endif
