/* SPDX-License-Identifier: MIT */
#include "demux/recent.h"

#include "base/check.h"

#include <string.h>

#define LOOKED_AT 16

void recent_init(struct recent *recent, unsigned key_bytes, unsigned key_offset, unsigned record_shift,
                 uint32_t most, const struct hash_secret *secret)
{
    CHECK(1U << record_shift <= RECENT_RECORD_MAX && most > 0 && most <= TUPLES_NUMBER_MAX);
    *recent = (struct recent){.most = most, .key_offset = key_offset};
    tuples_init(&recent->keys, key_bytes, secret);
    store_init(&recent->records, record_shift);
}

void recent_done(struct recent *recent)
{
    tuples_done(&recent->keys);
    store_done(&recent->records);
}

void *recent_at(const struct recent *recent, uint32_t index)
{
    return store_at(&recent->records, index);
}

void *recent_find(const struct recent *recent, const void *key)
{
    uint32_t index = tuples_find(&recent->keys, key);

    return index != TUPLES_NONE ? recent_at(recent, index) : NULL;
}

static bool is_idler(const struct recent_head *one, const struct recent_head *than)
{
    return one->over != than->over ? one->over : one->used_ns < than->used_ns;
}

static uint32_t choose(struct recent *recent)
{
    uint32_t looked_at = recent->count < LOOKED_AT ? recent->count : LOOKED_AT;
    uint32_t chosen = recent->hand;

    for (uint32_t i = 0; i < looked_at; i++) {
        if (is_idler(recent_at(recent, recent->hand), recent_at(recent, chosen)))
            chosen = recent->hand;
        recent->hand = recent->hand + 1 < recent->count ? recent->hand + 1 : 0;
    }
    return chosen;
}

/* A record's place that is free, or made so; TUPLES_NONE: there is not even one. */
static uint32_t take(struct recent *recent, void *ret_given_up, bool *ret_has_given_up)
{
    *ret_has_given_up = false;
    if (recent->count < recent->most && store_grow(&recent->records, recent->count + UINT64_C(1)))
        return recent->count++;
    if (recent->count == 0)
        return TUPLES_NONE;
    uint32_t index = choose(recent);
    unsigned char *record = recent_at(recent, index);
    CHECK(tuples_remove(&recent->keys, record + recent->key_offset) == index);
    memcpy(ret_given_up, record, 1U << recent->records.part_shift);
    *ret_has_given_up = true;
    return index;
}

void *recent_add(struct recent *recent, const void *key, void *ret_given_up, bool *ret_has_given_up)
{
    uint32_t index = take(recent, ret_given_up, ret_has_given_up);

    if (index == TUPLES_NONE)
        return NULL;
    unsigned char *record = recent_at(recent, index);
    memset(record, 0, 1U << recent->records.part_shift);
    memcpy(record + recent->key_offset, key, recent->keys.shape.key_bytes);
    if (tuples_add(&recent->keys, key, index) == TUPLES_ADDED)
        return record;
    /* The last one is given back; in the middle there is a place for the key, since one was just removed. */
    CHECK(index + 1 == recent->count);
    recent->count--;
    return NULL;
}
