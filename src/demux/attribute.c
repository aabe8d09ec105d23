/* SPDX-License-Identifier: MIT */
#include "demux/attribute.h"

#include "base/time.h"
#include "demux/live_addresses.h"
#include "pairs/exact.h"
#include "pairs/gather.h"
#include "pairs/owner.h"
#include "sys/fd.h"
#include "sys/loop.h"
#include "sys/netlink.h"
#include "sys/socket_events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Looking takes at most a twentieth of the time. */
#define LOOK_SHARE  20
#define LOOK_MIN_NS 100000000
/* So old may be what is known of those that hold a listening socket. */
#define LISTENERS_NS SECOND_NS
struct attribute {
    struct socket_events events;
    struct live_sockets sockets;
    struct live_history history;
    int netlink;       /* exact questions; -1: none can be asked */
    int64_t offset_ns; /* CLOCK_REALTIME is so far ahead of CLOCK_MONOTONIC */
    int64_t kept_ns;
    int64_t next_look_ns;
    uint64_t lost;
    bool lost_ends; /* so sockets may be gone that seem to live */
    int64_t drained_ns;
    int64_t looked_ns;
    bool wants_look;
    bool has_changed; /* a socket began or ceased to listen, which is not in the table yet */
    struct live_addresses addresses;
};

int attribute_fd(const struct attribute *attribute)
{
    return attribute->events.fd;
}

static bool has_events(const struct attribute *attribute)
{
    return attribute->events.fd >= 0;
}

/* An IPv4 end that is mapped in IPv6 is kept as IPv4, as everywhere. */
static struct address end_of(uint16_t family, uint32_t bytes4, const uint8_t *bytes6, uint16_t port)
{
    struct address address = {.family = family, .port = ntohs(port)};
    struct in6_addr six;

    memcpy(&six, bytes6, sizeof(six));
    if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six)) {
        address.family = AF_INET;
        memcpy(address.bytes, &six.s6_addr[12], 4);
    } else if (family == AF_INET6) {
        memcpy(address.bytes, &six, sizeof(six));
    } else {
        memcpy(address.bytes, &bytes4, sizeof(bytes4));
    }
    return address;
}

static void set_pair(struct attribute *attribute, struct live_socket *socket,
                     const struct socket_event *event)
{
    if (event->local_port == 0 || event->foreign_port == 0 || socket->pair.local.port != 0)
        return;
    struct pair pair = {
        .local = end_of(event->family, event->local4, event->local6, event->local_port),
        .foreign = end_of(event->family, event->foreign4, event->foreign6, event->foreign_port),
    };
    live_sockets_set_pair(&attribute->sockets, socket, &pair);
}

static void name(struct live_socket *socket, enum live_way way, const struct socket_event *event)
{
    struct live_process process = {.pid = (pid_t)event->pid};

    memcpy(process.name, event->name, sizeof(process.name));
    process.name[sizeof(process.name) - 1] = '\0';
    live_socket_name(socket, way, &process, 1);
}

/* The socket of the event, which is made where it is not known; one that has ended may connect again. */
static struct live_socket *socket_of(struct attribute *attribute, const struct socket_event *event,
                                     bool is_new)
{
    struct live_socket *socket = live_sockets_by_cookie(&attribute->sockets, event->cookie);

    if (socket != NULL && (!is_new || socket->end_ns == LIVE_FOREVER))
        return socket;
    socket = live_sockets_add(&attribute->sockets, event->cookie, is_new ? (int64_t)event->time_ns : 0);
    return socket;
}

static void take_connection(struct attribute *attribute, const struct socket_event *event)
{
    static const enum live_way ways[] = {
        [SOCKET_CONNECTS] = LIVE_CONNECTED, [SOCKET_USED] = LIVE_USED, [SOCKET_CLOSES] = LIVE_CLOSED};
    bool is_new = event->kind == SOCKET_CONNECTS || event->kind == SOCKET_ESTABLISHED;

    struct live_socket *socket = socket_of(attribute, event, is_new);
    if (socket == NULL)
        return;
    set_pair(attribute, socket, event);
    /* Looking may have found it before its first event was read. */
    if (is_new && socket->start_ns == 0)
        socket->start_ns = (int64_t)event->time_ns;
    socket->active |= event->kind == SOCKET_CONNECTS;
    socket->passive |= event->kind == SOCKET_ESTABLISHED && !socket->active;
    if (event->kind != SOCKET_ESTABLISHED)
        name(socket, ways[event->kind], event);
}

