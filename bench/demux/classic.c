/* SPDX-License-Identifier: MIT
 *
 * The schemes of McKenney and Dove's table, as short as they are: one list with a cache of the last one found (BSD),
 * one list whose found element moves to the front (Crowcroft), and Sequent's hash chains, each with a cache of one:
 * nineteen of them as in the paper, and as many as there are connections.
 */
#include "scheme.h"

#include <stdlib.h>
#include <string.h>

struct block {
    struct block *next;
    struct fp_pair4 pair;
    uint32_t number;
};

struct chain {
    struct block *first;
    struct block *cache;
};

struct classic {
    struct block *blocks;
    struct chain *chains;
    uint32_t chain_count;
    uint64_t examined;
    uint64_t found;
};

static struct chain *chain_of(struct classic *classic, const struct fp_pair4 *pair)
{
    uint64_t sum = (uint64_t)pair->local.s_addr + pair->foreign.s_addr +
                   ((uint64_t)pair->local_port << 16 | pair->foreign_port);

    return &classic->chains[(sum * 0x9e3779b97f4a7c15 >> 32) % classic->chain_count];
}

static void *make(const struct fp_pair4 *pairs, size_t count, uint32_t chain_count)
{
    struct classic *classic = calloc(1, sizeof(*classic));

    classic->blocks = calloc(count, sizeof(*classic->blocks));
    classic->chains = calloc(chain_count, sizeof(*classic->chains));
    classic->chain_count = chain_count;
    for (size_t i = 0; i < count; i++) {
        struct chain *chain = chain_of(classic, &pairs[i]);
        classic->blocks[i] = (struct block){chain->first, pairs[i], (uint32_t)i};
        chain->first = &classic->blocks[i];
    }
    return classic;
}

static void *make_one(const struct fp_pair4 *pairs, size_t count)
{
    return make(pairs, count, 1);
}

static void *make_nineteen(const struct fp_pair4 *pairs, size_t count)
{
    return make(pairs, count, 19);
}

static void *make_many(const struct fp_pair4 *pairs, size_t count)
{
    return make(pairs, count, (uint32_t)count);
}

static bool equal(const struct fp_pair4 *a, const struct fp_pair4 *b)
{
    return a->foreign_port == b->foreign_port && memcmp(a, b, sizeof(*a)) == 0;
}

static void find_cached(void *state, const struct fp_pair4 *pairs, size_t count, uint32_t *ret_numbers)
{
    struct classic *classic = state;

    for (size_t i = 0; i < count; i++) {
        struct chain *chain = chain_of(classic, &pairs[i]);
        classic->examined += chain->cache != NULL;
        if (chain->cache == NULL || !equal(&chain->cache->pair, &pairs[i])) {
            struct block *block = chain->first;
            for (; !equal(&block->pair, &pairs[i]); block = block->next)
                classic->examined++;
            classic->examined++;
            chain->cache = block;
        }
        ret_numbers[i] = chain->cache->number;
    }
    classic->found += count;
}

static void find_to_front(void *state, const struct fp_pair4 *pairs, size_t count, uint32_t *ret_numbers)
{
    struct classic *classic = state;

    for (size_t i = 0; i < count; i++) {
        struct block **link = &classic->chains[0].first;
        for (; !equal(&(*link)->pair, &pairs[i]); link = &(*link)->next)
            classic->examined++;
        classic->examined++;
        struct block *block = *link;
        *link = block->next;
        block->next = classic->chains[0].first;
        classic->chains[0].first = block;
        ret_numbers[i] = block->number;
    }
    classic->found += count;
}

static double examined(void *state)
{
    struct classic *classic = state;
    double mean = (double)classic->examined / (double)classic->found;

    classic->examined = classic->found = 0;
    return mean;
}

static void unmake(void *state)
{
    struct classic *classic = state;

    free(classic->blocks);
    free(classic->chains);
    free(classic);
}

const struct scheme scheme_bsd = {"BSD list, cache of one", 1, make_one, find_cached, examined, unmake};
const struct scheme scheme_mtf = {"list, move to front", 1, make_one, find_to_front, examined, unmake};
const struct scheme scheme_sequent = {"Sequent, 19 chains", 1, make_nineteen, find_cached, examined, unmake};
const struct scheme scheme_chains = {"Sequent, N chains", 1, make_many, find_cached, examined, unmake};
