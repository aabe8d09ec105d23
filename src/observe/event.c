/* SPDX-License-Identifier: MIT */
#include "observe/event.h"

#include "observe/render.h"

#include <string.h>
#include <time.h>

#define EVENT(id, name, level, help) [EVENT_##id] = {name, EVENT_LEVEL_##level},
const struct event_row event_rows[EVENT_KIND_COUNT] = {
#include "observe/events.def"
};
#undef EVENT

#define FIELD(id, name, type, member, text) \
    [FIELD_##id] = {name, FIELD_TYPE_##type, offsetof(struct event, member), text},
const struct field_row field_rows[EVENT_FIELD_COUNT] = {
#include "observe/events.def"
};
#undef FIELD

_Static_assert(EVENT_FIELD_COUNT <= 32, "the set of an event's fields is one 32-bit word");

const char *event_name(enum event_kind kind)
{
    return event_rows[kind].name;
}

bool event_has(const struct event *event, size_t field)
{
    return (event->set >> field & 1) != 0;
}

uint64_t event_number(const struct event *event, const struct field_row *row)
{
    uint64_t number;

    memcpy(&number, (const char *)event + row->offset, sizeof(number));
    return number;
}

const char *event_string(const struct event *event, const struct field_row *row)
{
    const char *string;

    memcpy(&string, (const char *)event + row->offset, sizeof(string));
    return string;
}

struct event_bytes event_bytes(const struct event *event, const struct field_row *row)
{
    struct event_bytes bytes;

    memcpy(&bytes, (const char *)event + row->offset, sizeof(bytes));
    if (bytes.length > EVENT_BYTES_MAX)
        bytes.length = EVENT_BYTES_MAX;
    return bytes;
}

void event_time(int64_t time_ns, bool whole, struct text *text)
{
    time_t seconds = (time_t)(time_ns / 1000000000);
    struct tm parts;

    gmtime_r(&seconds, &parts);
    if (whole) {
        text_padded(text, (uint64_t)parts.tm_year + 1900, 4);
        text_string(text, "-");
        text_padded(text, (uint64_t)parts.tm_mon + 1, 2);
        text_string(text, "-");
        text_padded(text, (uint64_t)parts.tm_mday, 2);
        text_string(text, "T");
    }
    text_padded(text, (uint64_t)parts.tm_hour, 2);
    text_string(text, ":");
    text_padded(text, (uint64_t)parts.tm_min, 2);
    text_string(text, ":");
    text_padded(text, (uint64_t)parts.tm_sec, 2);
    text_string(text, ".");
    text_padded(text, (uint64_t)(time_ns / 1000000 % 1000), 3);
    text_string(text, "Z");
}

void event_render(const struct event *event, int64_t time_ns, enum event_form form, struct text *text)
{
    if (form == EVENT_FORM_JSON)
        event_render_json(event, time_ns, text);
    else
        event_render_text(event, time_ns, form == EVENT_FORM_COLOUR, text);
}
