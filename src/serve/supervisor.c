/* SPDX-License-Identifier: MIT */
#include "serve/supervisor.h"

#include "base/check.h"
#include "base/time.h"
#include "serve/acceptor.h"
#include "serve/account.h"
#include "serve/drain.h"
#include "serve/reaper.h"
#include "serve/warm.h"
#include "serve/worker_log.h"
#include "sys/fd.h"
#include "sys/memory.h"
#include "sys/random.h"
#include "sys/signals.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define FLUSH_AGAIN_NS (50 * MS_NS)
#define PAGE_BYTES     4096
/*
 * Under load, ends of workers are looked for together: not sooner than BUSY_NS after the last time, in a turn that something else is the
 * reason for, or else REST_NS after one was announced. The log is written once in FLUSH_NS. Both save a wake-up and several system calls for
 * each. An end or event that comes alone is not kept waiting.
 */
#define BUSY_NS  MS_NS
#define REST_NS  (3 * MS_NS)
#define FLUSH_NS (5 * MS_NS)

int64_t supervisor_time_ns(struct supervisor *supervisor)
{
    int64_t now_ns = loop_now_ns(&supervisor->loop);

    /* Anew in each turn: while the one before it waited the clock may have been set, or the host been asleep. */
    if (supervisor->clocks_ns != now_ns) {
        supervisor->realtime_offset_ns = clock_realtime_ns() - clock_monotonic_ns();
        supervisor->clocks_ns = now_ns;
    }
    return now_ns + supervisor->realtime_offset_ns;
}

void supervisor_event(struct supervisor *supervisor, const struct event *event)
{
    log_event(supervisor->log, event, supervisor_time_ns(supervisor));
}

void supervisor_notice(struct supervisor *supervisor, const char *what, ...)
{
    struct event event = {.kind = EVENT_NOTICE};
    char message[512];
    va_list ap;

    va_start(ap, what);
    vsnprintf(message, sizeof(message), what, ap);
    va_end(ap);
    EVENT_SET(&event, ERROR, error, message);
    supervisor_event(supervisor, &event);
}

static void reopen_log(struct supervisor *supervisor)
{
    struct event event = {.kind = EVENT_REOPEN};
    struct fp_error err;
    char message[512];

    if (supervisor->log->path == NULL) {
        supervisor_notice(supervisor, "there is no log file to be opened anew");
        return;
    }
    if (log_reopen(supervisor->log, &err) == FP_OK) {
        supervisor_event(supervisor, &event);
        return;
    }
    fp_error_format(&err, message, sizeof(message));
    supervisor_notice(supervisor, "%s", message);
}

static void act_on_signal(struct supervisor *supervisor, int number)
{
    char name[16];

    switch (number) {
    case SIGCHLD:
        reaper_run(supervisor);
        break;
    case SIGTERM:
    case SIGINT:
        drain_step(supervisor);
        break;
    case SIGUSR1:
        reopen_log(supervisor);
        break;
    /* Of a write to the log, which sees the error. */
    case SIGPIPE:
    case SIGXFSZ:
        break;
    default:
        supervisor_notice(supervisor, "SIG%s came, which is kept for reload and upgrade; nothing was done",
                          signal_name(number, name, sizeof(name)));
    }
}

static void read_signals(struct supervisor *supervisor)
{
    int numbers[4];
    /* The descriptor stays ready while there are more. */
    int count = signals_read(supervisor->signal_fd, numbers, 4);

    supervisor->signals_ns = loop_now_ns(&supervisor->loop);
    for (int i = 0; i < count; i++)
        act_on_signal(supervisor, numbers[i]);
}

static bool is_busy(const struct supervisor *supervisor)
{
    /* With no room left, clients wait for an end. */
    return loop_now_ns(&supervisor->loop) < supervisor->signals_ns + BUSY_NS &&
           admit_has_room(&supervisor->admit);
}

static void rest(struct supervisor *supervisor)
{
    loop_timer_set(&supervisor->loop, &supervisor->rest, loop_now_ns(&supervisor->loop) + REST_NS);
}

static void signal_ready(void *data)
{
    struct supervisor *supervisor = data;

    if (!is_busy(supervisor)) {
        read_signals(supervisor);
        return;
    }
    loop_remove(&supervisor->loop, &supervisor->signal_source);
    rest(supervisor);
}

/* As long as several have ended each time, nobody is to wake the server for the next. */
static void rest_over(void *data)
{
    struct supervisor *supervisor = data;
    unsigned live = admit_live(&supervisor->admit);

    loop_timer_clear(&supervisor->loop, &supervisor->rest);
    read_signals(supervisor);
    bool several = admit_live(&supervisor->admit) + 1 < live;
    if ((several && is_busy(supervisor)) || loop_add(&supervisor->loop, &supervisor->signal_source) < 0)
        rest(supervisor);
}

