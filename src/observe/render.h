/* SPDX-License-Identifier: MIT
 *
 * observe/render.h - the tables of events and fields as the two renderers see them.
 *
 * Within the room only: event.c and text.c and json.c share it. A renderer walks field_rows in order and shows what
 * the event has set. Values are read through event_number() and event_bytes(), which know where a row's member is.
 */
#ifndef OBSERVE_RENDER_H
#define OBSERVE_RENDER_H

#include "observe/event.h"

enum field_type {
    FIELD_TYPE_PAIR,
    FIELD_TYPE_STRING,
    FIELD_TYPE_BYTES,
    FIELD_TYPE_NUMBER,
    FIELD_TYPE_SIGNAL,
    FIELD_TYPE_MILLISECONDS
};
enum event_level { EVENT_LEVEL_PLAIN, EVENT_LEVEL_WARNING, EVENT_LEVEL_ERROR };

struct event_row {
    const char *name;
    enum event_level level;
};

struct field_row {
    const char *name;
    enum field_type type;
    size_t offset; /* in struct event */
    const char *text;
};

extern const struct event_row event_rows[EVENT_KIND_COUNT];
extern const struct field_row field_rows[EVENT_FIELD_COUNT];

bool event_has(const struct event *event, size_t field);
uint64_t event_number(const struct event *event, const struct field_row *row);
/* The STRING or BYTES value, bounded by EVENT_BYTES_MAX. */
struct event_bytes event_string(const struct event *event, const struct field_row *row);
struct event_bytes event_bytes(const struct event *event, const struct field_row *row);
/* "2026-11-22T22:30:47.123Z" */
void event_time(int64_t time_ns, struct text *text);

void event_render_text(const struct event *event, int64_t time_ns, bool colour, struct text *text);
void event_render_json(const struct event *event, int64_t time_ns, struct text *text);

#endif
