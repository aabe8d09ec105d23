/* SPDX-License-Identifier: MIT
 *
 * observe/log.h - where events go, without waiting for whoever reads them until the server is over (log_finish()).
 *
 * log_event() renders a line into a ring in memory; log_flush(), called once a turn of the loop (under load once in five milliseconds), writes what it can
 * and never blocks: a terminal, pipe or FIFO is opened anew without blocking where the system allows it and written
 * only when it has room where not, a socket is sent to with MSG_DONTWAIT, and a file is written. When the
 * ring is full, or whoever read is gone, events are lost, counted, and a "lost" event says how many as soon as there is
 * room, or somebody who reads again. The ring is left out of forked copies.
 *
 * A log owns its ring and the descriptor it opened, not the one it was given. log_has_unwritten() tells the loop to
 * come back. With a call-back (the library's way) every line is passed to it at once instead. Nothing here fails once the log is open.
 */
#ifndef OBSERVE_LOG_H
#define OBSERVE_LOG_H

#include "observe/event.h"

struct log {
    bool enabled;
    enum event_form form;
    const char *service; /* shown in every JSON event */
    const char *path;    /* of the file, or NULL */
    int fd;              /* written to; -1: none */
    bool owns_fd;
    bool is_socket;
    int failure; /* errno of the last write, where it failed and not for want of room in a pipe or socket; else 0 */
    bool must_poll; /* could block: ask before each write, and write little */
    char *ring;
    size_t head;     /* where the next line goes; grows without end */
    size_t tail;     /* what is written up to */
    uint64_t lost;   /* events since the last "lost" */
    int64_t last_ns; /* when the last event happened */
    uint64_t lost_ever;
    uint64_t said;       /* by the "lost" in the ring */
    uint64_t said_lines; /* how many of those there are */
    size_t said_end;     /* of the last of them */
    uint64_t written;    /* events put into the ring or passed on */
    void (*sink)(const char *line, size_t length, void *data);
    void *sink_data;
};

/* To what a descriptor refers to, which stays the caller's, and may be closed. -1 makes a log that has no output. */
enum fp_status log_open_fd(struct log *log, int fd, enum event_form form, struct fp_error *err);
/* To a file, appended to. `path` is borrowed. */
enum fp_status log_open_file(struct log *log, const char *path, enum event_form form, struct fp_error *err);
void log_open_sink(struct log *log, void (*sink)(const char *line, size_t length, void *data), void *data,
                   enum event_form form);
/*
 * Releases everything; what is unwritten is dropped. FP_SYSTEM where a file could not be written and does not have all
 * events, which nobody can be told there.
 */
enum fp_status log_close(struct log *log, struct fp_error *err);

void log_event(struct log *log, const struct event *event, int64_t time_ns);
void log_flush(struct log *log);
/* At the server's end, while its signals are still blocked: waits for somebody who reads, some seconds at most. */
void log_finish(struct log *log);
bool log_has_unwritten(const struct log *log);
/* Opens the file anew, after rotation; on failure the old one is kept. Does nothing without a file. */
enum fp_status log_reopen(struct log *log, struct fp_error *err);

#endif
