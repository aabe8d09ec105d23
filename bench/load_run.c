/* SPDX-License-Identifier: MIT */
#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES        34u /* 16 digits, a dash, 16 digits, a newline */
#define EVENTS_AT_ONCE    256
#define SCAN_INTERVAL_MS  100
#define LATE_NS           1000000u
#define FAILURES_IN_A_ROW 1000u
#define QUEUED_MAX        64u /* below the least backlog that any server has, with as many again */
#define NS_PER_SECOND     1000000000u

struct connection {
    int fd; /* -1: free */
    bool sent;
    bool held;
    bool answered;
    uint64_t from_ns; /* times are measured from here: intended, started or released */
    uint64_t deadline_ns;
    unsigned got;
    char line[LINE_BYTES + 1];
    char back[LINE_BYTES + 2]; /* room for a byte too many */
};

struct load {
    const struct load_options *options;
    struct load_result *result;
    struct connection *connections;
    unsigned *free_slots;
    unsigned slots, free_count, open, held, failures_in_a_row;
    int epoll_fd, timer_fd, signal_fd;
    uint64_t begin_ns, nonce, next_scan_ns;
    bool released, stopped;
};

/* What an epoll event carries when it is not the number of a connection. */
#define TOKEN_TIMER  UINT32_MAX
#define TOKEN_SIGNAL (UINT32_MAX - 1)
#define TOKEN_STDIN  (UINT32_MAX - 2)

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static void connection_end(struct load *load, struct connection *connection, enum load_outcome outcome)
{
    struct load_result *result = load->result;
    if (outcome == LOAD_OK) {
        histogram_add(&result->ended, now_ns() - connection->from_ns);
        load->failures_in_a_row = 0;
    } else if (++load->failures_in_a_row >= FAILURES_IN_A_ROW) {
        result->gave_up = load->stopped = true;
    }
    if (load->options->hold && !load->released)
        result->lost_early++;
    result->outcomes[outcome]++;
    if (connection->held)
        load->held--;
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
    load->free_slots[load->free_count++] = (unsigned)(connection - load->connections);
    load->open--;
}

static enum load_outcome outcome_of_errno(int error)
{
    switch (error) {
    case ECONNREFUSED:
        return LOAD_REFUSED;
    case ECONNRESET:
    case EPIPE:
        return LOAD_RESET;
    case ETIMEDOUT:
        return LOAD_TIMED_OUT;
    default:
        return LOAD_LOCAL;
    }
}

/* True while the connection lives. */
static bool connection_send(struct load *load, struct connection *connection)
{
    ssize_t sent = send(connection->fd, connection->line, LINE_BYTES, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN)
        return true; /* still connecting */
    if (sent != LINE_BYTES) {
        connection_end(load, connection, outcome_of_errno(sent < 0 ? errno : EPIPE));
        return false;
    }
    connection->sent = true;
    if (load->options->half_close)
        shutdown(connection->fd, SHUT_WR);
    return true;
}

static void connection_hold(struct load *load, struct connection *connection)
{
    if (load->options->hold && !load->released && !connection->held) {
        connection->held = true;
        load->held++;
    }
}

static enum load_outcome outcome_of_answer(const struct connection *connection)
{
    if (connection->got < LINE_BYTES)
        return memcmp(connection->back, connection->line, connection->got) ? LOAD_WRONG : LOAD_MISSING;
    if (connection->got > LINE_BYTES || memcmp(connection->back, connection->line, LINE_BYTES) != 0)
        return LOAD_WRONG;
    return LOAD_OK;
}

static void connection_receive(struct load *load, struct connection *connection)
{
    for (;;) {
        size_t room = sizeof connection->back - connection->got;
        if (room == 0) {
            connection_end(load, connection, LOAD_WRONG);
            return;
        }
        ssize_t got = recv(connection->fd, connection->back + connection->got, room, 0);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got < 0) {
            connection_end(load, connection, outcome_of_errno(errno));
            return;
        }
        if (got == 0) {
            connection_end(load, connection, outcome_of_answer(connection));
            return;
        }
        connection->got += (unsigned)got;
        if (connection->got >= LINE_BYTES && !connection->answered) {
            connection->answered = true;
            histogram_add(&load->result->answered, now_ns() - connection->from_ns);
            connection_hold(load, connection);
        }
    }
}

