/* SPDX-License-Identifier: MIT */
#include "demux/known.h"

#include "demux/key.h"
#include "demux/tuples.h"

#include <forkport/demux.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct known {
    const struct pairs_table *table;
    struct fp_demux *connected;
    struct fp_demux *listening; /* apart, so that one can be asked without the other */
    struct tuples locals;       /* addresses, IPv4 mapped */
};

/* Two sockets of one pair, bound to different devices: the first has it. */
static enum fp_status add_connected(struct known *known, uint32_t index, struct fp_error *err)
{
    const struct pair *pair = &known->table->rows[index].socket.pair;
    struct fp_pair4 four;
    struct fp_pair6 six;
    struct fp_error failure;
    enum fp_status status;

    if (pair->local.family == AF_INET) {
        four = key_pair4(pair);
        status = fp_demux_add4(known->connected, &four, 0, index, &failure);
    } else {
        six = key_pair6(pair);
        status = fp_demux_add6(known->connected, &six, 0, index, &failure);
    }
    if (status == FP_SYSTEM && err != NULL)
        *err = failure;
    return status == FP_SYSTEM ? status : FP_OK;
}

static enum fp_status add_listening(struct known *known, uint32_t index, struct fp_error *err)
{
    const struct diag_socket *socket = &known->table->rows[index].socket;
    const struct address *local = &socket->pair.local;
    struct fp_listening listening = {.family = socket->family, .port = htons(local->port)};

    if (local->family == AF_INET || (local->family == AF_INET6 && !address_is_wildcard(local)))
        listening.address = key_address(local);
    if (local->family == AF_INET && address_is_wildcard(local) && socket->family == AF_INET)
        listening.address = in6addr_any;
    if (local->family == AF_INET6 && address_is_wildcard(local))
        listening.flags = FP_LISTEN_V6ONLY;
    return fp_demux_listen(known->listening, &listening, index, err);
}

static bool note_local(struct known *known, const struct address *local)
{
    struct in6_addr address = key_address(local);

    return address_is_wildcard(local) || tuples_add(&known->locals, &address, 0) != TUPLES_NO_MEMORY;
}

static bool is_connected(const struct diag_socket *socket)
{
    return socket->state != DIAG_LISTEN && socket->state != DIAG_BOUND && socket->state != DIAG_CLOSED;
}

static enum fp_status fill(struct known *known, struct fp_error *err)
{
    enum fp_status status = FP_OK;

    /* The last one added is found first, and the first of the table shall be. */
    for (size_t i = known->table->count; i-- > 0 && status == FP_OK;) {
        const struct diag_socket *socket = &known->table->rows[i].socket;
        if (socket->state == DIAG_LISTEN)
            status = add_listening(known, (uint32_t)i, err);
        else if (is_connected(socket))
            status = add_connected(known, (uint32_t)i, err);
        if (status == FP_OK && !note_local(known, &socket->pair.local))
            status = error_set(err, FP_SYSTEM, ENOMEM, "keep", "the sockets of the table");
    }
    return status;
}

enum fp_status known_new(const struct pairs_table *table, struct known **ret_known, struct fp_error *err)
{
    struct known *known = calloc(1, sizeof(*known));
    struct hash_secret secret = hash_secret_make();

    if (known == NULL)
        return error_set(err, FP_SYSTEM, ENOMEM, "keep", "the sockets of the table");
    known->table = table;
    tuples_init(&known->locals, sizeof(struct in6_addr), &secret);
    known->connected = fp_demux_new(err);
    known->listening = known->connected != NULL ? fp_demux_new(err) : NULL;
    enum fp_status status = known->listening != NULL ? fill(known, err) : FP_SYSTEM;
    if (status != FP_OK)
        known_free(known);
    else
        *ret_known = known;
    return status;
}

void known_free(struct known *known)
{
    if (known == NULL)
        return;
    fp_demux_free(known->connected);
    fp_demux_free(known->listening);
    tuples_done(&known->locals);
    free(known);
}

const struct pairs_table *known_table(const struct known *known)
{
    return known->table;
}

static const struct pairs_row *find(const struct known *known, const struct fp_demux *demux,
                                    const struct pair *pair)
{
    struct fp_pair4 four;
    struct fp_pair6 six;
    uint32_t index;

    if (pair->local.family == AF_INET) {
        four = key_pair4(pair);
        index = fp_demux_find4(demux, &four, 0);
    } else {
        six = key_pair6(pair);
        index = fp_demux_find6(demux, &six, 0);
    }
    return index != FP_NOBODY ? &known->table->rows[index] : NULL;
}

const struct pairs_row *known_connected(const struct known *known, const struct pair *pair)
{
    return find(known, known->connected, pair);
}

/* Rows of one local end stand one after another. */
static bool shares_end(const struct pairs_table *table, const struct pairs_row *row)
{
    size_t index = (size_t)(row - table->rows);

    for (int step = -1; step <= 1; step += 2) {
        size_t other = index + (size_t)step;
        if (other < table->count && table->rows[other].socket.state == DIAG_LISTEN &&
            address_equal(&table->rows[other].socket.pair.local, &row->socket.pair.local))
            return true;
    }
    return false;
}

const struct pairs_row *known_listening(const struct known *known, const struct pair *pair, bool *ret_group)
{
    const struct pairs_row *row = find(known, known->listening, pair);

    *ret_group = row != NULL && shares_end(known->table, row);
    return row;
}

bool known_is_local(const struct known *known, const struct address *address)
{
    struct in6_addr key = key_address(address);

    return tuples_find(&known->locals, &key) != TUPLES_NONE;
}
