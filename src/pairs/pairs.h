/* SPDX-License-Identifier: MIT
 *
 * pairs/pairs.h - the socket-pair table: the TCP sockets of a network namespace and the processes that hold them.
 *
 * A plain table in memory, filled by pairs/gather.h (the rows) and pairs/owner.h (who holds them), and marked by
 * pairs/filter.h (which rows were asked for). Rows that were not asked for stay in it, since a listening socket tells
 * who will take the connections that wait in its queue. pairs_sort() puts them in the order in which they are shown
 * and on which everything else here relies: by local port, listening ones first, then by address. A socket is the same
 * one as before where the cookie is. The table owns its memory; pairs_done() releases it.
 */
#ifndef PAIRS_PAIRS_H
#define PAIRS_PAIRS_H

#include "sys/descriptors.h"
#include "sys/procfs.h"
#include "wire/sock_diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pairs_owner {
    OWNER_UNKNOWN,       /* nobody has looked */
    OWNER_HELD,          /* by processes that we see */
    OWNER_WAITING,       /* in the queue of a listening socket, to be accepted by those that hold it */
    OWNER_NONE,          /* TCP alone: TIME-WAIT, or closed by its process and not finished yet */
    OWNER_NOT_PERMITTED, /* by a process that may not be looked into */
    OWNER_UNSEEN         /* the kernel, another PID namespace, or on its way between two processes */
};

struct pairs_row {
    struct diag_socket socket;
    uint32_t order; /* in which the kernel listed it, from 0 */
    bool shown;
    uint8_t owner;            /* enum pairs_owner */
    uint32_t descriptor;      /* of table.descriptors, the first that refers to it */
    uint32_t descriptors;     /* how many of them */
    uint32_t listening;       /* OWNER_WAITING: the first row whose queue it may be in */
    uint32_t listening_count; /* to the last one; which between them may have it: pairs_may_wait() */
    bool queued;              /* one of these queues has something in it, so an empty one does not have it */
    uint64_t connection;      /* of the service: its number; 0: unknown or none */
    const char
        *service; /* of a forkport, as its command line says; NULL: none. Owned by the process's entry */
};

/* A process that holds a row that is shown. */
struct pairs_process {
    pid_t pid;
    char name[PROCFS_NAME_SIZE];
    char *service; /* of a forkport, or of a child of one; owned; NULL: it is neither, as far as is known */
    bool is_asked; /* for its parent's service */
};

struct pairs_table {
    struct pairs_row *rows;
    size_t count;
    size_t room;
    struct descriptors descriptors;  /* sorted */
    struct pairs_process *processes; /* by pid */
    size_t process_count;
};

/* A row more; false: no memory. */
bool pairs_append(struct pairs_table *table, const struct diag_socket *socket);
/* The order of the rows; 0: they are of the same socket. */
int pairs_compare(const struct pairs_row *left, const struct pairs_row *right);
/* Sorts the rows, and drops what a dump named twice. */
void pairs_sort(struct pairs_table *table);
/* The index of the first row at this local port or a higher one. */
size_t pairs_find_port(const struct pairs_table *table, uint16_t port);
/* The processes of the rows that are shown or listen, each once. False: no memory. */
bool pairs_list_processes(struct pairs_table *table);
const struct pairs_process *pairs_process(const struct pairs_table *table, pid_t pid);
size_t pairs_shown(const struct pairs_table *table);
/* May this connection, which nobody has accepted yet, be in the queue of that listening socket at its port? */
bool pairs_may_wait(const struct pairs_row *waiting, const struct diag_socket *listening);
void pairs_done(struct pairs_table *table);

/* Walks over who holds a row, or, while it waits, over who will: by process, then descriptor, for each socket. */
struct pairs_cursor {
    const struct pairs_row *row;
    uint32_t listening;
    uint32_t at;
};
const struct descriptor *pairs_next_holder(const struct pairs_table *table, struct pairs_cursor *cursor);

/* Bytes and round trips: of what is only bound or listens the kernel gives them too, but there are none. */
bool pairs_has_counts(const struct diag_socket *socket);

/* "tcp4", "tcp6", or "tcp46": an IPv6 socket that takes IPv4 too, or has taken it. */
const char *pairs_protocol(const struct diag_socket *socket);

#endif
