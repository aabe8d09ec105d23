/* SPDX-License-Identifier: MIT
 *
 * sys/random.h - a number nobody else knows, for hash seeds. From getrandom(2); it does not fail, and where the
 * kernel has no randomness yet it does not wait: the seed then is of the clock, enough against accident.
 * Not for secrets that outlive the process.
 */
#ifndef SYS_RANDOM_H
#define SYS_RANDOM_H

#include <stdint.h>

uint64_t random_seed(void);

#endif
