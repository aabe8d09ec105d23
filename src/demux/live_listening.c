/* SPDX-License-Identifier: MIT */
#include "demux/live_listening.h"

#include "demux/key.h"

#include <errno.h>
#include <stdlib.h>

/* No dump says who has SO_REUSEPORT, but of sockets in each other's way all have it (doc/demultiplexing.md). */
static enum fp_status add(struct live_listening *listening, uint32_t row, struct fp_error *err)
{
    const struct diag_socket *socket = &listening->table.rows[row].socket;
    struct fp_listening end = {
        .family = socket->family,
        .port = htons(socket->pair.local.port),
        .flags = FP_LISTEN_REUSEPORT | (socket->v6only ? FP_LISTEN_V6ONLY : 0),
        .device = socket->interface,
    };

    if (!address_is_wildcard(&socket->pair.local))
        end.address = key_address(&socket->pair.local);
    return fp_demux_listen(listening->demux, &end, row, err);
}

static int compare(const void *left, const void *right, void *data)
{
    const struct pairs_row *rows = data;
    uint32_t a = rows[*(const uint32_t *)left].order;
    uint32_t b = rows[*(const uint32_t *)right].order;

    return a < b ? -1 : a > b;
}

static size_t find_order(struct pairs_table *table, uint32_t *numbers)
{
    size_t count = 0;

    for (size_t i = 0; i < table->count; i++) {
        if (table->rows[i].socket.state == DIAG_LISTEN)
            numbers[count++] = (uint32_t)i;
    }
    qsort_r(numbers, count, sizeof(*numbers), compare, table->rows);
    return count;
}

/* Into the order of the kernel's chains, in which it lists them: what is added goes to the head, of IPv6 to the tail. */
static enum fp_status add_all(struct live_listening *listening, struct fp_error *err)
{
    const struct pairs_row *rows = listening->table.rows;
    uint32_t *numbers = calloc(listening->table.count + 1, sizeof(*numbers));
    enum fp_status status = FP_OK;

    if (numbers == NULL)
        return error_set(err, FP_SYSTEM, ENOMEM, "remember", "who listens");
    size_t count = find_order(&listening->table, numbers);
    for (size_t i = 0; i < count && status == FP_OK; i++) {
        if (rows[numbers[i]].socket.family == AF_INET6)
            status = add(listening, numbers[i], err);
    }
    for (size_t i = count; i-- > 0 && status == FP_OK;) {
        if (rows[numbers[i]].socket.family == AF_INET)
            status = add(listening, numbers[i], err);
    }
    free(numbers);
    return status;
}

enum fp_status live_listening_set(struct live_listening *listening, const struct live_holders *before,
                                  struct pairs_table *take_table, struct fp_error *err)
{
    listening->table = *take_table;
    *take_table = (struct pairs_table){.count = 0};
    listening->demux = fp_demux_new(err);
    if (listening->demux == NULL)
        return FP_SYSTEM;
    if (!live_holders_look(before, &listening->table, listening->from_ns, &listening->holders))
        return error_set(err, FP_SYSTEM, ENOMEM, "remember", "who holds sockets");
    return add_all(listening, err);
}

void live_listening_done(struct live_listening *listening)
{
    fp_demux_free(listening->demux);
    listening->demux = NULL;
    pairs_done(&listening->table);
    live_holders_done(&listening->holders);
}

static uint32_t find(const struct live_listening *listening, const struct pair *pair, uint32_t interface)
{
    if (pair->local.family == AF_INET) {
        struct fp_pair4 key = key_pair4(pair);
        return fp_demux_find4(listening->demux, &key, interface);
    }
    struct fp_pair6 key = key_pair6(pair);
    return fp_demux_find6(listening->demux, &key, interface);
}

static bool is_shared(const struct diag_socket *a, const struct diag_socket *b)
{
    return b->state == DIAG_LISTEN && a->family == b->family && a->interface == b->interface &&
           address_equal(&a->pair.local, &b->pair.local);
}

bool live_listening_find(const struct live_listening *listening, const struct pair *pair, uint32_t interface,
                         struct live_listener *ret_listener)
{
    const struct pairs_table *table = &listening->table;
    uint32_t row = listening->demux != NULL ? find(listening, pair, interface) : FP_NOBODY;
    struct live_listener listener = {.sockets = 0};
    size_t count = 0;

    if (row == FP_NOBODY)
        return false;
    const struct diag_socket *socket = &table->rows[row].socket;
    listener.pair = socket->pair;
    /* In the order of the table those of one address stand together, in whatever order they were found. */
    while (row > 0 && is_shared(socket, &table->rows[row - 1].socket))
        row--;
    listener.cookie = table->rows[row].socket.cookie;
    for (; row < table->count && is_shared(socket, &table->rows[row].socket); row++) {
        count = live_holders_add(&listening->holders, table, &table->rows[row], listener.processes, count);
        listener.not_permitted |= table->rows[row].owner == OWNER_NOT_PERMITTED;
        listener.sockets++;
    }
    listener.process_count = count < LIVE_PROCESSES ? count : LIVE_PROCESSES;
    listener.more = (uint32_t)(count - listener.process_count);
    *ret_listener = listener;
    return true;
}

bool live_listening_has(const struct live_listening *listening, const struct live_listener *listener,
                        uint64_t cookie)
{
    const struct pairs_table *table = &listening->table;

    for (size_t i = 0; i < table->count; i++) {
        const struct diag_socket *socket = &table->rows[i].socket;
        if (socket->cookie == cookie)
            return socket->state == DIAG_LISTEN && address_equal(&socket->pair.local, &listener->pair.local);
    }
    return false;
}
