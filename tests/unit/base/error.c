/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void expect_message(const struct fp_error *err, const char *message)
{
    char buffer[1024];

    assert_int_equal(fp_error_format(err, buffer, sizeof(buffer)), strlen(message));
    assert_string_equal(buffer, message);
}

static void test_errno_gives_the_reason(void **state)
{
    struct fp_error err;

    (void)state;
    assert_int_equal(error_set(&err, FP_UNAVAILABLE, EADDRINUSE, "listen on", "%s:%d", "127.0.0.1", 21),
                     FP_UNAVAILABLE);
    assert_int_equal(err.status, FP_UNAVAILABLE);
    assert_int_equal(err.errnum, EADDRINUSE);
    assert_int_equal(err.line, 0);
    expect_message(&err, "cannot listen on 127.0.0.1:21: Address already in use");
    error_hint(&err, "held by process %d, %s", 812, "vsftpd");
    expect_message(&err,
                   "cannot listen on 127.0.0.1:21: Address already in use (held by process 812, vsftpd)");
}

static void test_reason_replaces(void **state)
{
    struct fp_error err;

    (void)state;
    assert_int_equal(error_reason(&err, error_set(&err, FP_DATA, EINVAL, "parse", "x"), "column %d", 3),
                     FP_DATA);
    expect_message(&err, "cannot parse x: column 3");
}

static void test_what_may_be_empty(void **state)
{
    struct fp_error err;

    (void)state;
    error_set(&err, FP_SYSTEM, ENOMEM, "start", "%s", "");
    expect_message(&err, "cannot start: Cannot allocate memory");
    error_set(&err, FP_BUG, 0, "start", "it");
    expect_message(&err, "cannot start it");
}

static void test_place_in_a_file_comes_first(void **state)
{
    struct fp_error err;

    (void)state;
    error_reason(&err, error_set(&err, FP_CONFIG, 0, "use", "service ftp"), "no program");
    strcpy(err.file, "a\n.conf");
    err.line = 7;
    err.column = 3;
    expect_message(&err, "a\\x0a.conf:7:3: cannot use service ftp: no program");
}

/* The old text of *err may be what the new one is made of. */
static void test_set_from_itself(void **state)
{
    struct fp_error err;

    (void)state;
    error_set(&err, FP_DATA, 0, "read", "inner");
    error_hint(&err, "old hint");
    error_set(&err, FP_CONFIG, 0, "load", "outer (%s)", err.what);
    expect_message(&err, "cannot load outer (inner)");
}

static void test_escapes_what_it_shows(void **state)
{
    struct fp_error err;

    (void)state;
    error_set(&err, FP_DATA, 0, "use", "%s", "a\nforged line\x1b[2J");
    error_reason(&err, FP_DATA, "%s", "\r");
    error_hint(&err, "%s", "\x7f");
    expect_message(&err, "cannot use a\\x0aforged line\\x1b[2J: \\x0d (\\x7f)");
}

static void test_cuts_what_is_too_long(void **state)
{
    char longer[1000];
    char small[20];
    struct fp_error err;

    (void)state;
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    error_set(&err, FP_DATA, 0, longer, "%s", longer);
    error_reason(&err, FP_DATA, "%s", longer);
    error_hint(&err, "%s", longer);
    assert_int_equal(strlen(err.operation), sizeof(err.operation) - 1);
    assert_int_equal(strlen(err.what), sizeof(err.what) - 1);
    assert_int_equal(strlen(err.reason), sizeof(err.reason) - 1);
    assert_int_equal(strlen(err.hint), sizeof(err.hint) - 1);
    assert_true(fp_error_format(&err, small, sizeof(small)) > sizeof(small));
    assert_string_equal(small, "cannot xxxxxxxxx...");
    assert_string_equal(err.what + sizeof(err.what) - 5, "x...");
    assert_string_equal(err.reason + sizeof(err.reason) - 5, "x...");
    assert_string_equal(err.hint + sizeof(err.hint) - 5, "x...");
    assert_true(fp_error_format(&err, NULL, 0) > sizeof(small));
}

/* Whatever the length in front of it, a character is there whole or not at all. */
static void test_cuts_between_characters(void **state)
{
    static const struct {
        const char *character;
        size_t step;
    } rows[] = {{"\xc3\xa9", 2}, {"\xe2\x82\xac", 3}, {"\xf0\x9f\x98\x80", 4}, {"\xff", 1}, {"\\", 1}};
    char longer[1000];
    struct fp_error err;

    (void)state;
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        for (size_t ahead = 0; ahead < 4; ahead++) {
            size_t length = ahead;
            memset(longer, 'x', ahead);
            for (; length < 300; length += rows[row].step)
                memcpy(longer + length, rows[row].character, rows[row].step);
            longer[length] = '\0';
            error_set(&err, FP_DATA, 0, "use", "%s", longer);
            size_t kept = strlen(err.what) - 3;
            assert_string_equal(err.what + kept, "...");
            assert_memory_equal(err.what, longer, kept);
            assert_int_equal((kept - ahead) % rows[row].step, 0);
            assert_true(kept + 3 + rows[row].step >= sizeof(err.what));
        }
    }
    /* What just fits is not cut. */
    memset(longer, 'x', sizeof(err.what) - 1);
    longer[sizeof(err.what) - 1] = '\0';
    error_set(&err, FP_DATA, 0, "use", "%s", longer);
    assert_string_equal(err.what, longer);
}

