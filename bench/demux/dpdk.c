/* SPDX-License-Identifier: MIT
 *
 * DPDK's rte_hash with its bulk look-up, a library of its own that bench/demux/run makes where the package is there.
 *
 * The hash is the fastest it offers, CRC32 by the processor's instruction, which has no secret. The table is made at its
 * full size, as it must be. Its memory is backed by huge pages, as forkport's is where it was reserved, unless
 * DPDK_SMALL_PAGES is set.
 */
#include "scheme.h"

#include <rte_eal.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_memory.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

extern const struct scheme scheme_dpdk;

/*
 * Without hugetlbfs its memory is a file in memory, which the kernel does not back by huge pages. So ordinary memory
 * with the same contents takes its place; nobody else has it mapped.
 */
static int back_by_huge_pages(const struct rte_memseg_list *list, const struct rte_memseg *segment,
                              size_t length, void *data)
{
    void *copy = malloc(length);

    (void)list;
    (void)data;
    if (copy == NULL)
        return -1;
    memcpy(copy, segment->addr, length);
    if (mmap(segment->addr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
        MAP_FAILED)
        abort();
    madvise(segment->addr, length, MADV_HUGEPAGE);
    memcpy(segment->addr, copy, length);
    free(copy);
    return 0;
}

static bool begin(void)
{
    static bool is_begun;
    char *arguments[] = {"demux", "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry",
                         "-m",    "192",       "-l",       "0",           "--log-level=3"};

    if (!is_begun && rte_eal_init(sizeof(arguments) / sizeof(arguments[0]), arguments) < 0) {
        fprintf(stderr, "missing: DPDK: cannot start its environment\n");
        return false;
    }
    if (!is_begun && getenv("DPDK_SMALL_PAGES") == NULL)
        rte_memseg_contig_walk(back_by_huge_pages, NULL);
    is_begun = true;
    return true;
}

static void *make(const struct fp_pair4 *pairs, size_t count)
{
    struct rte_hash_parameters parameters = {.name = "pairs",
                                             .entries = (uint32_t)(count + count / 8 + 64),
                                             .key_len = sizeof(*pairs),
                                             .hash_func = rte_hash_crc};
    struct rte_hash *hash = begin() ? rte_hash_create(&parameters) : NULL;

    if (hash == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        /* The data is a pointer's size; the number stands in it. */
        if (rte_hash_add_key_data(hash, &pairs[i], (void *)(uintptr_t)i) != 0) {
            fprintf(stderr, "missing: DPDK: connection %zu cannot be added\n", i);
            rte_hash_free(hash);
            return NULL;
        }
    }
    return hash;
}

static void find(void *state, const struct fp_pair4 *pairs, size_t count, uint32_t *ret_numbers)
{
    const void *keys[RTE_HASH_LOOKUP_BULK_MAX];
    void *data[RTE_HASH_LOOKUP_BULK_MAX];
    uint64_t hits;

    for (size_t i = 0; i < count; i++)
        keys[i] = &pairs[i];
    rte_hash_lookup_bulk_data(state, keys, (uint32_t)count, &hits, data);
    for (size_t i = 0; i < count; i++)
        ret_numbers[i] = hits >> i & 1 ? (uint32_t)(uintptr_t)data[i] : FP_NOBODY;
}

static void unmake(void *state)
{
    rte_hash_free(state);
}

const struct scheme scheme_dpdk = {"DPDK rte_hash, bulk", RTE_HASH_LOOKUP_BULK_MAX, make, find, NULL, unmake};
