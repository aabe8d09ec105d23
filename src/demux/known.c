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
    struct tuples locals; /* addresses, IPv4 mapped */
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
        if (is_connected(socket))
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
    enum fp_status status = known->connected != NULL ? fill(known, err) : FP_SYSTEM;
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
    tuples_done(&known->locals);
    free(known);
}

const struct pairs_table *known_table(const struct known *known)
{
    return known->table;
}

const struct pairs_row *known_connected(const struct known *known, const struct pair *pair)
{
    struct fp_pair4 four;
    struct fp_pair6 six;
    uint32_t index;

    if (pair->local.family == AF_INET) {
        four = key_pair4(pair);
        index = fp_demux_find4(known->connected, &four, 0);
    } else {
        six = key_pair6(pair);
        index = fp_demux_find6(known->connected, &six, 0);
    }
    return index != FP_NOBODY ? &known->table->rows[index] : NULL;
}

/* An address that needs a scope has a device by that, which a saved table leaves out. */
static bool is_bound(const struct address *local)
{
    return local->device[0] != '\0' || address_needs_scope(local);
}

/* Where the rows that listen at this end begin, or would. */
static size_t find_listening(const struct pairs_table *table, const struct address *end)
{
    const struct pairs_row least = {.socket = {.state = DIAG_LISTEN, .pair.local = *end}};
    size_t low = 0;
    size_t high = table->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (pairs_compare(&table->rows[middle], &least) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool listens_at(const struct diag_socket *socket, const struct address *end)
{
    const struct address *local = &socket->pair.local;

    return socket->state == DIAG_LISTEN && local->port == end->port && local->family == end->family &&
           memcmp(local->bytes, end->bytes, sizeof(local->bytes)) == 0;
}

/* The best row so far; NULL: none. */
struct choice {
    const struct pairs_row *row;
    enum known_choice sure;
};

/*
 * IPv4 goes first, whose sockets stand before those of IPv6 (a group is a chain, and IPv6 goes to its tail); what is left is
 * for the device and the order of listen(2), neither of which is known. Of equals those without a device go first.
 */
static void weigh(struct choice *choice, const struct pairs_row *row)
{
    const struct diag_socket *best = choice->row != NULL ? &choice->row->socket : NULL;
    bool bound = is_bound(&row->socket.pair.local);
    int order = best == NULL ? 1 : (row->socket.family == AF_INET) - (best->family == AF_INET);

    if (order < 0)
        return;
    if (order > 0)
        choice->sure = bound ? KNOWN_DEPENDS : KNOWN_EXACT;
    else
        choice->sure = choice->sure == KNOWN_DEPENDS || bound ? KNOWN_DEPENDS : KNOWN_GROUP;
    if (order > 0 || (is_bound(&best->pair.local) && !bound))
        choice->row = row;
}

/* A table may have thousands at one port: only those of this end are looked at, which stand together. */
static void weigh_end(const struct pairs_table *table, const struct address *end, struct choice *choice)
{
    for (size_t i = find_listening(table, end); i < table->count && listens_at(&table->rows[i].socket, end);
         i++)
        weigh(choice, &table->rows[i]);
}

/* The address goes first, then the wildcards. */
const struct pairs_row *known_listening(const struct known *known, const struct pair *pair,
                                        enum known_choice *ret_choice)
{
    struct address end = {.family = pair->local.family, .port = pair->local.port};
    struct address wildcard = end;
    struct address any = {.port = end.port};
    struct choice choice = {0};

    memcpy(end.bytes, pair->local.bytes, sizeof(end.bytes));
    if (!address_is_wildcard(&end))
        weigh_end(known->table, &end, &choice);
    if (choice.row == NULL) {
        weigh_end(known->table, &any, &choice);
        weigh_end(known->table, &wildcard, &choice);
    }
    if (choice.row != NULL)
        *ret_choice = choice.sure;
    return choice.row;
}

bool known_is_local(const struct known *known, const struct address *address)
{
    struct in6_addr key = key_address(address);

    return tuples_find(&known->locals, &key) != TUPLES_NONE;
}
