/* SPDX-License-Identifier: MIT */
#include "serve/server.h"

#include "config/options.h"
#include "serve/supervisor.h"
#include "spawn/builtin.h"
#include "spawn/engine.h"
#include "sys/fd.h"
#include "sys/memory.h"
#include "sys/process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct fp_server {
    pid_t made_in;
    struct config config;
    fp_handler *handler;
    void *handler_data;
    int *keep; /* ascending */
    size_t keep_count;
    void (*sink)(const char *line, size_t length, void *data);
    void *sink_data;
    int log_fd;
    int stop_fd;
    struct listeners listeners;
    char (*pairs)[PAIR_TEXT_SIZE];
};

struct fp_server *fp_server_new(struct fp_error *err)
{
    struct fp_server *server = calloc(1, sizeof(*server));

    if (server == NULL) {
        error_set(err, FP_SYSTEM, errno, "make", "a server");
        return NULL;
    }
    server->made_in = process_self();
    server->log_fd = -1;
    /* First of all: what is opened next must not land where a worker's standard descriptors go. */
    server->stop_fd = fd_open_standard() < 0 ? -1 : fd_open_event();
    if (server->stop_fd < 0) {
        error_set(err, FP_SYSTEM, errno, "make", "a server");
    } else if (config_init(&server->config, err) == FP_OK) {
        return server;
    }
    fp_server_free(server);
    return NULL;
}

/* The process in which a server runs; 0: none. A handler's is another one, and may run its own. */
static pid_t runs_in;

/* In the process of a handler the descriptors of the server are closed, and their numbers other files'. */
static bool has_descriptors(const struct fp_server *server)
{
    pid_t where = __atomic_load_n(&runs_in, __ATOMIC_ACQUIRE);
    pid_t self = process_self();

    return where == 0 || where == self || server->made_in == self;
}

void fp_server_free(struct fp_server *server)
{
    if (server == NULL)
        return;
    if (has_descriptors(server)) {
        listeners_close(&server->listeners);
        fd_close(server->stop_fd);
    }
    listeners_free(&server->listeners);
    config_done(&server->config);
    free(server->pairs);
    free(server->keep);
    free(server);
}

struct config *server_config(struct fp_server *server)
{
    return &server->config;
}

void server_log_to(struct fp_server *server, int fd)
{
    server->log_fd = fd;
}

/* What is only looked at when the sockets are opened, or agrees with what was checked then, may not change any more. */
static enum fp_status still_closed(const struct fp_server *server, const char *operation, const char *what,
                                   struct fp_error *err)
{
    if (server->listeners.count == 0)
        return FP_OK;
    return error_reason(err, error_set(err, FP_USAGE, 0, operation, "%s", what),
                        "the server has been opened already");
}

enum fp_status fp_server_set(struct fp_server *server, const char *option, const char *value,
                             struct fp_error *err)
{
    enum fp_status status = still_closed(server, "set option", option, err);

    return status == FP_OK ? option_set(&server->config, option, value, err) : status;
}

enum fp_status fp_server_listen(struct fp_server *server, const char *addresses, struct fp_error *err)
{
    struct address_list list;
    enum fp_status status = still_closed(server, "listen on", addresses, err);

    if (status == FP_OK)
        status = address_list_parse(addresses, &list, err);
    if (status != FP_OK)
        return status;
    address_list_done(&server->config.addresses);
    server->config.addresses = list;
    return FP_OK;
}

void fp_server_handler(struct fp_server *server, fp_handler *handler, void *data)
{
    server->handler = handler;
    server->handler_data = data;
}

enum fp_status fp_server_program(struct fp_server *server, char *const argv[], struct fp_error *err)
{
    int count = 0;

    while (argv[count] != NULL)
        count++;
    if (count == 0)
        return error_reason(err, error_set(err, FP_USAGE, 0, "serve", "a program without a name"),
                            "argv[0] is expected");
    enum fp_status status = still_closed(server, "serve", argv[0], err);
    return status == FP_OK ? config_set_program(&server->config, count, argv, err) : status;
}

