/* SPDX-License-Identifier: MIT */
#include "pairs/pairs.h"

#include <stdlib.h>
#include <string.h>

bool pairs_append(struct pairs_table *table, const struct diag_socket *socket)
{
    if (table->count == table->room) {
        size_t room = table->room != 0 ? 2 * table->room : 64;
        struct pairs_row *rows = reallocarray(table->rows, room, sizeof(*rows));
        if (rows == NULL)
            return false;
        table->rows = rows;
        table->room = room;
    }
    table->rows[table->count] = (struct pairs_row){.socket = *socket, .order = (uint32_t)table->count};
    table->count++;
    return true;
}

static int compare_addresses(const struct address *a, const struct address *b)
{
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    int order = memcmp(a->bytes, b->bytes, sizeof(a->bytes));
    if (order == 0)
        order = strcmp(a->device, b->device);
    if (order == 0 && a->scope != b->scope)
        order = a->scope < b->scope ? -1 : 1;
    return order;
}

int pairs_compare(const struct pairs_row *left, const struct pairs_row *right)
{
    const struct diag_socket *a = &left->socket;
    const struct diag_socket *b = &right->socket;

    if (a->pair.local.port != b->pair.local.port)
        return a->pair.local.port < b->pair.local.port ? -1 : 1;
    if ((a->state == DIAG_LISTEN) != (b->state == DIAG_LISTEN))
        return a->state == DIAG_LISTEN ? -1 : 1;
    int order = compare_addresses(&a->pair.local, &b->pair.local);
    if (order == 0)
        order = compare_addresses(&a->pair.foreign, &b->pair.foreign);
    if (order == 0 && a->pair.foreign.port != b->pair.foreign.port)
        order = a->pair.foreign.port < b->pair.foreign.port ? -1 : 1;
    if (order == 0 && a->cookie != b->cookie)
        order = a->cookie < b->cookie ? -1 : 1;
    return order;
}

/* Of one socket in the order of the dump: not every qsort(3) keeps it. */
static int compare_rows(const void *left, const void *right)
{
    const struct pairs_row *a = left;
    const struct pairs_row *b = right;
    int order = pairs_compare(a, b);

    return order != 0 ? order : a->order < b->order ? -1 : a->order > b->order;
}

void pairs_sort(struct pairs_table *table)
{
    size_t kept = 0;

    if (table->count == 0)
        return;
    qsort(table->rows, table->count, sizeof(*table->rows), compare_rows);
    for (size_t i = 1; i < table->count; i++) {
        /* A socket that changed its state while the dump was made can stand in it twice: the later state counts. */
        if (pairs_compare(&table->rows[kept], &table->rows[i]) != 0)
            kept++;
        table->rows[kept] = table->rows[i];
    }
    table->count = kept + 1;
}

size_t pairs_find_port(const struct pairs_table *table, uint16_t port)
{
    size_t low = 0;
    size_t high = table->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->rows[middle].socket.pair.local.port < port)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int compare_pids(const void *left, const void *right)
{
    pid_t a = ((const struct pairs_process *)left)->pid;
    pid_t b = ((const struct pairs_process *)right)->pid;

    return a < b ? -1 : a > b;
}

static bool is_looked_at(const struct pairs_row *row)
{
    return row->shown || row->socket.state == DIAG_LISTEN;
}

bool pairs_list_processes(struct pairs_table *table)
{
    size_t total = 0;
    size_t kept = 0;

    for (size_t i = 0; i < table->count; i++)
        total += is_looked_at(&table->rows[i]) ? table->rows[i].descriptors : 0;
    if (total == 0)
        return true;
    struct pairs_process *processes = calloc(total, sizeof(*processes));
    if (processes == NULL)
        return false;
    total = 0;
    for (size_t i = 0; i < table->count; i++) {
        const struct pairs_row *row = &table->rows[i];
        for (uint32_t k = 0; k < row->descriptors && is_looked_at(row); k++) {
            const struct descriptor *descriptor = &table->descriptors.items[row->descriptor + k];
            processes[total].pid = descriptor->pid;
            memcpy(processes[total++].name, descriptor->name, sizeof(descriptor->name));
        }
    }
    qsort(processes, total, sizeof(*processes), compare_pids);
    for (size_t i = 1; i < total; i++) {
        if (processes[i].pid != processes[kept].pid)
            processes[++kept] = processes[i];
    }
    table->processes = processes;
    table->process_count = kept + 1;
    return true;
}

