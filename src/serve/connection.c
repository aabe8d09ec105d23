/* SPDX-License-Identifier: MIT */
#include "serve/connection.h"

#include "base/check.h"
#include "sys/fd.h"
#include "sys/memory.h"

#include <errno.h>
#include <stdlib.h>

#define AFTER(id)                   (1U << CONNECTION_##id)
#define STATE(id, name, next, what) [CONNECTION_##id] = next,
static const unsigned next_states[CONNECTION_STATE_COUNT] = {
#include "serve/connection.def"
};
#undef STATE

static void enter(struct connection *connection, enum connection_state state)
{
    CHECK((next_states[connection->state] >> state & 1) != 0);
    connection->state = state;
}

enum fp_status connections_init(struct connections *connections, uint32_t max, struct fp_error *err)
{
    uint32_t buckets = 64;

    while (buckets < max)
        buckets *= 2;
    *connections = (struct connections){
        .memory_bytes = max * (sizeof(struct connection) + sizeof(uint32_t)) + 2 * buckets * sizeof(uint32_t),
        .bucket_mask = buckets - 1,
        .held_first = SLOT_NONE,
        .held_last = SLOT_NONE,
        .capacity = max,
    };
    connections->memory = memory_map_private(connections->memory_bytes);
    connections->reports = report_map(max);
    if (connections->memory == NULL || connections->reports == NULL) {
        enum fp_status status = error_set(err, FP_SYSTEM, errno, "make", "a table of %u connections", max);
        connections_done(connections);
        return status;
    }
    connections->items = connections->memory;
    connections->pid_buckets = (uint32_t *)(connections->items + max);
    connections->cookie_buckets = connections->pid_buckets + buckets;
    slots_init(&connections->slots, connections->cookie_buckets + buckets, max);
    return FP_OK;
}

void connections_done(struct connections *connections)
{
    if (connections->reports != NULL)
        report_unmap(connections->reports, connections->capacity);
    memory_unmap(connections->memory, connections->memory_bytes);
    *connections = (struct connections){0};
}

struct connection *connections_add(struct connections *connections, int take_fd)
{
    uint32_t slot = slots_take(&connections->slots);

    CHECK(slot != SLOT_NONE);
    struct connection *connection = &connections->items[slot];
    *connection = (struct connection){.slot = slot, .fd = take_fd, .next_held = SLOT_NONE};
    enter(connection, CONNECTION_ADMITTED);
    report_clear(&connections->reports[slot]);
    return connection;
}

/* Pids and cookies are given out one after another: their last bits spread them well. */
static uint32_t *bucket_of(struct connections *connections, pid_t pid)
{
    return &connections->pid_buckets[(uint32_t)pid & connections->bucket_mask];
}

static uint32_t *bucket_of_cookie(struct connections *connections, uint64_t cookie)
{
    return &connections->cookie_buckets[cookie & connections->bucket_mask];
}

static void unlink_pid(struct connections *connections, struct connection *connection)
{
    uint32_t *link = bucket_of(connections, connection->pid);

    while (*link != connection->slot + 1) {
        CHECK(*link != 0);
        link = &connections->items[*link - 1].next_of_pid;
    }
    *link = connection->next_of_pid;
    connections->running--;
}

static void unlink_cookie(struct connections *connections, struct connection *connection)
{
    if (connection->cookie == 0)
        return;
    uint32_t *link = bucket_of_cookie(connections, connection->cookie);
    while (*link != connection->slot + 1) {
        CHECK(*link != 0);
        link = &connections->items[*link - 1].next_of_cookie;
    }
    *link = connection->next_of_cookie;
}

static void unlink_held(struct connections *connections, struct connection *connection)
{
    /* Held ones leave in the order in which they came. */
    CHECK(connections->held_first == connection->slot);
    connections->held_first = connection->next_held;
    if (connections->held_first == SLOT_NONE)
        connections->held_last = SLOT_NONE;
    connection->next_held = SLOT_NONE;
}

