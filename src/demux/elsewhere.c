/* SPDX-License-Identifier: MIT */
#include "demux/elsewhere.h"

#include "demux/model.h"
#include "pairs/gather.h"
#include "sys/netns.h"
#include "sys/route.h"

#include <errno.h>
#include <string.h>

/* Whoever leaves must be let in again: that is tried while the thread is still at home. */
static bool may_come_home(void)
{
    int home = netns_enter("/proc/thread-self/ns/net");

    return home >= 0 && netns_leave(home) == 0;
}

/* By the interface that leads to its sender; what is sent by a host to itself by the one that owns the address. */
static bool comes_in(const struct segment *segment, uint32_t *ret_interface)
{
    const struct address *local = &segment->pair.local;
    const struct address *foreign = &segment->pair.foreign;
    struct route route;
    struct route back;

    if (route_find(local->family, local->bytes, 0, &route) < 0 || !route.local)
        return false;
    if (route_find(foreign->family, foreign->bytes, 0, &back) == 0 && !back.local && back.interface != 0)
        route.interface = back.interface;
    *ret_interface = route.interface;
    return true;
}

/* The socket that would receive it in the namespace that the thread is in. */
static enum fp_status look_around(const struct segment *segment, struct elsewhere_place *place,
                                  bool *ret_found, struct fp_error *err)
{
    const struct model_steering nothing = {.count = 0};
    struct segment there = *segment;
    struct pairs_table table = {.count = 0};
    struct model model;

    *ret_found = false;
    if (!comes_in(segment, &there.interface))
        return FP_OK;
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

/* By its name, which stays when the process has gone; a name may be a number, which for a path is no pid. */
static int enter(const struct namespace *namespace)
{
    char path[sizeof(NETNS_NAMES) + sizeof(namespace->name)];
    struct text text;

    text_init(&text, path, sizeof(path));
    if (namespace->name[0] != '\0')
        text_printf(&text, NETNS_NAMES "/%s", namespace->name);
    else
        text_unsigned(&text, (uint64_t) namespace->pid);
    text_end(&text);
    return netns_enter(path);
}

/* A socket may be held from another namespace than its own, and where no process is in that it is. */
static void find_holder(struct elsewhere_place *place)
{
    if (place->socket.inode != 0 && descriptors_holders(place->socket.inode, &place->holder, 1) != 0)
        procfs_name(place->holder, place->process);
}

static enum fp_status look_into(const struct namespace *namespace, const struct segment *segment,
                                bool address_is_here, struct elsewhere *elsewhere, struct fp_error *err)
{
    struct elsewhere_place place = {.pid = namespace->pid};
    bool found;

    int home = enter(namespace);
    if (home < 0) {
        bool *hidden = namespace->pid != 0 ? &elsewhere->incomplete : &elsewhere->names_hidden;
        *hidden = *hidden || errno == EPERM || errno == EACCES;
        return FP_OK;
    }
    enum fp_status status = look_around(segment, &place, &found, err);
    if (netns_leave(home) < 0)
        return error_set(err, FP_SYSTEM, errno, "go back to", "the network namespace");
    /* Every namespace has a loopback address: that alone is nothing to tell. */
    if (status != FP_OK || !found || (address_is_here && !place.listening))
        return status;
    memcpy(place.name, namespace->name, sizeof(place.name));
    if (place.pid != 0)
        procfs_name(place.pid, place.process);
    else if (place.listening)
        find_holder(&place);
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
    struct namespaces namespaces;

    if (namespaces_list(&namespaces) < 0)
        return error_set(err, FP_SYSTEM, errno, "list", "the network namespaces in /proc");
    elsewhere.incomplete = namespaces.incomplete;
    elsewhere.names_hidden = namespaces.names_hidden;
    elsewhere.permitted = may_come_home();
    for (size_t i = 0; i < namespaces.count && elsewhere.permitted && status == FP_OK; i++)
        status = look_into(&namespaces.items[i], segment, address_is_here, &elsewhere, err);
    namespaces_done(&namespaces);
    if (status == FP_OK)
        *ret_elsewhere = elsewhere;
    return status;
}
