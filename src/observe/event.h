/* SPDX-License-Identifier: MIT
 *
 * observe/event.h - what happened, as one value.
 *
 * An event is made on the stack by whoever sees it happen, its fields set, and given to the log at once: it borrows
 * the texts it points to only for that call. `set` says which fields are known; event_render() writes those, as a line
 * for people or as a JSON object, with the newline. Everything that a client or a program can choose passes the
 * escaper of its form, so that one event is always one line. Tables: observe/events.def. Nothing is decided here.
 */
#ifndef OBSERVE_EVENT_H
#define OBSERVE_EVENT_H

#include "addr/pair.h"

#include <stddef.h>
#include <stdint.h>

#define EVENT(id, name, level, help) EVENT_##id,
enum event_kind {
#include "observe/events.def"
    EVENT_KIND_COUNT
};
#undef EVENT

#define FIELD(id, name, type, member, text) FIELD_##id,
enum event_field {
#include "observe/events.def"
    EVENT_FIELD_COUNT
};
#undef FIELD

/* Room for any line; of one that would be longer the last fields are left out, none is cut in the middle. */
#define EVENT_LINE_SIZE 8192
/* The longest text shown, in bytes before they are escaped; what is longer is cut there. */
#define EVENT_BYTES_MAX 1024

struct event_bytes {
    const char *start;
    size_t length;
};

struct event {
    enum event_kind kind;
    uint32_t set; /* bits of enum event_field */
    const char *service;
    const struct pair *pair;
    const char *proto;
    const char *reason;
    const char *step;
    const char *error;
    struct event_bytes text;
    uint64_t connection;
    uint64_t pid;
    uint64_t exit;
    uint64_t signal;
    uint64_t duration_ns;
    uint64_t cpu_user_us;
    uint64_t cpu_system_us;
    uint64_t max_rss_kib;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t delay_ms;
    uint64_t waiting;
    uint64_t live;
    uint64_t served;
    uint64_t refused;
    uint64_t failed;
    uint64_t count;
};

/* Sets a field and marks it: EVENT_SET(&event, PID, pid, 812). */
#define EVENT_SET(event, id, member, value) \
    ((event)->member = (value), (event)->set |= UINT32_C(1) << FIELD_##id)

enum event_form { EVENT_FORM_TEXT, EVENT_FORM_COLOUR, EVENT_FORM_JSON };

const char *event_name(enum event_kind kind);

/* Appends the line of an event that happened at `time_ns` (CLOCK_REALTIME), UTC, to a text with EVENT_LINE_SIZE of room. */
void event_render(const struct event *event, int64_t time_ns, enum event_form form, struct text *text);

#endif
