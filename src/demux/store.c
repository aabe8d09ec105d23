/* SPDX-License-Identifier: MIT */
#include "demux/store.h"

#include "base/check.h"
#include "sys/memory.h"

#include <stdlib.h>

void store_init(struct store *store, unsigned part_shift)
{
    CHECK(part_shift < STORE_SEGMENT_SHIFT);
    *store = (struct store){.part_shift = part_shift};
}

void store_done(struct store *store)
{
    for (size_t i = 0; i < store->count; i++)
        memory_unmap(store->segments[i], STORE_SEGMENT_BYTES);
    free(store->segments);
    *store = (struct store){.part_shift = store->part_shift};
}

static bool list_widen(struct store *store)
{
    size_t room = store->room == 0 ? 4 : 2 * store->room;
    unsigned char **segments = reallocarray(store->segments, room, sizeof(*segments));

    if (segments == NULL)
        return false;
    store->segments = segments;
    store->room = room;
    return true;
}

bool store_grow(struct store *store, uint64_t count)
{
    while ((uint64_t)store->count << (STORE_SEGMENT_SHIFT - store->part_shift) < count) {
        if (store->count == store->room && !list_widen(store))
            return false;
        unsigned char *segment = memory_map_aligned(STORE_SEGMENT_BYTES, STORE_SEGMENT_BYTES);
        if (segment == NULL)
            return false;
        store->segments[store->count++] = segment;
    }
    return true;
}

bool store_reserve(struct store *store, uint64_t count)
{
    if (!store_grow(store, count))
        return false;
    uint64_t bytes = count << store->part_shift;
    for (uint64_t at = 0; at < bytes; at += STORE_SEGMENT_BYTES) {
        bool is_whole = bytes - at >= STORE_SEGMENT_BYTES;
        memory_back(store->segments[at >> STORE_SEGMENT_SHIFT], is_whole ? STORE_SEGMENT_BYTES : bytes - at,
                    is_whole);
    }
    return true;
}

size_t store_bytes(const struct store *store)
{
    return store->count * STORE_SEGMENT_BYTES;
}
