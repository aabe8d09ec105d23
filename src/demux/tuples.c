/* SPDX-License-Identifier: MIT */
#include "demux/tuples.h"

#include "base/check.h"
#include "demux/bucket.h"

#include <assert.h>

#define FIRST_BUCKETS 64
/* Buckets added with each key while growing: three would do to be done before the next growth is due. */
#define PACE        4
#define BUCKET_MOST 128

static_assert(TUPLES_NUMBER_MAX + 1 < BUCKET_LINK, "a number plus one has the highest bit clear");

/* Slots that leave little of a bucket empty, and at least two of them. */
static struct tuples_shape shape_of(unsigned key_bytes)
{
    unsigned slot_bytes = key_bytes + (unsigned)sizeof(uint32_t);
    unsigned shift = 3 * slot_bytes <= 64 ? 6 : 7;

    return (struct tuples_shape){key_bytes, (1U << shift) / slot_bytes, shift};
}

void tuples_init(struct tuples *table, unsigned key_bytes, const struct hash_secret *secret)
{
    CHECK(key_bytes >= 12 && key_bytes <= TUPLES_KEY_MAX && key_bytes % 4 == 0);
    *table = (struct tuples){.shape = shape_of(key_bytes), .secret = *secret};
    store_init(&table->home, table->shape.bucket_shift);
    store_init(&table->overflow, table->shape.bucket_shift);
}

void tuples_done(struct tuples *table)
{
    store_done(&table->home);
    store_done(&table->overflow);
}

static uint64_t hash_of(const struct tuples *table, const void *key)
{
    switch (table->shape.key_bytes) {
    case 12:
        return hash_12(&table->secret, key);
    case 36:
        return hash_36(&table->secret, key);
    default:
        return hash_bytes(&table->secret, key, table->shape.key_bytes);
    }
}

static unsigned char *home_of(const struct tuples *table, const void *key)
{
    return store_at(&table->home, tuples_bucket(table, hash_of(table, key)));
}

static unsigned char *linked(const struct tuples *table, uint32_t link)
{
    return store_at(&table->overflow, link & BUCKET_LINK_MAX);
}

/* The last bucket of the chain that begins at `bucket`; *ret_before: the one before it, or NULL. */
static unsigned char *tail_of(const struct tuples *table, unsigned char *bucket, unsigned char **ret_before)
{
    unsigned char *before = NULL;
    uint32_t link;

    while (bucket_is_link(link = bucket_link(&table->shape, bucket))) {
        before = bucket;
        bucket = linked(table, link);
    }
    *ret_before = before;
    return bucket;
}

/* A link to an empty overflow bucket, or 0 where memory is short. */
static uint32_t overflow_take(struct tuples *table)
{
    uint64_t number = table->overflow_free;

    if (number != 0) {
        unsigned char *bucket = store_at(&table->overflow, --number);
        memcpy(&table->overflow_free, bucket, sizeof(table->overflow_free));
        memset(bucket, 0, 1U << table->shape.bucket_shift);
    } else {
        if (table->overflow_fresh == BUCKET_LINK_MAX ||
            !store_grow(&table->overflow, table->overflow_fresh + 1))
            return 0;
        number = table->overflow_fresh++;
    }
    table->overflow_live++;
    return BUCKET_LINK | (uint32_t)number;
}

static void overflow_release(struct tuples *table, uint32_t link)
{
    uint64_t next = table->overflow_free;

    memcpy(linked(table, link), &next, sizeof(next));
    table->overflow_free = (link & BUCKET_LINK_MAX) + UINT64_C(1);
    table->overflow_live--;
}

/* Puts a key that is not there where it belongs. */
static bool place(struct tuples *table, const void *key, uint32_t word)
{
    static const unsigned char no_key[TUPLES_KEY_MAX];
    const struct tuples_shape *shape = &table->shape;
    unsigned char *before;
    unsigned char *tail = tail_of(table, home_of(table, key), &before);
    unsigned count = bucket_count(shape, tail);
    unsigned last = shape->slots - 1;

    if (count < shape->slots) {
        bucket_put(shape, tail, count, key, word);
        return true;
    }
    uint32_t link = overflow_take(table);
    if (link == 0)
        return false;
    unsigned char *next = linked(table, link);
    bucket_put(shape, next, 0, bucket_key(shape, tail, last), bucket_word(shape, tail, last));
    bucket_put(shape, next, 1, key, word);
    bucket_put(shape, tail, last, no_key, link);
    return true;
}

/*
 * Adds a bucket, and deals what is in the one it takes from to the two. This needs no memory: an overflow bucket is
 * released before its keys are placed, and two chains never need more of them than the one had.
 */
static void split(struct tuples *table)
{
    const struct tuples_shape *shape = &table->shape;
    uint64_t added = table->buckets++;
    unsigned char copy[BUCKET_MOST];
    uint32_t link;

    if (added > table->mask)
        table->mask = 2 * table->mask + 1;
    /* Written before it is read, or a new page would be faulted in twice: as the page of zeros, and as its own. */
    memset(store_at(&table->home, added), 0, 1U << shape->bucket_shift);
    unsigned char *source = store_at(&table->home, added & (table->mask >> 1));
    memcpy(copy, source, 1U << shape->bucket_shift);
    memset(source, 0, 1U << shape->bucket_shift);
    for (;;) {
        unsigned count = bucket_count(shape, copy);
        link = bucket_link(shape, copy);
        for (unsigned slot = 0; slot < count; slot++)
            CHECK(place(table, bucket_key(shape, copy, slot), bucket_word(shape, copy, slot)));
        if (!bucket_is_link(link))
            return;
        memcpy(copy, linked(table, link), 1U << shape->bucket_shift);
        overflow_release(table, link);
    }
}

