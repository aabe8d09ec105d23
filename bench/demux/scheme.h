/* SPDX-License-Identifier: MIT
 *
 * scheme.h - a way to find the connection of a segment, as the benchmark compares them.
 *
 * Each holds the same pairs, numbered from 0, and answers bursts of look-ups with these numbers; the benchmark checks
 * every answer. `examined` counts the connections that were compared, where the scheme can say it.
 */
#ifndef SCHEME_H
#define SCHEME_H

#include <forkport/demux.h>

#include <stddef.h>
#include <stdint.h>

struct scheme {
    const char *name;
    size_t burst; /* look-ups in one call; 1: it has no bulk look-up */
    /* NULL and a reason on standard error: it cannot run here. */
    void *(*make)(const struct fp_pair4 *pairs, size_t count);
    void (*find)(void *state, const struct fp_pair4 *pairs, size_t count, uint32_t *ret_numbers);
    double (*examined)(void *state); /* mean since the last call; NULL: not known */
    void (*unmake)(void *state);
};

/* Of classic.c: what the paper of 1992 compares. */
extern const struct scheme scheme_bsd;
extern const struct scheme scheme_mtf;
extern const struct scheme scheme_sequent;
extern const struct scheme scheme_chains;

/* What the library made of dpdk.c has as "scheme_dpdk". */

#endif