const struct pairs_process *pairs_process(const struct pairs_table *table, pid_t pid)
{
    const struct pairs_process key = {.pid = pid};

    if (table->process_count == 0)
        return NULL;
    return bsearch(&key, table->processes, table->process_count, sizeof(key), compare_pids);
}

size_t pairs_shown(const struct pairs_table *table)
{
    size_t shown = 0;

    for (size_t i = 0; i < table->count; i++)
        shown += table->rows[i].shown;
    return shown;
}

void pairs_done(struct pairs_table *table)
{
    for (size_t i = 0; i < table->process_count; i++)
        free(table->processes[i].service);
    free(table->processes);
    free(table->rows);
    descriptors_done(&table->descriptors);
    *table = (struct pairs_table){0};
}

static bool takes_address(const struct address *bound, const struct address *local)
{
    if (address_is_wildcard(bound))
        return bound->family == AF_UNSPEC || bound->family == local->family;
    return bound->family == local->family && memcmp(bound->bytes, local->bytes, sizeof(bound->bytes)) == 0;
}

/*
 * A connection has its listening socket's family and device, and with a scope a device in any case. In a saved table no
 * interface has a number.
 */
static bool is_child(const struct diag_socket *waiting, const struct diag_socket *listening)
{
    const struct address *bound = &listening->pair.local;
    const struct address *local = &waiting->pair.local;
    bool is_bound = listening->interface != 0 || bound->device[0] != '\0';
    bool has_scope = address_needs_scope(local) || address_needs_scope(&waiting->pair.foreign);

    if (listening->family != waiting->family || !takes_address(bound, local))
        return false;
    if (waiting->interface == listening->interface && strcmp(bound->device, local->device) == 0)
        return true;
    return has_scope && (!is_bound || waiting->interface == listening->interface);
}

/* Half open connections are not counted in the queue; of a saved table, which has no backlog either, it is not known. */
bool pairs_may_wait(const struct pairs_row *waiting, const struct diag_socket *listening)
{
    const struct diag_socket *socket = &waiting->socket;
    bool is_counted = socket->state == DIAG_ESTABLISHED || socket->state == DIAG_CLOSE_WAIT;

    if (waiting->queued && is_counted && listening->receive_queue == 0 && listening->send_queue != 0)
        return false;
    return is_child(socket, listening);
}

const struct descriptor *pairs_next_holder(const struct pairs_table *table, struct pairs_cursor *cursor)
{
    const struct pairs_row *row = cursor->row;

    if (row->owner != OWNER_WAITING) {
        if (cursor->at >= row->descriptors)
            return NULL;
        return &table->descriptors.items[row->descriptor + cursor->at++];
    }
    for (; cursor->listening < row->listening_count; cursor->listening++, cursor->at = 0) {
        const struct pairs_row *queue = &table->rows[row->listening + cursor->listening];
        if (cursor->at < queue->descriptors && pairs_may_wait(row, &queue->socket))
            return &table->descriptors.items[queue->descriptor + cursor->at++];
    }
    return NULL;
}

bool pairs_has_counts(const struct diag_socket *socket)
{
    return socket->has_bytes && socket->state != DIAG_LISTEN && socket->state != DIAG_BOUND;
}

const char *pairs_protocol(const struct diag_socket *socket)
{
    if (socket->family == AF_INET)
        return "tcp4";
    return socket->pair.local.family == AF_INET6 ? "tcp6" : "tcp46";
}
