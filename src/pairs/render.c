/* SPDX-License-Identifier: MIT */
#include "pairs/render.h"

#include <string.h>

#define QUEUE_HEADS  "RECV"
#define COUNT_WIDTH  10
#define COUNTS_HEADS "     RTT ms         IN        OUT     RESENT"

static size_t number_width(uint64_t number)
{
    size_t width = 1;

    for (; number >= 10; number /= 10)
        width++;
    return width;
}

/* Not by printf(3), which would take most of the time of a large table. */
static void format_right(struct text *text, uint64_t number, size_t width)
{
    for (size_t used = number_width(number); used < width; used++)
        text_bytes(text, " ", 1);
    text_unsigned(text, number);
}

/* What waits to be read, and to be acknowledged; of a listening socket, to be accepted, and how many may. */
static void format_queues(const struct diag_socket *socket, size_t width, struct text *text)
{
    format_right(text, socket->receive_queue, width + 2);
    format_right(text, socket->send_queue, width + 1);
}

static void pad(struct text *text, size_t start, size_t width)
{
    while (text->length < start + width)
        text_bytes(text, " ", 1);
}

static void format_padded(struct text *text, const char *string, size_t width)
{
    size_t start = text->length;

    text_string(text, string);
    pad(text, start, width);
}

/* 192.0.2.1.21, as netstat prints it. */
static void format_netstat(const struct address *address, struct text *text)
{
    address_format_host(address, text);
    if (address->device[0] != '\0') {
        text_bytes(text, "%", 1);
        text_escape(text, address->device, strlen(address->device));
    }
    text_bytes(text, ".", 1);
    if (address->port != 0)
        text_unsigned(text, address->port);
    else
        text_bytes(text, "*", 1);
}

static void format_process(const struct pairs_table *table, pid_t pid, struct text *text)
{
    const struct pairs_process *process = pairs_process(table, pid);

    if (process != NULL && process->name[0] != '\0') {
        text_escape(text, process->name, strlen(process->name));
        text_bytes(text, " ", 1);
    }
    text_unsigned(text, (uint64_t)pid);
}

/* "sshd 812 (fd 3), sshd 950 (fd 3, 4)" */
static void format_holders(const struct pairs_table *table, const struct pairs_row *row, struct text *text)
{
    struct pairs_cursor cursor = {.row = row};
    pid_t last = 0;

    for (const struct descriptor *holder; (holder = pairs_next_holder(table, &cursor)) != NULL;) {
        if (holder->pid != last) {
            text_string(text, last != 0 ? "), " : "");
            format_process(table, holder->pid, text);
            text_string(text, " (fd ");
        } else {
            text_string(text, ", ");
        }
        text_unsigned(text, (uint64_t)holder->fd);
        last = holder->pid;
    }
    text_string(text, last != 0 ? ")" : "");
}

void render_owner(const struct pairs_table *table, const struct pairs_row *row, struct text *text)
{
    struct pairs_cursor cursor = {.row = row};

    if (row->service != NULL) {
        text_escape(text, row->service, strlen(row->service));
        if (row->connection != 0)
            text_printf(text, " #%llu", (unsigned long long)row->connection);
        text_string(text, ": ");
    }
    switch ((enum pairs_owner)row->owner) {
    case OWNER_WAITING:
        text_string(text, "waiting");
        if (pairs_next_holder(table, &cursor) == NULL)
            return;
        text_string(text, " for ");
        break;
    case OWNER_NONE:
        text_string(text, "no process");
        return;
    case OWNER_NOT_PERMITTED:
        text_string(text, "not permitted to see");
        return;
    case OWNER_UNSEEN:
        text_string(text, "no process to be seen");
        return;
    case OWNER_UNKNOWN:
    case OWNER_HELD:
        break;
    }
    format_holders(table, row, text);
}

