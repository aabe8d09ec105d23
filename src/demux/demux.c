/* SPDX-License-Identifier: MIT
 *
 * The functions of <forkport/demux.h>: four tables of connections (two families, unbound and bound to a device) and
 * one of listeners. Bound connections are a table of their own since the device then belongs to the pair, which would
 * make every key longer for the sake of the few that have one. One that is bound is found before one that is not.
 */
#include <forkport/demux.h>

#include "addr/pair.h"
#include "base/error.h"
#include "demux/listening.h"
#include "demux/tuples.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define BLOCK 64

struct bound4 {
    struct fp_pair4 pair;
    uint32_t device;
};

struct bound6 {
    struct fp_pair6 pair;
    uint32_t device;
};

struct fp_demux {
    struct tuples free4;
    struct tuples free6;
    struct tuples bound4;
    struct tuples bound6;
    struct listening listeners;
};

static_assert(sizeof(struct fp_pair4) == 12 && sizeof(struct fp_pair6) == 36, "keys without padding");
static_assert(sizeof(struct bound4) == 16 && sizeof(struct bound6) == 40, "keys without padding");
static_assert(FP_ENDPOINT_MAX == TUPLES_NUMBER_MAX && FP_NOBODY == TUPLES_NONE,
              "an endpoint is the table's number");

struct fp_demux *fp_demux_new(struct fp_error *err)
{
    struct fp_demux *demux = malloc(sizeof(*demux));
    struct hash_secret secret = hash_secret_make();

    if (demux == NULL) {
        error_set(err, FP_SYSTEM, ENOMEM, "make", "a demultiplexer");
        return NULL;
    }
    tuples_init(&demux->free4, sizeof(struct fp_pair4), &secret);
    tuples_init(&demux->free6, sizeof(struct fp_pair6), &secret);
    tuples_init(&demux->bound4, sizeof(struct bound4), &secret);
    tuples_init(&demux->bound6, sizeof(struct bound6), &secret);
    listening_init(&demux->listeners, &secret);
    return demux;
}

void fp_demux_free(struct fp_demux *demux)
{
    if (demux == NULL)
        return;
    tuples_done(&demux->free4);
    tuples_done(&demux->free6);
    tuples_done(&demux->bound4);
    tuples_done(&demux->bound6);
    listening_done(&demux->listeners);
    free(demux);
}

enum fp_status fp_demux_reserve(struct fp_demux *demux, size_t connections4, size_t connections6,
                                struct fp_error *err)
{
    if ((connections4 > 0 && !tuples_reserve(&demux->free4, connections4)) ||
        (connections6 > 0 && !tuples_reserve(&demux->free6, connections6)))
        return error_set(err, FP_SYSTEM, ENOMEM, "make room for", "%zu connections of IPv4 and %zu of IPv6",
                         connections4, connections6);
    return FP_OK;
}

static struct pair pair_of4(const struct fp_pair4 *key)
{
    struct pair pair = {.local = {.family = AF_INET, .port = ntohs(key->local_port)},
                        .foreign = {.family = AF_INET, .port = ntohs(key->foreign_port)}};

    memcpy(pair.local.bytes, &key->local, sizeof(key->local));
    memcpy(pair.foreign.bytes, &key->foreign, sizeof(key->foreign));
    return pair;
}

static struct pair pair_of6(const struct fp_pair6 *key)
{
    struct pair pair = {.local = {.family = AF_INET6, .port = ntohs(key->local_port)},
                        .foreign = {.family = AF_INET6, .port = ntohs(key->foreign_port)}};

    memcpy(pair.local.bytes, &key->local, sizeof(key->local));
    memcpy(pair.foreign.bytes, &key->foreign, sizeof(key->foreign));
    return pair;
}

static enum fp_status add_failed(enum tuples_added added, const struct pair *pair, struct fp_error *err)
{
    char notation[PAIR_TEXT_SIZE];
    struct text text;

    text_init(&text, notation, sizeof(notation));
    pair_format(pair, &text);
    text_end(&text);
    if (added == TUPLES_NO_MEMORY)
        return error_set(err, FP_SYSTEM, ENOMEM, "add", "%s", notation);
    return error_reason(err, error_set(err, FP_UNAVAILABLE, 0, "add", "%s", notation), "it is there already");
}

