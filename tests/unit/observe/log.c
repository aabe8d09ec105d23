/* SPDX-License-Identifier: MIT */
#include "log_lines.h"

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
    /* Room is left for the longest line, whatever the next one is, besides that of the "lost" before it. */
    assert_true((1 << 20) - (log.head - log.tail) > EVENT_LINE_SIZE);
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
        cmocka_unit_test(test_a_sink),
        cmocka_unit_test(test_no_output),
        cmocka_unit_test(test_the_service_is_named),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
