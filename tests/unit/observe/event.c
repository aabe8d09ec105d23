/* SPDX-License-Identifier: MIT */
#include "observe/event.h"

#include "observe/render.h"

#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* 2026-11-22T22:30:47.123Z */
#define TIME_NS INT64_C(1795386647123456789)

static const struct pair pair = {
    .local = {.family = AF_INET, .port = 21, .bytes = {192, 0, 2, 1}},
    .foreign = {.family = AF_INET, .port = 1500, .bytes = {198, 51, 100, 7}},
};

static const char *render(const struct event *event, int64_t time_ns, enum event_form form,
                          size_t *ret_length)
{
    static char line[EVENT_LINE_SIZE];
    struct text text;

    text_init(&text, line, sizeof(line));
    event_render(event, time_ns, form, &text);
    *ret_length = text_end(&text);
    assert_in_range(*ret_length, 1, sizeof(line) - 1);
    return line;
}

static void assert_line(const struct event *event, enum event_form form, const char *expected)
{
    size_t length;

    assert_string_equal(render(event, TIME_NS, form, &length), expected);
}

static struct event end_event(void)
{
    struct event event = {.kind = EVENT_END};

    EVENT_SET(&event, CONNECTION, connection, 17);
    EVENT_SET(&event, PAIR, pair, &pair);
    EVENT_SET(&event, PID, pid, 812);
    EVENT_SET(&event, SERVICE, service, "ftp");
    EVENT_SET(&event, SIGNAL, signal, SIGSEGV);
    EVENT_SET(&event, DURATION, duration_ns, 12345678);
    EVENT_SET(&event, CPU_USER, cpu_user_us, 300);
    EVENT_SET(&event, CPU_SYSTEM, cpu_system_us, 41);
    EVENT_SET(&event, BYTES_IN, bytes_in, 0);
    EVENT_SET(&event, BYTES_OUT, bytes_out, UINT64_C(5000000000));
    return event;
}

static void test_lines(void **state)
{
    struct event end = end_event();
    struct event lost = {.kind = EVENT_LOST};
    struct event reopen = {.kind = EVENT_REOPEN};
    struct event notice = {.kind = EVENT_NOTICE};

    (void)state;
    assert_line(&end, EVENT_FORM_TEXT,
                "2026-11-22T22:30:47.123Z end    #17 {192.0.2.1:21, 198.51.100.7:1500} pid 812 signal SEGV "
                "after 12.3 ms "
                "cpu 300 + 41 us in 0 out 5000000000\n");
    assert_line(
        &end, EVENT_FORM_JSON,
        "{\"time\":\"2026-11-22T22:30:47.123Z\",\"event\":\"end\",\"service\":\"ftp\",\"connection\":17,"
        "\"pair\":\"{192.0.2.1:21, "
        "198.51.100.7:1500}\",\"pid\":812,\"signal\":\"SEGV\",\"duration_ms\":12.345,"
        "\"cpu_user_us\":300,\"cpu_system_us\":41,\"bytes_in\":0,\"bytes_out\":5000000000}\n");
    EVENT_SET(&lost, COUNT, count, 3);
    assert_line(&lost, EVENT_FORM_COLOUR, "2026-11-22T22:30:47.123Z \033[31mlost\033[0m   count 3\n");
    /* What an error names was escaped when it was made; the words of a program were not. */
    EVENT_SET(&notice, ERROR, error, "cannot run a\\x09b: \n");
    EVENT_SET(&notice, TEXT, text, ((struct event_bytes){"a\\b", 3}));
    assert_line(&notice, EVENT_FORM_COLOUR,
                "2026-11-22T22:30:47.123Z \033[33mnotice\033[0m cannot run a\\x09b: \\x0a a\\x5cb\n");
    assert_line(
        &end, EVENT_FORM_COLOUR,
        "2026-11-22T22:30:47.123Z \033[1mend\033[0m    #17 {192.0.2.1:21, 198.51.100.7:1500} pid 812 signal "
        "SEGV after 12.3 ms cpu 300 + 41 us in 0 out 5000000000\n");
    assert_line(&reopen, EVENT_FORM_TEXT, "2026-11-22T22:30:47.123Z reopen\n");
    assert_line(&reopen, EVENT_FORM_JSON, "{\"time\":\"2026-11-22T22:30:47.123Z\",\"event\":\"reopen\"}\n");
}

