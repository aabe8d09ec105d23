/* SPDX-License-Identifier: MIT */
#include "serve/acceptor.h"

#include "base/check.h"
#include "base/time.h"
#include "serve/account.h"
#include "serve/drain.h"
#include "serve/reaper.h"
#include "sys/accept.h"
#include "sys/fd.h"
#include "sys/memory.h"
#include "sys/process.h"
#include "sys/signals.h"
#include "sys/socket.h"

#include <errno.h>
#include <string.h>

/* Connections taken from one door before the others and the reaper have their turn. */
#define BATCH            16
#define RETRIES_IN_A_ROW 4
#define PAUSE_FIRST_NS   (10 * MS_NS)
#define PAUSE_LONGEST_NS SECOND_NS

static bool queues_at_max(const struct supervisor *supervisor)
{
    return supervisor->config->at_max == AT_MAX_QUEUE;
}

static bool is_open(const struct door *door)
{
    const struct supervisor *supervisor = door->supervisor;

    if (supervisor->phase != PHASE_SERVING || door->listener->fd < 0 || door->pause.set)
        return false;
    if (supervisor->connections.held_first != SLOT_NONE || supervisor->crowded)
        return false;
    return !queues_at_max(supervisor) || admit_has_room(&supervisor->admit);
}

/* Leaves the door alone; `error` says why in the log, NULL: that has been said. */
static void pause_for(struct door *door, int64_t delay_ns, const char *error)
{
    struct loop *loop = &door->supervisor->loop;
    struct event event = {.kind = EVENT_PAUSE};

    door->pause_said = error != NULL;
    if (door->pause_said) {
        EVENT_SET(&event, PAIR, pair, &door->listener->pair);
        EVENT_SET(&event, ERROR, error, error);
        EVENT_SET(&event, DELAY, delay_ms, (uint64_t)(delay_ns / MS_NS));
        supervisor_event(door->supervisor, &event);
    }
    loop_timer_set(loop, &door->pause, loop_now_ns(loop) + delay_ns);
    loop_remove(loop, &door->source);
}

static void update(struct door *door)
{
    struct loop *loop = &door->supervisor->loop;

    if (!is_open(door))
        loop_remove(loop, &door->source);
    else if (loop_add(loop, &door->source) < 0)
        /* The kernel has no memory for the watch: the same as having none for the connection. */
        pause_for(door, PAUSE_LONGEST_NS, strerror(errno));
}

/* The first to be watched again is the first to be ready: they take turns at what there is room for. */
void acceptor_update(struct supervisor *supervisor)
{
    size_t count = supervisor->listeners->count;

    for (size_t i = 0; i < count; i++)
        update(&supervisor->doors[(supervisor->next_door + i) % count]);
}

static void take_queued(struct door *door);

/* The making of a process takes a descriptor too, which is kept until nothing more can be taken in. */
static void give_reserve(struct supervisor *supervisor)
{
    fd_close(fd_take(&supervisor->reserve_fd));
}

static void pause_ended(void *data)
{
    struct door *door = data;
    struct supervisor *supervisor = door->supervisor;
    struct event event = {.kind = EVENT_RESUME};

    if (door->listener->fd < 0)
        return;
    if (supervisor->phase != PHASE_SERVING && supervisor->connections.held_first != SLOT_NONE) {
        loop_timer_set(&supervisor->loop, &door->pause, loop_now_ns(&supervisor->loop) + PAUSE_FIRST_NS);
        return;
    }
    if (supervisor->reserve_fd < 0)
        supervisor->reserve_fd = fd_reserve();
    if (door->pause_said) {
        EVENT_SET(&event, PAIR, pair, &door->listener->pair);
        supervisor_event(supervisor, &event);
    }
    if (supervisor->phase == PHASE_SERVING) {
        update(door);
        return;
    }
    take_queued(door);
    give_reserve(supervisor);
}

void acceptor_back_off(struct supervisor *supervisor, bool is_news)
{
    int64_t now_ns = loop_now_ns(&supervisor->loop);
    int64_t delay_ns = 0;

    for (size_t i = 0; i < supervisor->listeners->count; i++) {
        struct door *door = &supervisor->doors[i];
        /* Workers that were started before the pause and fail now tell nothing new. */
        if (door->pause.set || door->listener->fd < 0)
            continue;
        if (delay_ns == 0)
            delay_ns = pace_failure_ns(&supervisor->fail_pace, now_ns);
        pause_for(door, delay_ns, is_news ? "workers fail before they run" : NULL);
    }
}

