/* SPDX-License-Identifier: MIT
 *
 * The look-ups of demux/tuples.h, compiled once for each shape that is used in bulk.
 *
 * In bulk, hashing runs AHEAD keys before comparing, and has the processor fetch each bucket meanwhile: what a look-up
 * costs then is not the wait for memory but what can be fetched at once. The few keys whose bucket overflowed are put
 * aside while theirs is fetched, and looked at together at the end of the block.
 */
#include "demux/tuples.h"

#include "demux/bucket.h"

/* Fetches under way: more than a core has, so that it always has some, and a power of two. */
#define AHEAD 32
#define BLOCK 256
#define LINE  64

#define INLINE static inline __attribute__((always_inline))

/* The build zeroes what is on the stack, which would cost a short look-up more than all else. */
#if __has_attribute(uninitialized)
#define UNSET __attribute__((uninitialized))
#else
#define UNSET
#endif

static const struct tuples_shape shape_12 = {12, 4, 6};
static const struct tuples_shape shape_36 = {36, 3, 7};

INLINE uint64_t hash_shaped(const struct tuples *table, const struct tuples_shape *shape, const void *key)
{
    if (shape->key_bytes == 12)
        return hash_12(&table->secret, key);
    if (shape->key_bytes == 36)
        return hash_36(&table->secret, key);
    return hash_bytes(&table->secret, key, shape->key_bytes);
}

INLINE uint32_t find_shaped(const struct tuples *table, const struct tuples_shape *shape, const void *key)
{
    const unsigned char *bucket =
        store_part(&table->home, tuples_bucket(table, hash_shaped(table, shape, key)), shape->bucket_shift);

    for (;;) {
        uint32_t word = bucket_find(shape, bucket, key);
        if (bucket_is_number(word))
            return word - 1;
        uint32_t link = bucket_link(shape, bucket);
        if (!bucket_is_link(link))
            return TUPLES_NONE;
        bucket = store_at(&table->overflow, link & BUCKET_LINK_MAX);
    }
}

uint32_t tuples_find(const struct tuples *table, const void *key)
{
    if (table->count == 0)
        return TUPLES_NONE;
    switch (table->shape.key_bytes) {
    case 12:
        return find_shaped(table, &shape_12, key);
    case 36:
        return find_shaped(table, &shape_36, key);
    default:
        return find_shaped(table, &table->shape, key);
    }
}

/* The keys of a block that are to be sought in an overflow bucket. */
struct aside {
    unsigned count;
    struct {
        unsigned key;
        uint32_t link;
    } entries[BLOCK];
};

INLINE void fetch(const struct tuples_shape *shape, const unsigned char *bucket)
{
    for (unsigned at = 0; at < 1U << shape->bucket_shift; at += LINE)
        __builtin_prefetch(bucket + at);
}

INLINE void aside_add(const struct tuples *table, const struct tuples_shape *shape, struct aside *aside,
                      unsigned key, uint32_t link)
{
    aside->entries[aside->count].key = key;
    aside->entries[aside->count++].link = link;
    fetch(shape, store_at(&table->overflow, link & BUCKET_LINK_MAX));
}

/* Compares; what is not there and goes on in an overflow bucket is set aside. */
INLINE uint32_t compare(const struct tuples *table, const struct tuples_shape *shape,
                        const unsigned char *bucket, const unsigned char *keys, unsigned key,
                        struct aside *aside)
{
    uint32_t word = bucket_find(shape, bucket, keys + (size_t)key * shape->key_bytes);

    if (__builtin_expect(bucket_is_number(word), 1))
        return word - 1;
    uint32_t link = bucket_link(shape, bucket);
    if (bucket_is_link(link))
        aside_add(table, shape, aside, key, link);
    return TUPLES_NONE;
}

INLINE const unsigned char *prepare(const struct tuples *table, const struct tuples_shape *shape,
                                    const void *key)
{
    const unsigned char *bucket =
        store_part(&table->home, tuples_bucket(table, hash_shaped(table, shape, key)), shape->bucket_shift);

    fetch(shape, bucket);
    return bucket;
}

INLINE void find_block(const struct tuples *table, const struct tuples_shape *shape,
                       const unsigned char *keys, unsigned count, uint32_t *ret_numbers)
{
    UNSET const unsigned char *buckets[AHEAD];
    UNSET struct aside aside;
    unsigned ahead = count < AHEAD ? count : AHEAD;

    aside.count = 0;
    for (unsigned key = 0; key < ahead; key++)
        buckets[key] = prepare(table, shape, keys + (size_t)key * shape->key_bytes);
    for (unsigned key = 0; key < count; key++) {
        const unsigned char *bucket = buckets[key % AHEAD];
        if (key + ahead < count)
            buckets[key % AHEAD] = prepare(table, shape, keys + (size_t)(key + ahead) * shape->key_bytes);
        ret_numbers[key] = compare(table, shape, bucket, keys, key, &aside);
    }
    while (aside.count > 0) {
        unsigned rest = aside.count;
        aside.count = 0; /* those set aside again overwrite those that have been read */
        for (unsigned i = 0; i < rest; i++) {
            unsigned key = aside.entries[i].key;
            const unsigned char *bucket = store_at(&table->overflow, aside.entries[i].link & BUCKET_LINK_MAX);
            ret_numbers[key] = compare(table, shape, bucket, keys, key, &aside);
        }
    }
}

INLINE void find_many_shaped(const struct tuples *table, const struct tuples_shape *shape, const void *keys,
                             size_t count, uint32_t *ret_numbers)
{
    for (size_t done = 0; done < count; done += BLOCK) {
        size_t rest = count - done;
        find_block(table, shape, (const unsigned char *)keys + done * shape->key_bytes,
                   (unsigned)(rest < BLOCK ? rest : BLOCK), ret_numbers + done);
    }
}

void tuples_find_many(const struct tuples *table, const void *keys, size_t count, uint32_t ret_numbers[])
{
    if (table->count == 0) {
        memset(ret_numbers, 0xff, count * sizeof(*ret_numbers));
        return;
    }
    switch (table->shape.key_bytes) {
    case 12:
        find_many_shaped(table, &shape_12, keys, count, ret_numbers);
        break;
    case 36:
        find_many_shaped(table, &shape_36, keys, count, ret_numbers);
        break;
    default:
        find_many_shaped(table, &table->shape, keys, count, ret_numbers);
    }
}
