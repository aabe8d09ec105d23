/* SPDX-License-Identifier: MIT */
#include "observe/log.h"

#include "sys/fd.h"
#include "sys/loop.h"
#include "sys/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* A power of two, so that positions may grow without end. */
#define RING_BYTES ((size_t)1 << 20)
/* A pipe that poll(2) calls writable takes this much without blocking (PIPE_BUF, pipe(7)). */
#define SMALL_WRITE 4096
/* At the end a reader is waited for: so long where it does not read, and so long in all. */
#define FINISH_WAIT_MS 1000
#define FINISH_NS      INT64_C(5000000000)

static enum fp_status open_ring(struct log *log, enum event_form form, struct fp_error *err)
{
    *log = (struct log){.enabled = true, .form = form, .fd = -1};
    log->ring = memory_map_private(RING_BYTES);
    if (log->ring == NULL)
        return error_set(err, FP_SYSTEM, errno, "make", "the log's buffer");
    return FP_OK;
}

enum fp_status log_open_fd(struct log *log, int fd, enum event_form form, struct fp_error *err)
{
    if (fd < 0) {
        *log = (struct log){.fd = -1};
        return FP_OK;
    }
    enum fp_status status = open_ring(log, form, err);
    if (status != FP_OK)
        return status;
    log->is_socket = fd_is_socket(fd);
    /* A file does not block, and others may write to it through this same description, at its one position. */
    bool is_shared = log->is_socket || fd_is_file(fd);
    /* O_NONBLOCK on the descriptor we were given would be seen by all who share it, the user's shell among them. */
    int own = is_shared ? -1 : fd_reopen_nonblocking(fd);
    log->must_poll = !is_shared && own < 0;
    /* A number of its own in any case: the one that was given may be closed when the server is ready (--ready-fd 2). */
    if (own < 0)
        own = fd_duplicate(fd);
    log->fd = own >= 0 ? own : fd;
    log->owns_fd = own >= 0;
    return FP_OK;
}

static enum fp_status open_failed(const char *path, struct fp_error *err)
{
    /* Of a file it is not an address that cannot be had: as where there is none of that name. */
    bool is_unread = errno == ENXIO;
    enum fp_status status = is_unread ? FP_NO_INPUT : error_class(errno);

    error_set(err, status, errno, "open the log file", "%s", path);
    if (is_unread)
        error_hint(err, "a FIFO must have somebody who reads it, and a socket is no file");
    return status;
}

enum fp_status log_open_file(struct log *log, const char *path, enum event_form form, struct fp_error *err)
{
    int fd = fd_open_append(path);

    if (fd < 0)
        return open_failed(path, err);
    enum fp_status status = open_ring(log, form, err);
    if (status != FP_OK) {
        fd_close(fd);
        return status;
    }
    log->fd = fd;
    log->owns_fd = true;
    log->path = path;
    return FP_OK;
}

void log_open_sink(struct log *log, void (*sink)(const char *line, size_t length, void *data), void *data,
                   enum event_form form)
{
    *log = (struct log){.enabled = true, .form = form, .fd = -1, .sink = sink, .sink_data = data};
}

static size_t ring_free(const struct log *log)
{
    return RING_BYTES - (log->head - log->tail);
}

/* For an event and the "lost" before it. */
static bool has_room(const struct log *log)
{
    return ring_free(log) >= 2 * EVENT_LINE_SIZE;
}

static void ring_put(struct log *log, const char *line, size_t length)
{
    size_t at = log->head & (RING_BYTES - 1);
    size_t first = length < RING_BYTES - at ? length : RING_BYTES - at;

    memcpy(log->ring + at, line, first);
    memcpy(log->ring, line + first, length - first);
    log->head += length;
}

/* For the rare line that might not fit before the ring's end, and for a sink: kept apart for its large buffer. */
__attribute__((noinline)) static void render_aside(struct log *log, const struct event *event,
                                                   int64_t time_ns)
{
    char room[EVENT_LINE_SIZE];
    struct text text;

    text_init(&text, room, sizeof(room));
    event_render(event, time_ns, log->form, &text);
    if (log->sink != NULL)
        log->sink(room, text_length(&text), log->sink_data);
    else
        ring_put(log, room, text_length(&text));
}

static void render(struct log *log, const struct event *event, int64_t time_ns)
{
    size_t at = log->head & (RING_BYTES - 1);
    struct text text;

    log->written++;
    if (log->sink != NULL || RING_BYTES - at < EVENT_LINE_SIZE) {
        render_aside(log, event, time_ns);
        return;
    }
    text_init(&text, log->ring + at, EVENT_LINE_SIZE);
    event_render(event, time_ns, log->form, &text);
    log->head += text_length(&text);
}

