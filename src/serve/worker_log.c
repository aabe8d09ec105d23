/* SPDX-License-Identifier: MIT */
#include "serve/worker_log.h"

#include "serve/warm.h"
#include "sys/fd.h"
#include "sys/process.h"
#include "sys/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES       EVENT_BYTES_MAX
#define CONNECTION_BYTES ((uint64_t)STDERR_BYTES)
/* What a line counts as at least, since it is an event, which a worker that writes newlines alone would have without end. */
#define LINE_LEAST_BYTES 32
/* What all those together may write who have no connection; 16 KiB come back in a second. */
#define STRAY_BYTES     CONNECTION_BYTES
#define STRAY_NS_A_BYTE 61035
/* A worker that writes without end must not keep the supervisor from its other work. */
#define READS_PER_TURN 64
/*
 * Once a connection is given up its lines are strays. So before, all that may be waiting is read: net.unix.max_dgram_qlen
 * datagrams, of which systemd makes 512.
 */
#define READS_BEFORE_REAPING 2048

/* With a few bytes more than are shown, by which one sees where the last character ends. */
struct worker_line {
    size_t length;
    char bytes[LINE_BYTES + 4];
};

/* What a line counts as, which may have been counted in part. */
static uint64_t cost(size_t length, size_t counted)
{
    uint64_t whole = counted + length + 1;

    return (whole < LINE_LEAST_BYTES ? LINE_LEAST_BYTES : whole) - counted;
}

static void log_line(struct supervisor *supervisor, const struct connection *connection, const char *start,
                     size_t length)
{
    struct event event = {.kind = EVENT_STDERR};
    struct event_bytes text = {.start = start, .length = length};

    EVENT_SET(&event, CONNECTION, connection, connection->number);
    EVENT_SET(&event, PAIR, pair, &connection->pair);
    EVENT_SET(&event, PID, pid, (uint64_t)connection->pid);
    EVENT_SET(&event, TEXT, text, text);
    supervisor_event(supervisor, &event);
}

/* Adds to the unfinished line; where there is no memory for one, what there is goes out as a line. */
static void keep(struct supervisor *supervisor, struct connection *connection, const char *start,
                 size_t length)
{
    if (connection->line == NULL)
        connection->line = calloc(1, sizeof(*connection->line));
    if (connection->line == NULL) {
        log_line(supervisor, connection, start, length);
        return;
    }
    struct worker_line *line = connection->line;
    size_t room = sizeof(line->bytes) - line->length;
    memcpy(line->bytes + line->length, start, length < room ? length : room);
    line->length += length < room ? length : room;
}

static void finish_line(struct supervisor *supervisor, struct connection *connection, const char *start,
                        size_t length)
{
    if (connection->line == NULL) {
        log_line(supervisor, connection, start, length);
        return;
    }
    keep(supervisor, connection, start, length);
    log_line(supervisor, connection, connection->line->bytes, connection->line->length);
    free(connection->line);
    connection->line = NULL;
}

static void log_of_connection(struct supervisor *supervisor, struct connection *connection, const char *start,
                              size_t length, bool is_cut)
{
    uint64_t *written = &connection->stderr_bytes;

    if (*written >= CONNECTION_BYTES)
        return;
    for (const char *end; *written < CONNECTION_BYTES && (end = memchr(start, '\n', length)) != NULL;) {
        size_t line = (size_t)(end - start);
        *written += cost(line, connection->line != NULL ? connection->line->length : 0);
        finish_line(supervisor, connection, start, line);
        start += line + 1;
        length -= line + 1;
    }
    if (*written < CONNECTION_BYTES) {
        *written += length;
        /* What was cut has lost its newline, and the next write is not its rest. */
        if (is_cut)
            finish_line(supervisor, connection, start, length);
        else if (length > 0)
            keep(supervisor, connection, start, length);
    }
    if (*written >= CONNECTION_BYTES)
        supervisor_notice(
            supervisor,
            "connection #%llu wrote too much to standard error: what is over %llu bytes is dropped",
            (unsigned long long)connection->number, (unsigned long long)CONNECTION_BYTES);
}

static bool may_stray(struct supervisor *supervisor, const struct log_socket_sender *sender)
{
    int64_t now_ns = loop_now_ns(&supervisor->loop);
    uint64_t back = (uint64_t)(now_ns - supervisor->stray_ns) / STRAY_NS_A_BYTE;

    if (back > 0) {
        supervisor->stray_bytes -= back < supervisor->stray_bytes ? back : supervisor->stray_bytes;
        supervisor->stray_ns = now_ns;
    }
    if (supervisor->stray_bytes < STRAY_BYTES / 2)
        supervisor->stray_is_dropped = false;
    if (supervisor->stray_is_dropped)
        return false;
    if (supervisor->stray_bytes >= STRAY_BYTES) {
        supervisor->stray_is_dropped = true;
        supervisor_notice(
            supervisor,
            "process %d, which has no connection, writes much to standard error: further is dropped",
            (int)sender->pid);
        return false;
    }
    return true;
}