static void connection_ready(struct load *load, struct connection *connection, uint32_t events)
{
    if (connection->fd < 0)
        return;
    bool waits_for_release = load->options->hold && !load->options->prove && !load->released;
    if (!connection->sent && (events & EPOLLOUT)) {
        if (waits_for_release)
            connection_hold(load, connection);
        else if (!connection_send(load, connection))
            return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        connection_receive(load, connection);
}

/*
 * One source address has 28,232 ephemeral ports; many have as many each. IP_BIND_ADDRESS_NO_PORT
 * leaves the port to connect(), which knows the whole four-tuple and so need not avoid ports
 * that are only in use towards somebody else.
 */
static int socket_from_source(const struct load *load)
{
    const struct load_options *options = load->options;
    int fd = socket(options->address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || options->sources == 0 || options->address.any.sa_family != AF_INET)
        return fd;
    const int on = 1;
    uint32_t host = 0x7f010001u + (uint32_t)(load->result->started % options->sources);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(host)};
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool connection_connect(struct load *load, struct connection *connection, unsigned slot)
{
    const struct load_options *options = load->options;
    connection->fd = socket_from_source(load);
    if (connection->fd < 0)
        return false;
    if (connect(connection->fd, &options->address.any, options->address_bytes) < 0 && errno != EINPROGRESS)
        return false;
    /* On the loopback the three segments are exchanged inside connect(), so the line can nearly always go now. */
    if (!options->hold || options->prove) {
        if (!connection_send(load, connection))
            return true;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u32 = slot};
    if (!connection->sent)
        event.events |= EPOLLOUT;
    return epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) == 0;
}

static void connection_open(struct load *load, uint64_t from_ns)
{
    unsigned slot = load->free_slots[--load->free_count];
    struct connection *connection = &load->connections[slot];
    memset(connection, 0, sizeof *connection);
    connection->from_ns = from_ns;
    connection->deadline_ns = now_ns() + load->options->timeout_ns;
    snprintf(connection->line, sizeof connection->line, "%016" PRIx64 "-%016" PRIx64 "\n", load->nonce,
             load->result->started);
    load->open++;
    if (!connection_connect(load, connection, slot))
        connection_end(load, connection, outcome_of_errno(errno));
    load->result->started++;
}

static bool is_over(const struct load *load, uint64_t now)
{
    const struct load_options *options = load->options;
    if (load->stopped || (options->count && load->result->started >= options->count))
        return true;
    return options->duration_ns && now - load->begin_ns >= options->duration_ns;
}

/* How many the server has not accepted yet: what ss(8) has as Recv-Q of a listening socket, which come first in the file. */
static unsigned accept_queue(const struct load *load)
{
    unsigned port, state = TCP_LISTEN, queued, found = 0;
    char line[256];
    FILE *file = fopen("/proc/net/tcp", "re");

    while (file && state == TCP_LISTEN && fgets(line, sizeof line, file)) {
        if (sscanf(line, " %*u: %*[^:]:%x %*s %x %*[^:]:%x", &port, &state, &queued) == 3 &&
            state == TCP_LISTEN && port == ntohs(load->options->address.in.sin_port))
            found = queued;
    }
    if (file)
        fclose(file);
    return found;
}

/*
 * What is held without a word counts once it is established here, where it may not be accepted for long. What is more than
 * the server's queue takes is given up by its kernel, of which this side hears nothing.
 */
static void await_accepted(const struct load *load)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    uint64_t deadline_ns = now_ns() + load->options->timeout_ns;

    while (accept_queue(load) > QUEUED_MAX && now_ns() < deadline_ns)
        nanosleep(&pause, NULL);
}

static void start_closed(struct load *load)
{
    bool is_silent = load->options->hold && !load->options->prove;

    while (load->free_count > 0 && load->open - load->held < load->options->concurrency) {
        if (is_silent && !load->released && load->result->started % QUEUED_MAX == 0)
            await_accepted(load);
        uint64_t now = now_ns();
        if (is_over(load, now))
            return;
        connection_open(load, now);
    }
}

/*
 * The intended time of number i is begin + i/rate, whatever became of those before it. All that
 * are due are started, also after the end of the time if they were due before it.
 */
static void start_open(struct load *load)
{
    const struct load_options *options = load->options;
    uint64_t now = now_ns();
    while (!load->stopped && load->free_count > 0) {
        uint64_t offset_ns = (uint64_t)((double)load->result->started * NS_PER_SECOND / options->rate);
        uint64_t intended_ns = load->begin_ns + offset_ns;
        if ((options->count && load->result->started >= options->count) ||
            (options->duration_ns && offset_ns >= options->duration_ns)) {
            load->stopped = true;
            return;
        }
        if (intended_ns > now) {
            struct itimerspec timer = {.it_value = {.tv_sec = (time_t)(intended_ns / NS_PER_SECOND),
                                                    .tv_nsec = (long)(intended_ns % NS_PER_SECOND)}};
            timerfd_settime(load->timer_fd, TFD_TIMER_ABSTIME, &timer, NULL);
            return;
        }
        if (now - intended_ns > LATE_NS)
            load->result->late++;
        connection_open(load, intended_ns);
        now = now_ns();
    }
}

