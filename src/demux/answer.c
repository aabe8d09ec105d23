/* SPDX-License-Identifier: MIT */
#include "demux/answer.h"

#include "demux/ask.h"
#include "demux/judge.h"
#include "pairs/gather.h"
#include "pairs/owner.h"
#include "pairs/service.h"
#include "sys/route.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A socket that came or went between gathering and asking is not there, or gone, the second time. */
#define ATTEMPTS 2

/* Of a row that the kernel answered with and had not listed: not a part of what the model goes by. */
#define ORDER_NONE UINT32_MAX

static enum fp_status find_route(const struct address *address, struct route *ret_route, struct fp_error *err)
{
    if (route_find(address->family, address->bytes, address->scope, ret_route) == 0)
        return FP_OK;
    return error_set(err, error_class(errno), errno, "read", "the routing table");
}

static uint32_t any_interface(const struct route_interface *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (items[i].up && !items[i].loopback)
            return items[i].number;
    }
    return 0;
}

/* By another interface than the one by which the host's own segments to this address come in. */
static bool is_given_outside(const struct answer *answer, const struct route *local,
                             const struct route_interface *interfaces, size_t count)
{
    if (!answer->interface_given || answer->segment.interface == local->interface)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (interfaces[i].number == answer->segment.interface)
            return !interfaces[i].loopback;
    }
    return false;
}

static bool is_for_many(const struct address *address)
{
    return address_is_broadcast(address) || address_is_multicast(address);
}

/* IPv4 drops what comes from outside with a sender's address that is its own; IPv6 only the loopback address. */
static enum answer_way way_of(const struct pair *pair, const struct route *local, const struct route *foreign,
                              bool is_outside)
{
    if (local->broadcast || is_for_many(&pair->local))
        return WAY_MANY;
    if (!local->local)
        return WAY_FOREIGN;
    /* The kernel lets nobody send from these. */
    if (is_for_many(&pair->foreign))
        return WAY_NO_SOURCE;
    if ((!foreign->local || is_outside) && address_is_loopback(&pair->local))
        return WAY_MARTIAN;
    /* Of the loopback addresses one is a broadcast address, from which the host itself does not send either. */
    if (!foreign->local && !address_is_loopback(&pair->foreign))
        return WAY_REMOTE;
    if (foreign->local && !is_outside)
        return WAY_HERE;
    return pair->foreign.family == AF_INET || address_is_loopback(&pair->foreign) ? WAY_OWN_SOURCE
                                                                                  : WAY_REMOTE;
}

/* By which interface it comes in, as TCP sees it: from this host itself, by the one that owns the address. */
static void find_interface(struct answer *answer, const struct route *local, const struct route *foreign,
                           const struct route_interface *interfaces, size_t count)
{
    const struct pair *pair = &answer->segment.pair;

    if (answer->interface_given) {
        uint32_t given = answer->segment.interface;
        /* Through lo passes what the host sends to itself, and does not come in by it. */
        answer->segment.interface = answer->way == WAY_HERE ? local->interface : route_way_in(given);
        if (answer->way != WAY_HERE && answer->segment.interface != given)
            answer->port = given;
        return;
    }
    uint32_t scope = pair->local.scope != 0 ? pair->local.scope : pair->foreign.scope;
    answer->segment.interface = answer->way == WAY_HERE ? local->interface : foreign->interface;
    if (scope != 0)
        answer->segment.interface = scope;
    if (answer->segment.interface == 0)
        answer->segment.interface = route_way_in(any_interface(interfaces, count));
}

static bool is_down(uint32_t number, const struct route_interface *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (items[i].number == number)
            return !items[i].up;
    }
    return false;
}

static enum fp_status find_way(struct answer *answer, const struct route_interface *interfaces, size_t count,
                               struct fp_error *err)
{
    const struct pair *pair = &answer->segment.pair;
    struct route local;
    struct route foreign;

    enum fp_status status = find_route(&pair->local, &local, err);
    if (status == FP_OK)
        status = find_route(&pair->foreign, &foreign, err);
    if (status != FP_OK)
        return status;
    answer->way = way_of(pair, &local, &foreign, is_given_outside(answer, &local, interfaces, count));
    find_interface(answer, &local, &foreign, interfaces, count);
    answer->through = local.through;
    uint32_t passed = answer->way == WAY_HERE ? local.through : answer->segment.interface;
    if (answer->port != 0 && is_down(answer->port, interfaces, count))
        passed = answer->port;
    if (judge_comes(answer) && is_down(passed, interfaces, count)) {
        answer->way = WAY_DOWN;
        answer->segment.interface = passed;
    }
    return FP_OK;
}

/*
 * An answer is sent from LOCAL, and by the device that the receiver is bound to. The host itself sees of it only what does
 * not leave it: of lo, or the VRF of LOCAL.
 */
static enum fp_status find_way_back(struct answer *answer, struct fp_error *err)
{
    const struct pair *pair = &answer->segment.pair;
    uint32_t interface = pair->foreign.scope;
    struct route back;

