/* SPDX-License-Identifier: MIT */
#include "demux/elsewhere.h"

#include "demux/model.h"
#include "pairs/gather.h"
#include "sys/namespaces.h"
#include "sys/netns.h"
#include "sys/route.h"

#include <errno.h>
#include <stdlib.h>

/* Whoever leaves must be let in again: that is tried while the thread is still at home. */
static bool may_come_home(void)
{
    int home = netns_enter("/proc/thread-self/ns/net");

    return home >= 0 && netns_leave(home) == 0;
}

/* The socket that would receive it in the namespace that the thread is in. */
static enum fp_status look_around(const struct segment *segment, struct elsewhere_place *place,
                                  bool *ret_found, struct fp_error *err)
{
    const struct address *local = &segment->pair.local;
    const struct model_steering nothing = {.count = 0};
    struct segment there = *segment;
    struct pairs_table table = {.count = 0};
    struct model model;
    struct route route;

    *ret_found = false;
    if (route_find(local->family, local->bytes, 0, &route) < 0 || !route.local)
        return FP_OK;
    there.interface = route.interface;
    enum fp_status status =
        gather_endpoints(&table, segment->pair.local.port, segment->pair.foreign.port, err);
    if (status == FP_OK && !model_find(&table, &there, &nothing, &model))
        status = error_set(err, FP_SYSTEM, ENOMEM, "look into", "another network namespace");
    if (status == FP_OK) {
        *ret_found = true;
        place->listening = model.count != 0;
        if (place->listening)
            place->socket = table.rows[model.items[0].row].socket;
        model_done(&model);
    }
    pairs_done(&table);
    return status;
}

static enum fp_status look_into(const struct namespace *namespace, const struct segment *segment,
                                bool address_is_here, struct elsewhere *elsewhere, struct fp_error *err)
{
    struct elsewhere_place place = {.pid = namespace->pid};
    char name[24];
    struct text text;
    bool found;

    text_init(&text, name, sizeof(name));
    text_unsigned(&text, (uint64_t) namespace->pid);
    text_end(&text);
    int home = netns_enter(name);
    if (home < 0) {
        elsewhere->incomplete = elsewhere->incomplete || errno == EPERM || errno == EACCES;
        return FP_OK;
    }
    enum fp_status status = look_around(segment, &place, &found, err);
    if (netns_leave(home) < 0)
        return error_set(err, FP_SYSTEM, errno, "go back to", "the network namespace");
    /* Every namespace has a loopback address: that alone is nothing to tell. */
    if (status != FP_OK || !found || (address_is_here && !place.listening))
        return status;
    procfs_name(place.pid, place.name);
    if (elsewhere->count < ELSEWHERE_MAX)
        elsewhere->places[elsewhere->count] = place;
    elsewhere->count++;
    return FP_OK;
}

enum fp_status elsewhere_find(const struct segment *segment, bool address_is_here,
                              struct elsewhere *ret_elsewhere, struct fp_error *err)
{
    struct elsewhere elsewhere = {.looked = true};
    enum fp_status status = FP_OK;
    struct namespace *items;
    size_t count;

    if (namespaces_list(&items, &count, &elsewhere.incomplete) < 0)
        return error_set(err, error_class(errno), errno, "list", "the network namespaces");
    elsewhere.permitted = may_come_home();
    for (size_t i = 0; i < count && elsewhere.permitted && status == FP_OK; i++)
        status = look_into(&items[i], segment, address_is_here, &elsewhere, err);
    free(items);
    if (status == FP_OK)
        *ret_elsewhere = elsewhere;
    return status;
}