static void rest_turn(struct supervisor *supervisor)
{
    if (supervisor->rest.set && !is_busy(supervisor))
        rest_over(supervisor);
}

static void stop_ready(void *data)
{
    struct supervisor *supervisor = data;

    uint64_t calls = fd_take_event(supervisor->stop_source.fd);

    /* Each hurries as a signal does; there are no more steps than that. */
    for (uint64_t i = 0; i < calls && supervisor->phase != PHASE_KILLING; i++)
        drain_step(supervisor);
}

static void write_log(void *data)
{
    struct supervisor *supervisor = data;
    struct loop *loop = &supervisor->loop;

    log_flush(supervisor->log);
    supervisor->flushed_ns = loop_now_ns(loop);
    /* Its reader is slow, or its disk full. */
    if (log_has_unwritten(supervisor->log))
        loop_timer_set(loop, &supervisor->flush, loop_now_ns(loop) + FLUSH_AGAIN_NS);
}

static void flush_log(struct supervisor *supervisor)
{
    struct loop *loop = &supervisor->loop;

    if (!log_has_unwritten(supervisor->log) || supervisor->flush.set)
        return;
    if (loop_now_ns(loop) >= supervisor->flushed_ns + FLUSH_NS)
        write_log(supervisor);
    else
        loop_timer_set(loop, &supervisor->flush, supervisor->flushed_ns + FLUSH_NS);
}

static enum fp_status watch(struct supervisor *supervisor, struct loop_source *source, int fd,
                            void (*ready)(void *data), struct fp_error *err)
{
    *source = (struct loop_source){.fd = fd, .ready = ready, .data = supervisor};
    if (fd < 0 || loop_add(&supervisor->loop, source) < 0)
        return error_set(err, FP_SYSTEM, errno, "set up", "the event loop");
    return FP_OK;
}

static enum fp_status open_signals(struct supervisor *supervisor, struct fp_error *err)
{
    static const int numbers[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGXFSZ};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaddset(&set, numbers[i]);
    /* With SIGCHLD ignored, which is inherited, the kernel would throw ended children away. */
    signals_default_child(&supervisor->old_child);
    supervisor->signal_fd = signals_open(&set, &supervisor->old_mask);
    supervisor->signals_set = true;
    return watch(supervisor, &supervisor->signal_source, supervisor->signal_fd, signal_ready, err);
}

static enum fp_status make_tables(struct supervisor *supervisor, struct fp_error *err)
{
    const struct config_limits *limits = &supervisor->config->limits;
    struct admit_limits admit = {
        .max = limits->max,
        .max_per_source = limits->max_per_source,
        .source_prefix4 = limits->source_prefix4,
        .source_prefix6 = limits->source_prefix6,
    };

    supervisor->admit_memory = memory_map_private(admit_memory_bytes(&admit));
    if (supervisor->admit_memory == NULL)
        return error_set(err, FP_SYSTEM, errno, "make", "a table of %u sources", limits->max);
    admit_init(&supervisor->admit, &admit, random_seed(), supervisor->admit_memory);
    return connections_init(&supervisor->connections, limits->max, err);
}

static enum fp_status make_engine(struct supervisor *supervisor, const struct supervisor_parts *parts,
                                  struct fp_error *err)
{
    enum fp_status status = worker_log_init(supervisor, err);
    struct spawn_stderr to = {.fd = supervisor->stderr_fd};

    if (supervisor->stderr_log.reader >= 0 && supervisor->stderr_fd < 0)
        to.log = &supervisor->stderr_log;
    if (status == FP_OK)
        status = plan_init(&supervisor->plan, parts->config, &to, parts->keep, parts->keep_count, err);
    if (status != FP_OK)
        return status;
    supervisor->plan.handler = parts->handler;
    supervisor->plan.handler_data = parts->handler_data;
    supervisor->plan.flushes = supervisor->log->sink != NULL;
    return engine_init(&supervisor->engine, &supervisor->plan, err);
}

static enum fp_status start(struct supervisor *supervisor, const struct supervisor_parts *parts,
                            struct fp_error *err)
{
    enum fp_status status = FP_OK;

    if (loop_init(&supervisor->loop) < 0)
        return error_set(err, FP_SYSTEM, errno, "set up", "the event loop");
    supervisor->reserve_fd = fd_reserve();
    supervisor->flush = (struct loop_timer){.expired = write_log, .data = supervisor};
    supervisor->rest = (struct loop_timer){.expired = rest_over, .data = supervisor};
    pace_init(&supervisor->fail_pace, 10 * MS_NS, 1000 * MS_NS);
    drain_init(supervisor);
    reaper_init(supervisor);
    warm_init(supervisor);
    status = make_tables(supervisor, err);
    /* Before any child is made: what ends is then for us to wait for, whatever the program does with SIGCHLD. */
    if (status == FP_OK)
        status = open_signals(supervisor, err);
    if (status == FP_OK)
        status = make_engine(supervisor, parts, err);
    if (status == FP_OK)
        status = worker_log_watch(supervisor, err);
    if (status == FP_OK && parts->stop_fd >= 0)
        status = watch(supervisor, &supervisor->stop_source, parts->stop_fd, stop_ready, err);
    if (status == FP_OK)
        status = account_init(supervisor, err);
    if (status == FP_OK)
        status = acceptor_init(supervisor, err);
    return status;
}

