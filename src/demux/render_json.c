/* SPDX-License-Identifier: MIT */
#include "demux/render.h"

#include "addr/value.h"
#include "demux/explain.h"
#include "pairs/render.h"

#include <string.h>

static json_t *string_of(void (*format)(const void *what, struct text *text), const void *what)
{
    char room[EXPLAIN_SIZE];
    struct text text;

    text_init(&text, room, sizeof(room));
    format(what, &text);
    text_end(&text);
    return json_string(room);
}

static void format_flags(const void *what, struct text *text)
{
    packet_format_flags(*(const uint16_t *)what, text);
}

static void format_device(const void *what, struct text *text)
{
    text_escape(text, what, strlen(what));
}

static void format_interface(const void *what, struct text *text)
{
    explain_interface(what, text);
}

static void add_socket(json_t *object, const struct diag_socket *socket)
{
    value_add(object, "pair", value_pair(&socket->pair));
    value_add(object, "proto", json_string(pairs_protocol(socket)));
    value_add(object, "state", json_string(diag_state_name(socket->state)));
    value_add(object, "cookie", value_cookie(socket->cookie));
}

static json_t *segment_value(const struct answer *answer)
{
    const struct segment *segment = &answer->segment;
    json_t *object = json_object();

    value_add(object, "foreign", value_address(&segment->pair.foreign));
    value_add(object, "local", value_address(&segment->pair.local));
    value_add(object, "flags", string_of(format_flags, &segment->flags));
    value_add(object, "interface",
              segment->interface != 0 ? string_of(format_interface, segment) : json_null());
    return object;
}

static json_t *candidates_value(const struct answer *answer)
{
    json_t *array = json_array();

    for (size_t i = 0; i < answer->model.count; i++) {
        const struct model_candidate *candidate = &answer->model.items[i];
        char why[EXPLAIN_SIZE];
        struct text text;
        json_t *object = json_object();
        const struct pairs_row *row = &answer->table.rows[candidate->row];
        add_socket(object, &row->socket);
        value_add(object, "rank", json_integer(candidate->rank));
        text_init(&text, why, sizeof(why));
        explain_candidate(answer, candidate, &text);
        text_end(&text);
        value_add(object, "why", json_string(why));
        if (row->owner != OWNER_UNKNOWN)
            value_add(object, "processes", render_processes(&answer->table, row));
        json_array_append_new(array, object);
    }
    return array;
}

static json_t *kernel_value(const struct answer *answer)
{
    json_t *object = json_object();

    if (answer->kernel != ANSWER_NONE)
        add_socket(object, &answer->table.rows[answer->kernel].socket);
    else
        value_add(object, "pair", json_null());
    value_add(object, "cpu_decides", json_boolean(answer->cpus_vary));
    value_add(object, "programs", answer->programs >= 0 ? json_integer(answer->programs) : json_null());
    return object;
}

/* Of a group the model knows the members, and not which of them. */
static json_t *model_value(const struct answer *answer)
{
    const struct model *model = &answer->model;
    json_t *object = json_object();
    json_t *group = json_array();

    if (model->best == 1)
        add_socket(object, &answer->table.rows[model->items[0].row].socket);
    else
        value_add(object, "pair", json_null());
    for (size_t i = 0; i < model->best && model->best > 1; i++)
        json_array_append_new(group, value_cookie(answer->table.rows[model->items[i].row].socket.cookie));
    value_add(object, "group", group);
    return object;
}

static json_t *interfaces_value(const struct answer *answer)
{
    json_t *array = json_array();

    for (size_t i = 0; i < answer->interface_count; i++) {
        const struct answer_interface *interface = &answer->interfaces[i];
        json_t *object = json_object();
        value_add(object, "interface", string_of(format_device, interface->name));
        value_add(object, "others", json_boolean(interface->others));
        if (interface->row != ANSWER_NONE)
            add_socket(object, &answer->table.rows[interface->row].socket);
        else
            value_add(object, "pair", json_null());
        json_array_append_new(array, object);
    }
    return array;
}

static void add_reason(void *data, const char *line)
{
    json_array_append_new(data, json_string(line));
}

static void add_receiver(json_t *object, const struct answer *answer)
{
    const struct pairs_row *row = &answer->table.rows[answer->row];

    add_socket(object, &row->socket);
    value_add(object, "processes", render_processes(&answer->table, row));
}

void render_answer_json(const struct answer *answer, struct text *text)
{
    json_t *object = json_object();
    json_t *reasons = json_array();

    value_add(object, "segment", segment_value(answer));
    value_add(object, "answer", json_string(explain_kind(answer->kind)));
    value_add(object, "pair", json_null());
    value_add(object, "certainty", json_string(explain_certainty(answer->certainty)));
    value_add(object, "processes", json_array());
    if (answer->row != ANSWER_NONE)
        add_receiver(object, answer);
    value_add(object, "candidates", candidates_value(answer));
    value_add(object, "kernel", kernel_value(answer));
    value_add(object, "model", model_value(answer));
    value_add(object, "agree", json_boolean(answer->agree));
    value_add(object, "reply", json_string(explain_reply(answer->reply)));
    explain_reasons(answer, add_reason, reasons);
    value_add(object, "reasons", reasons);
    value_add(object, "interfaces", interfaces_value(answer));
    value_put(object, text);
}