static void say_lost(struct log *log, int64_t time_ns)
{
    struct event event = {.kind = EVENT_LOST};

    if (log->service != NULL)
        EVENT_SET(&event, SERVICE, service, log->service);
    EVENT_SET(&event, COUNT, count, log->lost);
    if (log->tail >= log->said_end)
        log->said = log->said_lines = 0;
    log->said += log->lost;
    log->said_lines++;
    log->lost = 0;
    render(log, &event, time_ns);
    log->said_end = log->head;
}

/*
 * The reader is gone: to come back and try again would be for nobody. An event is a line, one written in part included; a
 * "lost" among them is none, but those it told of were not told. Of several, which only a reader that is slow before it
 * goes makes, the first may have been written: then its are told twice.
 */
static void drop_unwritten(struct log *log)
{
    uint64_t lines = 0;

    for (size_t at = log->tail; at != log->head; at++)
        lines += log->ring[at & (RING_BYTES - 1)] == '\n';
    if (log->tail < log->said_end) {
        lines -= log->said_lines;
        log->lost += log->said;
    }
    log->lost += lines;
    log->lost_ever += lines;
    log->tail = log->head;
}

enum fp_status log_close(struct log *log, struct fp_error *err)
{
    enum fp_status status = FP_OK;

    /* Whoever had a FIFO open, and has gone, does not want to know. */
    if (log->path != NULL && log->failure != 0 && log->failure != EPIPE) {
        drop_unwritten(log);
        status = error_set(err, FP_SYSTEM, log->failure, "write", "%" PRIu64 " events to the log file %s",
                           log->lost, log->path);
    }
    if (log->owns_fd)
        fd_close(log->fd);
    memory_unmap(log->ring, RING_BYTES);
    *log = (struct log){.fd = -1};
    return status;
}

/* The rest of a line that another file has the beginning of. There is no room for a line in the ring where this could be overwritten. */
static void drop_begun(struct log *log)
{
    if (!log_has_unwritten(log) || log->tail == 0 || log->ring[(log->tail - 1) & (RING_BYTES - 1)] == '\n')
        return;
    while (log->ring[log->tail++ & (RING_BYTES - 1)] != '\n')
        ;
    log->lost++;
    log->lost_ever++;
}

static void write_out(struct log *log)
{
    while (log_has_unwritten(log)) {
        size_t at = log->tail & (RING_BYTES - 1);
        size_t length = log->head - log->tail;
        if (length > RING_BYTES - at)
            length = RING_BYTES - at;
        if (log->must_poll) {
            if (!fd_is_writable(log->fd, 0))
                return;
            length = length < SMALL_WRITE ? length : SMALL_WRITE;
        }
        ssize_t written = fd_write(log->fd, log->is_socket, log->ring + at, length);
        log->failure = written < 0 && errno != EAGAIN && errno != EINTR ? errno : 0;
        if (written < 0 && errno == EPIPE)
            drop_unwritten(log);
        if (written <= 0)
            return;
        log->tail += (size_t)written;
    }
}

void log_event(struct log *log, const struct event *event, int64_t time_ns)
{
    if (!log->enabled)
        return;
    log->last_ns = time_ns;
    /* Thousands of workers may end in one turn, with somebody reading all the while. */
    if (log->sink == NULL && !has_room(log) && log->lost == 0)
        write_out(log);
    if (log->sink == NULL && !has_room(log)) {
        log->lost++;
        log->lost_ever++;
        return;
    }
    if (log->lost != 0)
        say_lost(log, time_ns);
    struct event named = *event;
    if (log->service != NULL)
        EVENT_SET(&named, SERVICE, service, log->service);
    render(log, &named, time_ns);
}

void log_flush(struct log *log)
{
    write_out(log);
    /* Where nobody reads, it is said with the next event that can be written. */
    if (log->lost != 0 && log->failure == 0 && has_room(log)) {
        say_lost(log, log->last_ns);
        write_out(log);
    }
}

void log_finish(struct log *log)
{
    int64_t end_ns = clock_monotonic_ns() + FINISH_NS;

    log_flush(log);
    while (log_has_unwritten(log) && clock_monotonic_ns() < end_ns &&
           fd_is_writable(log->fd, FINISH_WAIT_MS)) {
        size_t before = log->tail;
        log_flush(log);
        if (log->tail == before)
            return;
    }
}

bool log_has_unwritten(const struct log *log)
{
    return log->ring != NULL && log->head != log->tail;
}

enum fp_status log_reopen(struct log *log, struct fp_error *err)
{
    if (log->path == NULL)
        return FP_OK;
    log_flush(log);
    int fd = fd_open_append(log->path);
    if (fd < 0)
        return open_failed(log->path, err);
    fd_close(log->fd);
    log->fd = fd;
    log->failure = 0;
    drop_begun(log);
    return FP_OK;
}
