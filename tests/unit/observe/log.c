/* SPDX-License-Identifier: MIT */
#include "observe/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#define TIME_NS INT64_C(1795386647123456789)
/* Ends a test that hangs, which is what must not happen. */
#define PATIENCE_S 60

static char padding[1000];

static void log_number(struct log *log, uint64_t number)
{
    struct event event = {.kind = EVENT_NOTICE};

    EVENT_SET(&event, CONNECTION, connection, number);
    EVENT_SET(&event, TEXT, text, ((struct event_bytes){padding, number * 7919 % sizeof(padding)}));
    log_event(log, &event, TIME_NS);
}

/* What came out: whole lines, in order, each number once but those a "lost" stands for. */
struct reading {
    char line[EVENT_LINE_SIZE];
    size_t length;
    uint64_t next; /* number */
    uint64_t lost;
};

static void read_line(struct reading *reading)
{
    unsigned long long number;

    if (sscanf(reading->line, "2026-11-22T22:30:47.123Z lost count %llu", &number) == 1) {
        reading->lost += number;
        reading->next += number;
        return;
    }
    if (sscanf(reading->line, "2026-11-22T22:30:47.123Z notice #%llu ", &number) != 1)
        fail_msg("not a line of ours: %s", reading->line);
    assert_int_equal(number, reading->next);
    assert_int_equal(strlen(strrchr(reading->line, ' ') + 1), number * 7919 % sizeof(padding));
    reading->next++;
}

static void read_bytes(struct reading *reading, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] == '\r')
            continue; /* a terminal's */
        if (bytes[i] != '\n') {
            assert_true(reading->length < sizeof(reading->line) - 1);
            reading->line[reading->length++] = bytes[i];
            continue;
        }
        reading->line[reading->length] = '\0';
        reading->length = 0;
        read_line(reading);
    }
}

/* Takes in what is there now; false at the end. */
static bool read_some(struct reading *reading, int fd)
{
    char bytes[1 << 16];
    ssize_t length = read(fd, bytes, sizeof(bytes));

    if (length > 0)
        read_bytes(reading, bytes, (size_t)length);
    return length > 0;
}

/* The reader comes back: all that is held is written in the end, nothing is missing that was not said to be. */
static void catch_up(struct log *log, struct reading *reading, int fd, uint64_t sent)
{
    for (log_flush(log); log_has_unwritten(log); log_flush(log))
        read_some(reading, fd);
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    while (reading->next < sent && poll(&readable, 1, 1000 * PATIENCE_S) == 1 && read_some(reading, fd))
        ;
    assert_int_equal(reading->next, sent);
    assert_int_equal(reading->length, 0);
    assert_int_equal(reading->lost, log->lost_ever);
}

/* Events for a reader that does not read, then one that does, twice over: the log never waits. */
static void run_blocked(int write_fd, int read_fd)
{
    static struct reading reading;
    struct log log;
    uint64_t sent = 0;

    reading = (struct reading){.next = 0};
    assert_int_equal(log_open_fd(&log, write_fd, EVENT_FORM_TEXT, NULL), FP_OK);
    for (int round = 0; round < 2; round++) {
        uint64_t before = log.lost_ever;
        for (int i = 0; i < 8000; i++) {
            log_number(&log, sent++);
            log_flush(&log);
        }
        assert_true(log_has_unwritten(&log));
        assert_true(log.lost_ever > before);
        catch_up(&log, &reading, read_fd, sent);
        /* And where the reader keeps up nothing is lost. */
        before = log.lost_ever;
        for (int i = 0; i < 1000; i++) {
            log_number(&log, sent++);
            catch_up(&log, &reading, read_fd, sent);
        }
        assert_int_equal(log.lost_ever, before);
    }
    log_close(&log, NULL);
    /* Ours to close, with the flags it had. */
    assert_int_equal(fcntl(write_fd, F_GETFL) & O_NONBLOCK, 0);
}

/* The ends of a pipe, terminal or socket: [0] to read from without waiting, [1] blocking. */
static void make_pipe(int ret_fds[2])
{
    assert_int_equal(pipe2(ret_fds, O_CLOEXEC), 0);
}