enum fp_status fp_server_keep(struct fp_server *server, int fd, struct fp_error *err)
{
    if (fd <= 2)
        return error_reason(err, error_set(err, FP_USAGE, 0, "keep", "descriptor %d", fd),
                            "descriptors 0 to 2 are the worker's own");
    enum fp_status status = still_closed(server, "keep", "a descriptor", err);
    if (status != FP_OK)
        return status;
    int *keep = realloc(server->keep, (server->keep_count + 1) * sizeof(*keep));
    if (keep == NULL)
        return error_set(err, FP_SYSTEM, errno, "keep", "descriptor %d", fd);
    size_t at = server->keep_count++;
    for (; at > 0 && keep[at - 1] > fd; at--)
        keep[at] = keep[at - 1];
    keep[at] = fd;
    server->keep = keep;
    return FP_OK;
}

void fp_server_log(struct fp_server *server, void (*sink)(const char *line, size_t length, void *data),
                   void *data)
{
    server->sink = sink;
    server->sink_data = data;
}

static fp_handler *handler_of(const struct fp_server *server)
{
    return server->config.builtin != NULL ? builtin_find(server->config.builtin) : server->handler;
}

static bool has_nothing(const struct fp_server *server)
{
    return server->config.program == NULL && server->config.builtin == NULL && server->handler == NULL;
}

static enum fp_status check(const struct fp_server *server, struct fp_error *err)
{
    /* Where there is nothing yet, it can only be a handler. */
    enum fp_status status =
        options_check(&server->config, server->handler != NULL || has_nothing(server), err);

    if (status != FP_OK)
        return status;
    /* Each worker would fail for it, or have what is opened in its place. */
    for (size_t i = 0; i < server->keep_count; i++) {
        if (!fd_is_open(server->keep[i]))
            return error_set(err, FP_USAGE, EBADF, "keep", "descriptor %d", server->keep[i]);
    }
    int ready_fd = server->config.ready_fd;
    if (ready_fd < 0 || fd_is_for_writing(ready_fd))
        return FP_OK;
    status = error_set(err, FP_USAGE, EBADF, "write the pairs to", "descriptor %d of --ready-fd", ready_fd);
    return fd_is_open(ready_fd) ? error_reason(err, status, "it is not open for writing") : status;
}

/* The sockets are closed when it has run, and the pairs kept. */
static bool is_open(const struct fp_server *server)
{
    return server->listeners.items[0].fd >= 0;
}

static enum fp_status has_run(struct fp_error *err)
{
    return error_reason(err, error_set(err, FP_USAGE, 0, "serve", "again"), "a server runs once");
}

static enum fp_status is_closed_here(struct fp_error *err)
{
    return error_reason(err, error_set(err, FP_USAGE, 0, "serve", "in a handler's process"),
                        "the server's descriptors are closed there");
}

enum fp_status fp_server_open(struct fp_server *server, struct fp_error *err)
{
    enum fp_status status = has_descriptors(server) ? check(server, err) : is_closed_here(err);

    /* The caller may have closed some: what is opened next must not land there. */
    if (status == FP_OK && fd_open_standard() < 0)
        status = error_set(err, FP_SYSTEM, errno, "open", "/dev/null as a standard descriptor");
    if (status != FP_OK)
        return status;
    if (server->listeners.count != 0)
        return is_open(server) ? FP_OK : has_run(err);
    free(server->pairs); /* of an attempt that failed */
    server->pairs = calloc(server->config.addresses.count, sizeof(*server->pairs));
    if (server->pairs == NULL)
        return error_set(err, FP_SYSTEM, errno, "listen on", "the addresses");
    status = listeners_open(&server->config.addresses, server->config.backlog, &server->listeners, err);
    if (status != FP_OK)
        return status;
    for (size_t i = 0; i < server->listeners.count; i++) {
        struct text text;
        text_init(&text, server->pairs[i], sizeof(server->pairs[i]));
        pair_format(&server->listeners.items[i].pair, &text);
        text_end(&text);
    }
    return FP_OK;
}

const char *fp_server_pair(const struct fp_server *server, size_t index)
{
    return index < server->listeners.count ? server->pairs[index] : NULL;
}

static const char *service_name(const struct fp_server *server)
{
    const struct config *config = &server->config;

    if (config->name != NULL)
        return config->name;
    if (config->builtin != NULL)
        return config->builtin;
    if (config->program == NULL)
        return "handler";
    const char *slash = strrchr(config->program[0], '/');
    return slash != NULL ? slash + 1 : config->program[0];
}

/* A terminal, whose user has not said that it takes none (no-color.org). */
static bool takes_colour(int fd)
{
    const char *refusal = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");

    return (refusal == NULL || refusal[0] == '\0') && (terminal == NULL || strcmp(terminal, "dumb") != 0) &&
           fd_is_terminal(fd);
}