/* Against the C library, over the calendar's corners and at random. */
static void test_times(void **state)
{
    static const int64_t corners[] = {
        0, 68169599, 68169600, 951782399, 951782400, 951868799, 951868800, 4107542399, 4107542400, 4107628800,
    };
    unsigned seed = 1;

    (void)state;
    for (size_t i = 0; i < 20000; i++) {
        int64_t seconds = (int64_t)rand_r(&seed) * 4 + rand_r(&seed) % 4;
        if (i < sizeof(corners) / sizeof(corners[0]))
            seconds = corners[i];
        int64_t ms = rand_r(&seed) % 1000;
        time_t time = (time_t)seconds;
        struct tm parts;
        char expected[64];
        char shown[64];
        struct text text;
        gmtime_r(&time, &parts);
        size_t length = strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S", &parts);
        snprintf(expected + length, sizeof(expected) - length, ".%03dZ", (int)ms);
        text_init(&text, shown, sizeof(shown));
        event_time(seconds * 1000000000 + ms * 1000000 + 999999, &text);
        text_end(&text);
        assert_string_equal(shown, expected);
    }
}

/* The sinks, the manual and the counters are made of the tables. */
static void test_the_tables(void **state)
{
    (void)state;
    for (size_t i = 0; i < EVENT_KIND_COUNT; i++) {
        assert_string_equal(event_name((enum event_kind)i), event_rows[i].name);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(event_rows[i].name, event_rows[j].name);
    }
    for (size_t i = 0; i < EVENT_FIELD_COUNT; i++) {
        assert_true(field_rows[i].text[0] == '\0' || strchr(field_rows[i].text, '%') != NULL);
        assert_true(field_rows[i].offset >= offsetof(struct event, service));
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(field_rows[i].name, field_rows[j].name);
            assert_true(field_rows[i].offset != field_rows[j].offset);
        }
    }
}

/* What is in the tables is in both forms, each field under its name. */
static void test_every_field_is_shown(void **state)
{
    (void)state;
    for (size_t i = 0; i < EVENT_FIELD_COUNT; i++) {
        struct event event = end_event();
        const char *name = field_rows[i].name;
        size_t length;
        event.reason = event.step = event.error = event.proto = "x";
        event.text = (struct event_bytes){"y", 1};
        event.set = UINT32_C(1) << i;
        json_t *object = json_loads(render(&event, TIME_NS, EVENT_FORM_JSON, &length), 0, NULL);
        assert_non_null(json_object_get(object, name));
        assert_int_equal(json_object_size(object), 3);
        json_decref(object);
        render(&event, TIME_NS, EVENT_FORM_TEXT, &length);
        assert_true(length > 33 || field_rows[i].text[0] == '\0');
    }
}

/* One line, whose characters are all whole and printable; JSON leaves DEL as it is, which no terminal minds. */
static void assert_one_line(const char *line, size_t length, enum event_form form)
{
    const unsigned char *at = (const unsigned char *)line;
    const unsigned char *end = at + length - 1;

    assert_int_equal(*end, '\n');
    while (at < end) {
        size_t step = text_utf8_length(at, (size_t)(end - at));
        assert_in_range(step, 1, form == EVENT_FORM_JSON ? 1 : 4);
        assert_true(*at >= 0x20 && (*at != 0x7f || form == EVENT_FORM_JSON));
        assert_false(step == 2 && at[0] == 0xc2 && at[1] < 0xa0);
        at += step;
    }
}