static void refuse(struct supervisor *supervisor, int take_fd, const struct pair *pair, const char *reason)
{
    const char *text = supervisor->config->at_max == AT_MAX_MESSAGE ? supervisor->config->at_max_text : "";
    struct event event = {.kind = EVENT_REFUSE};

    socket_dismiss(take_fd, text, strlen(text));
    supervisor->refused++;
    EVENT_SET(&event, PAIR, pair, pair);
    EVENT_SET(&event, REASON, reason, reason);
    EVENT_SET(&event, LIVE, live, admit_live(&supervisor->admit));
    supervisor_event(supervisor, &event);
}

/*
 * Apart from their callers, as the next: between them the copy of a process is made, and each page of the stack that is in use
 * then, or soon after, is copied for it.
 */
__attribute__((noinline)) static void say_accepted(struct supervisor *supervisor,
                                                   const struct connection *connection)
{
    struct event event = {.kind = EVENT_ACCEPT};

    EVENT_SET(&event, CONNECTION, connection, connection->number);
    EVENT_SET(&event, PAIR, pair, &connection->pair);
    supervisor_event(supervisor, &event);
}

__attribute__((noinline)) static void say_started(struct supervisor *supervisor,
                                                  const struct connection *connection)
{
    struct event event = {.kind = EVENT_START};

    EVENT_SET(&event, CONNECTION, connection, connection->number);
    EVENT_SET(&event, PAIR, pair, &connection->pair);
    EVENT_SET(&event, PID, pid, (uint64_t)connection->pid);
    supervisor_event(supervisor, &event);
}

/* Starts the connection's process; false: none can be made now. */
static bool start(struct supervisor *supervisor, struct connection *connection)
{
    struct spawn_request request = {
        .fd = connection->fd,
        .pair = &connection->pair,
        .connection = connection->number,
        .key = connection_key(connection),
        .of_source = connection->of_source,
        .report = connection_report(&supervisor->connections, connection),
    };
    pid_t pid;

    if (engine_start(&supervisor->engine, &request, loop_awake_ns(&supervisor->loop), &pid,
                     &supervisor->start_error) != FP_OK)
        return false;
    fd_close(fd_take(&connection->fd));
    if (pid == 0) {
        connection_enter_starting(&supervisor->connections, connection);
        return true;
    }
    connection_enter_running(&supervisor->connections, connection, pid);
    say_started(supervisor, connection);
    return true;
}

static void retry_later(struct supervisor *supervisor)
{
    struct loop *loop = &supervisor->loop;

    loop_timer_set(loop, &supervisor->retry,
                   loop_now_ns(loop) + pace_failure_ns(&supervisor->retry_pace, loop_now_ns(loop)));
}

void acceptor_retry(struct supervisor *supervisor)
{
    struct loop *loop = &supervisor->loop;

    if (supervisor->connections.held_first != SLOT_NONE)
        loop_timer_set(loop, &supervisor->retry, loop_now_ns(loop));
}

/* So many programs are being executed that one more would only take time from them: it waits in the kernel's queue. */
static void wait_for_engine(struct supervisor *supervisor)
{
    struct loop *loop = &supervisor->loop;

    supervisor->crowded = true;
    if (!supervisor->retry.set)
        loop_timer_set(loop, &supervisor->retry, loop_now_ns(loop) + MS_NS);
}

__attribute__((noinline)) static void say_held(struct supervisor *supervisor,
                                               const struct connection *connection)
{
    struct event event = {.kind = EVENT_NOTICE};
    char message[512];

    fp_error_format(&supervisor->start_error, message, sizeof(message));
    EVENT_SET(&event, CONNECTION, connection, connection->number);
    EVENT_SET(&event, ERROR, error, message);
    supervisor_event(supervisor, &event);
}

/* Under load ends are left unread for a moment: what is waited for may be among them. False: there were none. */
static bool look_for_ends(struct supervisor *supervisor)
{
    if (!signals_take(SIGCHLD))
        return false;
    reaper_run(supervisor);
    return true;
}

/* Its process is made as soon as those before it have theirs; processes that have ended count until they are waited for. */
static void start_or_hold(struct supervisor *supervisor, struct connection *connection)
{
    if (supervisor->connections.held_first != SLOT_NONE || !engine_has_room(&supervisor->engine)) {
        connection_enter_held(&supervisor->connections, connection);
        wait_for_engine(supervisor);
    } else if (!start(supervisor, connection) &&
               !(look_for_ends(supervisor) && start(supervisor, connection))) {
        say_held(supervisor, connection);
        connection_enter_held(&supervisor->connections, connection);
        retry_later(supervisor);
    }
}

static void retry_held(void *data)
{
    struct supervisor *supervisor = data;
    struct connection *connection;

    while ((connection = connections_held(&supervisor->connections)) != NULL) {
        if (!engine_has_room(&supervisor->engine)) {
            wait_for_engine(supervisor);
            return;
        }
        if (!start(supervisor, connection)) {
            retry_later(supervisor);
            return;
        }
    }
    supervisor->crowded = false;
    acceptor_update(supervisor);
}

