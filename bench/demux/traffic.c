/* SPDX-License-Identifier: MIT */
#include "traffic.h"

#include <err.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define THINK_S    10.0
#define RESPONSE_S 0.2
#define TRAINS     16
#define TRAIN_MEAN 8.0

const char *const traffic_names[TRAFFIC_KINDS] = {"uniform", "TPC/A", "trains"};

static uint64_t next(uint64_t *chance)
{
    uint64_t word = *chance += 0x9e3779b97f4a7c15;

    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
    word = (word ^ word >> 27) * 0x94d049bb133111eb;
    return word ^ word >> 31;
}

static double next_unit(uint64_t *chance)
{
    return ((double)(next(chance) >> 11) + 0.5) * 0x1p-53;
}

static void *need(void *memory)
{
    if (memory == NULL)
        err(71, "cannot make the traffic");
    return memory;
}

struct fp_pair4 *traffic_pairs4(size_t count, uint64_t seed)
{
    struct fp_pair4 *pairs = need(calloc(count, sizeof(*pairs)));

    for (size_t i = 0; i < count; i++) {
        pairs[i].local.s_addr = htonl(0xc0000201);
        pairs[i].local_port = htons(21);
        pairs[i].foreign.s_addr = htonl(0x0a000000 + (uint32_t)(i / 16)); /* sixteen ports of a client */
        pairs[i].foreign_port = htons((uint16_t)(32768 + i % 16));
    }
    for (size_t i = count; i > 1; i--) {
        size_t other = next(&seed) % i;
        struct fp_pair4 pair = pairs[other];
        pairs[other] = pairs[i - 1];
        pairs[i - 1] = pair;
    }
    return pairs;
}

struct fp_pair6 *traffic_pairs6(size_t count, uint64_t seed)
{
    struct fp_pair6 *pairs = need(calloc(count, sizeof(*pairs)));
    struct fp_pair4 *from = traffic_pairs4(count, seed);

    for (size_t i = 0; i < count; i++) {
        pairs[i].local.s6_addr32[0] = pairs[i].foreign.s6_addr32[0] = htonl(0x20010db8);
        pairs[i].local.s6_addr32[3] = from[i].local.s_addr;
        pairs[i].foreign.s6_addr32[3] = from[i].foreign.s_addr;
        pairs[i].local_port = from[i].local_port;
        pairs[i].foreign_port = from[i].foreign_port;
    }
    free(from);
    return pairs;
}

struct event {
    double at_s;
    uint32_t user;
    uint32_t is_answer;
};

/* A heap with the earliest event in front, of which the first is exchanged for a later one. */
static void sift(struct event *heap, size_t count, size_t at, struct event event)
{
    for (size_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && heap[child + 1].at_s < heap[child].at_s)
            child++;
        if (event.at_s <= heap[child].at_s)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = event;
}

static void order_tpca(uint32_t *order, size_t count, size_t length, uint64_t *chance)
{
    struct event *heap = need(calloc(count, sizeof(*heap)));

    for (size_t i = 0; i < count; i++)
        heap[i] = (struct event){-log(next_unit(chance)) * THINK_S, (uint32_t)i, 0};
    for (size_t i = count / 2; i-- > 0;)
        sift(heap, count, i, heap[i]);
    for (size_t i = 0; i < length; i++) {
        struct event event = heap[0];
        order[i] = event.user;
        event.at_s += event.is_answer != 0 ? -log(next_unit(chance)) * THINK_S : RESPONSE_S;
        event.is_answer ^= 1;
        sift(heap, count, 0, event);
    }
    free(heap);
}

static uint32_t zipf(size_t count, uint64_t *chance)
{
    size_t rank = (size_t)pow((double)count, next_unit(chance));

    return (uint32_t)(rank < count ? rank : count - 1);
}

static void order_trains(uint32_t *order, size_t count, size_t length, uint64_t *chance)
{
    uint32_t trains[TRAINS];

    for (size_t i = 0; i < TRAINS; i++)
        trains[i] = zipf(count, chance);
    for (size_t i = 0; i < length; i++) {
        size_t train = next(chance) % TRAINS;
        order[i] = trains[train];
        if (next_unit(chance) < 1 / TRAIN_MEAN)
            trains[train] = zipf(count, chance);
    }
}

uint32_t *traffic_order(enum traffic kind, size_t count, size_t length, uint64_t seed)
{
    uint32_t *order = need(calloc(length, sizeof(*order)));

    if (kind == TRAFFIC_TPCA)
        order_tpca(order, count, length, &seed);
    else if (kind == TRAFFIC_TRAINS)
        order_trains(order, count, length, &seed);
    else
        for (size_t i = 0; i < length; i++)
            order[i] = (uint32_t)(next(&seed) % count);
    return order;
}