/* It is, or is not, in the table from the next look on. */
static void take_change(struct attribute *attribute, const struct socket_event *event)
{
    struct live_change change = {
        .from_ns = (int64_t)event->time_ns,
        .to_ns = (int64_t)event->time_ns,
        .cookie = event->cookie,
        .port = ntohs(event->local_port),
        .began = event->kind == SOCKET_LISTENS,
    };

    live_history_change(&attribute->history, &change);
    attribute->wants_look = attribute->has_changed = true;
}

static void take_listener(struct attribute *attribute, const struct socket_event *event)
{
    struct live_socket *socket = socket_of(attribute, event, true);

    take_change(attribute, event);
    if (socket != NULL)
        name(socket, LIVE_LISTENS, event);
}

static void take_end(struct attribute *attribute, const struct socket_event *event)
{
    struct live_socket *socket = live_sockets_by_cookie(&attribute->sockets, event->cookie);

    /* One that has listened has a port and no foreign end. Others may have so too, which only costs a look. */
    if (event->foreign_port == 0 && event->local_port != 0)
        take_change(attribute, event);
    if (socket == NULL)
        return;
    set_pair(attribute, socket, event);
    live_sockets_end(&attribute->sockets, socket, (int64_t)event->time_ns);
}

/* Whoever is interrupted between the two has compared nothing, so the shortest of some tries counts. */
static int64_t compare_clocks(void)
{
    int64_t best_ns = INT64_MAX;
    int64_t offset_ns = 0;

    for (int i = 0; i < 4; i++) {
        int64_t before_ns = clock_monotonic_ns();
        int64_t real_ns = clock_realtime_ns();
        int64_t took_ns = clock_monotonic_ns() - before_ns;
        if (took_ns < best_ns) {
            best_ns = took_ns;
            offset_ns = real_ns - before_ns - took_ns / 2;
        }
    }
    return offset_ns;
}

/* Any socket may have begun or ceased to listen meanwhile. */
static void take_losses(struct attribute *attribute)
{
    uint64_t lost = has_events(attribute) ? socket_events_lost(&attribute->events) : 0;
    int64_t now_ns = clock_monotonic_ns();
    struct live_change change = {.from_ns = attribute->drained_ns, .to_ns = now_ns};

    if (lost != attribute->lost) {
        attribute->lost_ends = attribute->wants_look = true;
        live_history_change(&attribute->history, &change);
    }
    attribute->lost = lost;
    attribute->drained_ns = now_ns;
}

void attribute_drain(struct attribute *attribute)
{
    struct socket_event event;

    attribute->offset_ns = compare_clocks();
    while (has_events(attribute) && socket_events_next(&attribute->events, &event)) {
        if (event.kind == SOCKET_LISTENS)
            take_listener(attribute, &event);
        else if (event.kind == SOCKET_ENDED)
            take_end(attribute, &event);
        else if (event.foreign_port != 0)
            take_connection(attribute, &event);
    }
    take_losses(attribute);
}

uint64_t attribute_lost(const struct attribute *attribute)
{
    return attribute->lost;
}

static bool is_connected(const struct diag_socket *socket)
{
    return socket->state != DIAG_LISTEN && socket->state != DIAG_BOUND && socket->state != DIAG_CLOSED &&
           socket->state != DIAG_TIME_WAIT && socket->state != DIAG_NEW_SYN_RECEIVED &&
           socket->pair.foreign.port != 0;
}

static struct live_socket *take_socket(struct attribute *attribute, const struct diag_socket *found)
{
    struct live_socket *socket = live_sockets_by_cookie(&attribute->sockets, found->cookie);

    if (socket == NULL)
        socket = live_sockets_add(&attribute->sockets, found->cookie, 0);
    if (socket != NULL && socket->pair.local.port == 0)
        live_sockets_set_pair(&attribute->sockets, socket, &found->pair);
    return socket;
}

/* A row of the table that is the newest one now. */
static void take_row(struct attribute *attribute, const struct pairs_row *row)
{
    const struct live_listening *listening = &attribute->history.now;
    struct live_process holders[LIVE_PROCESSES];
    struct live_socket *socket = take_socket(attribute, &row->socket);

    if (socket == NULL)
        return;
    if (row->owner == OWNER_HELD)
        live_socket_name(socket, LIVE_HELD, holders,
                         live_holders_add(&listening->holders, &listening->table, row, holders, 0));
    socket->passive |= row->owner == OWNER_WAITING;
    socket->not_permitted = row->owner == OWNER_NOT_PERMITTED;
    socket->seen = true;
    attribute->wants_look |= row->owner == OWNER_HELD && socket->way == LIVE_UNKNOWN;
}

