/* SPDX-License-Identifier: MIT
 *
 * base/time.h - units of time, in nanoseconds.
 */
#ifndef BASE_TIME_H
#define BASE_TIME_H

#include <stdint.h>

#define MS_NS     INT64_C(1000000)
#define SECOND_NS (1000 * MS_NS)

#endif
