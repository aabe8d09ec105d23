/* SPDX-License-Identifier: MIT */
#include "pairs/query.h"
#include "pairs/render.h"

#include <errno.h>
#include <forkport/pairs.h>
#include <stdlib.h>
#include <string.h>

struct fp_pairs {
    struct query query;
    char *namespace; /* owned */
    struct pairs_table table;
    uint32_t *shown; /* indices of rows */
    size_t count;
};

_Static_assert(sizeof(((struct fp_pair *)0)->pair) >= PAIR_TEXT_SIZE, "a pair fits");
_Static_assert((int)FP_OWNER_HELD == OWNER_HELD && (int)FP_OWNER_UNSEEN == OWNER_UNSEEN,
               "the owners are the same");

struct fp_pairs *fp_pairs_new(struct fp_error *err)
{
    struct fp_pairs *pairs = calloc(1, sizeof(*pairs));

    if (pairs == NULL)
        error_set(err, FP_SYSTEM, ENOMEM, "prepare", "a table of sockets");
    return pairs;
}

static void forget(struct fp_pairs *pairs)
{
    pairs_done(&pairs->table);
    free(pairs->shown);
    pairs->shown = NULL;
    pairs->count = 0;
}

void fp_pairs_free(struct fp_pairs *pairs)
{
    if (pairs == NULL)
        return;
    forget(pairs);
    free(pairs->namespace);
    free(pairs);
}

enum fp_status fp_pairs_filter(struct fp_pairs *pairs, const char *filter, struct fp_error *err)
{
    return filter_add(&pairs->query.filter, filter, err);
}

enum fp_status fp_pairs_namespace(struct fp_pairs *pairs, const char *name, struct fp_error *err)
{
    char *copy = name != NULL ? strdup(name) : NULL;

    if (name != NULL && copy == NULL)
        return error_set(err, FP_SYSTEM, ENOMEM, "use the network namespace", "%s", name);
    free(pairs->namespace);
    pairs->query.namespace = pairs->namespace = copy;
    return FP_OK;
}

void fp_pairs_count_bytes(struct fp_pairs *pairs, bool wanted)
{
    pairs->query.with_counts = wanted;
}

static enum fp_status list_shown(struct fp_pairs *pairs, struct fp_error *err)
{
    size_t total = pairs_shown(&pairs->table);

    pairs->shown = calloc(total + 1, sizeof(*pairs->shown));
    if (pairs->shown == NULL)
        return error_set(err, FP_SYSTEM, ENOMEM, "list", "the sockets");
    for (size_t i = 0; i < pairs->table.count; i++) {
        if (pairs->table.rows[i].shown)
            pairs->shown[pairs->count++] = (uint32_t)i;
    }
    return FP_OK;
}

enum fp_status fp_pairs_read(struct fp_pairs *pairs, struct fp_error *err)
{
    int home;

    forget(pairs);
    enum fp_status status = query_enter(&pairs->query, &home, err);
    if (status != FP_OK)
        return status;
    status = query_run(&pairs->query, &pairs->table, err);
    /* A thread that cannot go back must not go on unawares, whatever became of the reading. */
    enum fp_status left = query_leave(home, status == FP_OK ? err : NULL);
    if (status == FP_OK)
        status = left;
    if (status == FP_OK)
        status = list_shown(pairs, err);
    if (status != FP_OK)
        forget(pairs);
    return status;
}

static const struct pairs_row *row_of(const struct fp_pairs *pairs, size_t index)
{
    return index < pairs->count ? &pairs->table.rows[pairs->shown[index]] : NULL;
}

bool fp_pairs_get(const struct fp_pairs *pairs, size_t index, struct fp_pair *ret_pair)
{
    const struct pairs_row *row = row_of(pairs, index);
    struct text text;

    if (row == NULL)
        return false;
    const struct diag_socket *socket = &row->socket;
    *ret_pair = (struct fp_pair){
        .proto = pairs_protocol(socket),
        .state = diag_state_name(socket->state),
        .cookie = socket->cookie,
        .inode = socket->inode,
        .uid = socket->uid,
        .owner = (enum fp_owner)row->owner,
        .service = row->service,
        .connection = row->connection,
        .receive_queue = socket->receive_queue,
        .send_queue = socket->send_queue,
        .has_counts = pairs_has_counts(socket),
        .rtt_us = socket->rtt_us,
        .segments_resent = socket->segments_resent,
        .bytes_received = socket->bytes_received,
        .bytes_sent = socket->bytes_sent,
        .bytes_resent = socket->bytes_resent,
    };
    text_init(&text, ret_pair->pair, sizeof(ret_pair->pair));
    pair_format(&socket->pair, &text);
    text_end(&text);
    memcpy(ret_pair->device, socket->pair.local.device, sizeof(ret_pair->device));
    address_to_sockaddr(&socket->pair.local, &ret_pair->local);
    address_to_sockaddr(&socket->pair.foreign, &ret_pair->foreign);
    return true;
}

bool fp_pairs_process(const struct fp_pairs *pairs, size_t index, size_t number,
                      struct fp_pair_process *ret_process)
{
    const struct pairs_row *row = row_of(pairs, index);
    struct pairs_cursor cursor = {.row = row};
    const struct descriptor *holder;

    if (row == NULL)
        return false;
    do {
        holder = pairs_next_holder(&pairs->table, &cursor);
    } while (holder != NULL && number-- > 0);
    if (holder == NULL)
        return false;
    const struct pairs_process *process = pairs_process(&pairs->table, holder->pid);
    *ret_process = (struct fp_pair_process){.pid = holder->pid, .fd = holder->fd};
    if (process != NULL)
        memcpy(ret_process->name, process->name, sizeof(ret_process->name));
    return true;
}

size_t fp_pairs_json(const struct fp_pairs *pairs, size_t index, char *buffer, size_t size)
{
    const struct pairs_row *row = row_of(pairs, index);
    struct text text;

    text_init(&text, buffer, size);
    if (row != NULL)
        render_json(NULL, &pairs->table, row, &text);
    return text_end(&text);
}
