/* SPDX-License-Identifier: MIT */
#include "base/slots.h"

#include "base/check.h"

#define SLOT_TAKEN (UINT32_MAX - 1)

void slots_init(struct slots *slots, uint32_t *links, uint32_t capacity)
{
    CHECK(capacity < SLOT_TAKEN);
    *slots = (struct slots){.links = links, .capacity = capacity, .free = SLOT_NONE};
}

uint32_t slots_take(struct slots *slots)
{
    uint32_t slot = slots->free;

    if (slot != SLOT_NONE)
        slots->free = slots->links[slot];
    else if (slots->fresh < slots->capacity)
        slot = slots->fresh++;
    else
        return SLOT_NONE;
    slots->links[slot] = SLOT_TAKEN;
    slots->live++;
    return slot;
}

void slots_release(struct slots *slots, uint32_t slot)
{
    CHECK(slots_is_taken(slots, slot));
    slots->links[slot] = slots->free;
    slots->free = slot;
    slots->live--;
}

bool slots_is_taken(const struct slots *slots, uint32_t slot)
{
    return slot < slots->fresh && slots->links[slot] == SLOT_TAKEN;
}