/* Without events, or where some were lost, a socket has ended when it is not in the table any more. */
static void end_unseen(struct attribute *attribute, int64_t start_ns)
{
    struct live_socket *socket = NULL;

    while ((socket = live_sockets_next(&attribute->sockets, socket)) != NULL) {
        if (!socket->seen && socket->start_ns < start_ns)
            live_sockets_end(&attribute->sockets, socket, start_ns);
        socket->seen = false;
    }
}

static enum fp_status gather(struct pairs_table *table, struct fp_error *err)
{
    enum fp_status status = gather_rows(table, DIAG_STATES_ALL, false, err);

    for (size_t i = 0; i < table->count; i++)
        table->rows[i].shown = true;
    return status == FP_OK ? owner_find(table, 0, err) : status;
}

static enum fp_status look(struct attribute *attribute, struct fp_error *err)
{
    struct pairs_table table = {.count = 0};
    int64_t start_ns = clock_monotonic_ns();

    attribute->wants_look = attribute->has_changed = false;
    enum fp_status status = gather(&table, err);
    if (status == FP_OK)
        status = live_history_set(&attribute->history, &table, start_ns, clock_monotonic_ns(), err);
    pairs_done(&table);
    if (status != FP_OK)
        return status;
    const struct pairs_table *taken = &attribute->history.now.table;
    for (size_t i = 0; i < taken->count; i++) {
        if (is_connected(&taken->rows[i].socket))
            take_row(attribute, &taken->rows[i]);
    }
    if (!has_events(attribute) || attribute->lost_ends)
        end_unseen(attribute, start_ns);
    attribute->lost_ends = false;
    attribute->looked_ns = clock_monotonic_ns();
    int64_t pause_ns = LOOK_SHARE * (attribute->looked_ns - start_ns);
    attribute->next_look_ns = start_ns + (pause_ns > LOOK_MIN_NS ? pause_ns : LOOK_MIN_NS);
    return FP_OK;
}

enum fp_status attribute_look(struct attribute *attribute, struct fp_error *err)
{
    if (!attribute->wants_look || clock_monotonic_ns() < attribute->next_look_ns)
        return FP_OK;
    return look(attribute, err);
}

enum fp_status attribute_new(uint32_t most, int64_t kept_ns, struct attribute **ret_attribute, int *ret_why,
                             struct fp_error *err)
{
    struct attribute *attribute = calloc(1, sizeof(*attribute));

    if (attribute == NULL || !live_sockets_init(&attribute->sockets, most)) {
        free(attribute);
        return error_set(err, FP_SYSTEM, ENOMEM, "follow", "%u sockets", most);
    }
    attribute->kept_ns = kept_ns;
    attribute->netlink = netlink_open();
    /* Events first: what comes while the table is read is then in one or the other, or in both. */
    int why = socket_events_open(&attribute->events) < 0 ? errno : 0;
    attribute->history.blind = why != 0;
    attribute->drained_ns = clock_monotonic_ns();
    /* Twice, since who holds a socket has to be seen twice. */
    enum fp_status status = look(attribute, err);
    if (status == FP_OK)
        status = look(attribute, err);
    if (status != FP_OK) {
        attribute_free(attribute);
        return status;
    }
    attribute_drain(attribute);
    *ret_why = why;
    *ret_attribute = attribute;
    return FP_OK;
}

void attribute_free(struct attribute *attribute)
{
    if (attribute == NULL)
        return;
    socket_events_close(&attribute->events);
    live_sockets_done(&attribute->sockets);
    live_history_done(&attribute->history);
    fd_close(attribute->netlink);
    free(attribute);
}

enum asked { ASKED_IN_VAIN, ASKED_NOBODY, ASKED_FOUND };

/* Who has this pair, by the kernel. */
static enum asked ask_kernel(const struct attribute *attribute, const struct pair *pair, uint32_t interface,
                             struct diag_socket *ret_found)
{
    if (exact_ask(attribute->netlink, pair, interface, 0, ret_found) == 0)
        return ASKED_FOUND;
    return errno == ENOENT ? ASKED_NOBODY : ASKED_IN_VAIN;
}

/* The one connected socket of this pair; NULL: none, or it cannot be asked. */
static struct live_socket *ask(struct attribute *attribute, const struct attribute_segment *segment)
{
    struct diag_socket found;

    if (ask_kernel(attribute, &segment->pair, segment->interface, &found) != ASKED_FOUND ||
        !is_connected(&found))
        return NULL;
    return take_socket(attribute, &found);
}

