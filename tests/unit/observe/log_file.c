/* SPDX-License-Identifier: MIT */
#include "log_lines.h"

static void read_file(struct reading *reading, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    while (read_some(reading, fd))
        ;
    close(fd);
}

static void test_reopen_after_rename(void **state)
{
    const char *folder = *state;
    struct reading reading = {.next = 0};
    struct log log;
    struct stat status;
    char path[256];
    char old[256];
    uint64_t sent = 0;

    snprintf(path, sizeof(path), "%s/log", folder);
    snprintf(old, sizeof(old), "%s/log.1", folder);
    mode_t mask = umask(0);
    assert_int_equal(log_open_file(&log, path, EVENT_FORM_TEXT, NULL), FP_OK);
    umask(mask);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    for (int i = 0; i < 10; i++)
        log_number(&log, sent++);
    log_flush(&log);
    assert_int_equal(rename(path, old), 0);
    /* What happened before the file was opened anew is in the old one, written or not. */
    log_number(&log, sent++);
    assert_int_equal(log_reopen(&log, NULL), FP_OK);
    log_number(&log, sent++);
    log_flush(&log);
    read_file(&reading, old);
    assert_int_equal(reading.next, 11);
    read_file(&reading, path);
    assert_int_equal(reading.next, 12);
    log_close(&log, NULL);
    /* Appended to, not begun again. */
    assert_int_equal(log_open_file(&log, path, EVENT_FORM_TEXT, NULL), FP_OK);
    log_number(&log, sent++);
    log_finish(&log);
    log_close(&log, NULL);
    reading.next = 11;
    read_file(&reading, path);
    assert_int_equal(reading.next, 13);
    unlink(old);
    unlink(path);
}

/* Whatever the umask takes away, and by a link to what is not there yet. */
static void test_a_file_that_is_made(void **state)
{
    const char *folder = *state;
    struct stat status;
    struct log log;
    char other[256];
    char path[256];

    snprintf(other, sizeof(other), "%s/link", folder);
    snprintf(path, sizeof(path), "%s/log", folder);
    assert_int_equal(symlink(path, other), 0);
    mode_t mask = umask(0777);
    enum fp_status opened = log_open_file(&log, path, EVENT_FORM_TEXT, NULL);
    umask(mask);
    assert_int_equal(opened, FP_OK);
    log_close(&log, NULL);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    unlink(path);
    assert_int_equal(log_open_file(&log, other, EVENT_FORM_TEXT, NULL), FP_OK);
    log_close(&log, NULL);
    assert_int_equal(stat(path, &status), 0);
    unlink(other);
    unlink(path);
}

/* Nothing could be written, so no other file has the beginning of a line. */
static void test_reopen_before_anything_is_written(void **state)
{
    const char *folder = *state;
    struct reading reading = {.next = 0};
    struct log log;
    char path[256];

    snprintf(path, sizeof(path), "%s/log", folder);
    assert_int_equal(symlink("/dev/full", path), 0);
    assert_int_equal(log_open_file(&log, path, EVENT_FORM_TEXT, NULL), FP_OK);
    log_number(&log, 0);
    log_flush(&log);
    assert_true(log_has_unwritten(&log));
    unlink(path);
    assert_int_equal(log_reopen(&log, NULL), FP_OK);
    log_number(&log, 1);
    log_flush(&log);
    log_close(&log, NULL);
    read_file(&reading, path);
    assert_int_equal(reading.next, 2);
    assert_int_equal(reading.lost, 0);
    unlink(path);
}

/* Standard error in a file: others write there too, by the same description, and nobody over what another wrote. */
static void test_a_file_that_others_write_to(void **state)
{
    const char *folder = *state;
    char path[256];
    char content[4096] = "";
    struct log log;

    snprintf(path, sizeof(path), "%s/shared", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    int next = dup(fd);
    close(next);
    assert_int_equal(log_open_fd(&log, fd, EVENT_FORM_TEXT, NULL), FP_OK);
    for (uint64_t number = 0; number < 2; number++) {
        assert_int_equal(write(fd, "another\n", 8), 8);
        log_number(&log, number);
        log_flush(&log);
    }
    log_close(&log, NULL);
    assert_true(pread(fd, content, sizeof(content) - 1, 0) > 0);
    char *second = strstr(content + 1, "another\n");
    assert_memory_equal(content, "another\n2026-", 13);
    assert_non_null(second);
    assert_memory_equal(second, "another\n2026-", 13);
    assert_non_null(strstr(content, " notice #0 "));
    assert_non_null(strstr(second, " notice #1 "));
    /* A number of its own is given back. */
    assert_int_equal(dup(fd), next);
    close(next);
    close(fd);
    unlink(path);
}

/* Its disk was full in the middle of a line, as a FIFO is here: each file has whole lines but that one. */
static void test_reopen_in_a_line(void **state)
{
    const char *folder = *state;
    struct reading reading = {.next = 0};
    struct log log;
    char path[256];
    char bytes[4096];
    ssize_t got;
    char last = '\n';
    uint64_t whole = 0;
    uint64_t sent = 0;

    snprintf(path, sizeof(path), "%s/log", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(log_open_file(&log, path, EVENT_FORM_TEXT, NULL), FP_OK);
    /* More than a pipe holds. */
    while (sent < 250)
        log_number(&log, sent++);
    log_flush(&log);
    assert_true(log_has_unwritten(&log));
    unlink(path);
    assert_int_equal(log_reopen(&log, NULL), FP_OK);
    assert_int_equal(log.lost_ever, 1);
    log_finish(&log);
    log_close(&log, NULL);
    while ((got = read(fd, bytes, sizeof(bytes))) > 0) {
        for (ssize_t i = 0; i < got; i++)
            whole += bytes[i] == '\n';
        last = bytes[got - 1];
    }
    close(fd);
    assert_true(whole > 50 && whole < sent && last != '\n');
    /* That line is told as lost, behind those that were waiting: until then there is one that was not told of. */
    reading.next = whole + 1;
    read_file(&reading, path);
    assert_int_equal(reading.lost, 1);
    unlink(path);
}

static void test_reopen_fails(void **state)
{
    const char *folder = *state;
    struct reading reading = {.next = 0};
    struct fp_error err;
    struct log log;
    char path[256];
    char elsewhere[256];

    snprintf(path, sizeof(path), "%s/log", folder);
    snprintf(elsewhere, sizeof(elsewhere), "%s/moved", folder);
    assert_int_equal(log_open_file(&log, path, EVENT_FORM_TEXT, &err), FP_OK);
    log_number(&log, 0);
    assert_int_equal(rename(path, elsewhere), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(log_reopen(&log, &err), FP_NO_INPUT);
    assert_string_equal(err.operation, "open the log file");
    assert_string_equal(err.what, path);
    assert_int_equal(err.errnum, EISDIR);
    log_number(&log, 1);
    log_finish(&log);
    log_close(&log, NULL);
    read_file(&reading, elsewhere);
    assert_int_equal(reading.next, 2);
    unlink(elsewhere);
    rmdir(path);
    assert_int_equal(log_open_file(&log, "/no/such/folder/log", EVENT_FORM_TEXT, &err), FP_NO_INPUT);
    assert_string_equal(err.what, "/no/such/folder/log");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reopen_after_rename),
        cmocka_unit_test(test_a_file_that_is_made),
        cmocka_unit_test(test_reopen_before_anything_is_written),
        cmocka_unit_test(test_a_file_that_others_write_to),
        cmocka_unit_test(test_reopen_in_a_line),
        cmocka_unit_test(test_reopen_fails),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