void connections_remove(struct connections *connections, struct connection *connection)
{
    if (connection->state == CONNECTION_RUNNING)
        unlink_pid(connections, connection);
    else if (connection->state == CONNECTION_HELD)
        unlink_held(connections, connection);
    unlink_cookie(connections, connection);
    enter(connection, CONNECTION_FREE);
    fd_close(fd_take(&connection->fd));
    free(connection->line);
    connection->line = NULL;
    slots_release(&connections->slots, connection->slot);
    CHECK(connections->running <= connections->slots.live);
}

void connection_enter_running(struct connections *connections, struct connection *connection, pid_t pid)
{
    uint32_t *bucket = bucket_of(connections, pid);

    if (connection->state == CONNECTION_HELD)
        unlink_held(connections, connection);
    enter(connection, CONNECTION_RUNNING);
    connection->pid = pid;
    connection->next_of_pid = *bucket;
    *bucket = connection->slot + 1;
    connections->running++;
    CHECK(connections->running <= connections->slots.live);
}

void connection_enter_starting(struct connections *connections, struct connection *connection)
{
    if (connection->state == CONNECTION_HELD)
        unlink_held(connections, connection);
    enter(connection, CONNECTION_STARTING);
}

void connection_enter_held(struct connections *connections, struct connection *connection)
{
    enter(connection, CONNECTION_HELD);
    if (connections->held_last == SLOT_NONE)
        connections->held_first = connection->slot;
    else
        connections->items[connections->held_last].next_held = connection->slot;
    connections->held_last = connection->slot;
}

struct connection *connections_find(struct connections *connections, pid_t pid)
{
    /* The latest comes first. */
    for (uint32_t at = *bucket_of(connections, pid); at != 0; at = connections->items[at - 1].next_of_pid) {
        if (connections->items[at - 1].pid == pid)
            return &connections->items[at - 1];
    }
    return NULL;
}

struct connection *connections_living(struct connections *connections, pid_t pid)
{
    struct connection *connection = connections_find(connections, pid);

    return connection != NULL && !connection->was_reaped ? connection : NULL;
}

struct connection *connections_reap(struct connections *connections, pid_t pid)
{
    struct connection *connection = connections_living(connections, pid);

    if (connection != NULL)
        connection->was_reaped = true;
    return connection;
}

void connections_set_cookie(struct connections *connections, struct connection *connection, uint64_t cookie)
{
    CHECK(connection->cookie == 0);
    if (cookie == 0)
        return;
    uint32_t *bucket = bucket_of_cookie(connections, cookie);
    connection->cookie = cookie;
    connection->next_of_cookie = *bucket;
    *bucket = connection->slot + 1;
}

struct connection *connections_find_cookie(struct connections *connections, uint64_t cookie)
{
    for (uint32_t at = *bucket_of_cookie(connections, cookie); at != 0;
         at = connections->items[at - 1].next_of_cookie) {
        if (connections->items[at - 1].cookie == cookie)
            return &connections->items[at - 1];
    }
    return NULL;
}

/* The slot above, the number below: 10^12 connections, 16 million at once. */
#define KEY_NUMBER_BITS 40

uint64_t connection_key(const struct connection *connection)
{
    return (uint64_t)connection->slot << KEY_NUMBER_BITS | connection_key_number(connection->number);
}

uint64_t connection_key_number(uint64_t key)
{
    return key & ((UINT64_C(1) << KEY_NUMBER_BITS) - 1);
}

struct connection *connections_find_key(struct connections *connections, uint64_t key)
{
    uint32_t slot = (uint32_t)(key >> KEY_NUMBER_BITS);

    if (!slots_is_taken(&connections->slots, slot) || connection_key(&connections->items[slot]) != key)
        return NULL;
    return &connections->items[slot];
}

struct connection *connections_held(struct connections *connections)
{
    return connections->held_first != SLOT_NONE ? &connections->items[connections->held_first] : NULL;
}

void connections_each(struct connections *connections, enum connection_state state,
                      void (*call)(struct connection *connection, void *data), void *data)
{
    for (uint32_t slot = 0; slot < connections->slots.fresh; slot++) {
        if (slots_is_taken(&connections->slots, slot) && connections->items[slot].state == state)
            call(&connections->items[slot], data);
    }
}

volatile struct child_report *connection_report(struct connections *connections,
                                                const struct connection *connection)
{
    return &connections->reports[connection->slot];
}
