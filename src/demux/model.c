/* SPDX-License-Identifier: MIT */
#include "demux/model.h"

#include <stdlib.h>
#include <string.h>

const struct steering *model_steering(const struct model_steering *steering, uint64_t cookie)
{
    for (size_t i = 0; i < steering->count; i++) {
        if (steering->items[i].cookie == cookie)
            return &steering->items[i];
    }
    return NULL;
}

bool model_is_elsewhere(const struct diag_socket *socket, const struct segment *segment)
{
    return socket->interface != 0 && socket->interface != segment->interface;
}

static bool same_address(const struct address *a, const struct address *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* An IPv6 socket that takes IPv4 too has the family AF_UNSPEC here, and one bound to a mapped address AF_INET. */
bool model_takes_family(const struct diag_socket *socket, const struct segment *segment)
{
    const struct address *bound = &socket->pair.local;

    return bound->family == AF_UNSPEC || bound->family == segment->pair.local.family;
}

bool model_takes_address(const struct diag_socket *socket, const struct segment *segment)
{
    return address_is_wildcard(&socket->pair.local) ||
           same_address(&socket->pair.local, &segment->pair.local);
}

bool model_has_pair(const struct diag_socket *socket, const struct segment *segment)
{
    const struct pair *pair = &socket->pair;

    return same_address(&pair->local, &segment->pair.local) &&
           same_address(&pair->foreign, &segment->pair.foreign) &&
           pair->foreign.port == segment->pair.foreign.port;
}

/* compute_score() of the kernel, but for the CPU. */
static uint8_t score_of(const struct diag_socket *socket, const struct segment *segment)
{
    bool is_ipv4 = segment->pair.local.family == AF_INET;

    return (uint8_t)((socket->interface != 0 ? 2 : 1) + (is_ipv4 && socket->family == AF_INET ? 1 : 0));
}

static bool match(const struct pairs_row *row, const struct segment *segment,
                  const struct model_steering *steering, struct model_candidate *ret_candidate)
{
    const struct diag_socket *socket = &row->socket;
    struct model_candidate candidate = {.shared = true};

    if (socket->state == DIAG_BOUND || socket->pair.local.port != segment->pair.local.port ||
        model_is_elsewhere(socket, segment))
        return false;
    if (socket->state != DIAG_LISTEN) {
        candidate.stage = MODEL_CONNECTED;
        *ret_candidate = candidate;
        return model_has_pair(socket, segment);
    }
    if (!model_takes_family(socket, segment) || !model_takes_address(socket, segment))
        return false;
    candidate.stage = address_is_wildcard(&socket->pair.local) ? MODEL_WILDCARD : MODEL_ADDRESS;
    candidate.score = score_of(socket, segment);
    const struct steering *known = model_steering(steering, socket->cookie);
    if (known != NULL) {
        candidate.shared = known->shared;
        candidate.group = known->group;
    }
    *ret_candidate = candidate;
    return true;
}

/* The kernel lists sockets in the order in which it looks at them. */
struct ordered {
    struct model_candidate candidate;
    uint32_t order;
};

static int compare(const void *left, const void *right)
{
    const struct ordered *a = left;
    const struct ordered *b = right;

    if (a->candidate.stage != b->candidate.stage)
        return a->candidate.stage < b->candidate.stage ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

static bool same_group(const struct pairs_table *table, const struct model_candidate *one,
                       const struct model_candidate *other)
{
    const struct diag_socket *a = &table->rows[one->row].socket;
    const struct diag_socket *b = &table->rows[other->row].socket;

    if (one->stage == MODEL_CONNECTED || one->stage != other->stage || !one->shared)
        return false;
    if (one->group != 0 && other->group != 0)
        return one->group == other->group;
    return other->shared && a->family == b->family && a->v6only == b->v6only &&
           a->interface == b->interface && same_address(&a->pair.local, &b->pair.local);
}

/* Who receives it of those from `begin` on, which are all of one stage. */
static size_t winner(const struct model_candidate *items, size_t begin, size_t end)
{
    size_t best = begin;
    unsigned best_score = 0;

    for (size_t i = begin; i < end; i++) {
        if (items[i].stage == MODEL_CONNECTED)
            return i;
        if (items[i].score <= best_score)
            continue;
        if (items[i].shared)
            return i;
        best = i;
        best_score = items[i].score;
    }
    return best;
}

static void move_up(struct model_candidate *items, size_t from, size_t to)
{
    struct model_candidate moved = items[from];

    memmove(items + to + 1, items + to, (from - to) * sizeof(*items));
    items[to] = moved;
}

/* Who would receive it, who would if that one were not there, and so on. */
static void rank_all(const struct pairs_table *table, struct model *model)
{
    struct model_candidate *items = model->items;
    uint32_t rank = 1;

    for (size_t begin = 0; begin < model->count; rank++) {
        size_t end = begin;
        while (end < model->count && items[end].stage == items[begin].stage)
            end++;
        size_t first = begin;
        move_up(items, winner(items, first, end), first);
        items[first].rank = rank;
        begin++;
        for (size_t i = begin; i < end; i++) {
            if (!same_group(table, &items[first], &items[i]))
                continue;
            move_up(items, i, begin);
            items[begin++].rank = rank;
        }
        if (rank == 1)
            model->best = begin;
    }
}

bool model_find(const struct pairs_table *table, const struct segment *segment,
                const struct model_steering *steering, struct model *ret_model)
{
    struct model model = {.count = 0};
    struct ordered *found = calloc(table->count + 1, sizeof(*found));

    model.items = calloc(table->count + 1, sizeof(*model.items));
    if (found == NULL || model.items == NULL) {
        free(found);
        model_done(&model);
        return false;
    }
    for (size_t i = 0; i < table->count; i++) {
        struct ordered *next = &found[model.count];
        if (!match(&table->rows[i], segment, steering, &next->candidate))
            continue;
        next->candidate.row = (uint32_t)i;
        next->order = table->rows[i].order;
        model.count++;
    }
    qsort(found, model.count, sizeof(*found), compare);
    for (size_t i = 0; i < model.count; i++)
        model.items[i] = found[i].candidate;
    free(found);
    rank_all(table, &model);
    *ret_model = model;
    return true;
}

void model_done(struct model *model)
{
    free(model->items);
    *model = (struct model){.count = 0};
}