void acceptor_started(struct supervisor *supervisor, struct connection *connection, pid_t pid, int take_fd)
{
    struct connections *connections = &supervisor->connections;

    CHECK(connection != NULL && connection->state == CONNECTION_STARTING);
    /* A template may say what is not so: it is not believed that one process serves two. */
    if (pid > 0 && connections_living(connections, pid) == NULL) {
        connection_enter_running(connections, connection, pid);
        say_started(supervisor, connection);
        /* It was not there when the others were told. */
        if (supervisor->phase >= PHASE_TERMINATING && process_is_child(pid))
            process_signal(pid, supervisor->phase == PHASE_TERMINATING ? SIGTERM : SIGKILL);
    } else if (take_fd >= 0) {
        connection->fd = take_fd;
        connection_enter_held(connections, connection);
        if (supervisor->phase >= PHASE_TERMINATING)
            drain_held(supervisor);
        else
            wait_for_engine(supervisor);
    } else {
        supervisor->failed++;
        supervisor_notice(supervisor, "connection #%llu was lost in a template that did not do as it should",
                          (unsigned long long)connection->number);
        admit_release(&supervisor->admit, connection->source);
        connections_remove(connections, connection);
    }
}

static void fill_pair(const struct door *door, const struct accepted *accepted, struct pair *ret_pair)
{
    struct sockaddr_storage local;

    address_from_sockaddr((const struct sockaddr *)&accepted->foreign, &ret_pair->foreign);
    ret_pair->local = door->listener->pair.local;
    if (!door->listener->local_is_pair && socket_local(accepted->fd, &local) >= 0)
        address_from_sockaddr((const struct sockaddr *)&local, &ret_pair->local);
    /* It is bound to what the listening socket is bound to. */
    address_set_device(&ret_pair->local, door->listener->pair.local.device);
}

static void take(struct door *door, const struct accepted *accepted)
{
    struct supervisor *supervisor = door->supervisor;
    struct pair pair;
    uint32_t source;
    uint32_t of_source;

    fill_pair(door, accepted, &pair);
    enum admit_verdict verdict = admit_take(&supervisor->admit, &pair.foreign, &source, &of_source);
    if (verdict != ADMIT_YES && look_for_ends(supervisor))
        verdict = admit_take(&supervisor->admit, &pair.foreign, &source, &of_source);
    if (verdict != ADMIT_YES) {
        /* Where the others wait in the kernel's queue, this is its end. */
        bool is_end = verdict == ADMIT_FULL && queues_at_max(supervisor);
        refuse(supervisor, accepted->fd, &pair, is_end ? "server ends" : admit_reason(verdict));
        return;
    }
    struct connection *connection = connections_add(&supervisor->connections, accepted->fd);
    connection->number = ++supervisor->accepted;
    connection->source = source;
    connection->of_source = of_source;
    connection->pair = pair;
    connection->interface = door->listener->interface;
    connection->accepted_ns = loop_now_ns(&supervisor->loop);
    account_start(supervisor, connection);
    say_accepted(supervisor, connection);
    start_or_hold(supervisor, connection);
}

/* Descriptors are short. Where clients are told rather than kept waiting, the reserve is given up to tell one. */
static void use_reserve(struct door *door)
{
    struct supervisor *supervisor = door->supervisor;
    struct accepted accepted;

    if (queues_at_max(supervisor) || supervisor->reserve_fd < 0)
        return;
    fd_close(fd_take(&supervisor->reserve_fd));
    if (accept_connection(door->listener->fd, &accepted) == ACCEPT_CONNECTION) {
        struct pair pair;
        fill_pair(door, &accepted, &pair);
        refuse(supervisor, accepted.fd, &pair, "no descriptors");
    }
    supervisor->reserve_fd = fd_reserve();
}

static void close_door(struct door *door)
{
    struct loop *loop = &door->supervisor->loop;

    loop_remove(loop, &door->source);
    loop_timer_clear(loop, &door->pause);
    fd_close(fd_take(&door->listener->fd));
}

static void say_of(const struct door *door, const char *what, const char *why)
{
    char pair[PAIR_TEXT_SIZE];
    struct text text;

    text_init(&text, pair, sizeof(pair));
    pair_format(&door->listener->pair, &text);
    text_end(&text);
    supervisor_notice(door->supervisor, "the listening socket %s %s: %s", pair, what, why);
}

static void pause_door(struct door *door, int errnum)
{
    const struct loop *loop = &door->supervisor->loop;

    if (errnum == EMFILE || errnum == ENFILE)
        use_reserve(door);
    pause_for(door, pace_failure_ns(&door->pace, loop_now_ns(loop)), strerror(errnum));
}

