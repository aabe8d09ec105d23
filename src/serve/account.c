/* SPDX-License-Identifier: MIT */
#include "serve/account.h"

#include "base/time.h"
#include "pairs/tally.h"
#include "sys/memory.h"
#include "sys/socket.h"
#include "wire/sock_diag.h"

#include <errno.h>
#include <string.h>

/* After this, a socket that has not been announced is asked for: it may live on long after its process. */
#define PATIENCE_NS (20 * MS_NS)
/* One that is neither there nor announced will be, as soon as a busy kernel comes to it. */
#define LONGEST_PATIENCE_NS SECOND_NS
/* Announcements that no end waits for are read once in this time. */
#define REST_NS (10 * MS_NS)

/* The end of a connection whose slot has been given back, until its bytes are known. */
struct waiting_end {
    struct pair pair;
    struct event event; /* but for the pair, which is the one above */
    uint64_t cookie;
    uint32_t interface;
    int64_t time_ns; /* CLOCK_REALTIME of the end */
    int64_t ended_ns;
};

struct account {
    struct tally tally;
    struct loop_source source;
    struct loop_timer rest;
    struct loop_timer patience;
    uint32_t first; /* of the waiting ones, which stand in the order of their ends */
    uint32_t count;
    uint32_t capacity;
    struct waiting_end waiting[];
};

static size_t account_bytes(uint32_t capacity)
{
    return sizeof(struct account) + capacity * sizeof(struct waiting_end);
}

static bool is_announced(const struct supervisor *supervisor)
{
    return supervisor->account != NULL && supervisor->account->tally.fd >= 0;
}

void account_describe(const struct supervisor *supervisor, const struct connection *connection,
                      struct event *event)
{
    EVENT_SET(event, CONNECTION, connection, connection->number);
    EVENT_SET(event, PAIR, pair, &connection->pair);
    EVENT_SET(event, PID, pid, (uint64_t)connection->pid);
    EVENT_SET(event, DURATION, duration_ns,
              (uint64_t)(loop_now_ns(&supervisor->loop) - connection->accepted_ns));
}

static void set_bytes(struct event *event, uint64_t in, uint64_t out)
{
    EVENT_SET(event, BYTES_IN, bytes_in, in);
    EVENT_SET(event, BYTES_OUT, bytes_out, out);
}

static struct waiting_end *waiting_at(struct account *account, uint32_t index)
{
    return &account->waiting[(account->first + index) % account->capacity];
}

static void log_first(struct supervisor *supervisor)
{
    struct account *account = supervisor->account;
    struct waiting_end *end = waiting_at(account, 0);

    end->event.pair = &end->pair;
    log_event(supervisor->log, &end->event, end->time_ns);
    account->count--;
    /* Memory is there from its first use on: only as many places are used as ends have waited at once. */
    account->first = account->count == 0 ? 0 : (account->first + 1) % account->capacity;
}

/* Has the end nothing to wait for any more? */
static bool is_settled(struct supervisor *supervisor, struct waiting_end *end, int64_t now_ns)
{
    struct tally_bytes bytes;

    if (end->cookie == 0)
        return true;
    if (now_ns - end->ended_ns < PATIENCE_NS)
        return false;
    if (tally_ask(&supervisor->account->tally, &end->pair, end->interface, end->cookie, &bytes)) {
        set_bytes(&end->event, bytes.in, bytes.out);
        return true;
    }
    return now_ns - end->ended_ns >= LONGEST_PATIENCE_NS;
}

/* Logs what need not wait any more, in the order of the ends. */
static void log_settled(struct supervisor *supervisor)
{
    struct account *account = supervisor->account;
    int64_t now_ns = loop_now_ns(&supervisor->loop);

    while (account->count > 0 && is_settled(supervisor, waiting_at(account, 0), now_ns))
        log_first(supervisor);
    if (account->count > 0)
        loop_timer_set(&supervisor->loop, &account->patience, now_ns + PATIENCE_NS);
    else
        loop_timer_clear(&supervisor->loop, &account->patience);
}

static void take(struct supervisor *supervisor, const struct tally_bytes *bytes)
{
    struct account *account = supervisor->account;
    struct connection *connection = connections_find_cookie(&supervisor->connections, bytes->cookie);

    if (connection != NULL) {
        connection->bytes_in = (int64_t)bytes->in;
        connection->bytes_out = (int64_t)bytes->out;
        return;
    }
    for (uint32_t i = 0; i < account->count; i++) {
        struct waiting_end *end = waiting_at(account, i);
        if (end->cookie == bytes->cookie) {
            set_bytes(&end->event, bytes->in, bytes->out);
            end->cookie = 0;
            return;
        }
    }
}

void account_read(struct supervisor *supervisor)
{
    struct tally_bytes bytes;

    if (!is_announced(supervisor))
        return;
    while (tally_read(&supervisor->account->tally, &bytes))
        take(supervisor, &bytes);
    log_settled(supervisor);
}

static void patience_over(void *data)
{
    account_read(data);
}

static void ready(void *data)
{
    struct supervisor *supervisor = data;
    struct account *account = supervisor->account;

    account_read(supervisor);
    /* Each end reads them as well: woken for each one too, the loop would do everything twice. */
    loop_remove(&supervisor->loop, &account->source);
    loop_timer_set(&supervisor->loop, &account->rest, loop_now_ns(&supervisor->loop) + REST_NS);
}

