/* SPDX-License-Identifier: MIT
 *
 * serve/connection.h - the connections of a server: their slots, states and processes.
 *
 * Owns the table of connections, made once for `max` of them and left out of forked copies. A slot is taken by
 * connections_add() and given back by connections_remove(); in between, the connection_enter functions are the only way from
 * state to state, and end the process on one that serve/connection.def does not allow. A running connection is found by the
 * pid of its process. That no more connections run than have slots is checked on each change. Only
 * connections_init() can fail.
 */
#ifndef SERVE_CONNECTION_H
#define SERVE_CONNECTION_H

#include "addr/pair.h"
#include "base/slots.h"
#include "spawn/report.h"

#include <sys/types.h>

#define STATE(id, name, next, what) CONNECTION_##id,
enum connection_state {
#include "serve/connection.def"
    CONNECTION_STATE_COUNT
};
#undef STATE

struct worker_line;

struct connection {
    enum connection_state state;
    int fd;          /* owned until its process is made, then -1 */
    pid_t pid;       /* while running */
    bool was_reaped; /* its process: the pid may be another's already */
    uint32_t slot;
    uint32_t source;      /* handle of policy/admit.h */
    uint32_t of_source;   /* connections of the source when it came */
    uint32_t next_of_pid; /* in its bucket, plus one */
    uint32_t next_held;   /* behind it in the list of held ones, or SLOT_NONE */
    uint64_t number;
    uint64_t cookie;         /* of its socket; 0: not asked for */
    uint32_t next_of_cookie; /* in its bucket, plus one */
    int64_t bytes_in;        /* as announced by the kernel; -1: not yet */
    int64_t bytes_out;
    int64_t accepted_ns;
    struct pair pair;
    uint32_t interface;       /* that its socket is bound to, as the listening one is; 0: none */
    struct worker_line *line; /* an unfinished line of its standard error, or NULL */
    uint64_t stderr_bytes;    /* that it wrote to standard error so far */
};

struct connections {
    struct connection *items;
    volatile struct child_report *reports; /* one for each slot */
    struct slots slots;
    uint32_t *pid_buckets; /* slot plus one of the first; 0: none */
    uint32_t *cookie_buckets;
    uint32_t bucket_mask;
    uint32_t running;
    uint32_t held_first; /* oldest held one, or SLOT_NONE */
    uint32_t held_last;
    void *memory;
    size_t memory_bytes;
    uint32_t capacity;
};

enum fp_status connections_init(struct connections *connections, uint32_t max, struct fp_error *err);
void connections_done(struct connections *connections);

/* A slot in state ADMITTED, owning take_fd. There must be one: admission has counted. */
struct connection *connections_add(struct connections *connections, int take_fd);
void connections_remove(struct connections *connections, struct connection *connection);
void connection_enter_running(struct connections *connections, struct connection *connection, pid_t pid);
void connection_enter_starting(struct connections *connections, struct connection *connection);
void connection_enter_held(struct connections *connections, struct connection *connection);

/* The running connection whose process has this pid, or NULL; one that was reaped only where no other has it. */
struct connection *connections_find(struct connections *connections, pid_t pid);
/* The one whose process has this pid and was not reaped, or NULL. */
struct connection *connections_living(struct connections *connections, pid_t pid);
/* The same of a process that was just reaped: from now on another one may have the pid as well. */
struct connection *connections_reap(struct connections *connections, pid_t pid);
/* Makes it known by the cookie of its socket (0: not), until it is removed. */
void connections_set_cookie(struct connections *connections, struct connection *connection, uint64_t cookie);
/* The one whose socket has this cookie, or NULL. */
struct connection *connections_find_cookie(struct connections *connections, uint64_t cookie);
/* A number that no other connection has, and by which it is found quickly for as long as it has its slot. */
uint64_t connection_key(const struct connection *connection);
struct connection *connections_find_key(struct connections *connections, uint64_t key);
/* The number of the connection that a key is or was of. */
uint64_t connection_key_number(uint64_t key);
/* The one held longest, or NULL. */
struct connection *connections_held(struct connections *connections);
/* Calls for every connection in this state. */
void connections_each(struct connections *connections, enum connection_state state,
                      void (*call)(struct connection *connection, void *data), void *data);
volatile struct child_report *connection_report(struct connections *connections,
                                                const struct connection *connection);

#endif