/* Bytes as a client may send them: any, much UTF-8, escapes, ends of lines; up to twice what is shown. */
static size_t any_bytes(char *bytes, size_t room, unsigned *seed)
{
    enum { WELL_FORMED = 16 };
    static const char *const parts[] = {
        "\n",
        "\r\n",
        "\x1b[2J",
        "\\",
        "\"",
        "\\x0a",
        "\xc3\xa9",
        "\xe2\x82\xac",
        "\xf0\x9f\x98\x80",
        "\xc2\x85",
        "{",
        "}",
        "\xe2\x80\xa8",
        "a",
        "%s%n",
        "\x7f",
        "\xff",
        "\xed\xa0\x80",
        "\xc0\xaf",
        "\xe2\x82",
        "\x80",
    };
    size_t length = 0;
    size_t wanted = (size_t)rand_r(seed) % (rand_r(seed) % 4 == 0 ? room : 64);
    int kind = rand_r(seed) % 3;

    while (length < wanted) {
        size_t count = kind == 1 ? WELL_FORMED : sizeof(parts) / sizeof(parts[0]);
        const char *part = parts[(size_t)rand_r(seed) % count];
        size_t step = kind == 0 ? 1 : strlen(part);
        if (length + step > wanted)
            break;
        memcpy(bytes + length, part, step);
        if (kind == 0)
            bytes[length] = (char)rand_r(seed);
        length += step;
    }
    return length;
}

static bool is_utf8(const char *bytes, size_t length)
{
    const unsigned char *at = (const unsigned char *)bytes;

    for (size_t step; length > 0; at += step, length -= step) {
        step = text_utf8_length(at, length);
        if (step == 0)
            return false;
    }
    return true;
}

/* Texts that are ours, so printable, but as long as a user makes a name. */
static const char *any_string(char *string, size_t room, unsigned *seed)
{
    size_t length = (size_t)rand_r(seed) % (rand_r(seed) % 8 == 0 ? room : 40);

    memset(string, "aZ0 {"[rand_r(seed) % 5], length);
    string[length] = '\0';
    return string;
}

struct texts {
    char bytes[2 * EVENT_BYTES_MAX];
    char strings[4][20000];
};

static struct event any_event(struct texts *texts, unsigned *seed)
{
    struct event event = {.kind = (enum event_kind)(rand_r(seed) % EVENT_KIND_COUNT)};

    event.set = (uint32_t)rand_r(seed) & ((UINT32_C(1) << EVENT_FIELD_COUNT) - 1);
    for (size_t i = 0; i < EVENT_FIELD_COUNT; i++) {
        uint64_t number = (uint64_t)rand_r(seed) << (rand_r(seed) % 32);
        if (field_rows[i].type == FIELD_TYPE_SIGNAL)
            number %= 70;
        if (field_rows[i].type >= FIELD_TYPE_NUMBER)
            memcpy((char *)&event + field_rows[i].offset, &number, sizeof(number));
    }
    event.pair = &pair;
    event.proto = "tcp46";
    event.service = any_string(texts->strings[0], sizeof(texts->strings[0]), seed);
    event.reason = any_string(texts->strings[1], sizeof(texts->strings[1]), seed);
    event.step = any_string(texts->strings[2], sizeof(texts->strings[2]), seed);
    event.error = any_string(texts->strings[3], sizeof(texts->strings[3]), seed);
    event.text.start = texts->bytes;
    event.text.length = any_bytes(texts->bytes, sizeof(texts->bytes), seed);
    return event;
}

/* The text in JSON: the bytes themselves where they are UTF-8, else escaped. Where it is cut is another test's. */
static void assert_text(const struct event_bytes *bytes, const json_t *value)
{
    char escaped[4 * EVENT_BYTES_MAX + 1];
    struct text text;

    if (bytes->length > EVENT_BYTES_MAX)
        return;
    if (is_utf8(bytes->start, bytes->length)) {
        assert_int_equal(json_string_length(value), bytes->length);
        assert_memory_equal(json_string_value(value), bytes->start, bytes->length);
        return;
    }
    text_init(&text, escaped, sizeof(escaped));
    text_escape(&text, bytes->start, bytes->length);
    text_end(&text);
    assert_string_equal(json_string_value(value), escaped);
}

static void assert_json(const struct event *event, const char *line, size_t length)
{
    json_error_t error;
    json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    bool left_out = false;

    if (object == NULL)
        fail_msg("%s: %s", error.text, line);
    assert_int_equal(json_string_length(json_object_get(object, "time")), 24);
    assert_string_equal(json_string_value(json_object_get(object, "event")), event_name(event->kind));
    for (size_t i = 0; i < EVENT_FIELD_COUNT; i++) {
        const json_t *value = json_object_get(object, field_rows[i].name);
        if (!event_has(event, i)) {
            assert_null(value);
            continue;
        }
        /* From one that did not fit on, all are missing. */
        left_out = left_out || value == NULL;
        assert_int_equal(value == NULL, left_out);
        if (value != NULL && field_rows[i].type == FIELD_TYPE_NUMBER)
            assert_true((uint64_t)json_integer_value(value) == event_number(event, &field_rows[i]));
        if (value != NULL && i == FIELD_TEXT)
            assert_text(&event->text, value);
    }
    if (left_out)
        assert_true(length > EVENT_LINE_SIZE / 4);
    json_decref(object);
}

