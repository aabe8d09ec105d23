/* SPDX-License-Identifier: MIT
 *
 * demux/tuples.h - keys of one fixed size to numbers: a hash table that grows a few buckets at a time.
 *
 * Linear hashing (Litwin 1980): buckets are numbered and added one by one, and bucket n takes from the one bucket
 * whose keys differ from its own in the highest bit of n; so there is no moment at which all keys move. A bucket is
 * one cache line (IPv4) or two (IPv6) with whole keys in it, so that a look-up touches one line and compares no tags;
 * it is kept at most 3/8 full on average, beyond which four buckets are added with each key. What a bucket cannot
 * hold goes to overflow buckets chained behind it.
 *
 * A key is bytes without padding. Numbers are 0 to TUPLES_NUMBER_MAX. The only failure is of memory: false, and the table is as before.
 * Not for several threads where one of them changes it.
 */
#ifndef DEMUX_TUPLES_H
#define DEMUX_TUPLES_H

#include "demux/hash.h"
#include "demux/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TUPLES_NONE       UINT32_MAX
#define TUPLES_NUMBER_MAX UINT32_C(0x7ffffffe)
#define TUPLES_KEY_MAX    40

/* A bucket has `slots` times a key and its number, in 1 << bucket_shift bytes. */
struct tuples_shape {
    unsigned key_bytes;
    unsigned slots;
    unsigned bucket_shift;
};

struct tuples {
    struct tuples_shape shape;
    struct hash_secret secret;
    struct store home;
    struct store overflow;
    uint64_t count;   /* of keys */
    uint64_t buckets; /* in use */
    uint64_t goal;    /* of buckets: where more than there are, growing */
    uint64_t mask;    /* of the hash: the least 2^k - 1 that all bucket numbers fit in */
    uint64_t overflow_fresh;
    uint64_t overflow_free; /* the first of the chain of those given back, plus one; 0: none */
    uint64_t overflow_live;
};

/* The bucket a hash belongs to. */
static inline uint64_t tuples_bucket(const struct tuples *table, uint64_t hash)
{
    uint64_t number = hash & table->mask;

    return number < table->buckets ? number : number & (table->mask >> 1);
}

/* Shapes by the size of the key; key_bytes is a multiple of four from 12 to TUPLES_KEY_MAX. */
void tuples_init(struct tuples *table, unsigned key_bytes, const struct hash_secret *secret);
void tuples_done(struct tuples *table);
/* Room for this many keys, backed now; at once, so it may take long. More than there are numbers for are refused. */
bool tuples_reserve(struct tuples *table, uint64_t count);

enum tuples_added { TUPLES_ADDED, TUPLES_EXISTS, TUPLES_NO_MEMORY };
enum tuples_added tuples_add(struct tuples *table, const void *key, uint32_t number);
/* Gives a key that is there another number; false: it is not there. */
bool tuples_replace(struct tuples *table, const void *key, uint32_t number);
/* Returns its number, or TUPLES_NONE. */
uint32_t tuples_remove(struct tuples *table, const void *key);
/* Of demux/tuples_find.c. */
uint32_t tuples_find(const struct tuples *table, const void *key);
/* Many keys, one after another in memory; TUPLES_NONE for those that are not there. */
void tuples_find_many(const struct tuples *table, const void *keys, size_t count, uint32_t ret_numbers[]);

size_t tuples_bytes(const struct tuples *table);

/* What a look-up of this key examines: buckets, and the keys in them up to the one that is found. For benchmarks and tests. */
struct tuples_probe {
    unsigned buckets;
    unsigned keys;
};
struct tuples_probe tuples_probe(const struct tuples *table, const void *key);

#endif