/* Takes one connection, or does what the class of the failure asks for. */
static enum accept_class take_one(struct door *door)
{
    struct accepted accepted;
    enum accept_class class = accept_connection(door->listener->fd, &accepted);

    if (class == ACCEPT_CONNECTION) {
        door->retries = 0;
        door->supervisor->next_door = (size_t)(door - door->supervisor->doors) + 1;
        take(door, &accepted);
    } else if (class == ACCEPT_RETRY && ++door->retries >= RETRIES_IN_A_ROW) {
        /* An error that does not go away with the connection it came with would keep the loop spinning. */
        door->retries = 0;
        pause_door(door, accepted.errnum);
    } else if (class == ACCEPT_PAUSE) {
        pause_door(door, accepted.errnum);
    } else if (class == ACCEPT_DEAD) {
        close_door(door);
        say_of(door, "is lost", strerror(accepted.errnum));
    }
    return class;
}

static void ready(void *data)
{
    struct door *door = data;

    for (int i = 0; i < BATCH && is_open(door); i++) {
        if (!engine_has_room(&door->supervisor->engine)) {
            wait_for_engine(door->supervisor);
            break;
        }
        if (take_one(door) == ACCEPT_DRAINED)
            break;
    }
    if (!is_open(door))
        acceptor_update(door->supervisor);
}

/* Closed, it resets what its queue has still: so where descriptors are short it stays until there are some. */
static void take_queued(struct door *door)
{
    for (; door->queued_left > 0 && door->listener->fd >= 0 && !door->pause.set; door->queued_left--) {
        if (take_one(door) == ACCEPT_DRAINED)
            break;
    }
    /* accept(2) is short of a descriptor also where nobody waits. */
    if (door->listener->fd >= 0 && (!door->pause.set || !fd_is_readable(door->listener->fd)))
        close_door(door);
}

void acceptor_close(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->listeners->count; i++) {
        struct door *door = &supervisor->doors[i];
        loop_remove(&supervisor->loop, &door->source);
        loop_timer_clear(&supervisor->loop, &door->pause);
        /* No more than the queue can hold, so that new ones coming all the time cannot keep the server from ending. */
        door->queued_left = supervisor->config->backlog + 1;
        take_queued(door);
    }
    give_reserve(supervisor);
}

void acceptor_give_up(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->listeners->count; i++) {
        struct door *door = &supervisor->doors[i];
        if (door->listener->fd < 0)
            continue;
        close_door(door);
        say_of(door, "is closed with connections in its queue", "there was nothing to take them with");
    }
}

enum fp_status acceptor_init(struct supervisor *supervisor, struct fp_error *err)
{
    size_t count = supervisor->listeners->count;

    supervisor->doors = memory_map_private(count * sizeof(*supervisor->doors));
    if (supervisor->doors == NULL)
        return error_set(err, FP_SYSTEM, errno, "watch", "%zu listening sockets", count);
    /* Short of them now, it would listen and never serve anybody. */
    FD_AUTO spare = fd_reserve();
    if (spare < 0)
        return error_set(err, FP_SYSTEM, errno, "keep a descriptor free for", "a connection");
    supervisor->retry.expired = retry_held;
    supervisor->retry.data = supervisor;
    pace_init(&supervisor->retry_pace, MS_NS, PAUSE_LONGEST_NS);
    for (size_t i = 0; i < count; i++) {
        struct door *door = &supervisor->doors[i];
        door->supervisor = supervisor;
        door->listener = &supervisor->listeners->items[i];
        door->source = (struct loop_source){.fd = door->listener->fd, .ready = ready, .data = door};
        door->pause.expired = pause_ended;
        door->pause.data = door;
        pace_init(&door->pace, PAUSE_FIRST_NS, PAUSE_LONGEST_NS);
        struct event event = {.kind = EVENT_LISTEN};
        EVENT_SET(&event, PAIR, pair, &door->listener->pair);
        EVENT_SET(&event, PROTO, proto, door->listener->proto);
        supervisor_event(supervisor, &event);
    }
    acceptor_update(supervisor);
    return FP_OK;
}

void acceptor_done(struct supervisor *supervisor)
{
    if (supervisor->doors == NULL)
        return;
    for (size_t i = 0; i < supervisor->listeners->count; i++) {
        loop_remove(&supervisor->loop, &supervisor->doors[i].source);
        loop_timer_clear(&supervisor->loop, &supervisor->doors[i].pause);
    }
    loop_timer_clear(&supervisor->loop, &supervisor->retry);
    memory_unmap(supervisor->doors, supervisor->listeners->count * sizeof(*supervisor->doors));
    supervisor->doors = NULL;
}
