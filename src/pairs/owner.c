/* SPDX-License-Identifier: MIT */
#include "pairs/owner.h"

#include "sys/steering.h"

#include <errno.h>

static bool can_wait(const struct diag_socket *socket)
{
    return socket->inode == 0 &&
           (socket->state == DIAG_ESTABLISHED || socket->state == DIAG_CLOSE_WAIT ||
            socket->state == DIAG_SYN_RECEIVED || socket->state == DIAG_NEW_SYN_RECEIVED);
}

/* Listening rows at a port stand together. False: none may have it. */
static bool find_queues(const struct pairs_table *table, struct pairs_row *row)
{
    const uint16_t port = row->socket.pair.local.port;

    row->listening_count = 0;
    for (size_t i = pairs_find_port(table, port); i < table->count; i++) {
        const struct diag_socket *socket = &table->rows[i].socket;
        if (socket->state != DIAG_LISTEN || socket->pair.local.port != port)
            break;
        if (!pairs_may_wait(row, socket))
            continue;
        if (row->listening_count == 0)
            row->listening = (uint32_t)i;
        row->listening_count = (uint32_t)i - row->listening + 1;
    }
    return row->listening_count != 0;
}

/* The kernel lists those that listen at another moment than what waits, so their queues may all have been empty then. */
void owner_find_listening(const struct pairs_table *table, struct pairs_row *row)
{
    row->queued = true;
    if (find_queues(table, row))
        return;
    row->queued = false;
    if (find_queues(table, row) && steering_programs() > 0)
        row->listening_count = 0;
}

static void find_owner(struct pairs_table *table, struct pairs_row *row)
{
    size_t count;

    if (row->socket.inode == 0) {
        row->owner = can_wait(&row->socket) ? OWNER_WAITING : OWNER_NONE;
        if (row->owner == OWNER_WAITING)
            owner_find_listening(table, row);
        return;
    }
    const struct descriptor *first = descriptors_find(&table->descriptors, row->socket.inode, &count);
    if (first != NULL) {
        row->owner = OWNER_HELD;
        row->descriptor = (uint32_t)(first - table->descriptors.items);
        row->descriptors = (uint32_t)count;
        return;
    }
    row->owner = table->descriptors.incomplete ? OWNER_NOT_PERMITTED : OWNER_UNSEEN;
}

/* Where TCP alone has what is shown, no process need be looked at. */
static bool needs_processes(const struct pairs_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct pairs_row *row = &table->rows[i];
        if (row->shown && (row->socket.inode != 0 || can_wait(&row->socket)))
            return true;
    }
    return false;
}

/* With its parent, which is a worker's server and so tells its service. */
static int read_one(struct descriptors *descriptors, pid_t pid)
{
    pid_t parent = procfs_parent(pid);

    if (descriptors_read(descriptors, pid) < 0)
        return -1;
    return parent != 0 ? descriptors_read(descriptors, parent) : 0;
}

/* Are its processes not known, or those that it waits for? Listening rows come before those that wait for them. */
static bool is_missed(const struct pairs_table *table, const struct pairs_row *row)
{
    if (row->owner == OWNER_WAITING && row->listening_count != 0)
        row = &table->rows[row->listening];
    return row->owner == OWNER_UNSEEN || row->owner == OWNER_NOT_PERMITTED;
}

/* Is one of those that are shown missed? */
static bool give_owners(struct pairs_table *table)
{
    bool missed = false;

    descriptors_sort(&table->descriptors);
    for (size_t i = 0; i < table->count; i++) {
        struct pairs_row *row = &table->rows[i];
        if (!row->shown && row->socket.state != DIAG_LISTEN)
            continue;
        find_owner(table, row);
        missed = missed || (row->shown && is_missed(table, row));
    }
    return missed;
}

/* What threads alone have takes a look at each, so it is read where somebody is missed. */
static int find_owners(struct pairs_table *table, pid_t pid)
{
    struct descriptors *descriptors = &table->descriptors;

    if (needs_processes(table) &&
        (pid != 0 ? read_one(descriptors, pid) : descriptors_read_all(descriptors)) < 0)
        return -1;
    if (!give_owners(table) || pid != 0)
        return 0;
    size_t before = descriptors->count;
    if (descriptors_read_threads(descriptors) < 0)
        return -1;
    if (descriptors->count != before)
        give_owners(table);
    return 0;
}

enum fp_status owner_find(struct pairs_table *table, pid_t pid, struct fp_error *err)
{
    if (find_owners(table, pid) < 0)
        return error_set(err, FP_SYSTEM, errno, "read", "the descriptors of processes in /proc");
    if (!pairs_list_processes(table))
        return error_set(err, FP_SYSTEM, ENOMEM, "read", "the names of processes");
    for (size_t i = 0; i < table->process_count; i++) {
        struct pairs_process *process = &table->processes[i];
        if (process->name[0] == '\0')
            procfs_name(process->pid, process->name);
    }
    return FP_OK;
}