static enum fp_status open_log(struct fp_server *server, struct log *log, struct fp_error *err)
{
    const struct config *config = &server->config;
    enum event_form form = config->log_format == LOG_JSON ? EVENT_FORM_JSON : EVENT_FORM_TEXT;
    enum fp_status status = FP_OK;

    if (config->log_format == LOG_NONE)
        status = log_open_fd(log, -1, form, err);
    else if (config->log_file != NULL)
        status = log_open_file(log, config->log_file, form, err);
    else if (server->sink != NULL)
        log_open_sink(log, server->sink, server->sink_data, form);
    else if (form == EVENT_FORM_TEXT && takes_colour(server->log_fd))
        status = log_open_fd(log, server->log_fd, EVENT_FORM_COLOUR, err);
    else
        status = log_open_fd(log, server->log_fd, form, err);
    if (status == FP_OK)
        log->service = service_name(server);
    return status;
}

static enum fp_status announce(struct fp_server *server, struct fp_error *err)
{
    int fd = fd_take(&server->config.ready_fd);

    if (fd < 0)
        return FP_OK;
    enum fp_status status = listeners_announce(&server->listeners, fd, server->stop_fd, err);
    fd_close(fd);
    /* A connection that took the place of a standard descriptor would be taken for it. */
    if (status == FP_OK && fd_open_standard() < 0)
        status = error_set(err, FP_SYSTEM, errno, "open", "/dev/null as a standard descriptor");
    return status;
}

static enum fp_status run(struct fp_server *server, struct log *log, struct fp_error *err)
{
    struct supervisor_parts parts = {
        .config = &server->config,
        .listeners = &server->listeners,
        .log = log,
        .stop_fd = server->stop_fd,
        .handler = handler_of(server),
        .handler_data = server->handler_data,
        .keep = server->keep,
        .keep_count = server->keep_count,
    };
    struct supervisor *supervisor = memory_map_private(sizeof(*supervisor));

    if (supervisor == NULL)
        return error_set(err, FP_SYSTEM, errno, "make", "the supervisor");
    enum fp_status status = supervisor_init(supervisor, &parts, err);
    if (status == FP_OK) {
        status = announce(server, err);
        if (status == FP_OK)
            status = supervisor_run(supervisor, err);
        supervisor_done(supervisor);
    }
    memory_unmap(supervisor, sizeof(*supervisor));
    return status;
}

static enum fp_status nothing_to_run(struct fp_error *err)
{
    return error_reason(err, error_set(err, FP_USAGE, 0, "serve", "%s", ""),
                        "a handler, a program or a builtin is expected");
}

static enum fp_status open_and_run(struct fp_server *server, struct fp_error *err)
{
    struct log *log = memory_map_private(sizeof(*log));

    if (log == NULL)
        return error_set(err, FP_SYSTEM, errno, "make", "the log");
    enum fp_status status = has_nothing(server) ? nothing_to_run(err) : FP_OK;
    if (status == FP_OK)
        status = fp_server_open(server, err);
    if (status == FP_OK)
        status = open_log(server, log, err);
    if (status == FP_OK) {
        /* What stdio has buffered would otherwise be in each forked copy too, and be written by each. */
        engine_flush();
        status = run(server, log, err);
        enum fp_status closed = log_close(log, status == FP_OK ? err : NULL);
        status = status == FP_OK ? closed : status;
    }
    listeners_close(&server->listeners);
    memory_unmap(log, sizeof(*log));
    return status;
}

enum fp_status fp_server_run(struct fp_server *server, struct fp_error *err)
{
    pid_t before = __atomic_load_n(&runs_in, __ATOMIC_ACQUIRE);
    pid_t self = process_self();

    if (!has_descriptors(server))
        return is_closed_here(err);
    /* Signals are the process's: of two servers either would take the other's SIGCHLD, and children never be reaped. */
    if (before == self ||
        !__atomic_compare_exchange_n(&runs_in, &before, self, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return error_reason(err, error_set(err, FP_USAGE, 0, "serve", "in this process"),
                            "another server runs in it already");
    enum fp_status status = open_and_run(server, err);
    __atomic_store_n(&runs_in, before, __ATOMIC_RELEASE);
    return status;
}

void fp_server_stop(struct fp_server *server)
{
    if (has_descriptors(server))
        fd_signal_event(server->stop_fd);
}