    if (answer->kernel != ANSWER_NONE && answer->table.rows[answer->kernel].socket.interface != 0)
        interface = answer->table.rows[answer->kernel].socket.interface;
    if (route_find_from(pair->foreign.family, pair->foreign.bytes, pair->local.bytes, interface, &back) < 0)
        return error_set(err, error_class(errno), errno, "read", "the routing table");
    answer->unanswered =
        !back.reachable || (answer->way == WAY_HERE && !back.local && back.through != answer->through);
    return FP_OK;
}

static uint32_t find_cookie(const struct pairs_table *table, uint64_t cookie)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->rows[i].socket.cookie == cookie)
            return (uint32_t)i;
    }
    return ANSWER_NONE;
}

/* The kernel's answer, as a row of the table: a socket at another port where a program redirects the segment. */
static enum fp_status ask_row(struct answer *answer, const struct ask *ask, const struct segment *segment,
                              uint32_t *ret_row, struct fp_error *err)
{
    struct diag_socket socket;
    bool found;

    enum fp_status status = ask_segment(ask, segment, &socket, &found, err);
    if (status != FP_OK)
        return status;
    uint32_t row = found ? find_cookie(&answer->table, socket.cookie) : ANSWER_NONE;
    if (found && row == ANSWER_NONE) {
        if (!pairs_append(&answer->table, &socket))
            return error_set(err, FP_SYSTEM, ENOMEM, "keep", "the kernel's answer");
        row = (uint32_t)answer->table.count - 1;
        answer->table.rows[row].order = ORDER_NONE;
    }
    *ret_row = row;
    return FP_OK;
}

static bool add_steering(void *data, const struct steering *steering)
{
    struct answer *answer = data;
    struct model_steering *list = &answer->steering;

    if (find_cookie(&answer->table, steering->cookie) == ANSWER_NONE)
        return true;
    struct steering *items = reallocarray((void *)list->items, list->count + 1, sizeof(*items));
    if (items == NULL)
        return false;
    items[list->count++] = *steering;
    list->items = items;
    return true;
}

static bool agrees(const struct answer *answer)
{
    if (answer->kernel == ANSWER_NONE)
        return answer->model.count == 0;
    for (size_t i = 0; i < answer->model.best; i++) {
        if (answer->model.items[i].row == answer->kernel)
            return true;
    }
    return false;
}

static bool is_for_listening(const struct model *model)
{
    return model->count > 0 && model->items[0].stage != MODEL_CONNECTED;
}

/* One that the CPU can decide: several of those that listen are in each other's way. */
static bool is_contended(const struct model *model)
{
    return is_for_listening(model) && model->count > 1 && model->items[1].stage == model->items[0].stage;
}

static void forget(struct answer *answer)
{
    pairs_done(&answer->table);
    model_done(&answer->model);
    free((void *)answer->steering.items);
    answer->steering = (struct model_steering){.count = 0};
}

static bool rank(struct answer *answer)
{
    model_done(&answer->model);
    return model_find(&answer->table, &answer->segment, &answer->steering, &answer->model);
}

/*
 * By the rules. What steers takes some milliseconds to find out, also where one alone listens, since its program may
 * refuse a segment; what may not be seen of it, or what this kernel does not tell, is left unknown.
 */
static enum fp_status apply_rules(struct answer *answer, struct fp_error *err)
{
    bool done = rank(answer);

    if (done && is_for_listening(&answer->model)) {
        answer->steering.known = steering_read(add_steering, answer) == 0;
        done = rank(answer);
    }
    answer->programs = steering_programs();
    return done ? FP_OK : error_set(err, FP_SYSTEM, ENOMEM, "rank", "the sockets");
}

static enum fp_status decide(struct answer *answer, const struct ask *ask, struct fp_error *err)
{
    const struct segment *segment = &answer->segment;

    forget(answer);
    enum fp_status status =
        gather_endpoints(&answer->table, segment->pair.local.port, segment->pair.foreign.port, err);
    if (status != FP_OK)
        return status;
    status = apply_rules(answer, err);
    if (status != FP_OK)
        return status;
    status = ask_row(answer, ask, segment, &answer->kernel, err);
    answer->agree = status == FP_OK && agrees(answer);
    answer->cpus_all = true;
    answer->cpus_vary = false;
    if (status == FP_OK && is_contended(&answer->model))
        status = ask_cpus(ask, segment, &answer->cpus_vary, &answer->cpus_all, err);
    return status;
}

/* Is it one that may be bound to its interface because of this segment? */
static bool is_concerned(const struct diag_socket *socket, const struct segment *segment)
{
    if (socket->interface == 0 || socket->state == DIAG_BOUND)
        return false;
    return model_takes_family(socket, segment) && model_takes_address(socket, segment);
}

static bool may_come_by(const struct answer *answer, const struct route_interface *interface)
{
    const struct pair *pair = &answer->segment.pair;

    /* An address with a scope is that of one interface. */
    if (pair->local.scope != 0 || pair->foreign.scope != 0)
        return false;
    return interface->up && !interface->loopback && interface->number != answer->segment.interface &&
           route_way_in(interface->number) == interface->number;
}

