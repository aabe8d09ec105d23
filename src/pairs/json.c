/* SPDX-License-Identifier: MIT */
#include "pairs/render.h"

#include <jansson.h>
#include <string.h>

static void add(json_t *object, const char *key, json_t *value)
{
    if (value != NULL)
        json_object_set_new_nocheck(object, key, value);
}

/* Bytes that are no UTF-8 cannot stand in JSON: they are shown as \xNN, as in text. */
static json_t *string_value(const char *string)
{
    char room[4 * 256 + 1];
    struct text escaped;
    json_t *value = json_string(string);

    if (value != NULL)
        return value;
    text_init(&escaped, room, sizeof(room));
    text_escape(&escaped, string, strlen(string));
    text_end(&escaped);
    return json_stringn(room, text_length(&escaped));
}

static json_t *end_value(const struct address *address)
{
    char room[ADDRESS_TEXT_SIZE];
    struct text text;
    json_t *object = json_object();

    text_init(&text, room, sizeof(room));
    address_format_host(address, &text);
    text_end(&text);
    add(object, "address", json_string(room));
    add(object, "port", address->port != 0 ? json_integer(address->port) : json_string("*"));
    return object;
}

static json_t *pair_value(const struct pair *pair)
{
    char room[PAIR_TEXT_SIZE];
    struct text text;

    text_init(&text, room, sizeof(room));
    pair_format(pair, &text);
    text_end(&text);
    return json_string(room);
}

static json_t *cookie_value(uint64_t cookie)
{
    char room[24];
    struct text text;

    text_init(&text, room, sizeof(room));
    text_printf(&text, "%llx", (unsigned long long)cookie);
    text_end(&text);
    return json_string(room);
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
        add(object, "pid", json_integer(holder->pid));
        add(object, "fd", json_integer(holder->fd));
        add(object, "name", string_value(process != NULL ? process->name : ""));
        json_array_append_new(array, object);
    }
    return array;
}

static void add_counts(json_t *object, const struct diag_socket *socket)
{
    if (!pairs_has_counts(socket))
        return;
    add(object, "rtt_us", json_integer(socket->rtt_us));
    add(object, "rtt_variation_us", json_integer(socket->rtt_variation_us));
    add(object, "bytes_received", json_integer((json_int_t)socket->bytes_received));
    add(object, "bytes_sent", json_integer((json_int_t)socket->bytes_sent));
    add(object, "bytes_acked", json_integer((json_int_t)socket->bytes_acked));
    add(object, "bytes_unsent", json_integer((json_int_t)socket->bytes_unsent));
    add(object, "bytes_resent", json_integer((json_int_t)socket->bytes_resent));
    add(object, "segments_resent", json_integer(socket->segments_resent));
}

static void add_queues(json_t *object, const struct diag_socket *socket)
{
    bool listening = socket->state == DIAG_LISTEN;

    add(object, listening ? "accept_queue" : "receive_queue", json_integer(socket->receive_queue));
    add(object, listening ? "backlog" : "send_queue", json_integer(socket->send_queue));
}

static int append(const char *bytes, size_t length, void *data)
{
    text_bytes(data, bytes, length);
    return 0;
}

void render_json(const char *change, const struct pairs_table *table, const struct pairs_row *row,
                 struct text *text)
{
    const struct diag_socket *socket = &row->socket;
    const char *device = socket->pair.local.device;
    bool has_inode = socket->inode != 0;
    json_t *object = json_object();

    if (change != NULL)
        add(object, "change", json_string(change));
    add(object, "proto", json_string(pairs_protocol(socket)));
    add(object, "state", json_string(diag_state_name(socket->state)));
    add(object, "local", end_value(&socket->pair.local));
    add(object, "foreign", end_value(&socket->pair.foreign));
    add(object, "pair", pair_value(&socket->pair));
    add(object, "cookie", cookie_value(socket->cookie));
    /* The kernel says 0, which is nobody's inode and somebody else's uid. */
    add(object, "inode", has_inode ? json_integer(socket->inode) : json_null());
    add(object, "uid", has_inode ? json_integer(socket->uid) : json_null());
    add(object, "device", device[0] != '\0' ? string_value(device) : json_null());
    add(object, "owner", owner_value(row->owner));
    add(object, "processes", render_processes(table, row));
    if (row->service != NULL)
        add(object, "service", string_value(row->service));
    if (row->connection != 0)
        add(object, "connection", json_integer((json_int_t)row->connection));
    add_queues(object, socket);
    add_counts(object, socket);
    json_dump_callback(object, append, text, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(object);
}
