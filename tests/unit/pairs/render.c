/* SPDX-License-Identifier: MIT */
#include "pairs/render.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* No two numbers are alike, so that none can stand for another. */
static struct pairs_row row_of(const char *pair, uint8_t state)
{
    struct pairs_row row = {
        .socket = {.family = AF_INET,
                   .state = state,
                   .has_bytes = true,
                   .cookie = 0x1f,
                   .inode = 4711,
                   .uid = 33,
                   .receive_queue = 3,
                   .send_queue = 45678,
                   .bytes_received = 101,
                   .bytes_sent = 102,
                   .bytes_acked = 103,
                   .bytes_unsent = 104,
                   .bytes_resent = 105,
                   .segments_resent = 106,
                   .rtt_us = 12034,
                   .rtt_variation_us = 107},
        .shown = true,
        .owner = OWNER_HELD,
        .descriptors = 3,
    };

    assert_int_equal(pair_parse(pair, &row.socket.pair, NULL), FP_OK);
    return row;
}

/* The rows are held by descriptor 3 of process 812, and 3 and 400 of process 950. */
static struct pairs_table table_of(struct pairs_row *rows, size_t count)
{
    static struct descriptor items[] = {{.pid = 812, .fd = 3},
                                        {.pid = 950, .fd = 3},
                                        {.pid = 950, .fd = 400}};
    static struct pairs_process processes[] = {{.pid = 812, .name = "sshd"}, {.pid = 950, .name = ""}};

    return (struct pairs_table){.rows = rows,
                                .count = count,
                                .descriptors = {.items = items, .count = 3},
                                .processes = processes,
                                .process_count = 2};
}

/* The heading and the rows, each in its line. */
static const char *shown(struct render render, const struct pairs_table *table)
{
    static char buffer[4096];
    struct text text;

    text_init(&text, buffer, sizeof(buffer));
    render_measure(&render, table);
    render_heading(&render, &text);
    for (size_t i = 0; i < table->count; i++) {
        text_string(&text, "\n");
        render_row(&render, table, &table->rows[i], &text);
    }
    assert_true(text_end(&text) < sizeof(buffer));
    return buffer;
}

static void test_columns(void **state)
{
    struct pairs_row rows[] = {row_of("{192.0.2.1:21, 198.51.100.7:1500}", DIAG_ESTABLISHED),
                               row_of("{*%eth0:21, *:*}", DIAG_LISTEN)};
    struct pairs_table table = table_of(rows, 2);

    (void)state;
    rows[1].owner = OWNER_UNSEEN;
    rows[1].service = "ft\n";
    rows[1].connection = 17;
    assert_string_equal(
        shown((struct render){.form = RENDER_COLUMNS}, &table),
        "PROTO  STATE         RECV  SEND  PAIR                               PROCESSES\n"
        "tcp4   ESTABLISHED      3 45678  {192.0.2.1:21, 198.51.100.7:1500}  sshd 812 (fd 3), 950 (fd 3, "
        "400)\n"
        "tcp4   LISTEN           3 45678  {*%eth0:21, *:*}                   ft\\x0a #17: no process to be "
        "seen");
}

static void test_counts(void **state)
{
    struct pairs_row row = row_of("{192.0.2.1:21, 198.51.100.7:1500}", DIAG_ESTABLISHED);
    struct pairs_table table = table_of(&row, 1);
    unsigned in, out, resent;
    char rtt[16];

    (void)state;
    const char *text = shown((struct render){.with_counts = true}, &table);
    const char *line = strchr(text, '\n');
    /* Each column stands below its heading, the last as well. */
    assert_int_equal(strstr(line + 1, "{192") - (line + 1), strstr(text, "PAIR") - text);
    assert_int_equal(sscanf(line, " tcp4 ESTABLISHED 3 45678 %15s %u %u %u {", rtt, &in, &out, &resent), 4);
    assert_string_equal(rtt, "12.034");
    assert_int_equal(in, 101);
    assert_int_equal(out, 102);
    assert_int_equal(resent, 105);
}

static void test_netstat(void **state)
{
    struct pairs_row rows[] = {row_of("{192.0.2.1:21, 198.51.100.7:1500}", DIAG_ESTABLISHED),
                               row_of("{*%eth0:21, *:*}", DIAG_LISTEN)};
    struct pairs_table table = table_of(rows, 2);

    (void)state;
    rows[0].owner = OWNER_NOT_PERMITTED;
    rows[1].owner = OWNER_NONE;
    assert_string_equal(
        shown((struct render){.form = RENDER_NETSTAT}, &table),
        "PROTO     RECV  SEND  LOCAL         FOREIGN            STATE        PROCESSES\n"
        "tcp4         3 45678  192.0.2.1.21  198.51.100.7.1500  ESTABLISHED  not permitted to see\n"
        "tcp4         3 45678  *%eth0.21     *.*                LISTEN       no process");
}

/* Who takes what waits, if anybody is known. */
static void test_what_waits(void **state)
{
    struct pairs_row rows[] = {row_of("{192.0.2.1:21, *:*}", DIAG_LISTEN),
                               row_of("{192.0.2.1:21, 198.51.100.7:1500}", DIAG_ESTABLISHED)};
    struct pairs_table table = table_of(rows, 2);
    char buffer[128];
    struct text text;

    (void)state;
    rows[1].owner = OWNER_WAITING;
    rows[1].descriptors = 0;
    rows[1].listening_count = 1;
    text_init(&text, buffer, sizeof(buffer));
    render_owner(&table, &rows[1], &text);
    text_end(&text);
    assert_string_equal(buffer, "waiting for sshd 812 (fd 3), 950 (fd 3, 400)");
    rows[1].listening_count = 0;
    text_init(&text, buffer, sizeof(buffer));
    render_owner(&table, &rows[1], &text);
    text_end(&text);
    assert_string_equal(buffer, "waiting");
}

static void test_json(void **state)
{
    struct pairs_row row = row_of("{192.0.2.1%eth0:21, 198.51.100.7:1500}", DIAG_ESTABLISHED);
    struct pairs_table table = table_of(&row, 1);

    (void)state;
    assert_string_equal(
        shown((struct render){.form = RENDER_JSON, .change = "added"}, &table),
        "\n{\"change\":\"added\",\"proto\":\"tcp4\",\"state\":\"ESTABLISHED\","
        "\"local\":{\"address\":\"192.0.2.1\",\"port\":21},\"foreign\":{\"address\":\"198.51.100.7\","
        "\"port\":1500},"
        "\"pair\":\"{192.0.2.1%eth0:21, 198.51.100.7:1500}\",\"cookie\":\"1f\",\"inode\":4711,\"uid\":33,"
        "\"device\":\"eth0\",\"owner\":\"held\",\"processes\":[{\"pid\":812,\"fd\":3,\"name\":\"sshd\"},"
        "{\"pid\":950,\"fd\":3,\"name\":\"\"},{\"pid\":950,\"fd\":400,\"name\":\"\"}],"
        "\"receive_queue\":3,\"send_queue\":45678,\"rtt_us\":12034,\"rtt_variation_us\":107,"
        "\"bytes_received\":101,\"bytes_sent\":102,\"bytes_acked\":103,\"bytes_unsent\":104,"
        "\"bytes_resent\":105,\"segments_resent\":106}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns),    cmocka_unit_test(test_counts), cmocka_unit_test(test_netstat),
        cmocka_unit_test(test_what_waits), cmocka_unit_test(test_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
