/* SPDX-License-Identifier: MIT */
#include "policy/pace.h"

void pace_init(struct pace *pace, int64_t first_ns, int64_t longest_ns)
{
    *pace = (struct pace){.first_ns = first_ns, .longest_ns = longest_ns};
}

int64_t pace_failure_ns(struct pace *pace, int64_t now_ns)
{
    int64_t quiet_ns = now_ns - pace->failed_at_ns - pace->delay_ns;

    while (pace->delay_ns > 0 && quiet_ns >= 2 * pace->delay_ns) {
        quiet_ns -= 2 * pace->delay_ns;
        pace->delay_ns = pace->delay_ns > pace->first_ns ? pace->delay_ns / 2 : 0;
    }
    pace->delay_ns = pace->delay_ns > 0 ? 2 * pace->delay_ns : pace->first_ns;
    if (pace->delay_ns > pace->longest_ns)
        pace->delay_ns = pace->longest_ns;
    pace->failed_at_ns = now_ns;
    return pace->delay_ns;
}