static void make_terminal(int ret_fds[2])
{
    struct termios raw;

    ret_fds[0] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(ret_fds[0] >= 0);
    assert_int_equal(grantpt(ret_fds[0]), 0);
    assert_int_equal(unlockpt(ret_fds[0]), 0);
    ret_fds[1] = open(ptsname(ret_fds[0]), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(ret_fds[1] >= 0);
    assert_int_equal(tcgetattr(ret_fds[1], &raw), 0);
    raw.c_lflag &= ~(tcflag_t)ECHO;
    assert_int_equal(tcsetattr(ret_fds[1], TCSANOW, &raw), 0);
}

static void make_socket(int ret_fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_fds), 0);
}

static void run_with(void (*make)(int ret_fds[2]))
{
    int fds[2];

    make(fds);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    run_blocked(fds[1], fds[0]);
    close(fds[0]);
    close(fds[1]);
}

static void test_a_blocked_pipe(void **state)
{
    (void)state;
    run_with(make_pipe);
}

static void test_a_blocked_terminal(void **state)
{
    (void)state;
    run_with(make_terminal);
}

static void test_a_blocked_socket(void **state)
{
    (void)state;
    run_with(make_socket);
}

static void test_a_blocked_fifo(void **state)
{
    const char *folder = *state;
    char path[256];

    snprintf(path, sizeof(path), "%s/fifo", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    int read_fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int write_fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(read_fd >= 0 && write_fd >= 0);
    run_blocked(write_fd, read_fd);
    close(read_fd);
    close(write_fd);
    assert_int_equal(unlink(path), 0);
}

static int open_path_of(int fd)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK);
}

/* The terminal is the controlling one of a new session. */
static void take_terminal(int fd)
{
    if (isatty(fd) && (setsid() < 0 || ioctl(fd, TIOCSCTTY, 0) < 0))
        _exit(4);
}

/*
 * As one who may not open anew what he was given, after su(1). Of a pipe the log must then ask before it writes; for a
 * terminal that would not do, since it says that there is room where there is little.
 */
static void run_as_another(void (*make)(int ret_fds[2]), bool must_poll)
{
    int fds[2];
    int status;

    if (geteuid() != 0) {
        print_message("only root can become another user\n");
        skip();
    }
    make(fds);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct log log;
        alarm(PATIENCE_S);
        take_terminal(fds[1]);
        if (setuid(65534) != 0 || open_path_of(fds[1]) >= 0)
            _exit(3);
        assert_int_equal(log_open_fd(&log, fds[1], EVENT_FORM_TEXT, NULL), FP_OK);
        assert_int_equal(log.must_poll, must_poll);
        log_close(&log, NULL);
        run_blocked(fds[1], fds[0]);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(fds[0]);
    close(fds[1]);
}

static void test_a_blocked_pipe_of_another(void **state)
{
    (void)state;
    run_as_another(make_pipe, true);
}

static void test_a_blocked_terminal_of_another(void **state)
{
    (void)state;
    run_as_another(make_terminal, false);
}

/* Nobody will ever read: the log goes on, and does not ask to be flushed for ever. */
static void test_a_reader_that_has_gone(void **state)
{
    static void (*const makers[])(int ret_fds[2]) = {make_pipe, make_socket};

    (void)state;
    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        struct log log;
        int fds[2];
        makers[i](fds);
        assert_int_equal(log_open_fd(&log, fds[1], EVENT_FORM_TEXT, NULL), FP_OK);
        close(fds[0]);
        for (uint64_t number = 0; number < 5000; number++) {
            log_number(&log, number);
            log_flush(&log);
        }
        assert_false(log_has_unwritten(&log));
        log_close(&log, NULL);
        close(fds[1]);
    }
}

/* Somebody reads a FIFO again, and is told how many there were meanwhile; twice over. */
static void test_a_reader_that_comes_back(void **state)
{
    const char *folder = *state;
    struct reading reading = {.next = 0};
    struct log log;
    char path[256];
    uint64_t sent = 0;

    snprintf(path, sizeof(path), "%s/fifo", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    int read_fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(log_open_file(&log, path, EVENT_FORM_TEXT, NULL), FP_OK);
    for (int round = 0; round < 2; round++) {
        log_number(&log, sent++);
        catch_up(&log, &reading, read_fd, sent);
        close(read_fd);
        for (int i = 0; i < 100; i++) {
            log_number(&log, sent++);
            log_number(&log, sent++);
            log_flush(&log);
        }
        read_fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        log_number(&log, sent++);
        catch_up(&log, &reading, read_fd, sent);
        assert_int_equal(reading.lost, 200 * (round + 1));
    }
    log_close(&log, NULL);
    close(read_fd);
    assert_int_equal(unlink(path), 0);
}

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

/* Through a disk that is full, all is kept until there is room, and what does not fit is counted. */
static void test_a_full_disk(void **state)
{
    struct log log;

    (void)state;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        print_message("there is no /dev/full\n");
        skip();
    }
    assert_int_equal(log_open_fd(&log, fd, EVENT_FORM_TEXT, NULL), FP_OK);
    for (uint64_t number = 0; number < 5000; number++) {
        log_number(&log, number);
        log_flush(&log);
    }
    assert_true(log.lost_ever > 0);
    assert_int_equal(log.lost_ever + log.written, 5000);
    log_close(&log, NULL);
    close(fd);
}

