/* SPDX-License-Identifier: MIT
 *
 * What a file is read as by others is in the scenarios; here, the fields that they do not look at.
 */
#include "wire/pcapng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint32_t number_at(const unsigned char *block, size_t at, size_t bytes)
{
    uint32_t number = 0;
    uint16_t half;

    if (bytes == 4) {
        memcpy(&number, block + at, 4);
        return number;
    }
    memcpy(&half, block + at, 2);
    return half;
}

/* The value of an option among those that begin at `at`; NULL: it is not there, and their end is. */
static const unsigned char *find_option(const unsigned char *block, size_t at, uint16_t code,
                                        size_t *ret_length)
{
    for (size_t end = number_at(block, 4, 4) - 4; at < end;) {
        *ret_length = number_at(block, at + 2, 2);
        if (number_at(block, at, 2) == code)
            return block + at + 4;
        at += 4 + ((*ret_length + 3) & ~(size_t)3);
    }
    return NULL;
}

static void assert_option(const unsigned char *block, size_t at, uint16_t code, const char *value)
{
    size_t length;
    const unsigned char *found = find_option(block, at, code, &length);

    if (found == NULL || length != strlen(value) || memcmp(found, value, length) != 0)
        fail_msg("option %u is not what it should be", code);
}

static void assert_whole(const unsigned char *block, size_t length, uint32_t type)
{
    assert_int_equal(length % 4, 0);
    assert_int_equal(number_at(block, 0, 4), type);
    assert_int_equal(number_at(block, 4, 4), length);
    assert_int_equal(number_at(block, length - 4, 4), length);
}

static void test_an_interface(void **state)
{
    /* A raw link has other numbers in libpcap than in files. */
    static const int links[][2] = {{1, 1}, {12, 101}, {14, 101}, {101, 101}, {276, 276}};
    unsigned char block[PCAPNG_HEAD_SIZE];
    size_t length;

    (void)state;
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        size_t bytes = pcapng_interface(block, sizeof(block), links[i][0], 96, "eth0");
        assert_whole(block, bytes, 1);
        assert_int_equal(number_at(block, 8, 2), links[i][1]);
        assert_int_equal(number_at(block, 12, 4), 96);
        assert_option(block, 16, 2, "eth0");
        assert_option(block, 16, 9, "\t");
        assert_option(block, 16, 0, "");
    }
    pcapng_interface(block, sizeof(block), 1, 0, NULL);
    assert_null(find_option(block, 16, 2, &length));
}

static void test_a_packet(void **state)
{
    struct pcapng_packet packet = {
        .interface = 7,
        .time_ns = INT64_C(0x0123456789abcdef),
        .bytes = "frame",
        .captured = 5,
        .length = 60,
        .comment = "who",
    };
    unsigned char block[PCAPNG_PACKET_SIZE(5)];

    (void)state;
    assert_whole(block, pcapng_packet(block, sizeof(block), &packet), 6);
    assert_int_equal(number_at(block, 8, 4), 7);
    assert_int_equal(number_at(block, 12, 4), 0x01234567);
    assert_int_equal(number_at(block, 16, 4), 0x89abcdef);
    assert_int_equal(number_at(block, 20, 4), 5);
    assert_int_equal(number_at(block, 24, 4), 60);
    assert_memory_equal(block + 28, "frame\0\0\0", 8);
    assert_option(block, 36, 1, "who");
    assert_option(block, 36, 0, "");
    packet.comment = NULL;
    assert_int_equal(pcapng_packet(block, sizeof(block), &packet), 40);
}

/* The room that the header promises is enough for any comment, of which no more is kept than it says. */
static void test_a_long_comment_is_cut(void **state)
{
    char *comment = calloc(1, 3 * PCAPNG_COMMENT_MAX);
    struct pcapng_packet packet = {.bytes = "frame", .captured = 5, .length = 5, .comment = comment};
    unsigned char block[PCAPNG_PACKET_SIZE(5)];
    size_t length;

    (void)state;
    memset(comment, 'x', 3 * PCAPNG_COMMENT_MAX - 1);
    size_t bytes = pcapng_packet(block, sizeof(block), &packet);
    assert_true(bytes <= sizeof(block));
    assert_whole(block, bytes, 6);
    assert_non_null(find_option(block, 36, 1, &length));
    assert_int_equal(length, PCAPNG_COMMENT_MAX);
    free(comment);
}

static void test_nothing_is_written_beyond_the_room(void **state)
{
    const struct pcapng_packet packet = {.bytes = "frame", .captured = 5, .length = 5, .comment = "who"};
    unsigned char block[128];

    (void)state;
    size_t wanted = pcapng_packet(block, sizeof(block), &packet);
    for (size_t size = 8; size < wanted; size++) {
        memset(block, '#', sizeof(block));
        assert_int_equal(pcapng_packet(block, size, &packet), wanted);
        for (size_t i = size; i < sizeof(block); i++)
            assert_int_equal(block[i], '#');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_interface),
        cmocka_unit_test(test_a_packet),
        cmocka_unit_test(test_a_long_comment_is_cut),
        cmocka_unit_test(test_nothing_is_written_beyond_the_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
