/* SPDX-License-Identifier: MIT */
#include "observe/event.h"

#include "base/time.h"
#include "observe/render.h"

#include <string.h>

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

/* At most EVENT_BYTES_MAX of them, without a half character at the end. */
static struct event_bytes bounded(const char *start, size_t length)
{
    size_t last = EVENT_BYTES_MAX;

    if (length <= last)
        return (struct event_bytes){.start = start, .length = length};
    while (last > EVENT_BYTES_MAX - 3 && (start[last] & 0xc0) == 0x80)
        last--;
    bool is_split =
        text_utf8_length((const unsigned char *)start + last, length - last) > EVENT_BYTES_MAX - last;
    return (struct event_bytes){.start = start, .length = is_split ? last : EVENT_BYTES_MAX};
}

struct event_bytes event_bytes(const struct event *event, const struct field_row *row)
{
    struct event_bytes bytes;

    memcpy(&bytes, (const char *)event + row->offset, sizeof(bytes));
    return bounded(bytes.start, bytes.length);
}

struct event_bytes event_string(const struct event *event, const struct field_row *row)
{
    const char *string;

    memcpy(&string, (const char *)event + row->offset, sizeof(string));
    return bounded(string, strlen(string));
}

/* The date of a day since 1970-01-01 in the Gregorian calendar, whose eras of 400 years all have 146097 days. */
static void render_date(int64_t day, struct text *text)
{
    int64_t shifted = day + 719468; /* since 0000-03-01, so that the leap day is a year's last */
    int64_t era = shifted / 146097;
    int64_t of_era = shifted % 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153; /* from March */

    text_padded(text, (uint64_t)(year + era * 400 + (month >= 10)), 4);
    text_string(text, "-");
    text_padded(text, (uint64_t)(month < 10 ? month + 3 : month - 9), 2);
    text_string(text, "-");
    text_padded(text, (uint64_t)(of_year - (153 * month + 2) / 5 + 1), 2);
}

/* Not by gmtime_r(3), which takes a lock and so a page that is then copied after each fork. */
void event_time(int64_t time_ns, struct text *text)
{
    int64_t seconds = time_ns / SECOND_NS;

    render_date(seconds / 86400, text);
    text_string(text, "T");
    text_padded(text, (uint64_t)(seconds / 3600 % 24), 2);
    text_string(text, ":");
    text_padded(text, (uint64_t)(seconds / 60 % 60), 2);
    text_string(text, ":");
    text_padded(text, (uint64_t)(seconds % 60), 2);
    text_string(text, ".");
    text_padded(text, (uint64_t)(time_ns / MS_NS % 1000), 3);
    text_string(text, "Z");
}

void event_render(const struct event *event, int64_t time_ns, enum event_form form, struct text *text)
{
    if (form == EVENT_FORM_JSON)
        event_render_json(event, time_ns, text);
    else
        event_render_text(event, time_ns, form == EVENT_FORM_COLOUR, text);
}