static enum fp_status endpoint_check(uint32_t endpoint, struct fp_error *err)
{
    if (endpoint <= FP_ENDPOINT_MAX)
        return FP_OK;
    return error_reason(err, error_set(err, FP_USAGE, 0, "add", "endpoint %u", endpoint), "more than %u",
                        FP_ENDPOINT_MAX);
}

enum fp_status fp_demux_add4(struct fp_demux *demux, const struct fp_pair4 *pair, uint32_t device,
                             uint32_t endpoint, struct fp_error *err)
{
    struct bound4 bound = {*pair, device};
    enum fp_status status = endpoint_check(endpoint, err);

    if (status != FP_OK)
        return status;
    enum tuples_added added = device == 0 ? tuples_add(&demux->free4, pair, endpoint)
                                          : tuples_add(&demux->bound4, &bound, endpoint);
    if (added == TUPLES_ADDED)
        return FP_OK;
    struct pair shown = pair_of4(pair);
    return add_failed(added, &shown, err);
}

enum fp_status fp_demux_add6(struct fp_demux *demux, const struct fp_pair6 *pair, uint32_t device,
                             uint32_t endpoint, struct fp_error *err)
{
    struct bound6 bound = {*pair, device};
    enum fp_status status = endpoint_check(endpoint, err);

    if (status != FP_OK)
        return status;
    enum tuples_added added = device == 0 ? tuples_add(&demux->free6, pair, endpoint)
                                          : tuples_add(&demux->bound6, &bound, endpoint);
    if (added == TUPLES_ADDED)
        return FP_OK;
    struct pair shown = pair_of6(pair);
    return add_failed(added, &shown, err);
}

uint32_t fp_demux_remove4(struct fp_demux *demux, const struct fp_pair4 *pair, uint32_t device)
{
    struct bound4 bound = {*pair, device};

    return device == 0 ? tuples_remove(&demux->free4, pair) : tuples_remove(&demux->bound4, &bound);
}

uint32_t fp_demux_remove6(struct fp_demux *demux, const struct fp_pair6 *pair, uint32_t device)
{
    struct bound6 bound = {*pair, device};

    return device == 0 ? tuples_remove(&demux->free6, pair) : tuples_remove(&demux->bound6, &bound);
}

static bool is_of_family(const struct fp_listening *listening)
{
    if (listening->family == AF_INET)
        return IN6_IS_ADDR_UNSPECIFIED(&listening->address) || IN6_IS_ADDR_V4MAPPED(&listening->address);
    return listening->family == AF_INET6;
}

enum fp_status fp_demux_listen(struct fp_demux *demux, const struct fp_listening *listening,
                               uint32_t endpoint, struct fp_error *err)
{
    enum fp_status status = endpoint_check(endpoint, err);

    if (status != FP_OK)
        return status;
    if (!is_of_family(listening))
        return error_reason(err,
                            error_set(err, FP_USAGE, 0, "add", "a listening endpoint of family %d",
                                      listening->family),
                            "the family is neither IPv4 nor IPv6, or its address is of the other");
    if (!listening_add(&demux->listeners, listening, endpoint))
        return error_set(err, FP_SYSTEM, ENOMEM, "add", "a listening endpoint");
    return FP_OK;
}

bool fp_demux_unlisten(struct fp_demux *demux, const struct fp_listening *listening, uint32_t endpoint)
{
    return listening_remove(&demux->listeners, listening, endpoint);
}

uint32_t fp_demux_find4(const struct fp_demux *demux, const struct fp_pair4 *pair, uint32_t device)
{
    struct bound4 bound = {*pair, device};
    uint32_t endpoint = device == 0 ? FP_NOBODY : tuples_find(&demux->bound4, &bound);

    if (endpoint == FP_NOBODY)
        endpoint = tuples_find(&demux->free4, pair);
    if (endpoint == FP_NOBODY)
        endpoint = listening_find4(&demux->listeners, &pair->local, pair->local_port, device);
    return endpoint;
}