static void format_counts(const struct diag_socket *socket, struct text *text)
{
    if (!pairs_has_counts(socket)) {
        format_padded(text, "", sizeof(COUNTS_HEADS) - 1);
        return;
    }
    text_printf(text, " %*u.%03u", COUNT_WIDTH - 4, socket->rtt_us / 1000, socket->rtt_us % 1000);
    text_printf(text, " %*llu", COUNT_WIDTH, (unsigned long long)socket->bytes_received);
    text_printf(text, " %*llu", COUNT_WIDTH, (unsigned long long)socket->bytes_sent);
    text_printf(text, " %*llu", COUNT_WIDTH, (unsigned long long)socket->bytes_resent);
}

static size_t pair_width(const struct pair *pair)
{
    struct text text;

    text_init(&text, NULL, 0);
    pair_format(pair, &text);
    return text.length;
}

static size_t end_width(const struct address *address)
{
    struct text text;

    text_init(&text, NULL, 0);
    format_netstat(address, &text);
    return text.length;
}

static void widen(size_t *width, size_t wanted)
{
    if (*width < wanted)
        *width = wanted;
}

void render_measure(struct render *render, const struct pairs_table *table)
{
    bool netstat = render->form == RENDER_NETSTAT;

    widen(&render->state_width, strlen("STATE"));
    widen(&render->queue_width, strlen(QUEUE_HEADS));
    widen(&render->local_width, strlen(netstat ? "LOCAL" : "PAIR"));
    widen(&render->foreign_width, netstat ? strlen("FOREIGN") : 0);
    for (size_t i = 0; i < table->count && render->form != RENDER_JSON; i++) {
        const struct diag_socket *socket = &table->rows[i].socket;
        if (!table->rows[i].shown)
            continue;
        widen(&render->state_width, strlen(diag_state_name(socket->state)));
        widen(&render->queue_width, number_width(socket->receive_queue));
        widen(&render->queue_width, number_width(socket->send_queue));
        if (render->form == RENDER_COLUMNS) {
            widen(&render->local_width, pair_width(&socket->pair));
        } else {
            widen(&render->local_width, end_width(&socket->pair.local));
            widen(&render->foreign_width, end_width(&socket->pair.foreign));
        }
    }
}

void render_heading(const struct render *render, struct text *text)
{
    int width = (int)render->queue_width;

    if (render->form == RENDER_JSON)
        return;
    text_string(text, "PROTO  ");
    if (render->form == RENDER_COLUMNS)
        format_padded(text, "STATE", render->state_width);
    text_printf(text, "  %*s %*s", width, QUEUE_HEADS, width, "SEND");
    if (render->with_counts)
        text_string(text, COUNTS_HEADS);
    text_string(text, "  ");
    if (render->form == RENDER_NETSTAT) {
        format_padded(text, "LOCAL", render->local_width + 2);
        format_padded(text, "FOREIGN", render->foreign_width + 2);
        format_padded(text, "STATE", render->state_width);
    } else {
        format_padded(text, "PAIR", render->local_width);
    }
    text_string(text, "  PROCESSES");
}

void render_row(const struct render *render, const struct pairs_table *table, const struct pairs_row *row,
                struct text *text)
{
    const struct diag_socket *socket = &row->socket;
    size_t start;

    if (render->form == RENDER_JSON) {
        render_json(render->change, table, row, text);
        return;
    }
    format_padded(text, pairs_protocol(socket), sizeof("PROTO  ") - 1);
    if (render->form == RENDER_COLUMNS)
        format_padded(text, diag_state_name(socket->state), render->state_width);
    format_queues(socket, render->queue_width, text);
    if (render->with_counts)
        format_counts(socket, text);
    text_string(text, "  ");
    start = text->length;
    if (render->form == RENDER_NETSTAT) {
        format_netstat(&socket->pair.local, text);
        pad(text, start, render->local_width + 2);
        start = text->length;
        format_netstat(&socket->pair.foreign, text);
        pad(text, start, render->foreign_width + 2);
        format_padded(text, diag_state_name(socket->state), render->state_width);
    } else {
        pair_format(&socket->pair, text);
        pad(text, start, render->local_width);
    }
    text_string(text, "  ");
    render_owner(table, row, text);
}
