/* SPDX-License-Identifier: MIT */
#include "demux/misses.h"

#include "base/line.h"
#include "demux/explain.h"
#include "pairs/render.h"
#include "sys/netns.h"

#include <string.h>

/* With more sockets at one port nobody reads on. */
#define MISSES_MAX 16

static void explain_device(const struct answer *answer, const struct diag_socket *socket, struct text *text)
{
    const char *device = socket->pair.local.device;

    text_string(text, "is bound to ");
    if (device[0] != '\0')
        text_escape(text, device, strlen(device));
    else
        text_string(text, "an interface");
    text_string(text, ", and the segment comes in by ");
    if (answer->segment.interface == 0)
        text_string(text, "none that is up");
    explain_interface(&answer->segment, text);
}

static bool is_connected(const struct diag_socket *socket)
{
    return socket->state != DIAG_LISTEN && socket->state != DIAG_BOUND;
}

/* Why the segment is not for this socket; false: it is not about the socket. */
static bool explain_miss(const struct answer *answer, const struct diag_socket *socket, struct text *text)
{
    const struct segment *segment = &answer->segment;

    if (is_connected(socket) && model_is_elsewhere(socket, segment)) {
        text_string(text, "has the pair, but ");
        explain_device(answer, socket, text);
        return model_has_pair(socket, segment);
    }
    if (socket->state == DIAG_SYN_RECEIVED || socket->state == DIAG_NEW_SYN_RECEIVED) {
        text_string(text, "is half open, and its listening socket is closed");
        return true;
    }
    if (is_connected(socket))
        return false;
    if (!model_takes_family(socket, segment))
        text_string(text, segment->pair.local.family == AF_INET ? "takes IPv6 only" : "takes IPv4 only");
    else if (!model_takes_address(socket, segment))
        text_string(text, "has another address");
    else if (model_is_elsewhere(socket, segment))
        explain_device(answer, socket, text);
    else if (socket->state == DIAG_BOUND)
        text_string(text, "has the port, but does not listen");
    else
        return false;
    return true;
}

bool misses_connection(const struct answer *answer, struct text *text)
{
    for (size_t i = 0; i < answer->table.count; i++) {
        const struct diag_socket *socket = &answer->table.rows[i].socket;
        if (!is_connected(socket) || !model_is_elsewhere(socket, &answer->segment) ||
            !model_has_pair(socket, &answer->segment))
            continue;
        pair_format(&socket->pair, text);
        text_string(text, " has the pair, but ");
        explain_device(answer, socket, text);
        return true;
    }
    return false;
}

/* False: it is not about the socket. */
static bool put_miss(const struct answer *answer, const struct pairs_row *row, struct text *text)
{
    pair_format(&row->socket.pair, text);
    text_string(text, " ");
    if (!explain_miss(answer, &row->socket, text))
        return false;
    if (row->owner != OWNER_UNKNOWN) {
        text_string(text, ": ");
        render_owner(&answer->table, row, text);
    }
    return true;
}

static void say(const struct line *line, void (*reason)(void *data, const char *line), void *data)
{
    if (line_text(line) != NULL)
        reason(data, line_text(line));
}

void misses_explain(const struct answer *answer, void (*reason)(void *data, const char *line), void *data)
{
    struct line line = {0};
    char rest[EXPLAIN_SIZE];
    struct text text;
    size_t said = 0;

    for (size_t i = 0; i < answer->table.count; i++) {
        bool is_miss;
        do
            is_miss = put_miss(answer, &answer->table.rows[i], line_begin(&line));
        while (line_again(&line));
        if (is_miss && said++ < MISSES_MAX)
            say(&line, reason, data);
    }
    line_done(&line);
    text_init(&text, rest, sizeof(rest));
    if (said > MISSES_MAX)
        text_printf(&text, "and %zu more at this port", said - MISSES_MAX);
    else if (said == 0 && answer->model.count == 0)
        text_printf(&text, "nothing listens on port %u, and no connection has this pair",
                    answer->segment.pair.local.port);
    if (text_end(&text) != 0)
        reason(data, rest);
}

static void put_process(const char *words, pid_t pid, const char *name, struct text *text)
{
    text_printf(text, "%s %d (", words, (int)pid);
    text_escape(text, name, strlen(name));
    text_string(text, ")");
}

static void explain_place(const struct elsewhere_place *place, struct text *text)
{
    text_string(text, "in the network namespace ");
    text_escape(text, place->name, strlen(place->name));
    if (place->pid != 0) {
        text_string(text, place->name[0] != '\0' ? ", that " : "");
        put_process("of process", place->pid, place->process, text);
    }
    text_string(text, place->pid != 0 && place->name[0] != '\0' ? ", " : " ");
    if (place->listening)
        pair_format(&place->socket.pair, text);
    text_string(text,
                place->listening ? " would receive it" : "the address is local, but nobody would receive it");
    if (place->holder != 0) {
        text_string(text, ", which is held ");
        put_process("from outside by process", place->holder, place->process, text);
    }
}

void misses_explain_elsewhere(const struct answer *answer, void (*reason)(void *data, const char *line),
                              void *data)
{
    const struct elsewhere *elsewhere = &answer->elsewhere;
    struct line line = {0};

    for (size_t i = 0; i < elsewhere->count && i < ELSEWHERE_MAX; i++) {
        do
            explain_place(&elsewhere->places[i], line_begin(&line));
        while (line_again(&line));
        say(&line, reason, data);
    }
    if (elsewhere->count > ELSEWHERE_MAX) {
        do
            text_printf(line_begin(&line), "and so it is in %zu more network namespaces",
                        elsewhere->count - ELSEWHERE_MAX);
        while (line_again(&line));
        say(&line, reason, data);
    }
    line_done(&line);
    if (elsewhere->looked && !elsewhere->permitted)
        reason(data, "other network namespaces may not be looked into");
    else if (elsewhere->incomplete)
        reason(data, "the network namespaces of some processes may not be looked into");
    if (elsewhere->looked && elsewhere->permitted && elsewhere->names_hidden)
        reason(data, "some network namespaces that have names (in " NETNS_NAMES ") may not be looked into");
}