enum fp_status supervisor_init(struct supervisor *supervisor, const struct supervisor_parts *parts,
                               struct fp_error *err)
{
    *supervisor = (struct supervisor){
        .config = parts->config,
        .listeners = parts->listeners,
        .log = parts->log,
        .reserve_fd = -1,
        .signal_fd = -1,
        .stderr_log = {.reader = -1, .path_fd = -1},
        .stderr_fd = -1,
        .loop = {.fd = -1},
    };
    enum fp_status status = start(supervisor, parts, err);
    if (status != FP_OK)
        supervisor_done(supervisor);
    return status;
}

static bool has_doors(const struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->listeners->count; i++) {
        if (supervisor->listeners->items[i].fd >= 0)
            return true;
    }
    return false;
}

static bool has_ended(const struct supervisor *supervisor)
{
    return supervisor->phase == PHASE_LEAVING ||
           (supervisor->phase != PHASE_SERVING && supervisor->connections.slots.live == 0 &&
            !has_doors(supervisor) && !account_is_waiting(supervisor));
}

static void log_stop(struct supervisor *supervisor)
{
    struct event event = {.kind = EVENT_STOP};

    EVENT_SET(&event, SERVED, served, supervisor->served);
    EVENT_SET(&event, REFUSED, refused, supervisor->refused);
    EVENT_SET(&event, FAILED, failed, supervisor->failed);
    supervisor_event(supervisor, &event);
}

__attribute__((noinline)) static enum fp_status run(struct supervisor *supervisor, struct fp_error *err)
{
    enum fp_status status = FP_OK;

    warm_turn(supervisor);
    flush_log(supervisor);
    while (!has_ended(supervisor)) {
        if (loop_turn(&supervisor->loop) < 0)
            return error_set(err, FP_SYSTEM, errno, "wait for", "events");
        rest_turn(supervisor);
        reaper_turn(supervisor);
        warm_turn(supervisor);
        CHECK(admit_live(&supervisor->admit) == supervisor->connections.slots.live);
        if (supervisor->phase == PHASE_SERVING && !has_doors(supervisor)) {
            /* Nobody can come any more. Those who are here are served to their end. */
            status = error_reason(err, error_set(err, FP_SYSTEM, 0, "go on serving", "%s", ""),
                                  "every listening socket is lost");
            drain_step(supervisor);
        }
        flush_log(supervisor);
    }
    log_stop(supervisor);
    if (supervisor->phase == PHASE_LEAVING)
        status = error_reason(err, error_set(err, FP_SYSTEM, 0, "end", "all workers"),
                              "SIGKILL did not end %u", admit_live(&supervisor->admit));
    return status;
}

/*
 * A forked copy is made deep in its calls, and each page of the stack that the server writes to afterwards is copied, as is each that the
 * copy writes to. So they begin at the end of a page, and what is large is not on the stack: it is one.
 */
enum fp_status supervisor_run(struct supervisor *supervisor, struct fp_error *err)
{
    char *here = __builtin_alloca(16);
    char *page = __builtin_alloca((uintptr_t)here % PAGE_BYTES);
    size_t size = engine_stack_size(&supervisor->engine);
    if (size > 0)
        engine_begin(&supervisor->engine, __builtin_alloca(size * sizeof(char *)));
    enum fp_status status = run(supervisor, err);
    engine_end(&supervisor->engine);

    /* Up to here it is there. */
    __asm__ volatile("" : : "r"(page));
    return status;
}

void supervisor_done(struct supervisor *supervisor)
{
    warm_done(supervisor);
    acceptor_done(supervisor);
    account_done(supervisor);
    worker_log_done(supervisor);
    loop_remove(&supervisor->loop, &supervisor->stop_source);
    loop_done(&supervisor->loop);
    if (supervisor->engine.plan != NULL)
        engine_done(&supervisor->engine);
    log_finish(supervisor->log);
    if (supervisor->signals_set) {
        /* What came until now was for the server. Unblocked, a SIGPIPE of its log would end the process. */
        int number;
        while (signals_read(supervisor->signal_fd, &number, 1) > 0)
            ;
        signals_set_mask(&supervisor->old_mask, NULL);
        signals_restore_child(&supervisor->old_child);
    }
    fd_close(fd_take(&supervisor->signal_fd));
    fd_close(fd_take(&supervisor->reserve_fd));
    plan_done(&supervisor->plan);
    connections_done(&supervisor->connections);
    memory_unmap(supervisor->admit_memory, admit_memory_bytes(&supervisor->admit.limits));
}