static void log_stray_line(struct supervisor *supervisor, const struct log_socket_sender *sender,
                           const char *start, size_t length)
{
    struct event event = {.kind = EVENT_STDERR};
    struct event_bytes text = {.start = start, .length = length};

    if (sender->number != 0)
        EVENT_SET(&event, CONNECTION, connection, connection_key_number(sender->number));
    EVENT_SET(&event, PID, pid, (uint64_t)sender->pid);
    EVENT_SET(&event, TEXT, text, text);
    supervisor_event(supervisor, &event);
    supervisor->stray_bytes += cost(length, 0);
}

/* Somebody who outlived the worker, or has no connection yet: bound together with all such. Each write is whole lines. */
static void log_stray(struct supervisor *supervisor, const struct log_socket_sender *sender,
                      const char *start, size_t length)
{
    const char *end = start + length;

    while (start < end && may_stray(supervisor, sender)) {
        const char *newline = memchr(start, '\n', (size_t)(end - start));
        size_t line = (size_t)((newline != NULL ? newline : end) - start);
        log_stray_line(supervisor, sender, start, line);
        start += line + 1;
    }
}

static struct connection *find_connection(struct supervisor *supervisor,
                                          const struct log_socket_sender *sender)
{
    struct connections *connections = &supervisor->connections;

    if (sender->number != 0) {
        struct connection *found = connections_find_key(connections, sender->number);
        /* It runs, or it could not have written: its pid has only not been taken in yet. */
        if (found != NULL && found->state == CONNECTION_STARTING) {
            engine_look_again(&supervisor->engine, 0, sender->number);
            warm_collect(supervisor);
        }
        return connections_find_key(connections, sender->number);
    }
    struct connection *connection = connections_find(connections, sender->pid);
    return connection != NULL ? connection : connections_find(connections, process_session(sender->pid));
}

static bool read_one(struct supervisor *supervisor)
{
    char *buffer = supervisor->stderr_bytes;
    size_t size = sizeof(supervisor->stderr_bytes);
    struct log_socket_sender sender;
    ssize_t length = log_socket_read(&supervisor->stderr_log, buffer, size, &sender);

    if (length < 0)
        return false;
    bool is_cut = (size_t)length > size;
    size_t held = is_cut ? size : (size_t)length;
    struct connection *connection = find_connection(supervisor, &sender);
    if (connection != NULL)
        log_of_connection(supervisor, connection, buffer, held, is_cut);
    else if (held > 0)
        log_stray(supervisor, &sender, buffer, held);
    return true;
}

static void read_some(struct supervisor *supervisor, int most)
{
    if (supervisor->stderr_log.reader < 0)
        return;
    for (int i = 0; i < most && read_one(supervisor); i++)
        ;
}

void worker_log_read(struct supervisor *supervisor)
{
    read_some(supervisor, READS_BEFORE_REAPING);
}

void worker_log_end(struct supervisor *supervisor, struct connection *connection)
{
    if (connection->line != NULL)
        finish_line(supervisor, connection, "", 0);
}

static void ready(void *data)
{
    read_some(data, READS_PER_TURN);
}

/*
 * A socket each is an eighth of what a forked worker costs, and a hundredth of what a program does. Handlers, which
 * are one program and seldom start others, share one, and are told apart by their pids.
 */
static int open_log(struct supervisor *supervisor)
{
    log_socket_remove_stale();
    if (log_socket_open(&supervisor->stderr_log, random_seed()) < 0)
        return -1;
    if (supervisor->config->program != NULL)
        return 0;
    supervisor->stderr_fd = log_socket_share(&supervisor->stderr_log);
    return supervisor->stderr_fd < 0 ? -1 : 0;
}

enum fp_status worker_log_init(struct supervisor *supervisor, struct fp_error *err)
{
    if (supervisor->config->worker_stderr != STDERR_LOG)
        return FP_OK;
    if (!supervisor->log->enabled) {
        /* There is no log for it to go to. */
        supervisor->stderr_fd = fd_open_null();
        return supervisor->stderr_fd >= 0 ? FP_OK : error_set(err, FP_SYSTEM, errno, "open", "/dev/null");
    }
    if (open_log(supervisor) == 0)
        return FP_OK;
    int errnum = errno;
    enum fp_status status =
        error_set(err, FP_SYSTEM, errnum, "make", "the socket of the workers' standard error");
    if (errnum != EMFILE && errnum != ENFILE && err != NULL)
        error_hint(err, "it needs to write to /run, or /proc and a folder for temporary files; --stderr "
                        "inherit does without");
    return status;
}

enum fp_status worker_log_watch(struct supervisor *supervisor, struct fp_error *err)
{
    if (supervisor->stderr_log.reader < 0)
        return FP_OK;
    supervisor->stderr_source =
        (struct loop_source){.fd = supervisor->stderr_log.reader, .ready = ready, .data = supervisor};
    if (loop_add(&supervisor->loop, &supervisor->stderr_source) < 0)
        return error_set(err, FP_SYSTEM, errno, "watch", "the workers' standard error");
    return FP_OK;
}

void worker_log_done(struct supervisor *supervisor)
{
    loop_remove(&supervisor->loop, &supervisor->stderr_source);
    log_socket_close(&supervisor->stderr_log);
    fd_close(fd_take(&supervisor->stderr_fd));
}