static void test_a_message_is_cut_between_escapes(void **state)
{
    static const char whole[] = "cannot use \\x1b\\x1b\\x1b\\x1b";
    char buffer[sizeof(whole)];
    struct fp_error err;

    (void)state;
    error_set(&err, FP_DATA, 0, "use", "\x1b\x1b\x1b\x1b");
    for (size_t size = 15; size < sizeof(whole); size++) {
        assert_int_equal(fp_error_format(&err, buffer, size), sizeof(whole) - 1);
        size_t kept = strlen(buffer) - 3;
        assert_string_equal(buffer + kept, "...");
        assert_memory_equal(buffer, whole, kept);
        assert_int_equal((kept - 11) % 4, 0);
    }
    assert_int_equal(fp_error_format(&err, buffer, sizeof(whole)), sizeof(whole) - 1);
    assert_string_equal(buffer, whole);
    /* Room for the dots alone, and for less. */
    fp_error_format(&err, buffer, 4);
    assert_string_equal(buffer, "...");
    fp_error_format(&err, buffer, 3);
    assert_string_equal(buffer, "ca");
}

static void test_null_is_not_written(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, FP_DATA, 0, "a", "b"), FP_DATA);
    assert_int_equal(error_reason(NULL, FP_NO_HOST, "c"), FP_NO_HOST);
    error_hint(NULL, "d");
}

static void test_errno_is_kept(void **state)
{
    struct fp_error err;

    (void)state;
    errno = EXDEV;
    error_set(&err, FP_DATA, ENOENT, "a", "%s", "b");
    error_reason(&err, FP_DATA, "%s", "c");
    error_hint(&err, "%s", "d");
    assert_int_equal(errno, EXDEV);
}

static void test_classes(void **state)
{
    static const struct {
        int errnum;
        enum fp_status status;
        int exit_code;
    } rows[] = {
        {EACCES, FP_NOT_PERMITTED, 77},
        {EPERM, FP_NOT_PERMITTED, 77},
        {EROFS, FP_NOT_PERMITTED, 77},
        {ENOENT, FP_NO_INPUT, 66},
        {ENOTDIR, FP_NO_INPUT, 66},
        {EISDIR, FP_NO_INPUT, 66},
        {ENOEXEC, FP_NO_INPUT, 66},
        {ELOOP, FP_NO_INPUT, 66},
        {ELIBBAD, FP_NO_INPUT, 66},
        {EADDRINUSE, FP_UNAVAILABLE, 69},
        {EADDRNOTAVAIL, FP_UNAVAILABLE, 69},
        {ECONNREFUSED, FP_UNAVAILABLE, 69},
        {ENODEV, FP_UNAVAILABLE, 69},
        {ENXIO, FP_UNAVAILABLE, 69},
        {ENETUNREACH, FP_NO_HOST, 68},
        {EHOSTUNREACH, FP_NO_HOST, 68},
        {EHOSTDOWN, FP_NO_HOST, 68},
        {ENETDOWN, FP_NO_HOST, 68},
        {ETIMEDOUT, FP_TIMED_OUT, 75},
        {EMFILE, FP_SYSTEM, 71},
        {ENOMEM, FP_SYSTEM, 71},
        {0, FP_SYSTEM, 71},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(error_class(rows[i].errnum), rows[i].status);
        assert_int_equal(fp_status_exit_code(rows[i].status), rows[i].exit_code);
    }
    assert_int_equal(fp_status_exit_code(FP_OK), 0);
    assert_int_equal(fp_status_exit_code(FP_USAGE), 64);
    assert_int_equal(fp_status_exit_code(FP_DATA), 65);
    assert_int_equal(fp_status_exit_code(FP_BUG), 70);
    assert_int_equal(fp_status_exit_code(FP_CONFIG), 78);
    assert_int_equal(fp_status_exit_code((enum fp_status)99), 70);
}

/* What may pass by itself, so that the one who asked may come again. */
static void test_shortages(void **state)
{
    static const int shortages[] = {EMFILE, ENFILE, ENOMEM, ENOBUFS};
    static const int others[] = {0, EAGAIN, ENOSPC, EACCES, ENOENT, EADDRINUSE};

    (void)state;
    for (size_t i = 0; i < sizeof(shortages) / sizeof(shortages[0]); i++)
        assert_true(error_is_shortage(shortages[i]));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_false(error_is_shortage(others[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errno_gives_the_reason),
        cmocka_unit_test(test_reason_replaces),
        cmocka_unit_test(test_what_may_be_empty),
        cmocka_unit_test(test_place_in_a_file_comes_first),
        cmocka_unit_test(test_set_from_itself),
        cmocka_unit_test(test_escapes_what_it_shows),
        cmocka_unit_test(test_cuts_what_is_too_long),
        cmocka_unit_test(test_cuts_between_characters),
        cmocka_unit_test(test_a_message_is_cut_between_escapes),
        cmocka_unit_test(test_null_is_not_written),
        cmocka_unit_test(test_errno_is_kept),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_shortages),
    };

    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
