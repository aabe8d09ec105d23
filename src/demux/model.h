/* SPDX-License-Identifier: MIT
 *
 * demux/model.h - the kernel's rules of precedence, applied to the sockets that there are.
 *
 * Takes the rows that gather_endpoints() made and a segment, and gives those that could receive it, best first. A
 * connected socket comes before all that listen; one that listens on the segment's own address before the wildcard's,
 * whatever else is true of it; among those at one address the one that the kernel looks at first which is better than
 * those before it, where the first of a group with SO_REUSEPORT ends the search (doc/demultiplexing.md). Candidates
 * of one rank are a group of which the kernel chooses one by a hash that it keeps to itself, a program or the CPU.
 *
 * SO_REUSEPORT is known where the kernel tells it (sys/steering.h). Else it follows from the rules of bind(2): two
 * sockets that are in each other's way on one address and port can listen only where both have it.
 * Nothing is asked of the kernel in here. The only failure is of memory. model_done() releases the list.
 */
#ifndef DEMUX_MODEL_H
#define DEMUX_MODEL_H

#include "pairs/pairs.h"
#include "sys/steering.h"
#include "wire/packet.h"

enum model_stage {
    MODEL_CONNECTED, /* its pair is the segment's */
    MODEL_ADDRESS,   /* it listens on the segment's address */
    MODEL_WILDCARD,  /* it listens on any address */
};

struct model_candidate {
    uint32_t row;
    uint32_t rank; /* from 1 */
    uint8_t stage;
    uint8_t score;  /* of those that listen: 1 to 3; more is better */
    bool shared;    /* SO_REUSEPORT, as far as is known */
    uint64_t group; /* 0: not known */
};

struct model {
    struct model_candidate *items;
    size_t count;
    size_t best; /* how many are of rank 1 */
};

struct model_steering {
    const struct steering *items;
    size_t count;
    bool known; /* the kernel tells; what is not among the items has come since */
};

/* False: no memory. */
bool model_find(const struct pairs_table *table, const struct segment *segment,
                const struct model_steering *steering, struct model *ret_model);
void model_done(struct model *model);

/* What the kernel tells of a socket besides; NULL: nothing. */
const struct steering *model_steering(const struct model_steering *steering, uint64_t cookie);
/* Is this socket bound to another interface than the segment's? */
bool model_is_elsewhere(const struct diag_socket *socket, const struct segment *segment);
/* Does it take segments of this family at all, and to this address? For sockets without a foreign end. */
bool model_takes_family(const struct diag_socket *socket, const struct segment *segment);
bool model_takes_address(const struct diag_socket *socket, const struct segment *segment);
/* Are its two ends those of the segment? For sockets of the segment's local port, with a foreign end. */
bool model_has_pair(const struct diag_socket *socket, const struct segment *segment);

#endif
