/* SPDX-License-Identifier: MIT
 *
 * policy/demand.h - how many servants are wanted for a queue: more while most of what comes must wait for one.
 *
 * What came is looked at by tenths of a second. Where half of it had to wait, and it was much enough to pay for another servant, one
 * more is wanted; where for ten seconds not an eighth had to, or little came, one fewer. Pure: the time comes in, in nanoseconds of a monotonic
 * clock. Nothing fails.
 */
#ifndef POLICY_DEMAND_H
#define POLICY_DEMAND_H

#include <stdbool.h>
#include <stdint.h>

struct demand {
    uint32_t least;
    uint32_t most;
    uint32_t wanted;
    int64_t since_ns; /* of what is being looked at */
    uint32_t came;
    uint32_t waited;
    int64_t needed_ns; /* when so many were last found to be needed */
};

void demand_init(struct demand *demand, uint32_t least, uint32_t most);
/* One comes, and waits for another or not. True: one more is wanted from now on. */
bool demand_note(struct demand *demand, bool waits, int64_t now_ns);
/* Not before that time fewer are wanted (INT64_MAX: never); from then on demand_ease() makes it one fewer. */
int64_t demand_due_ns(const struct demand *demand);
void demand_ease(struct demand *demand, int64_t now_ns);

#endif