static void rest_over(void *data)
{
    struct supervisor *supervisor = data;
    struct account *account = supervisor->account;

    if (loop_add(&supervisor->loop, &account->source) < 0)
        loop_timer_set(&supervisor->loop, &account->rest, loop_now_ns(&supervisor->loop) + REST_NS);
}

static int open_tally(struct supervisor *supervisor)
{
    uint16_t ports[DIAG_FILTER_PORTS_MAX + 1];
    size_t count = supervisor->listeners->count;

    for (size_t i = 0; i < count && i <= DIAG_FILTER_PORTS_MAX; i++)
        ports[i] = supervisor->listeners->items[i].pair.local.port;
    return tally_open(&supervisor->account->tally, ports, count);
}

enum fp_status account_init(struct supervisor *supervisor, struct fp_error *err)
{
    if (supervisor->plan.path == NULL || !supervisor->log->enabled)
        return FP_OK;
    uint32_t capacity = supervisor->config->limits.max;
    struct account *account = memory_map_private(account_bytes(capacity));
    if (account == NULL)
        return error_set(err, FP_SYSTEM, errno, "prepare", "the accounts of connections");
    supervisor->account = account;
    account->capacity = capacity;
    account->rest = (struct loop_timer){.expired = rest_over, .data = supervisor};
    account->patience = (struct loop_timer){.expired = patience_over, .data = supervisor};
    if (open_tally(supervisor) < 0) {
        supervisor_notice(supervisor, "the bytes of connections are not counted: sock_diag: %s",
                          strerror(errno));
        return FP_OK;
    }
    account->source = (struct loop_source){.fd = account->tally.fd, .ready = ready, .data = supervisor};
    if (loop_add(&supervisor->loop, &account->source) < 0)
        return error_set(err, FP_SYSTEM, errno, "watch", "the ends of sockets");
    return FP_OK;
}

void account_done(struct supervisor *supervisor)
{
    struct account *account = supervisor->account;

    if (account == NULL)
        return;
    loop_remove(&supervisor->loop, &account->source);
    loop_timer_clear(&supervisor->loop, &account->rest);
    loop_timer_clear(&supervisor->loop, &account->patience);
    tally_close(&account->tally);
    memory_unmap(account, account_bytes(account->capacity));
    supervisor->account = NULL;
}

void account_start(struct supervisor *supervisor, struct connection *connection)
{
    connection->bytes_in = -1;
    connection->bytes_out = -1;
    if (is_announced(supervisor))
        connections_set_cookie(&supervisor->connections, connection, socket_cookie(connection->fd));
}

static void fill_end(const struct supervisor *supervisor, const struct connection *connection,
                     const struct process_end *end, struct event *event)
{
    account_describe(supervisor, connection, event);
    if (end->signalled)
        EVENT_SET(event, SIGNAL, signal, (uint64_t)end->code);
    else
        EVENT_SET(event, EXIT, exit, (uint64_t)end->code);
    EVENT_SET(event, CPU_USER, cpu_user_us, (uint64_t)end->cpu_user_us);
    EVENT_SET(event, CPU_SYSTEM, cpu_system_us, (uint64_t)end->cpu_system_us);
    EVENT_SET(event, MAX_RSS, max_rss_kib, (uint64_t)end->max_rss_kib);
    EVENT_SET(event, LIVE, live, admit_live(&supervisor->admit));
}

static void wait_for_bytes(struct supervisor *supervisor, const struct connection *connection,
                           const struct event *event)
{
    struct account *account = supervisor->account;

    if (account->count == account->capacity)
        log_first(supervisor);
    *waiting_at(account, account->count++) = (struct waiting_end){
        .pair = connection->pair,
        .event = *event,
        .cookie = connection->cookie,
        .interface = connection->interface,
        .time_ns = supervisor_time_ns(supervisor),
        .ended_ns = loop_now_ns(&supervisor->loop),
    };
    if (!account->patience.set)
        loop_timer_set(&supervisor->loop, &account->patience, loop_now_ns(&supervisor->loop) + PATIENCE_NS);
}

void account_end(struct supervisor *supervisor, const struct connection *connection,
                 const struct process_end *end)
{
    const volatile struct child_report *report = connection_report(&supervisor->connections, connection);
    struct event event = {.kind = EVENT_END};

    if (!supervisor->log->enabled)
        return;
    fill_end(supervisor, connection, end, &event);
    if (connection->bytes_in >= 0) {
        set_bytes(&event, (uint64_t)connection->bytes_in, (uint64_t)connection->bytes_out);
    } else if (is_announced(supervisor)) {
        wait_for_bytes(supervisor, connection, &event);
        return;
    } else if (report->bytes_in >= 0 && report->bytes_out >= 0) {
        set_bytes(&event, (uint64_t)report->bytes_in, (uint64_t)report->bytes_out);
    }
    supervisor_event(supervisor, &event);
}

bool account_is_waiting(const struct supervisor *supervisor)
{
    return supervisor->account != NULL && supervisor->account->count > 0;
}
