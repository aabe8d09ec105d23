/* SPDX-License-Identifier: MIT
 *
 * serve/supervisor.h - the process that accepts, decides, starts and reaps.
 *
 * One struct holds a running server; the files of this room each do one part of its life on it: acceptor.h (a
 * connection comes), warm.h (what the engine keeps running), reaper.h (a process ends), account.h (what it used),
 * worker_log.h (a worker writes to standard error), drain.h (the server ends). supervisor_run() is the loop that calls them. The supervisor never blocks on a child, a client, a name
 * server or a log reader, and never parses a client's bytes. It is made for one run: supervisor_init() opens what that needs but the
 * listening sockets, which are given, and supervisor_done() releases all of it.
 */
#ifndef SERVE_SUPERVISOR_H
#define SERVE_SUPERVISOR_H

#include "config/config.h"
#include "listen/listener.h"
#include "observe/log.h"
#include "policy/admit.h"
#include "policy/pace.h"
#include "serve/connection.h"
#include "spawn/engine.h"
#include "sys/log_socket.h"
#include "sys/loop.h"

#include <signal.h>

struct supervisor;
struct account;

/* A listening socket in the loop. It is watched unless it is paused, there is no room, or the server ends. */
struct door {
    struct supervisor *supervisor;
    struct listener *listener;
    struct loop_source source;
    struct loop_timer pause; /* set: left alone until then */
    bool pause_said;         /* in the log */
    struct pace pace;
    unsigned retries;     /* in a row */
    uint32_t queued_left; /* at the end: how many more may be taken from the queue */
};

enum supervisor_phase { PHASE_SERVING, PHASE_DRAINING, PHASE_TERMINATING, PHASE_KILLING, PHASE_LEAVING };

/* As much as is logged of a connection's standard error: what one write has beyond it would be dropped anyway. */
#define STDERR_BYTES (256 * 1024)

struct supervisor {
    const struct config *config;
    struct listeners *listeners;
    struct log *log;
    struct loop loop;
    struct door *doors; /* one for each listening socket */
    size_t next_door;   /* the one behind that which the last connection came by */
    struct admit admit;
    void *admit_memory;
    struct connections connections;
    struct account *account; /* NULL: nothing to account that is not in the reports */
    struct spawn_plan plan;
    struct engine engine;
    enum supervisor_phase phase;
    struct loop_timer drain;
    int64_t drain_ns; /* when its next step is due, of loop_awake_ns() */
    struct loop_timer flush;
    int64_t flushed_ns;
    struct loop_timer rest; /* set: signals are left unread, until then at the latest */
    int64_t signals_ns;     /* when they were read last */
    struct loop_timer warm; /* when the engine is to be looked after */
    struct loop_timer lost; /* set: somebody else may have waited for workers */
    /* Set: another thread may have taken a SIGCHLD, or more have ended than are reaped in a turn. */
    struct loop_timer reap_again;
    struct loop_timer retry; /* of held connections, or of a crowded engine */
    bool crowded;            /* the engine has no room */
    struct pace retry_pace;
    struct fp_error start_error; /* why the last connection that had to wait has no process */
    struct pace fail_pace;
    int last_failure; /* step and errno of the last failed worker that was logged */
    uint64_t same_failures;
    int reserve_fd;
    int signal_fd;
    struct loop_source signal_source;
    struct log_socket stderr_log; /* of the workers' standard errors; reader -1: not of this server */
    int stderr_fd; /* what they share instead: handlers a way to the log, or /dev/null; -1: nothing */
    struct loop_source stderr_source;
    uint64_t stray_bytes;  /* of standard error that is no connection's, lately */
    int64_t stray_ns;      /* when they were counted down last */
    bool stray_is_dropped; /* until half of the bound is free again */
    struct loop_source stop_source;
    sigset_t old_mask;
    struct sigaction old_child;
    bool signals_set;
    uint64_t accepted;
    uint64_t served;
    uint64_t refused;
    uint64_t failed;
    int64_t realtime_offset_ns; /* of CLOCK_REALTIME from CLOCK_MONOTONIC, as of the turn below */
    int64_t clocks_ns;          /* the turn whose offset that is */
    /* Of the datagram being read: static, it would be one more mapping to fork. */
    char stderr_bytes[STDERR_BYTES];
};

struct supervisor_parts {
    const struct config *config;
    struct listeners *listeners;
    struct log *log;
    int stop_fd; /* an eventfd, or -1 */
    fp_handler *handler;
    void *handler_data;
    const int *keep;
    size_t keep_count;
};

enum fp_status supervisor_init(struct supervisor *supervisor, const struct supervisor_parts *parts,
                               struct fp_error *err);
/* Until the server has ended. */
enum fp_status supervisor_run(struct supervisor *supervisor, struct fp_error *err);
void supervisor_done(struct supervisor *supervisor);

/* For the room: */
/* CLOCK_REALTIME as of this turn. */
int64_t supervisor_time_ns(struct supervisor *supervisor);
void supervisor_event(struct supervisor *supervisor, const struct event *event);
/* A NOTICE that reads `what`, formatted. */
void supervisor_notice(struct supervisor *supervisor, const char *what, ...)
    __attribute__((format(printf, 2, 3)));

#endif
