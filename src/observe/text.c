/* SPDX-License-Identifier: MIT */
#include "observe/render.h"
#include "sys/signals.h"

#include <string.h>

/* The widest names are six letters; a longer one only moves its own line. */
#define NAME_WIDTH 6

static void render_value(const struct event *event, const struct field_row *row, struct text *text)
{
    struct event_bytes bytes;
    char name[16];
    uint64_t number;

    switch (row->type) {
    case FIELD_TYPE_PAIR:
        pair_format(event->pair, text);
        break;
    case FIELD_TYPE_STRING:
        bytes = event_string(event, row);
        text_escape_again(text, bytes.start, bytes.length);
        break;
    case FIELD_TYPE_BYTES:
        bytes = event_bytes(event, row);
        text_escape(text, bytes.start, bytes.length);
        break;
    case FIELD_TYPE_NUMBER:
        text_unsigned(text, event_number(event, row));
        break;
    case FIELD_TYPE_SIGNAL:
        text_string(text, signal_name((int)event_number(event, row), name, sizeof(name)));
        break;
    case FIELD_TYPE_MILLISECONDS:
        number = event_number(event, row) / 100000;
        text_unsigned(text, number / 10);
        text_string(text, ".");
        text_unsigned(text, number % 10);
        break;
    }
}

static void render_field(const struct event *event, const struct field_row *row, struct text *text)
{
    const char *place = strchr(row->text, '%');

    text_string(text, " ");
    text_bytes(text, row->text, (size_t)(place - row->text));
    render_value(event, row, text);
    text_string(text, place + 1);
}

void event_render_text(const struct event *event, int64_t time_ns, bool colour, struct text *text)
{
    static const char *const colours[] = {
        [EVENT_LEVEL_PLAIN] = "\033[1m",
        [EVENT_LEVEL_WARNING] = "\033[33m",
        [EVENT_LEVEL_ERROR] = "\033[31m",
    };
    const struct event_row *row = &event_rows[event->kind];

    event_time(time_ns, text);
    text_string(text, " ");
    text_string(text, colour ? colours[row->level] : "");
    text_string(text, row->name);
    text_string(text, colour ? "\033[0m" : "");
    for (size_t width = strlen(row->name); width < NAME_WIDTH; width++)
        text_string(text, " ");
    for (size_t i = 0; i < EVENT_FIELD_COUNT; i++) {
        if (!event_has(event, i) || field_rows[i].text[0] == '\0')
            continue;
        size_t before = text->length;
        render_field(event, &field_rows[i], text);
        /* With the newline and the NUL. */
        if (text->length + 2 > text->size) {
            text->length = before;
            break;
        }
    }
    text_string(text, "\n");
}
