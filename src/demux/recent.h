/* SPDX-License-Identifier: MIT
 *
 * demux/recent.h - records found by key, and at most so many of them: the longest idle one makes room for a new one.
 *
 * For what a capture makes us remember and never says that it is over. A record is of a size of a power of two, begins with a
 * struct recent_head and has its key in it; its owner writes the rest, and head.used_ns whenever it is used. Where the
 * table is full, or memory is short, a few records are looked at, going round, and of those the one that is over,
 * else the one idle longest, is given up: exact in a small table, and near enough in a large one, at a cost that does
 * not grow with it and with nothing to keep in order on the way. The only failure is to have no memory for even one record.
 */
#ifndef DEMUX_RECENT_H
#define DEMUX_RECENT_H

#include "demux/tuples.h"

#define RECENT_RECORD_MAX 128

struct recent_head {
    int64_t used_ns;
    uint32_t number; /* the owner's */
    bool over;       /* it may be given up before others */
};

struct recent {
    struct tuples keys;
    struct store records;
    uint32_t count;
    uint32_t most;
    uint32_t hand; /* the next to be looked at */
    unsigned key_offset;
};

void recent_init(struct recent *recent, unsigned key_bytes, unsigned key_offset, unsigned record_shift,
                 uint32_t most, const struct hash_secret *secret);
void recent_done(struct recent *recent);
void *recent_find(const struct recent *recent, const void *key);
/*
 * A record for a key that is not there, zero but for the key. Where another had to make room, it is copied to
 * *ret_given_up (RECENT_RECORD_MAX bytes). NULL: no memory.
 */
void *recent_add(struct recent *recent, const void *key, void *ret_given_up, bool *ret_has_given_up);
/* The record of this index, below recent.count. */
void *recent_at(const struct recent *recent, uint32_t index);

#endif
