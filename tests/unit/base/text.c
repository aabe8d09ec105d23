/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_appends_and_terminates(void **state)
{
    char buffer[64];
    struct text text;

    (void)state;
    text_init(&text, buffer, sizeof(buffer));
    text_string(&text, "a ");
    text_bytes(&text, "bcd", 2);
    text_unsigned(&text, 0);
    text_unsigned(&text, UINT64_MAX);
    text_padded(&text, 7, 3);
    text_padded(&text, 1234, 3);
    text_printf(&text, "<%s %d>", "x", -5);
    assert_int_equal(text_end(&text), strlen("a bc0184467440737095516150071234<x -5>"));
    assert_string_equal(buffer, "a bc0184467440737095516150071234<x -5>");
}

/* Whatever is appended by whatever means, a buffer of any size keeps what fits, and the wanted length is counted. */
static void test_cuts_at_every_size(void **state)
{
    static const char whole[] = "plain12007formatted\\x0aend";

    (void)state;
    for (size_t size = 0; size <= sizeof(whole) + 1; size++) {
        char buffer[sizeof(whole) + 8];
        struct text text;
        memset(buffer, '#', sizeof(buffer));
        text_init(&text, buffer, size);
        text_string(&text, "plain");
        text_unsigned(&text, 12);
        text_padded(&text, 7, 3);
        text_printf(&text, "%s", "formatted");
        text_escape(&text, "\nend", 4);
        assert_int_equal(text_end(&text), sizeof(whole) - 1);
        size_t kept = size == 0 ? 0 : size - 1 < sizeof(whole) - 1 ? size - 1 : sizeof(whole) - 1;
        assert_int_equal(text_length(&text), kept);
        assert_memory_equal(buffer, whole, kept);
        if (size != 0)
            assert_int_equal(buffer[kept], '\0');
        for (size_t i = size; i < sizeof(buffer); i++)
            assert_int_equal(buffer[i], '#');
    }
}

static void test_escapes(void **state)
{
    static const struct {
        const char *bytes;
        const char *shown;
    } rows[] = {
        {"", ""},
        {"plain text, ~", "plain text, ~"},
        {"a\nb\r\t", "a\\x0ab\\x0d\\x09"},
        {"\x1b[31m", "\\x1b[31m"},
        {"\x7f", "\\x7f"},
        {"\\x0a", "\\x5cx0a"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"\xe2\x82\xac \xf0\x9f\x90\xa7", "\xe2\x82\xac \xf0\x9f\x90\xa7"},
        {"\xc2\x9b", "\\xc2\\x9b"},                     /* C1: the one-character CSI */
        {"\xc2\xa0", "\xc2\xa0"},                       /* the first one behind C1 */
        {"\xc0\x80", "\\xc0\\x80"},                     /* overlong NUL */
        {"\xe0\x80\x8a", "\\xe0\\x80\\x8a"},            /* overlong newline */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},            /* a surrogate */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},   /* above U+10FFFF */
        {"\xe2\x80\xae.exe", "\\xe2\\x80\\xae.exe"},    /* what follows reads from right to left */
        {"\xd8\x9cz \xd8\x9b", "\\xd8\\x9cz \xd8\x9b"}, /* the Arabic letter mark; a semicolon */
        {"a\xe2\x80\xa8z", "a\\xe2\\x80\\xa8z"},        /* the line separator */
        {"\xe2\x81\xa6\xef\xbb\xbf", "\\xe2\\x81\\xa6\\xef\\xbb\\xbf"},
        {"\xe2\x80\x90\xe2\x81\x8e", "\xe2\x80\x90\xe2\x81\x8e"},
        {"\xff\xfe", "\\xff\\xfe"},
        {"\xe2\x82", "\\xe2\\x82"},   /* cut short at the end */
        {"\xe2\x82x", "\\xe2\\x82x"}, /* cut short by another */
        {"\x80x", "\\x80x"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char buffer[64];
        struct text text;
        text_init(&text, buffer, sizeof(buffer));
        text_escape(&text, rows[i].bytes, strlen(rows[i].bytes));
        text_end(&text);
        assert_string_equal(buffer, rows[i].shown);
    }
}

static size_t encode(uint32_t code, unsigned char bytes[4])
{
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        bytes[i] = (unsigned char)(0x80 | (code & 0x3f));
    bytes[0] = (unsigned char)(length == 1 ? code : (0xf00U >> length & 0xff) | code);
    return length;
}

/* U+200B to U+200F, U+2028 to U+202E, U+2060 to U+2069, the Arabic letter mark and the byte order mark. */
static bool is_unseen(uint32_t code)
{
    return (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2060 && code <= 0x2069) || code == 0x61c || code == 0xfeff;
}

