/* SPDX-License-Identifier: MIT
 *
 * pairs/table.h - the socket-pair table: the TCP sockets of a network namespace and the processes that hold them.
 *
 * A plain table in memory, filled by pairs/gather.h (the rows) and pairs/owner.h (who holds them), and marked by
 * pairs/filter.h (which rows were asked for). Rows that were not asked for stay in it, since a listening socket tells
 * who will take the connections that wait in its queue. table_sort() puts them in the order in which they are shown
 * and on which everything else here relies: by local port, listening ones first, then by address. A socket is the same
 * one as before where the cookie is. The table owns its memory; table_done() releases it.
 */
#ifndef PAIRS_TABLE_H
#define PAIRS_TABLE_H

#include "sys/descriptors.h"
#include "sys/procfs.h"
#include "wire/sock_diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum table_owner {
    OWNER_UNKNOWN,       /* nobody has looked */
    OWNER_HELD,          /* by processes that we see */
    OWNER_WAITING,       /* in the queue of a listening socket, to be accepted by those that hold it */
    OWNER_NONE,          /* TCP alone: TIME-WAIT, or closed by its process and not finished yet */
    OWNER_NOT_PERMITTED, /* by a process that may not be looked into */
    OWNER_UNSEEN         /* the kernel, another PID namespace, or on its way between two processes */
};

struct table_row {
    struct diag_socket socket;
    bool shown;
    uint8_t owner;            /* enum table_owner */
    uint32_t descriptor;      /* of table.descriptors, the first that refers to it */
    uint32_t descriptors;     /* how many of them */
    uint32_t listening;       /* OWNER_WAITING: the first row whose queue it may be in */
    uint32_t listening_count; /* several: a group with SO_REUSEPORT */
    uint64_t connection;      /* of the service: its number; 0: unknown or none */
    const char
        *service; /* of a forkport, as its command line says; NULL: none. Owned by the process's entry */
};

/* A process that holds a row that is shown. */
struct table_process {
    pid_t pid;
    char name[PROCFS_NAME_SIZE];
    char *service; /* it is a forkport serving this; owned; NULL: it is none */
};

struct table {
    struct table_row *rows;
    size_t count;
    size_t room;
    struct descriptors descriptors;  /* sorted */
    struct table_process *processes; /* by pid */
    size_t process_count;
};

/* A row more; false: no memory. */
bool table_append(struct table *table, const struct diag_socket *socket);
/* Sorts the rows, and drops what a dump named twice. */
void table_sort(struct table *table);
/* The index of the first row at this local port or a higher one. */
size_t table_find_port(const struct table *table, uint16_t port);
const struct table_process *table_process(const struct table *table, pid_t pid);
size_t table_shown(const struct table *table);
void table_done(struct table *table);

/* Walks over who holds a row, or, while it waits, over who will: by process, then descriptor, for each socket. */
struct table_cursor {
    const struct table_row *row;
    uint32_t listening;
    uint32_t at;
};
const struct descriptor *table_next_holder(const struct table *table, struct table_cursor *cursor);

/* "tcp4", "tcp6", or "tcp46": an IPv6 socket that takes IPv4 too, or has taken it. */
const char *table_protocol(const struct diag_socket *socket);

#endif