static void release(struct load *load)
{
    if (load->released)
        return;
    load->released = true;
    load->begin_ns = now_ns();
    for (unsigned slot = 0; slot < load->slots; slot++) {
        struct connection *connection = &load->connections[slot];
        if (connection->fd < 0)
            continue;
        connection->from_ns = load->begin_ns;
        connection->deadline_ns = load->begin_ns + load->options->timeout_ns;
        if (load->options->prove)
            shutdown(connection->fd, SHUT_WR);
        else
            connection_send(load, connection);
    }
}

static bool watch(struct load *load, int fd, uint32_t token)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = token};
    return epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void stdin_ready(struct load *load)
{
    char bytes[256];
    ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        release(load);
}

static void hold_complete(struct load *load)
{
    const struct load_options *options = load->options;
    if (options->held)
        options->held(load->held, now_ns() - load->begin_ns);
    load->stopped = true;
    /* A file or /dev/null cannot be waited for: it is at its end already. */
    if (!watch(load, STDIN_FILENO, TOKEN_STDIN))
        release(load);
}

static void scan_for_timeouts(struct load *load)
{
    uint64_t now = now_ns();
    if (now < load->next_scan_ns)
        return;
    load->next_scan_ns = now + SCAN_INTERVAL_MS * 1000000u;
    for (unsigned slot = 0; slot < load->slots; slot++) {
        struct connection *connection = &load->connections[slot];
        bool kept = connection->held && !load->released;
        if (connection->fd >= 0 && !kept && now >= connection->deadline_ns)
            connection_end(load, connection, LOAD_TIMED_OUT);
    }
}

static void event_handle(struct load *load, const struct epoll_event *event)
{
    union {
        uint64_t expirations;
        struct signalfd_siginfo signal;
    } ignored;

    switch (event->data.u32) {
    case TOKEN_TIMER:
        if (read(load->timer_fd, &ignored, sizeof ignored.expirations) < 0 && errno != EAGAIN)
            load->stopped = true;
        break;
    case TOKEN_SIGNAL:
        if (read(load->signal_fd, &ignored, sizeof ignored.signal) > 0)
            release(load);
        break;
    case TOKEN_STDIN:
        stdin_ready(load);
        break;
    default:
        connection_ready(load, &load->connections[event->data.u32], event->events);
    }
}

static void loop(struct load *load)
{
    struct epoll_event events[EVENTS_AT_ONCE];

    load->begin_ns = now_ns();
    for (;;) {
        if (load->options->rate > 0)
            start_open(load);
        else
            start_closed(load);
        bool started = load->stopped || is_over(load, now_ns());
        if (load->options->hold && !load->stopped && started && load->held == load->open)
            hold_complete(load);
        bool waiting = load->options->hold && !load->released && load->open > 0;
        if (started && load->open == 0 && !waiting)
            break;
        int count = epoll_wait(load->epoll_fd, events, EVENTS_AT_ONCE, SCAN_INTERVAL_MS);
        for (int i = 0; i < count; i++)
            event_handle(load, &events[i]);
        scan_for_timeouts(load);
    }
    load->result->elapsed_ns = now_ns() - load->begin_ns;
}

static bool load_prepare(struct load *load)
{
    const struct load_options *options = load->options;
    sigset_t usr1;

    load->slots = options->hold ? options->hold : options->concurrency;
    load->connections = calloc(load->slots, sizeof *load->connections);
    load->free_slots = calloc(load->slots, sizeof *load->free_slots);
    if (!load->connections || !load->free_slots)
        return false;
    for (unsigned slot = 0; slot < load->slots; slot++) {
        load->connections[slot].fd = -1;
        load->free_slots[load->free_count++] = slot;
    }
    /* A nonce no earlier run has used, so that an answer meant for one of those is seen as wrong. */
    if (getrandom(&load->nonce, sizeof load->nonce, 0) != sizeof load->nonce)
        return false;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    load->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    load->signal_fd = signalfd(-1, &usr1, SFD_NONBLOCK | SFD_CLOEXEC);
    return load->epoll_fd >= 0 && watch(load, load->timer_fd, TOKEN_TIMER) &&
           watch(load, load->signal_fd, TOKEN_SIGNAL);
}

bool load_run(const struct load_options *options, struct load_result *result)
{
    struct load load = {
        .options = options, .result = result, .epoll_fd = -1, .timer_fd = -1, .signal_fd = -1};

    memset(result, 0, sizeof *result);
    bool prepared = load_prepare(&load);
    if (prepared)
        loop(&load);
    else
        fprintf(stderr, "load: cannot prepare %u connections: %s\n", load.slots, strerror(errno));
    free(load.connections);
    free(load.free_slots);
    close(load.epoll_fd);
    close(load.timer_fd);
    close(load.signal_fd);
    return prepared;
}
