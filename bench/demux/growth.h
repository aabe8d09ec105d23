/* SPDX-License-Identifier: MIT
 *
 * growth.h - how long the longest addition takes while a table grows from nothing to all its connections.
 *
 * A machine that is shared stops a program whenever it likes, so the longest of one run says little. The same growth is
 * run several times, and for each addition the least of its times is taken: what the table itself does comes again at
 * the same addition, what the machine does does not. Both maxima are printed, with page faults and switches.
 */
#ifndef GROWTH_H
#define GROWTH_H

#include <stddef.h>
#include <stdint.h>

int growth_run(size_t connections, unsigned rounds, uint64_t seed);

#endif