/* The buckets that keep this many keys below three eighths. */
static uint64_t buckets_for(const struct tuples *table, uint64_t count)
{
    uint64_t buckets = FIRST_BUCKETS;

    while (8 * count > 3 * buckets * table->shape.slots)
        buckets *= 2;
    return buckets;
}

/* Where memory is short the table stays as small as it is and gets slower, but goes on. */
static void grow(struct tuples *table)
{
    if (table->buckets == table->goal)
        table->goal = buckets_for(table, table->count + 1);
    for (unsigned i = 0; i < PACE && table->buckets < table->goal; i++) {
        if (!store_grow(&table->home, table->buckets + 1))
            return;
        split(table);
    }
}

static bool begin(struct tuples *table, uint64_t buckets)
{
    if (!store_grow(&table->home, buckets))
        return false;
    table->buckets = buckets;
    table->goal = buckets;
    table->mask = buckets - 1;
    return true;
}

bool tuples_reserve(struct tuples *table, uint64_t count)
{
    /* There are no numbers for more; and beyond it, buckets_for() might overflow. */
    if (count > TUPLES_NUMBER_MAX + UINT64_C(1))
        return false;
    uint64_t buckets = buckets_for(table, count);

    /* Of the buckets some hundredths overflow, by the load. */
    if (!store_reserve(&table->home, buckets) || !store_reserve(&table->overflow, buckets / 16))
        return false;
    if (table->count == 0)
        return begin(table, buckets);
    table->goal = buckets > table->goal ? buckets : table->goal;
    while (table->buckets < buckets)
        split(table);
    return true;
}

/* Where the key is: its bucket and *ret_slot; NULL: nowhere. */
static unsigned char *seek(const struct tuples *table, const void *key, unsigned *ret_slot)
{
    const struct tuples_shape *shape = &table->shape;

    if (table->count == 0)
        return NULL;
    for (unsigned char *bucket = home_of(table, key);;) {
        unsigned count = bucket_count(shape, bucket);
        for (unsigned slot = 0; slot < count; slot++) {
            if (memcmp(bucket_key(shape, bucket, slot), key, shape->key_bytes) == 0) {
                *ret_slot = slot;
                return bucket;
            }
        }
        uint32_t link = bucket_link(shape, bucket);
        if (!bucket_is_link(link))
            return NULL;
        bucket = linked(table, link);
    }
}

enum tuples_added tuples_add(struct tuples *table, const void *key, uint32_t number)
{
    unsigned slot;

    CHECK(number <= TUPLES_NUMBER_MAX);
    if (seek(table, key, &slot) != NULL)
        return TUPLES_EXISTS;
    if (table->buckets == 0 && !begin(table, FIRST_BUCKETS))
        return TUPLES_NO_MEMORY;
    grow(table);
    if (!place(table, key, number + 1))
        return TUPLES_NO_MEMORY;
    table->count++;
    return TUPLES_ADDED;
}

bool tuples_replace(struct tuples *table, const void *key, uint32_t number)
{
    unsigned slot;
    unsigned char *bucket = seek(table, key, &slot);

    CHECK(number <= TUPLES_NUMBER_MAX);
    if (bucket == NULL)
        return false;
    bucket_put(&table->shape, bucket, slot, key, number + 1);
    return true;
}

/* The last key of the chain fills the hole; one that is then alone in the last bucket comes back to where the link was. */
uint32_t tuples_remove(struct tuples *table, const void *key)
{
    const struct tuples_shape *shape = &table->shape;
    unsigned slot;
    unsigned char *bucket = seek(table, key, &slot);
    unsigned char *before;

    if (bucket == NULL)
        return TUPLES_NONE;
    uint32_t number = bucket_word(shape, bucket, slot) - 1;
    unsigned char *tail = tail_of(table, home_of(table, key), &before);
    unsigned last = bucket_count(shape, tail) - 1;
    if (bucket != tail || slot != last)
        bucket_put(shape, bucket, slot, bucket_key(shape, tail, last), bucket_word(shape, tail, last));
    bucket_clear(shape, tail, last);
    table->count--;
    if (last == 1 && before != NULL) {
        uint32_t link = bucket_link(shape, before);
        bucket_put(shape, before, shape->slots - 1, bucket_key(shape, tail, 0), bucket_word(shape, tail, 0));
        overflow_release(table, link);
    }
    return number;
}

size_t tuples_bytes(const struct tuples *table)
{
    return store_bytes(&table->home) + store_bytes(&table->overflow);
}

struct tuples_probe tuples_probe(const struct tuples *table, const void *key)
{
    const struct tuples_shape *shape = &table->shape;
    struct tuples_probe probe = {0, 0};
    unsigned slot = 0;
    const unsigned char *found = seek(table, key, &slot);

    if (table->count == 0)
        return probe;
    for (const unsigned char *bucket = home_of(table, key);;) {
        probe.buckets++;
        probe.keys += bucket == found ? slot + 1 : bucket_count(shape, bucket);
        uint32_t link = bucket_link(shape, bucket);
        if (bucket == found || !bucket_is_link(link))
            return probe;
        bucket = linked(table, link);
    }
}
