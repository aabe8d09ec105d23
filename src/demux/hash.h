/* SPDX-License-Identifier: MIT
 *
 * demux/hash.h - the keyed hash of socket pairs.
 *
 * Folded multiplication, the step of wyhash, rapidhash and XXH3: two words, each hidden by a secret word, are
 * multiplied to 128 bits and the halves are added without carry; a second such step with further secrets spreads the
 * result over all bits, of which the table takes the lowest. The secret is 384 bits, drawn for each table and never
 * shown. Whoever chooses the pairs and does not know it cannot choose pairs that collide more often than chance: the
 * multiplier of every difference is a secret, and unlike a linear (Toeplitz, CRC, multilinear) hash one collision that
 * has been found, say by timing, does not give others. It is no cipher: it hides nothing and must not be shown.
 *
 * A 12-byte key is two words and two multiplications, in line. Nothing in here fails or keeps state.
 */
#ifndef DEMUX_HASH_H
#define DEMUX_HASH_H

#include "sys/random.h"

#include <stdint.h>
#include <string.h>

#define HASH_SECRETS 6

struct hash_secret {
    uint64_t words[HASH_SECRETS];
};

/* None of the words is zero: a multiplier of zero would lose everything. */
static inline struct hash_secret hash_secret_make(void)
{
    struct hash_secret secret;

    for (unsigned i = 0; i < HASH_SECRETS; i++)
        secret.words[i] = random_seed() | 1;
    return secret;
}

__extension__ typedef unsigned __int128 hash_product;

static inline uint64_t hash_fold(uint64_t a, uint64_t b)
{
    hash_product product = (hash_product)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t hash_word(const void *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof(word));
    return word;
}

static inline uint32_t hash_half(const void *bytes)
{
    uint32_t half;

    memcpy(&half, bytes, sizeof(half));
    return half;
}

/* 12 bytes: two IPv4 addresses and two ports. */
static inline uint64_t hash_12(const struct hash_secret *secret, const void *key)
{
    const uint64_t *words = secret->words;
    uint64_t first =
        hash_fold(hash_word(key) ^ words[0], hash_half((const unsigned char *)key + 8) ^ words[1]);

    return hash_fold(first ^ words[2], words[3]);
}

/* 36 bytes: two IPv6 addresses and two ports. */
static inline uint64_t hash_36(const struct hash_secret *secret, const void *key)
{
    const unsigned char *bytes = key;
    const uint64_t *words = secret->words;
    uint64_t local = hash_fold(hash_word(bytes) ^ words[0], hash_word(bytes + 8) ^ words[1]);
    uint64_t foreign = hash_fold(hash_word(bytes + 16) ^ words[2], hash_word(bytes + 24) ^ words[3]);
    uint64_t all = hash_fold(local ^ words[4], foreign ^ hash_half(bytes + 32) ^ words[5]);

    return hash_fold(all ^ words[2],
                     words[3]); /* one step after the ports is not enough: the test shows it */
}

/* Any length up to 64 bytes that is a multiple of four; not in line with the two above. */
static inline uint64_t hash_bytes(const struct hash_secret *secret, const void *key, unsigned length)
{
    const unsigned char *bytes = key;
    uint64_t hash = length;

    for (unsigned at = 0; at < length; at += 8) {
        uint64_t word = at + 8 <= length ? hash_word(bytes + at) : hash_half(bytes + at);
        hash = hash_fold(hash ^ word ^ secret->words[at / 8 % 4], secret->words[4]);
    }
    return hash_fold(hash ^ secret->words[5], secret->words[3]);
}

#endif