static void test_one_event_is_one_line(void **state)
{
    static struct texts texts;
    unsigned seed = 4711;

    (void)state;
    for (int round = 0; round < 10000; round++) {
        struct event event = any_event(&texts, &seed);
        size_t length;
        const char *line = render(&event, TIME_NS, EVENT_FORM_TEXT, &length);
        assert_one_line(line, length, EVENT_FORM_TEXT);
        assert_memory_equal(line + 25, event_name(event.kind), strlen(event_name(event.kind)));
        line = render(&event, TIME_NS, EVENT_FORM_JSON, &length);
        assert_one_line(line, length, EVENT_FORM_JSON);
        assert_json(&event, line, length);
    }
}

/* Cut at the bound, but not in the middle of a character. */
static void test_a_cut_text(void **state)
{
    char bytes[EVENT_BYTES_MAX + 8];

    (void)state;
    for (size_t before = EVENT_BYTES_MAX - 5; before <= EVENT_BYTES_MAX; before++) {
        struct event event = {.kind = EVENT_STDERR};
        size_t length;
        memset(bytes, 'a', before);
        memcpy(bytes + before, "\xf0\x9f\x98\x80zzzz", 8);
        EVENT_SET(&event, TEXT, text, ((struct event_bytes){bytes, before + 8}));
        json_t *object = json_loads(render(&event, TIME_NS, EVENT_FORM_JSON, &length), 0, NULL);
        size_t expected = before + 4 <= EVENT_BYTES_MAX ? EVENT_BYTES_MAX : before;
        assert_int_equal(json_string_length(json_object_get(object, "text")), expected);
        json_decref(object);
        const char *line = render(&event, TIME_NS, EVENT_FORM_TEXT, &length);
        assert_null(strstr(line, "\\x"));
    }
}

/* At the longest line there can be: every length around it, and nothing is left out but from the end. */
static void test_the_longest_line(void **state)
{
    static char string[EVENT_BYTES_MAX + 1];
    static char bytes[EVENT_BYTES_MAX];
    size_t longest[3] = {0};

    (void)state;
    memset(string, 's', sizeof(string) - 1);
    memset(bytes, 1, sizeof(bytes));
    for (size_t cut = 0; cut < 1000; cut++) {
        struct event event = {.kind = EVENT_STDERR};
        EVENT_SET(&event, PROTO, proto, string);
        EVENT_SET(&event, REASON, reason, string);
        EVENT_SET(&event, STEP, step, string);
        EVENT_SET(&event, ERROR, error, string + cut);
        EVENT_SET(&event, TEXT, text, ((struct event_bytes){bytes, 700}));
        for (enum event_form form = EVENT_FORM_TEXT; form <= EVENT_FORM_JSON; form += EVENT_FORM_JSON) {
            size_t length;
            event.text.length = form == EVENT_FORM_JSON ? 700 : EVENT_BYTES_MAX;
            const char *line = render(&event, TIME_NS, form, &length);
            assert_one_line(line, length, form);
            if (form == EVENT_FORM_JSON)
                assert_json(&event, line, length);
            if (length > longest[form])
                longest[form] = length;
        }
    }
    /* A text grows in steps of an escape or of one; JSON of a letter. */
    assert_in_range(longest[EVENT_FORM_TEXT], EVENT_LINE_SIZE - 4, EVENT_LINE_SIZE - 1);
    assert_int_equal(longest[EVENT_FORM_JSON], EVENT_LINE_SIZE - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_longest_line),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_the_tables),
        cmocka_unit_test(test_every_field_is_shown),
        cmocka_unit_test(test_a_cut_text),
        cmocka_unit_test(test_one_event_is_one_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