static struct live_moment moment_of(const struct attribute *attribute,
                                    const struct attribute_segment *segment)
{
    struct live_moment moment = segment->moment;

    moment.time_ns -= attribute->offset_ns;
    return moment;
}

static struct live_socket *find_socket(struct attribute *attribute, const struct attribute_segment *segment)
{
    struct live_moment moment = moment_of(attribute, segment);
    struct live_socket *socket = live_sockets_by_pair(&attribute->sockets, &segment->pair, &moment);

    if (socket != NULL)
        return socket;
    socket = ask(attribute, segment);
    if (socket == NULL)
        return NULL;
    /* It may have begun after the events were taken in: then that is told of now. */
    uint64_t cookie = socket->cookie;
    attribute_drain(attribute);
    return live_sockets_by_cookie(&attribute->sockets, cookie);
}

void attribute_notice(struct attribute *attribute, const struct attribute_segment *segment)
{
    struct live_moment moment = moment_of(attribute, segment);
    struct live_socket *known = live_sockets_by_pair(&attribute->sockets, &segment->pair, &moment);

    if (has_events(attribute) || (known != NULL && !segment->moment.opens))
        return;
    uint64_t cookie = known != NULL ? known->cookie : 0;
    struct live_socket *now = ask(attribute, segment);
    attribute->wants_look |= now != NULL && now->way == LIVE_UNKNOWN;
    /* The pair is another connection's now. */
    known = cookie != 0 ? live_sockets_by_cookie(&attribute->sockets, cookie) : NULL;
    if (known != NULL && known != now)
        live_sockets_end(&attribute->sockets, known, moment.time_ns);
}

static bool is_local(struct attribute *attribute, const struct attribute_segment *segment)
{
    return live_addresses_is_local(&attribute->addresses, &attribute->sockets.secret, &segment->pair.local,
                                   segment->interface);
}

/* Who has made it listen, where nobody is seen to hold it. */
static void name_listener(const struct attribute *attribute, const struct live_listener *listener,
                          struct attribute_answer *answer)
{
    const struct live_socket *told = live_sockets_by_cookie(&attribute->sockets, listener->cookie);

    answer->process_count = listener->process_count;
    answer->more = listener->more;
    memcpy(answer->processes, listener->processes, sizeof(listener->processes));
    if (listener->process_count == 0 && told != NULL) {
        answer->process_count = told->process_count;
        memcpy(answer->processes, told->processes, sizeof(told->processes));
    }
}

static int64_t time_of(const struct attribute *attribute, const struct attribute_segment *segment)
{
    return segment->time_ns - attribute->offset_ns;
}

/* The table may have been read before the socket listened to which a segment came, or after it. */
static void see_changes(struct attribute *attribute, const struct attribute_segment *segment)
{
    if (!segment->opening || !attribute->has_changed ||
        live_history_is_sure(&attribute->history, segment->pair.local.port, time_of(attribute, segment)))
        return;
    /* Without a report: what fails now fails at the next regular look too. */
    if (look(attribute, NULL) == FP_OK)
        attribute_drain(attribute);
}

/* Where no events tell of changes: the table said it before the segment came, and the kernel says it still. */
static bool is_confirmed(const struct attribute *attribute, const struct attribute_segment *segment,
                         const struct live_listener *listener)
{
    const struct live_history *history = &attribute->history;
    int64_t time_ns = time_of(attribute, segment);
    const struct live_listening *table = history->now.to_ns <= time_ns ? &history->now : &history->before;
    /* No connection has the foreign port 0, so it is those who listen that are asked for. */
    struct pair pair = segment->pair;
    struct diag_socket found;

    pair.foreign.port = 0;
    enum asked asked = ask_kernel(attribute, &pair, segment->interface, &found);
    if (table->demux == NULL || table->to_ns > time_ns || asked == ASKED_IN_VAIN)
        return false;
    if (listener == NULL || asked == ASKED_NOBODY)
        return listener == NULL && asked == ASKED_NOBODY;
    return live_listening_has(table, listener, found.cookie);
}

static bool find_listener(struct attribute *attribute, const struct attribute_segment *segment,
                          struct attribute_answer *answer)
{
    const struct pair *pair = &segment->pair;
    int64_t time_ns = time_of(attribute, segment);
    struct live_listener listener;