static bool has_bound(const struct answer *answer, uint32_t interface)
{
    for (size_t i = 0; i < answer->table.count; i++) {
        const struct diag_socket *socket = &answer->table.rows[i].socket;
        if (socket->interface == interface && is_concerned(socket, &answer->segment))
            return true;
    }
    return false;
}

static enum fp_status ask_interface(struct answer *answer, const struct ask *ask,
                                    const struct route_interface *interface, bool others,
                                    struct fp_error *err)
{
    struct answer_interface *next = &answer->interfaces[answer->interface_count];
    struct segment segment = answer->segment;

    segment.interface = interface->number;
    enum fp_status status = ask_row(answer, ask, &segment, &next->row, err);
    if (status != FP_OK || next->row == answer->kernel)
        return status;
    next->number = interface->number;
    next->others = others;
    memcpy(next->name, interface->name, sizeof(next->name));
    answer->interface_count++;
    return FP_OK;
}

/* Each that a socket is bound to; of the others, which are all the same, one. */
static enum fp_status ask_interfaces(struct answer *answer, const struct ask *ask,
                                     const struct route_interface *interfaces, size_t count,
                                     struct fp_error *err)
{
    const struct route_interface *other = NULL;
    enum fp_status status = FP_OK;
    bool others = false;

    answer->interfaces = calloc(count + 1, sizeof(*answer->interfaces));
    if (answer->interfaces == NULL)
        return error_set(err, FP_SYSTEM, ENOMEM, "ask for", "each interface");
    for (size_t i = 0; i < count && status == FP_OK; i++) {
        if (!may_come_by(answer, &interfaces[i]))
            continue;
        if (has_bound(answer, interfaces[i].number)) {
            status = ask_interface(answer, ask, &interfaces[i], false, err);
        } else {
            others = other != NULL;
            other = &interfaces[i];
        }
    }
    if (status == FP_OK && other != NULL)
        status = ask_interface(answer, ask, other, others, err);
    return status;
}

static enum fp_status make(struct answer *answer, const struct ask *ask,
                           const struct route_interface *interfaces, size_t count, struct fp_error *err)
{
    enum fp_status status = find_way(answer, interfaces, count, err);

    for (unsigned i = 0; i < ATTEMPTS && status == FP_OK && !answer->agree; i++)
        status = decide(answer, ask, err);
    if (status == FP_OK && answer->way == WAY_REMOTE && !answer->interface_given)
        status = ask_interfaces(answer, ask, interfaces, count, err);
    if (status == FP_OK && judge_comes(answer))
        status = find_way_back(answer, err);
    if (status == FP_OK)
        judge(answer);
    return status;
}

enum fp_status answer_make(const struct segment *segment, bool given, struct answer *ret_answer,
                           struct fp_error *err)
{
    struct answer answer = {.segment = *segment, .interface_given = given};
    struct route_interface *interfaces;
    struct ask ask;
    size_t count;

    if (route_interfaces(&interfaces, &count) < 0)
        return error_set(err, error_class(errno), errno, "list", "the interfaces");
    enum fp_status status = ask_open(&ask, err);
    if (status == FP_OK) {
        status = make(&answer, &ask, interfaces, count, err);
        ask_close(&ask);
    }
    free(interfaces);
    if (status != FP_OK) {
        answer_done(&answer);
        return status;
    }
    *ret_answer = answer;
    return FP_OK;
}

static void mark(struct answer *answer)
{
    struct pairs_row *rows = answer->table.rows;
    const struct model_candidate *listening = judge_listening(answer);

    for (size_t i = 0; i < answer->table.count; i++)
        rows[i].shown = answer->kind == ANSWER_NOBODY;
    for (size_t i = 0; i < answer->model.best; i++)
        rows[answer->model.items[i].row].shown = true;
    for (size_t i = 0; i < answer->interface_count; i++) {
        if (answer->interfaces[i].row != ANSWER_NONE)
            rows[answer->interfaces[i].row].shown = true;
    }
    if (listening != NULL)
        rows[listening->row].shown = true;
    if (answer->kernel != ANSWER_NONE)
        rows[answer->kernel].shown = true;
}

enum fp_status answer_owners(struct answer *answer, struct fp_error *err)
{
    mark(answer);
    enum fp_status status = owner_find(&answer->table, 0, err);
    if (status == FP_OK && !service_find(&answer->table))
        status = error_set(err, FP_SYSTEM, ENOMEM, "read", "the services of processes");
    if (status == FP_OK && answer->kind == ANSWER_NOBODY &&
        (judge_comes(answer) || answer->way == WAY_FOREIGN))
        status = elsewhere_find(&answer->segment, answer->way != WAY_FOREIGN, &answer->elsewhere, err);
    return status;
}

void answer_done(struct answer *answer)
{
    forget(answer);
    free(answer->interfaces);
    answer->interfaces = NULL;
    answer->interface_count = 0;
}