/* The ring holds what nobody flushed, whole lines of it. */
static void test_a_full_ring(void **state)
{
    struct reading reading = {.next = 0};
    struct log log;
    int fds[2];

    (void)state;
    make_pipe(fds);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(log_open_fd(&log, fds[1], EVENT_FORM_TEXT, NULL), FP_OK);
    for (uint64_t number = 0; number < 5000; number++)
        log_number(&log, number);
    assert_int_equal(log.lost, log.lost_ever);
    assert_int_equal(log.lost + log.written, 5000);
    assert_true(log.written > 1000);
    catch_up(&log, &reading, fds[0], 5000);
    assert_int_equal(log.lost, 0);
    log_close(&log, NULL);
    close(fds[0]);
    close(fds[1]);
}

static void take_line(const char *line, size_t length, void *data)
{
    read_bytes(data, line, length);
}

static void test_a_sink(void **state)
{
    struct reading reading = {.next = 0};
    struct log log;

    (void)state;
    log_open_sink(&log, take_line, &reading, EVENT_FORM_TEXT);
    for (uint64_t number = 0; number < 3000; number++) {
        log_number(&log, number);
        assert_int_equal(reading.next, number + 1);
        assert_false(log_has_unwritten(&log));
    }
    log_flush(&log);
    assert_int_equal(log_reopen(&log, NULL), FP_OK);
    log_close(&log, NULL);
    assert_int_equal(log.lost_ever, 0);
}

static void test_no_output(void **state)
{
    struct log log;

    (void)state;
    assert_int_equal(log_open_fd(&log, -1, EVENT_FORM_TEXT, NULL), FP_OK);
    log_number(&log, 1);
    log_flush(&log);
    assert_false(log_has_unwritten(&log));
    assert_int_equal(log_reopen(&log, NULL), FP_OK);
    log_close(&log, NULL);
}

static void keep_line(const char *line, size_t length, void *data)
{
    snprintf(data, EVENT_LINE_SIZE, "%.*s", (int)length, line);
}

static void test_the_service_is_named(void **state)
{
    char line[EVENT_LINE_SIZE];
    struct log log;

    (void)state;
    log_open_sink(&log, keep_line, line, EVENT_FORM_JSON);
    log.service = "ftp";
    log_number(&log, 1);
    assert_non_null(strstr(line, "\"service\":\"ftp\""));
    log_close(&log, NULL);
}

static int make_folder(void **state)
{
    static char folder[] = "/tmp/forkport-log-XXXXXX";

    memset(padding, 'x', sizeof(padding));
    signal(SIGPIPE, SIG_IGN);
    alarm(PATIENCE_S);
    *state = mkdtemp(folder);
    return *state != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    return rmdir(*state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_ring),
        cmocka_unit_test(test_a_blocked_pipe),
        cmocka_unit_test(test_a_blocked_fifo),
        cmocka_unit_test(test_a_blocked_terminal),
        cmocka_unit_test(test_a_blocked_socket),
        cmocka_unit_test(test_a_blocked_pipe_of_another),
        cmocka_unit_test(test_a_blocked_terminal_of_another),
        cmocka_unit_test(test_a_reader_that_has_gone),
        cmocka_unit_test(test_a_reader_that_comes_back),
        cmocka_unit_test(test_a_full_disk),
        cmocka_unit_test(test_reopen_after_rename),
        cmocka_unit_test(test_a_file_that_is_made),
        cmocka_unit_test(test_reopen_before_anything_is_written),
        cmocka_unit_test(test_reopen_in_a_line),
        cmocka_unit_test(test_reopen_fails),
        cmocka_unit_test(test_a_sink),
        cmocka_unit_test(test_no_output),
        cmocka_unit_test(test_the_service_is_named),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
