/* SPDX-License-Identifier: MIT
 *
 * policy/admit.h - may this client come in now?
 *
 * Owns the counts of live connections, in all and by source, and the rules about them. A source is an address prefix
 * (by default an IPv4 address and an IPv6 /64, since a host has a whole /64 to choose addresses from). State and peer
 * go in, a verdict and its reason come out: there is no clock, no descriptor, no log and no allocation after
 * admit_init(), whose memory is the caller's. A connection is counted from admit_take() to admit_release(), which
 * must be called exactly once with the handle given; that there are no more sources than connections is checked.
 */
#ifndef POLICY_ADMIT_H
#define POLICY_ADMIT_H

#include "addr/address.h"
#include "base/slots.h"

#include <stddef.h>
#include <stdint.h>

struct admit_limits {
    uint32_t max;            /* connections at once */
    uint32_t max_per_source; /* of one source */
    uint8_t source_prefix4;  /* bits of an IPv4 address that make a source, 0 to 32 */
    uint8_t source_prefix6;  /* of an IPv6 address, 0 to 128 */
};

enum admit_verdict {
    ADMIT_YES,
    ADMIT_FULL,        /* `max` connections are live */
    ADMIT_SOURCE_FULL, /* `max_per_source` connections of this source are live */
};

struct admit_source;

struct admit {
    struct admit_limits limits;
    uint64_t seed; /* so that clients cannot choose sources that share a bucket */
    struct slots slots;
    struct admit_source *sources; /* as many as there can be connections */
    uint32_t *buckets;
    uint32_t bucket_mask;
    uint32_t live; /* connections counted in */
};

/* The memory that admit_init() needs for these limits; it must be zeroed and stay until the end. */
size_t admit_memory_bytes(const struct admit_limits *limits);
void admit_init(struct admit *admit, const struct admit_limits *limits, uint64_t seed, void *memory);

/* Is there room for any connection at all? If not, accepting one would only be to refuse it. */
bool admit_has_room(const struct admit *admit);
uint32_t admit_live(const struct admit *admit);

/* Counts the connection in where the verdict is ADMIT_YES: *ret_source is its handle, *ret_count how many its source has now. */
enum admit_verdict admit_take(struct admit *admit, const struct address *foreign, uint32_t *ret_source,
                              uint32_t *ret_count);
void admit_release(struct admit *admit, uint32_t source);

/* "full", "source full": the reason as events and counters name it. */
const char *admit_reason(enum admit_verdict verdict);

#endif
