/* SPDX-License-Identifier: MIT
 *
 * demux/store.h - an array of equal parts that grows in place, a segment of memory at a time.
 *
 * A part has a size of a power of two (a cache line, say) and a number, and stays where it is: growing maps further
 * segments of 2 MiB, a huge page's size and alignment, and moves nothing but the list of segments. Memory is zero when
 * first seen and backed by the kernel page by page as it is touched, so growing never waits for more than a page;
 * store_reserve() instead backs it at once, by huge pages where it can. (A huge page on demand would be one fault
 * of its whole 2 MiB, which was measured at a millisecond and more in a virtual machine.)
 *
 * A `struct store` belongs to its table. Failing to get memory is the only failure, and leaves it as it was.
 */
#ifndef DEMUX_STORE_H
#define DEMUX_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_SEGMENT_SHIFT 21
#define STORE_SEGMENT_BYTES (UINT64_C(1) << STORE_SEGMENT_SHIFT)

struct store {
    unsigned char **segments;
    size_t count; /* of segments mapped */
    size_t room;  /* in the list */
    unsigned part_shift;
};

/* Parts of 1 << part_shift bytes, none yet. */
void store_init(struct store *store, unsigned part_shift);
void store_done(struct store *store);
/* Makes parts 0 to count - 1 usable. */
bool store_grow(struct store *store, uint64_t count);
/* The same, and backed now. */
bool store_reserve(struct store *store, uint64_t count);
size_t store_bytes(const struct store *store);

/* The part of this number, below what was grown to; for those who know the store's part_shift when they are compiled. */
static inline unsigned char *store_part(const struct store *store, uint64_t number, unsigned part_shift)
{
    unsigned segment_shift = STORE_SEGMENT_SHIFT - part_shift;
    uint64_t within = number & ((UINT64_C(1) << segment_shift) - 1);

    return store->segments[number >> segment_shift] + (within << part_shift);
}

static inline unsigned char *store_at(const struct store *store, uint64_t number)
{
    return store_part(store, number, store->part_shift);
}

#endif
