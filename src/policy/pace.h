/* SPDX-License-Identifier: MIT
 *
 * policy/pace.h - how long to leave alone what just failed.
 *
 * A pace doubles its delay with each failure, from a first to a longest one, and forgets what it learned as time
 * passes without one: after a quiet time of twice the delay it halves, and so on. Pure: the time comes in, in
 * nanoseconds of a monotonic clock, and the delay comes out. Nothing fails.
 */
#ifndef POLICY_PACE_H
#define POLICY_PACE_H

#include <stdint.h>

struct pace {
    int64_t first_ns;
    int64_t longest_ns;
    int64_t delay_ns; /* of the last failure; 0: none yet, or forgotten */
    int64_t failed_at_ns;
};

void pace_init(struct pace *pace, int64_t first_ns, int64_t longest_ns);
/* Something failed at `now_ns`: the delay to wait from now on. */
int64_t pace_failure_ns(struct pace *pace, int64_t now_ns);

#endif
