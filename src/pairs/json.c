/* SPDX-License-Identifier: MIT */
#include "pairs/render.h"

#include "addr/value.h"

static json_t *end_value(const struct address *address)
{
    char room[ADDRESS_TEXT_SIZE];
    struct text text;
    json_t *object = json_object();

    text_init(&text, room, sizeof(room));
    address_format_host(address, &text);
    text_end(&text);
    value_add(object, "address", json_string(room));
    value_add(object, "port", address->port != 0 ? json_integer(address->port) : json_string("*"));
    return object;
}

static json_t *owner_value(enum pairs_owner owner)
{
    switch (owner) {
    case OWNER_HELD:
        return json_string("held");
    case OWNER_WAITING:
        return json_string("waiting");
    case OWNER_NONE:
        return json_string("none");
    case OWNER_NOT_PERMITTED:
        return json_string("not-permitted");
    case OWNER_UNSEEN:
        return json_string("unseen");
    case OWNER_UNKNOWN:
        break;
    }
    return json_null();
}

json_t *render_processes(const struct pairs_table *table, const struct pairs_row *row)
{
    struct pairs_cursor cursor = {.row = row};
    json_t *array = json_array();

    for (const struct descriptor *holder; (holder = pairs_next_holder(table, &cursor)) != NULL;) {
        const struct pairs_process *process = pairs_process(table, holder->pid);
        json_t *object = json_object();
        value_add(object, "pid", json_integer(holder->pid));
        value_add(object, "fd", json_integer(holder->fd));
        value_add(object, "name", value_string(process != NULL ? process->name : ""));
        json_array_append_new(array, object);
    }
    return array;
}

static void add_counts(json_t *object, const struct diag_socket *socket)
{
    if (!pairs_has_counts(socket))
        return;
    value_add(object, "rtt_us", json_integer(socket->rtt_us));
    value_add(object, "rtt_variation_us", json_integer(socket->rtt_variation_us));
    value_add(object, "bytes_received", json_integer((json_int_t)socket->bytes_received));
    value_add(object, "bytes_sent", json_integer((json_int_t)socket->bytes_sent));
    value_add(object, "bytes_acked", json_integer((json_int_t)socket->bytes_acked));
    value_add(object, "bytes_unsent", json_integer((json_int_t)socket->bytes_unsent));
    value_add(object, "bytes_resent", json_integer((json_int_t)socket->bytes_resent));
    value_add(object, "segments_resent", json_integer(socket->segments_resent));
}

static void add_queues(json_t *object, const struct diag_socket *socket)
{
    bool listening = socket->state == DIAG_LISTEN;

    value_add(object, listening ? "accept_queue" : "receive_queue", json_integer(socket->receive_queue));
    value_add(object, listening ? "backlog" : "send_queue", json_integer(socket->send_queue));
}

void render_json(const char *change, const struct pairs_table *table, const struct pairs_row *row,
                 struct text *text)
{
    const struct diag_socket *socket = &row->socket;
    const char *device = socket->pair.local.device;
    bool has_inode = socket->inode != 0;
    json_t *object = json_object();

    if (change != NULL)
        value_add(object, "change", json_string(change));
    value_add(object, "proto", json_string(pairs_protocol(socket)));
    value_add(object, "state", json_string(diag_state_name(socket->state)));
    value_add(object, "local", end_value(&socket->pair.local));
    value_add(object, "foreign", end_value(&socket->pair.foreign));
    value_add(object, "pair", value_pair(&socket->pair));
    value_add(object, "cookie", value_cookie(socket->cookie));
    /* The kernel says 0, which is nobody's inode and somebody else's uid. */
    value_add(object, "inode", has_inode ? json_integer(socket->inode) : json_null());
    value_add(object, "uid", has_inode ? json_integer(socket->uid) : json_null());
    value_add(object, "device", device[0] != '\0' ? value_string(device) : json_null());
    value_add(object, "owner", owner_value(row->owner));
    value_add(object, "processes", render_processes(table, row));
    if (row->service != NULL)
        value_add(object, "service", value_string(row->service));
    if (row->connection != 0)
        value_add(object, "connection", json_integer((json_int_t)row->connection));
    add_queues(object, socket);
    add_counts(object, socket);
    value_put(object, text);
}
