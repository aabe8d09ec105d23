/* SPDX-License-Identifier: MIT
 *
 * base/slots.h - numbers of slots in an array of fixed size: taken, given back, never allocated.
 *
 * The array itself, of whatever it holds, is the caller's; so is the memory for the links (capacity words), which
 * need not be cleared: a slot's word is touched only once it has been taken, so that a large capacity costs nothing
 * until it is used. A slot given back last is taken first, which keeps the memory in use small and warm. Taking and
 * giving back take constant time. Giving back a slot that is not taken is a bug and ends the process.
 */
#ifndef BASE_SLOTS_H
#define BASE_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#define SLOT_NONE UINT32_MAX

struct slots {
    uint32_t *links; /* caller's: of a free slot the next free one, of a taken one SLOT_TAKEN */
    uint32_t capacity;
    uint32_t free;  /* the first free slot that was used before, or SLOT_NONE */
    uint32_t fresh; /* slots from here on have never been taken */
    uint32_t live;  /* taken now */
};

void slots_init(struct slots *slots, uint32_t *links, uint32_t capacity);
/* The number of a slot that is now taken, or SLOT_NONE where all are. */
uint32_t slots_take(struct slots *slots);
void slots_release(struct slots *slots, uint32_t slot);
bool slots_is_taken(const struct slots *slots, uint32_t slot);

#endif