    answer->local = is_local(attribute, segment);
    if (!answer->local)
        return false;
    bool found = live_history_find(&attribute->history, pair, segment->interface, time_ns, &listener);
    answer->unsure = has_events(attribute)
                         ? !live_history_is_sure(&attribute->history, pair->local.port, time_ns)
                         : !is_confirmed(attribute, segment, found ? &listener : NULL);
    /* Those that hold it come and go without a word. */
    attribute->wants_look |= clock_monotonic_ns() - attribute->looked_ns > LISTENERS_NS;
    if (!found)
        return false;
    answer->pair = listener.pair;
    answer->group = listener.sockets > 1;
    answer->not_permitted = listener.not_permitted;
    answer->way = LIVE_LISTENS;
    name_listener(attribute, &listener, answer);
    return true;
}

/* A SYN for a connection that is there already is the connection's; but most have come of their SYN. */
static bool was_there(const struct attribute *attribute, const struct attribute_segment *segment,
                      const struct live_socket *socket)
{
    int64_t time_ns = time_of(attribute, segment);

    /* One whose beginning was not told of was there before, unless that was lost. */
    if (!has_events(attribute) || (socket->start_ns == 0 && attribute->lost != 0))
        return false;
    return socket->start_ns < time_ns - LIVE_CLOCK_ERROR_NS && socket->end_ns > time_ns + LIVE_CLOCK_ERROR_NS;
}

static void answer_socket(struct attribute *attribute, const struct live_socket *socket,
                          const struct attribute_segment *segment, struct attribute_answer *ret_answer)
{
    struct attribute_answer answer = {.kind = ATTRIBUTE_CONNECTED, .local = true, .way = socket->way};

    if (socket->way == LIVE_UNKNOWN && socket->passive)
        answer.waiting = find_listener(attribute, segment, &answer);
    if (!answer.waiting) {
        answer.unsure = false;
        answer.not_permitted = socket->not_permitted;
        answer.process_count = socket->process_count;
        answer.more = socket->more;
        memcpy(answer.processes, socket->processes, sizeof(answer.processes));
    }
    answer.pair = socket->pair;
    answer.lives = was_there(attribute, segment, socket);
    /* One that has not been used, or that was there before, may be held by somebody whom looking finds. */
    attribute->wants_look |= socket->way == LIVE_UNKNOWN && socket->end_ns == LIVE_FOREVER;
    *ret_answer = answer;
}

/* Both ends may connect at once: then a SYN comes to a socket that has sent one. */
static bool is_opening_too(const struct attribute *attribute, const struct attribute_segment *segment,
                           const struct live_socket *socket)
{
    struct live_moment moment = moment_of(attribute, segment);

    return socket != NULL && socket->active && socket->start_ns <= moment.time_ns &&
           socket->end_ns > moment.time_ns;
}

/* Somebody listened there, since a connection came of it, but is not known any more. */
static void answer_unknown_listener(const struct attribute_segment *segment, struct attribute_answer *answer)
{
    answer->kind = ATTRIBUTE_LISTENING;
    answer->pair.foreign = (struct address){.family = AF_UNSPEC};
    answer->pair.local = segment->pair.local;
    answer->unsure = true;
}

void attribute_find(struct attribute *attribute, const struct attribute_segment *segment,
                    struct attribute_answer *ret_answer)
{
    struct attribute_answer answer = {.kind = ATTRIBUTE_NOBODY, .pair = segment->pair};

    see_changes(attribute, segment);
    struct live_socket *socket = find_socket(attribute, segment);
    if (segment->opening && !is_opening_too(attribute, segment, socket)) {
        if (socket != NULL && was_there(attribute, segment, socket))
            answer_socket(attribute, socket, segment, &answer);
        else if (find_listener(attribute, segment, &answer))
            answer.kind = ATTRIBUTE_LISTENING;
        else if (socket != NULL)
            answer_unknown_listener(segment, &answer);
    } else if (socket != NULL) {
        answer_socket(attribute, socket, segment, &answer);
    } else {
        answer.local = is_local(attribute, segment);
    }
    *ret_answer = answer;
}

void attribute_expire(struct attribute *attribute)
{
    struct live_sockets *sockets = &attribute->sockets;
    struct live_socket expired;
    int64_t now_ns = clock_monotonic_ns();

    /* Segments are told of long before that. */
    live_history_expire(&attribute->history, now_ns - LISTENERS_NS);
    do {
        /* Where there is little room left, those that have ended are not kept. */
        bool is_full = sockets->used > sockets->most - sockets->most / 8;
        if (!live_sockets_expire(sockets, now_ns - (is_full ? 0 : attribute->kept_ns), &expired))
            return;
    } while (true);
}
