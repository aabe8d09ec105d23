/* SPDX-License-Identifier: MIT */
#include "policy/demand.h"

#define LOOK_NS INT64_C(100000000)
#define EASE_NS INT64_C(10000000000)
/* In one look. */
#define CAME_LEAST 50

void demand_init(struct demand *demand, uint32_t least, uint32_t most)
{
    *demand = (struct demand){.least = least, .most = most > least ? most : least, .wanted = least};
}

static void look(struct demand *demand, int64_t now_ns)
{
    if (demand->came < CAME_LEAST)
        return;
    if (demand->waited >= demand->came / 8)
        demand->needed_ns = now_ns;
    if (demand->waited >= demand->came / 2 && demand->wanted < demand->most)
        demand->wanted++;
}

bool demand_note(struct demand *demand, bool waits, int64_t now_ns)
{
    uint32_t before = demand->wanted;

    if (now_ns - demand->since_ns >= LOOK_NS) {
        look(demand, now_ns);
        demand->since_ns = now_ns;
        demand->came = demand->waited = 0;
    }
    demand->came++;
    demand->waited += waits;
    return demand->wanted != before;
}

int64_t demand_due_ns(const struct demand *demand)
{
    return demand->wanted > demand->least ? demand->needed_ns + EASE_NS : INT64_MAX;
}

void demand_ease(struct demand *demand, int64_t now_ns)
{
    if (now_ns < demand_due_ns(demand))
        return;
    demand->wanted--;
    demand->needed_ns = now_ns;
}