uint32_t fp_demux_find6(const struct fp_demux *demux, const struct fp_pair6 *pair, uint32_t device)
{
    struct bound6 bound = {*pair, device};
    uint32_t endpoint = device == 0 ? FP_NOBODY : tuples_find(&demux->bound6, &bound);

    if (endpoint == FP_NOBODY)
        endpoint = tuples_find(&demux->free6, pair);
    if (endpoint == FP_NOBODY)
        endpoint = listening_find6(&demux->listeners, &pair->local, pair->local_port, device);
    return endpoint;
}

/* The endpoints bound to the device take the place of those that are not. */
static void overlay(const struct tuples *table, const void *keys, size_t count, uint32_t ret_endpoints[])
{
    uint32_t bound[BLOCK];

    tuples_find_many(table, keys, count, bound);
    for (size_t i = 0; i < count; i++)
        ret_endpoints[i] = bound[i] == FP_NOBODY ? ret_endpoints[i] : bound[i];
}

static void overlay4(const struct fp_demux *demux, const struct fp_pair4 pairs[], size_t count,
                     uint32_t device, uint32_t ret_endpoints[])
{
    struct bound4 keys[BLOCK];

    for (size_t done = 0; done < count; done += BLOCK) {
        size_t block = count - done < BLOCK ? count - done : BLOCK;
        for (size_t i = 0; i < block; i++)
            keys[i] = (struct bound4){pairs[done + i], device};
        overlay(&demux->bound4, keys, block, ret_endpoints + done);
    }
}

static void overlay6(const struct fp_demux *demux, const struct fp_pair6 pairs[], size_t count,
                     uint32_t device, uint32_t ret_endpoints[])
{
    struct bound6 keys[BLOCK];

    for (size_t done = 0; done < count; done += BLOCK) {
        size_t block = count - done < BLOCK ? count - done : BLOCK;
        for (size_t i = 0; i < block; i++)
            keys[i] = (struct bound6){pairs[done + i], device};
        overlay(&demux->bound6, keys, block, ret_endpoints + done);
    }
}

void fp_demux_find_many4(const struct fp_demux *demux, const struct fp_pair4 pairs[], size_t count,
                         uint32_t device, uint32_t ret_endpoints[])
{
    tuples_find_many(&demux->free4, pairs, count, ret_endpoints);
    if (device != 0 && demux->bound4.count > 0)
        overlay4(demux, pairs, count, device, ret_endpoints);
    for (size_t i = 0; i < count && demux->listeners.count > 0; i++) {
        if (__builtin_expect(ret_endpoints[i] == FP_NOBODY, 0))
            ret_endpoints[i] =
                listening_find4(&demux->listeners, &pairs[i].local, pairs[i].local_port, device);
    }
}

void fp_demux_find_many6(const struct fp_demux *demux, const struct fp_pair6 pairs[], size_t count,
                         uint32_t device, uint32_t ret_endpoints[])
{
    tuples_find_many(&demux->free6, pairs, count, ret_endpoints);
    if (device != 0 && demux->bound6.count > 0)
        overlay6(demux, pairs, count, device, ret_endpoints);
    for (size_t i = 0; i < count && demux->listeners.count > 0; i++) {
        if (__builtin_expect(ret_endpoints[i] == FP_NOBODY, 0))
            ret_endpoints[i] =
                listening_find6(&demux->listeners, &pairs[i].local, pairs[i].local_port, device);
    }
}

void fp_demux_usage(const struct fp_demux *demux, struct fp_demux_usage *ret_usage)
{
    const struct tuples *const tables[] = {&demux->free4, &demux->free6, &demux->bound4, &demux->bound6,
                                           &demux->listeners.chains};
    struct fp_demux_usage usage = {.listening = demux->listeners.count};

    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        usage.bytes += tuples_bytes(tables[i]);
        usage.connected += tables[i] == &demux->listeners.chains ? 0 : tables[i]->count;
    }
    usage.bytes += sizeof(*demux) + store_bytes(&demux->listeners.nodes);
    *ret_usage = usage;
}
