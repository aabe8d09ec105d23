/* SPDX-License-Identifier: MIT */
#include "demux/live_holders.h"

#include "base/time.h"

#include <stdlib.h>
#include <string.h>

#define LISTENING_NS SECOND_NS
/* The field of /proc/PID/stat with the time of the start, counted from behind the name, which may hold anything. */
#define START_FIELD 20

static int compare(const void *left, const void *right)
{
    const struct live_holding *a = left;
    const struct live_holding *b = right;

    if (a->cookie != b->cookie)
        return a->cookie < b->cookie ? -1 : 1;
    return a->pid < b->pid ? -1 : a->pid > b->pid;
}

static const struct live_holding *find(const struct live_holders *holders, uint64_t cookie, pid_t pid)
{
    struct live_holding key = {.cookie = cookie, .pid = pid};

    if (holders->count == 0)
        return NULL;
    return bsearch(&key, holders->items, holders->count, sizeof(key), compare);
}

/* A process may hold a socket by several descriptors, which follow each other. */
static size_t list_row(const struct live_holders *before, const struct pairs_table *table,
                       const struct pairs_row *row, int64_t now_ns, struct live_holding *items)
{
    size_t count = 0;

    for (uint32_t i = 0; i < row->descriptors; i++) {
        pid_t pid = table->descriptors.items[row->descriptor + i].pid;
        if (count != 0 && items[count - 1].pid == pid)
            continue;
        const struct live_holding *known = find(before, row->socket.cookie, pid);
        items[count++] = (struct live_holding){.cookie = row->socket.cookie,
                                               .since_ns = known != NULL ? known->since_ns : now_ns,
                                               .pid = pid};
    }
    return count;
}

bool live_holders_look(const struct live_holders *before, const struct pairs_table *table, int64_t now_ns,
                       struct live_holders *ret_holders)
{
    struct live_holders now = {.looked_ns = now_ns};
    size_t room = 1;

    for (size_t i = 0; i < table->count; i++)
        room += table->rows[i].descriptors;
    now.items = calloc(room, sizeof(*now.items));
    if (now.items == NULL)
        return false;
    for (size_t i = 0; i < table->count; i++)
        now.count += list_row(before, table, &table->rows[i], now_ns, now.items + now.count);
    qsort(now.items, now.count, sizeof(*now.items), compare);
    *ret_holders = now;
    return true;
}

void live_holders_done(struct live_holders *holders)
{
    free(holders->items);
    *holders = (struct live_holders){.count = 0};
}

/* In ticks since the boot; UINT64_MAX: it has gone. */
static uint64_t start_of(pid_t pid)
{
    char stat[1024];

    if (procfs_read(pid, "stat", stat, sizeof(stat)) == 0)
        return UINT64_MAX;
    const char *at = strrchr(stat, ')');
    for (int field = 0; at != NULL && field < START_FIELD; field++)
        at = strchr(at + 1, ' ');
    return at != NULL ? strtoull(at, NULL, 10) : UINT64_MAX;
}

static pid_t oldest(const struct pairs_table *table, const struct pairs_row *row)
{
    const struct descriptor *all = &table->descriptors.items[row->descriptor];
    uint64_t start = UINT64_MAX;
    pid_t found = 0;

    if (row->descriptors == 1)
        return all[0].pid;
    for (uint32_t i = 0; i < row->descriptors; i++) {
        uint64_t its = i != 0 && all[i].pid == all[i - 1].pid ? UINT64_MAX : start_of(all[i].pid);
        if (its < start) {
            start = its;
            found = all[i].pid;
        }
    }
    return found;
}

static bool is_believed(const struct live_holders *holders, const struct pairs_row *row, pid_t pid)
{
    const struct live_holding *holding = find(holders, row->socket.cookie, pid);
    int64_t least_ns = row->socket.state == DIAG_LISTEN ? LISTENING_NS : 1;

    return holding != NULL && holders->looked_ns - holding->since_ns >= least_ns;
}

static size_t add(struct live_process *processes, size_t count, const struct pairs_table *table, pid_t pid)
{
    const struct pairs_process *process = pairs_process(table, pid);

    for (size_t i = 0; i < count && i < LIVE_PROCESSES; i++) {
        if (processes[i].pid == pid)
            return count;
    }
    if (count < LIVE_PROCESSES) {
        processes[count] = (struct live_process){.pid = pid};
        if (process != NULL)
            memcpy(processes[count].name, process->name, sizeof(process->name));
    }
    return count + 1;
}

size_t live_holders_add(const struct live_holders *holders, const struct pairs_table *table,
                        const struct pairs_row *row, struct live_process *processes, size_t count)
{
    size_t before = count;
    pid_t last = 0;

    for (uint32_t i = 0; i < row->descriptors; i++) {
        pid_t pid = table->descriptors.items[row->descriptor + i].pid;
        if (pid != last && is_believed(holders, row, pid))
            count = add(processes, count, table, pid);
        last = pid;
    }
    if (count == before && row->socket.state == DIAG_LISTEN && row->descriptors != 0) {
        pid_t pid = oldest(table, row);
        if (pid != 0)
            count = add(processes, count, table, pid);
    }
    return count;
}
