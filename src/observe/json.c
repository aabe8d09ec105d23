/* SPDX-License-Identifier: MIT */
#include "addr/value.h"
#include "observe/render.h"
#include "sys/signals.h"

static json_t *field_value(const struct event *event, const struct field_row *row)
{
    struct event_bytes bytes;
    char room[16];

    switch (row->type) {
    case FIELD_TYPE_PAIR:
        return value_pair(event->pair);
    case FIELD_TYPE_STRING:
        bytes = event_string(event, row);
        return value_bytes(bytes.start, bytes.length);
    case FIELD_TYPE_BYTES:
        bytes = event_bytes(event, row);
        return value_bytes(bytes.start, bytes.length);
    case FIELD_TYPE_NUMBER:
        return json_integer((json_int_t)event_number(event, row));
    case FIELD_TYPE_SIGNAL:
        return json_string(signal_name((int)event_number(event, row), room, sizeof(room)));
    case FIELD_TYPE_MILLISECONDS:
        return json_real((double)(event_number(event, row) / 1000) / 1000.0);
    }
    return NULL;
}

/* Of what is too long, the last fields are left out. With the newline and the NUL it fits. */
static void dump(json_t *object, struct text *text)
{
    const size_t flags = JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(12);
    char *start = text->start + text->length;
    size_t size = text->size - text->length;
    size_t length = json_dumpb(object, start, size, flags);

    for (size_t field = EVENT_FIELD_COUNT; length > size - 2 && field > 0; field--) {
        if (json_object_del(object, field_rows[field - 1].name) == 0)
            length = json_dumpb(object, start, size, flags);
    }
    text->length += length;
}

void event_render_json(const struct event *event, int64_t time_ns, struct text *text)
{
    char room[32];
    struct text time;
    json_t *object = json_object();

    text_init(&time, room, sizeof(room));
    event_time(time_ns, &time);
    text_end(&time);
    value_add(object, "time", json_string(room));
    value_add(object, "event", json_string(event_rows[event->kind].name));
    for (size_t i = 0; i < EVENT_FIELD_COUNT; i++) {
        if (event_has(event, i))
            value_add(object, field_rows[i].name, field_value(event, &field_rows[i]));
    }
    dump(object, text);
    text_string(text, "\n");
    json_decref(object);
}
