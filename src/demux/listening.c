/* SPDX-License-Identifier: MIT */
#include "demux/listening.h"

#include "base/check.h"

#include <assert.h>

#define NODE_SHIFT 5

/* What a socket takes. One bound to a mapped address, ::ffff:0.0.0.0 too, takes IPv4 alone. */
#define TAKES_V4  1U
#define TAKES_V6  2U
#define IS_INET   4U
#define IS_SHARED 8U

struct node {
    uint32_t next; /* of the chain or of the free ones, or TUPLES_NONE */
    uint32_t endpoint;
    uint32_t device;
    uint32_t traits;
};

struct end {
    struct in6_addr address;
    in_port_t port;
    uint16_t zero; /* keys are compared whole */
};

static_assert(sizeof(struct end) == 20, "a key without padding");
static_assert(sizeof(struct node) <= 1U << NODE_SHIFT, "a node is a part of the store");

void listening_init(struct listening *listeners, const struct hash_secret *secret)
{
    *listeners = (struct listening){.free = TUPLES_NONE};
    tuples_init(&listeners->chains, sizeof(struct end), secret);
    store_init(&listeners->nodes, NODE_SHIFT);
}

void listening_done(struct listening *listeners)
{
    tuples_done(&listeners->chains);
    store_done(&listeners->nodes);
}

static struct node *node_at(const struct listening *listeners, uint32_t number)
{
    return (struct node *)(void *)store_at(&listeners->nodes, number);
}

/* Both wildcards, 0.0.0.0 and ::, are one end, as they are one chain of the kernel's. */
static struct end end_of(const struct in6_addr *address, in_port_t port)
{
    struct end end = {.address = *address, .port = port};

    if (IN6_IS_ADDR_V4MAPPED(address) && address->s6_addr32[3] == 0)
        end.address = in6addr_any;
    return end;
}

static uint32_t traits_of(const struct fp_listening *listening)
{
    uint32_t shared = (listening->flags & FP_LISTEN_REUSEPORT) != 0 ? IS_SHARED : 0;

    if (listening->family == AF_INET)
        return TAKES_V4 | IS_INET | shared;
    if (IN6_IS_ADDR_V4MAPPED(&listening->address))
        return TAKES_V4 | shared;
    if (IN6_IS_ADDR_UNSPECIFIED(&listening->address) && (listening->flags & FP_LISTEN_V6ONLY) == 0)
        return TAKES_V4 | TAKES_V6 | shared;
    return TAKES_V6 | shared;
}

static uint32_t node_take(struct listening *listeners)
{
    uint32_t number = listeners->free;

    if (number != TUPLES_NONE) {
        listeners->free = node_at(listeners, number)->next;
        return number;
    }
    if (listeners->fresh > TUPLES_NUMBER_MAX ||
        !store_grow(&listeners->nodes, listeners->fresh + UINT64_C(1)))
        return TUPLES_NONE;
    return listeners->fresh++;
}

static void node_release(struct listening *listeners, uint32_t number)
{
    node_at(listeners, number)->next = listeners->free;
    listeners->free = number;
}

bool listening_add(struct listening *listeners, const struct fp_listening *listening, uint32_t endpoint)
{
    struct end end = end_of(&listening->address, listening->port);
    uint32_t traits = traits_of(listening);
    uint32_t first = tuples_find(&listeners->chains, &end);
    uint32_t number = node_take(listeners);

    if (number == TUPLES_NONE)
        return false;
    struct node *node = node_at(listeners, number);
    *node = (struct node){TUPLES_NONE, endpoint, listening->device, traits};
    if (first == TUPLES_NONE) {
        if (tuples_add(&listeners->chains, &end, number) != TUPLES_ADDED) {
            node_release(listeners, number);
            return false;
        }
    } else if ((traits & (IS_INET | IS_SHARED)) == IS_SHARED) {
        while (node_at(listeners, first)->next != TUPLES_NONE)
            first = node_at(listeners, first)->next;
        node_at(listeners, first)->next = number;
    } else {
        node->next = first;
        CHECK(tuples_replace(&listeners->chains, &end, number));
    }
    listeners->count++;
    return true;
}

bool listening_remove(struct listening *listeners, const struct fp_listening *listening, uint32_t endpoint)
{
    struct end end = end_of(&listening->address, listening->port);
    uint32_t traits = traits_of(listening);
    struct node *before = NULL;

    for (uint32_t number = tuples_find(&listeners->chains, &end); number != TUPLES_NONE;) {
        struct node *node = node_at(listeners, number);
        if (node->endpoint != endpoint || node->device != listening->device || node->traits != traits) {
            before = node;
            number = node->next;
            continue;
        }
        if (before != NULL)
            before->next = node->next;
        else if (node->next != TUPLES_NONE)
            CHECK(tuples_replace(&listeners->chains, &end, node->next));
        else
            CHECK(tuples_remove(&listeners->chains, &end) == number);
        node_release(listeners, number);
        listeners->count--;
        return true;
    }
    return false;
}

/* 0: it does not take the segment. */
static unsigned score(const struct node *node, uint32_t takes, uint32_t device)
{
    if ((node->traits & takes) == 0 || (node->device != 0 && node->device != device))
        return 0;
    return (node->device != 0 ? 2 : 1) + (takes == TAKES_V4 && (node->traits & IS_INET) != 0 ? 1 : 0);
}

static uint32_t chain_find(const struct listening *listeners, const struct in6_addr *address, in_port_t port,
                           uint32_t takes, uint32_t device)
{
    struct end end = {.address = *address, .port = port};
    uint32_t best = FP_NOBODY;
    unsigned best_score = 0;

    for (uint32_t number = tuples_find(&listeners->chains, &end); number != TUPLES_NONE;) {
        const struct node *node = node_at(listeners, number);
        unsigned node_score = score(node, takes, device);
        if (node_score > best_score) {
            best = node->endpoint;
            best_score = node_score;
            if ((node->traits & IS_SHARED) != 0)
                break;
        }
        number = node->next;
    }
    return best;
}

static uint32_t find(const struct listening *listeners, const struct in6_addr *local, in_port_t port,
                     uint32_t takes, uint32_t device)
{
    uint32_t endpoint = chain_find(listeners, local, port, takes, device);

    return endpoint != FP_NOBODY ? endpoint : chain_find(listeners, &in6addr_any, port, takes, device);
}

uint32_t listening_find4(const struct listening *listeners, const struct in_addr *local, in_port_t port,
                         uint32_t device)
{
    struct in6_addr mapped = {.s6_addr32 = {0, 0, htonl(0xffff), local->s_addr}};

    return listeners->count == 0 ? FP_NOBODY : find(listeners, &mapped, port, TAKES_V4, device);
}

uint32_t listening_find6(const struct listening *listeners, const struct in6_addr *local, in_port_t port,
                         uint32_t device)
{
    return listeners->count == 0 ? FP_NOBODY : find(listeners, local, port, TAKES_V6, device);
}