/* Of every character there is: it has its length, and is shown as it stands unless it moves what is seen. */
static void test_every_character(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x110000; code++) {
        unsigned char bytes[4];
        size_t length = encode(code, bytes);
        bool is_character = code < 0xd800 || code > 0xdfff;
        bool is_plain =
            is_character && code >= ' ' && (code < 0x7f || code > 0x9f) && code != '\\' && !is_unseen(code);
        char buffer[20];
        struct text text;
        text_init(&text, buffer, sizeof(buffer));
        text_escape(&text, (const char *)bytes, length);
        if (text_utf8_length(bytes, length) != (is_character ? length : 0) ||
            text_end(&text) != (is_plain ? length : 4 * length))
            fail_msg("U+%04X", code);
    }
}

/* What was escaped before stays as it is; what was not does not come through by that. */
static void test_escapes_again(void **state)
{
    char buffer[64];
    struct text text;

    (void)state;
    text_init(&text, buffer, sizeof(buffer));
    text_escape_again(&text, "a\\x0a\n\xff\xe2\x80\xae", 10);
    text_end(&text);
    assert_string_equal(buffer, "a\\x0a\\x0a\\xff\\xe2\\x80\\xae");
}

static void test_escapes_nul(void **state)
{
    char buffer[16];
    struct text text;

    (void)state;
    text_init(&text, buffer, sizeof(buffer));
    text_escape(&text, "a\0b", 3);
    text_end(&text);
    assert_string_equal(buffer, "a\\x00b");
}

/* Of every single byte and pair of bytes: nothing comes out that a terminal obeys or that is no UTF-8. */
static void test_escaped_is_printable(void **state)
{
    (void)state;
    for (unsigned value = 0; value < 0x10000; value++) {
        char bytes[2] = {(char)(value >> 8), (char)value};
        char buffer[16];
        struct text text;
        text_init(&text, buffer, sizeof(buffer));
        text_escape(&text, bytes, sizeof(bytes));
        size_t length = text_end(&text);
        for (size_t at = 0; at < length;) {
            const unsigned char *c = (const unsigned char *)buffer + at;
            size_t step = text_utf8_length(c, length - at);
            assert_int_not_equal(step, 0);
            assert_true(step == 1 ? *c >= ' ' && *c != 0x7f : *c != 0xc2 || c[1] >= 0xa0);
            at += step;
        }
    }
}

static void test_words(void **state)
{
    static const struct {
        const char *words;
        const char *shown;
    } rows[] = {
        {"", "\n"},
        {"one two", "one two\n"},
        {"four five six", "four five\n  six\n"},    /* eleven columns with the indent, and no more */
        {"four  five sixx", "four five\n  sixx\n"}, /* spaces between are one */
        {"a verylongword b", "a\n  verylongword\n  b\n"},
        {"at {a, b, cd}: x", "at\n  {a, b, cd}:\n  x\n"}, /* a pair is not broken */
        {"a\tb \xff", "a\\x09b \\xff\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char buffer[64];
        struct text text;
        text_init(&text, buffer, sizeof(buffer));
        text_words(&text, 2, 11, rows[i].words);
        text_end(&text);
        assert_string_equal(buffer, rows[i].shown);
    }
}

static void test_parses_numbers(void **state)
{
    static const struct {
        const char *string;
        uint64_t max;
        bool good;
        uint64_t number;
    } rows[] = {
        {"0", 0, true, 0},
        {"65535", 65535, true, 65535},
        {"0065535", 65535, true, 65535},
        {"65536", 65535, false, 0},
        {"655350", 65535, false, 0},
        {"1", 0, false, 0},
        {"9", 8, false, 0},
        {"10", 9, false, 0},
        {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, false, 0},
        {"99999999999999999999999", UINT64_MAX, false, 0},
        {"", 9, false, 0},
        {"-1", 9, false, 0},
        {"+1", 9, false, 0},
        {" 1", 9, false, 0},
        {"1 ", 9, false, 0},
        {"0x1", 9, false, 0},
        {"1.0", 9, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t number = 4711;
        if (text_parse_unsigned(rows[i].string, rows[i].max, &number) != rows[i].good)
            fail_msg("%s, at most %llu", rows[i].string, (unsigned long long)rows[i].max);
        assert_int_equal(number, rows[i].good ? rows[i].number : 4711);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends_and_terminates),
        cmocka_unit_test(test_cuts_at_every_size),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_every_character),
        cmocka_unit_test(test_escapes_again),
        cmocka_unit_test(test_escapes_nul),
        cmocka_unit_test(test_escaped_is_printable),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_parses_numbers),
    };

    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
