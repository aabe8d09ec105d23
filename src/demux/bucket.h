/* SPDX-License-Identifier: MIT
 *
 * demux/bucket.h - one bucket of demux/tuples.h: slots of a key and a word each, in the order they were filled.
 *
 * A word is 0 where the slot is empty, else a number plus one; that of the last slot may instead be a link, with the
 * highest bit set, to the overflow bucket that continues this one. Zeroed memory is an empty bucket. Slots are filled
 * from the first on without a hole, a key of zeros is a key like others: a slot that it is really in stands before the
 * empty ones, and a word with the highest bit, or none, says that a key that compares equal is none.
 *
 * The functions are in line and their shape is often known when they are compiled, which is where the speed comes from.
 * Bytes are read and written by memcpy, of at most a bucket. Nothing in here fails.
 */
#ifndef DEMUX_BUCKET_H
#define DEMUX_BUCKET_H

#include "demux/tuples.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define BUCKET_LINK     UINT32_C(0x80000000)
#define BUCKET_LINK_MAX UINT32_C(0x7fffffff)

static inline unsigned bucket_slot_bytes(const struct tuples_shape *shape)
{
    return shape->key_bytes + (unsigned)sizeof(uint32_t);
}

static inline unsigned char *bucket_key(const struct tuples_shape *shape, unsigned char *bucket,
                                        unsigned slot)
{
    return bucket + slot * bucket_slot_bytes(shape);
}

static inline uint32_t bucket_word(const struct tuples_shape *shape, const unsigned char *bucket,
                                   unsigned slot)
{
    return hash_half(bucket + slot * bucket_slot_bytes(shape) + shape->key_bytes);
}

static inline void bucket_put(const struct tuples_shape *shape, unsigned char *bucket, unsigned slot,
                              const void *key, uint32_t word)
{
    unsigned char *at = bucket_key(shape, bucket, slot);

    memcpy(at, key, shape->key_bytes);
    memcpy(at + shape->key_bytes, &word, sizeof(word));
}

static inline void bucket_clear(const struct tuples_shape *shape, unsigned char *bucket, unsigned slot)
{
    memset(bucket_key(shape, bucket, slot), 0, bucket_slot_bytes(shape));
}

static inline bool bucket_is_link(uint32_t word)
{
    return (word & BUCKET_LINK) != 0;
}

/* Is it a number plus one, neither empty nor a link? */
static inline bool bucket_is_number(uint32_t word)
{
    return (int32_t)word > 0;
}

/* The link to the bucket that continues this one, or a word that is none. */
static inline uint32_t bucket_link(const struct tuples_shape *shape, const unsigned char *bucket)
{
    return bucket_word(shape, bucket, shape->slots - 1);
}

/* How many keys are in this bucket, without those that continue it. */
static inline unsigned bucket_count(const struct tuples_shape *shape, const unsigned char *bucket)
{
    unsigned count = 0;

    while (count < shape->slots && bucket_is_number(bucket_word(shape, bucket, count)))
        count++;
    return count;
}

/* Does the key that stands at `at` equal this one? The length is a multiple of four; no branch depends on the bytes. */
static inline __attribute__((always_inline)) bool bucket_equal(const unsigned char *at,
                                                               const unsigned char *key, unsigned length)
{
    uint64_t difference = 0;
    unsigned byte = 0;

    for (; byte + 8 <= length; byte += 8)
        difference |= hash_word(at + byte) ^ hash_word(key + byte);
    if (byte < length)
        difference |= hash_half(at + byte) ^ hash_half(key + byte);
    return difference == 0;
}

/* A bit for each slot that has this key, those that are empty or a link included. No branch depends on the bytes. */
static inline __attribute__((always_inline)) unsigned bucket_match(const struct tuples_shape *shape,
                                                                   const unsigned char *bucket,
                                                                   const unsigned char *key)
{
    unsigned matches = 0;

#pragma GCC unroll 4
    for (unsigned slot = 0; slot < shape->slots; slot++)
        matches |= (unsigned)bucket_equal(bucket + slot * bucket_slot_bytes(shape), key, shape->key_bytes)
                   << slot;
    return matches;
}

#ifdef __SSE2__
/* The same for four keys of three words, one line: a bit for each word that is equal, four of them to a slot. */
static inline unsigned bucket_match_12(const unsigned char *bucket, const unsigned char *key)
{
    const __m128i *slots = (const __m128i *)(const void *)bucket;
    __m128i wanted = _mm_set_epi32(0, (int)hash_half(key + 8), (int)hash_half(key + 4), (int)hash_half(key));
    __m128i low = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_load_si128(slots), wanted),
                                  _mm_cmpeq_epi32(_mm_load_si128(slots + 1), wanted));
    __m128i high = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_load_si128(slots + 2), wanted),
                                   _mm_cmpeq_epi32(_mm_load_si128(slots + 3), wanted));
    unsigned equal = (unsigned)_mm_movemask_epi8(_mm_packs_epi16(low, high));

    return equal & equal >> 1 & equal >> 2 & 0x1111;
}
#endif

/* The word of the first slot with this key; 0 or a link: not in this bucket. */
static inline __attribute__((always_inline)) uint32_t bucket_find(const struct tuples_shape *shape,
                                                                  const unsigned char *bucket,
                                                                  const unsigned char *key)
{
#ifdef __SSE2__
    if (shape->key_bytes == 12) {
        unsigned equal = bucket_match_12(bucket, key);
        /* A slot is four bits there and sixteen bytes here. */
        return equal == 0 ? 0 : hash_half(bucket + 4 * (unsigned)__builtin_ctz(equal) + 12);
    }
#endif
    unsigned slot_bits = bucket_match(shape, bucket, key);
    return slot_bits == 0 ? 0 : bucket_word(shape, bucket, (unsigned)__builtin_ctz(slot_bits));
}

#endif
