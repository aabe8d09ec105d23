/* SPDX-License-Identifier: MIT */
#include "policy/admit.h"

#include "base/check.h"

#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

/* What two clients must share to be one source. */
struct source_key {
    uint8_t family;
    uint8_t bytes[16]; /* the prefix, zero behind it */
    uint8_t unused[3]; /* always zero: keys are compared and hashed as bytes */
    uint32_t scope;
};

/* Link-local addresses (RFC 4291) have a prefix of so many bits, which is another network on each link. */
#define LINK_LOCAL_BITS 10

struct admit_source {
    struct source_key key;
    uint32_t next; /* in its bucket */
    uint32_t count;
};

static uint32_t bucket_count(uint32_t max)
{
    uint32_t count = 16;

    while (count < max && count < UINT32_C(1) << 30)
        count *= 2;
    return count;
}

size_t admit_memory_bytes(const struct admit_limits *limits)
{
    size_t max = limits->max;

    return max * (sizeof(struct admit_source) + sizeof(uint32_t)) +
           bucket_count(limits->max) * sizeof(uint32_t);
}

void admit_init(struct admit *admit, const struct admit_limits *limits, uint64_t seed, void *memory)
{
    uint32_t buckets = bucket_count(limits->max);

    admit->limits = *limits;
    admit->seed = seed;
    admit->sources = memory;
    admit->buckets = (uint32_t *)(admit->sources + limits->max);
    admit->bucket_mask = buckets - 1;
    slots_init(&admit->slots, admit->buckets + buckets, limits->max);
    admit->live = 0;
}

bool admit_has_room(const struct admit *admit)
{
    return admit->live < admit->limits.max;
}

uint32_t admit_live(const struct admit *admit)
{
    return admit->live;
}

static struct source_key source_key(const struct admit *admit, const struct address *foreign)
{
    struct source_key key = {.family = (uint8_t)foreign->family};
    unsigned bits = foreign->family == AF_INET ? admit->limits.source_prefix4 : admit->limits.source_prefix6;
    unsigned whole = bits / 8;

    if (foreign->family == AF_INET6 && bits >= LINK_LOCAL_BITS)
        key.scope = foreign->scope;
    memcpy(key.bytes, foreign->bytes, whole);
    if (bits % 8 != 0)
        key.bytes[whole] = (uint8_t)(foreign->bytes[whole] & (0xff00 >> (bits % 8)));
    return key;
}

/*
 * The link that leads to the key's source, or to the end of its bucket. Links hold the slot's number plus one, so that
 * zeroed memory is an empty table.
 */
static uint32_t *find_link(struct admit *admit, const struct source_key *key)
{
    uint64_t hash = XXH3_64bits_withSeed(key, sizeof(*key), admit->seed);
    uint32_t *link = &admit->buckets[hash & admit->bucket_mask];

    while (*link != 0 && memcmp(&admit->sources[*link - 1].key, key, sizeof(*key)) != 0)
        link = &admit->sources[*link - 1].next;
    return link;
}

enum admit_verdict admit_take(struct admit *admit, const struct address *foreign, uint32_t *ret_source,
                              uint32_t *ret_count)
{
    if (!admit_has_room(admit))
        return ADMIT_FULL;
    struct source_key key = source_key(admit, foreign);
    uint32_t *link = find_link(admit, &key);
    if (*link == 0) {
        uint32_t slot = slots_take(&admit->slots);
        CHECK(slot != SLOT_NONE);
        admit->sources[slot] = (struct admit_source){.key = key};
        *link = slot + 1;
    }
    struct admit_source *source = &admit->sources[*link - 1];
    if (source->count >= admit->limits.max_per_source)
        return ADMIT_SOURCE_FULL;
    source->count++;
    admit->live++;
    *ret_source = *link - 1;
    *ret_count = source->count;
    return ADMIT_YES;
}

void admit_release(struct admit *admit, uint32_t source)
{
    CHECK(slots_is_taken(&admit->slots, source));
    struct admit_source *left = &admit->sources[source];
    CHECK(left->count > 0 && admit->live > 0);
    admit->live--;
    if (--left->count > 0)
        return;
    uint32_t *link = find_link(admit, &left->key);
    *link = left->next;
    slots_release(&admit->slots, source);
    CHECK(admit->slots.live <= admit->live);
}

const char *admit_reason(enum admit_verdict verdict)
{
    switch (verdict) {
    case ADMIT_YES:
        return "admitted";
    case ADMIT_FULL:
        return "full";
    case ADMIT_SOURCE_FULL:
        return "source full";
    }
    return "unknown";
}
