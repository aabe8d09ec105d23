/* SPDX-License-Identifier: MIT
 *
 * Any bytes as the frames of a capture: they are replayed with few connections in memory, with a table and without,
 * and every answer, endpoint and count is shown in both forms. The table is one that was saved, read at the first run;
 * inputs that begin with a brace are read as a table themselves.
 *
 * The first byte says the link and the bound; a frame is its length (two bytes), the part of it that was captured
 * (one, in 255ths), the time since the frame before it in seconds (one), and its bytes.
 */
#include "base/check.h"
#include "demux/report.h"
#include "pairs/save.h"
#include "wire/pcapng.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const table_lines[] = {
    "{\"forkport\":\"0.1.0\",\"table\":1,\"time\":\"2026-11-22T00:00:00Z\"}",
    "{\"proto\":\"tcp46\",\"state\":\"LISTEN\",\"pair\":\"{*:21, "
    "*:*}\",\"cookie\":\"1\",\"inode\":5,\"owner\":\"held\","
    "\"processes\":[{\"pid\":812,\"fd\":3,\"name\":\"vs\\u00e9ftpd\"},{\"pid\":813,\"fd\":3,\"name\":\"x\"}]"
    "}",
    "{\"proto\":\"tcp4\",\"state\":\"LISTEN\",\"pair\":\"{10.0.0.2:21, "
    "*:*}\",\"cookie\":\"2\",\"owner\":\"not-permitted\"}",
    "{\"proto\":\"tcp4\",\"state\":\"ESTABLISHED\",\"pair\":\"{10.0.0.2:21, "
    "10.0.0.1:1}\",\"cookie\":\"3\",\"inode\":6,"
    "\"owner\":\"waiting\",\"processes\":[]}",
    "{\"proto\":\"tcp6\",\"state\":\"TIME-WAIT\",\"pair\":\"{[fe80::1%eth0]:21, "
    "[fe80::2%eth0]:1500}\",\"owner\":\"none\"}",
};

static void read_table(struct pairs_table *table, const uint8_t *data, size_t size)
{
    struct save_reader reader = {.table = table, .file = "any"};
    enum fp_status status = FP_OK;
    struct fp_error err;

    while (size > 0 && status == FP_OK) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t length = end != NULL ? (size_t)(end - data) + 1 : size;
        status = save_line(&reader, (const char *)data, length, &err);
        data += length;
        size -= length;
    }
    if (status == FP_OK)
        save_end(&reader, &err);
}

static const struct known *fixed_table(void)
{
    static struct pairs_table table;
    static struct known *known;
    struct save_reader reader = {.table = &table, .file = "fixed"};

    if (known != NULL)
        return known;
    for (size_t i = 0; i < sizeof(table_lines) / sizeof(table_lines[0]); i++)
        CHECK(save_line(&reader, table_lines[i], strlen(table_lines[i]), NULL) == FP_OK);
    CHECK(save_end(&reader, NULL) == FP_OK && known_new(&table, &known, NULL) == FP_OK);
    return known;
}

static void show(const struct replay *replay, const struct report *report, int64_t time_ns,
                 const struct replay_result *result)
{
    char room[REPORT_LINE_SIZE];
    char block[PCAPNG_PACKET_SIZE(0)];
    struct text text;

    text_init(&text, room, sizeof(room));
    report_frame(report, time_ns, result, &text);
    CHECK(text_end(&text) < sizeof(room));
    text_init(&text, room, sizeof(room));
    report_comment(report, result, &text);
    text_end(&text);
    CHECK(pcapng_packet(block, sizeof(block), &(struct pcapng_packet){.comment = room}) <= sizeof(block));
    text_init(&text, room, sizeof(room));
    if (result->has_ended)
        report_stream(report, &result->ended, result->is_given_up, &text);
    if (result->has_dropped)
        report_end(report, &result->dropped, &text);
    CHECK(replay_counts(replay)->frames > 0 && text_end(&text) < sizeof(room));
}

static void show_all(const struct replay *replay, const struct report *report)
{
    char room[REPORT_LINE_SIZE];
    struct text text;

    for (uint32_t i = 0; replay_stream(replay, i) != NULL; i++) {
        text_init(&text, room, sizeof(room));
        report_stream(report, replay_stream(replay, i), false, &text);
        CHECK(text_end(&text) < sizeof(room));
    }
    text_init(&text, room, sizeof(room));
    for (uint32_t i = 0; replay_end(replay, i) != NULL; i++)
        report_end(report, replay_end(replay, i), &text);
    report_counts(report, &text);
    text_end(&text);
}

static void run(const uint8_t *data, size_t size, const struct known *known, bool json)
{
    static const int links[] = {1, 0, 12, 113, 276, 108, 228, 229};
    struct replay *replay;
    struct replay_result result;
    int64_t time_ns = 0;

    CHECK(replay_new(1U + (data[0] >> 4), known, &replay, NULL) == FP_OK);
    struct report report = {json, known, replay_counts(replay)};
    for (size_t at = 1; at + 4 <= size;) {
        uint32_t length = (uint32_t)(data[at] << 8 | data[at + 1]);
        uint32_t there = length < size - at - 4 ? length : (uint32_t)(size - at - 4);
        uint32_t captured = there * data[at + 2] / 255;
        time_ns += (int64_t)data[at + 3] * 1000000000;
        CHECK(replay_frame(replay, links[data[0] & 7], data + at + 4, captured, length, time_ns, &result,
                           NULL) == FP_OK);
        show(replay, &report, time_ns, &result);
        at += 4 + there;
    }
    CHECK(replay_counts(replay)->given_up <= replay_counts(replay)->connections);
    show_all(replay, &report);
    replay_free(replay);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pairs_table table = {.count = 0};

    if (size == 0)
        return 0;
    if (data[0] == '{') {
        read_table(&table, data, size);
        pairs_done(&table);
        return 0;
    }
    run(data, size, NULL, false);
    run(data, size, fixed_table(), (data[0] & 8) != 0);
    return 0;
}
