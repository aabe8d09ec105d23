/* SPDX-License-Identifier: MIT
 *
 * The library as a program uses it, well and badly: a server in this process, its clients in a thread.
 */
#include "visit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <time.h>

static int hello(struct fp_connection *connection, void *data)
{
    (void)connection;
    (void)data;
    printf("hello\n");
    return 0;
}

static int repeat_line(struct fp_connection *connection, void *data)
{
    char line[64];

    (void)connection;
    (void)data;
    if (fgets(line, sizeof(line), stdin) == NULL)
        return 1;
    fputs(line, stdout);
    return 0;
}

static void print_line(const char *line, size_t length, void *data)
{
    (void)data;
    fwrite(line, 1, length, stdout);
}

/* Standard descriptors of this process are replaced for a test, and given back. */
static int replace(int fd, int with)
{
    int saved = fcntl(fd, F_DUPFD_CLOEXEC, 10);

    assert_true(saved >= 0 && dup2(with, fd) == fd);
    return saved;
}

static void give_back(int fd, int saved)
{
    assert_int_equal(dup2(saved, fd), fd);
    close(saved);
}

static void test_buffered_output_is_not_the_clients(void **state)
{
    struct visit visit = {.server = make(hello), .clients = 3};
    char buffer[8192];
    FILE *file = tmpfile();

    (void)state;
    assert_non_null(file);
    fflush(stdout);
    int saved = replace(1, fileno(file));
    setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
    fp_server_log(visit.server, print_line, NULL);
    enum fp_status status = run(&visit);
    fflush(stdout);
    setvbuf(stdout, NULL, _IOLBF, 0);
    give_back(1, saved);
    fclose(file);
    fp_server_free(visit.server);
    assert_int_equal(status, FP_OK);
    assert_string_equal(visit.heard, "hello\nhello\nhello\n");
}

static void test_buffered_input_is_not_the_handlers(void **state)
{
    struct visit visit = {.server = make(repeat_line), .clients = 2, .say = "of the client\n"};
    char line[64];
    int ends[2];

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_true(write(ends[1], "first\nsecret\n", 13) == 13);
    close(ends[1]);
    int saved = replace(0, ends[0]);
    close(ends[0]);
    assert_non_null(fgets(line, sizeof(line), stdin));
    enum fp_status status = run(&visit);
    assert_non_null(fgets(line, sizeof(line), stdin));
    give_back(0, saved);
    fp_server_free(visit.server);
    assert_int_equal(status, FP_OK);
    assert_string_equal(visit.heard, "of the client\nof the client\n");
    assert_string_equal(line, "secret\n");
}

static void test_program_without_a_name(void **state)
{
    struct fp_server *server = make(NULL);
    struct fp_error err = {.status = FP_OK};
    char *const none[] = {NULL};
    char *const some[] = {(char *)"true", NULL};

    (void)state;
    assert_int_equal(fp_server_program(server, none, &err), FP_USAGE);
    assert_int_equal(err.status, FP_USAGE);
    assert_int_equal(fp_server_program(server, none, NULL), FP_USAGE);
    assert_int_equal(fp_server_run(server, &err), FP_USAGE);
    assert_string_equal(err.reason, "a handler, a program or a builtin is expected");
    assert_null(fp_server_pair(server, 0));
    assert_int_equal(fp_server_program(server, some, NULL), FP_OK);
    assert_int_equal(fp_server_open(server, NULL), FP_OK);
    fp_server_free(server);
}

static void test_a_handler_is_given_when_it_is_open(void **state)
{
    struct visit visit = {.server = make(NULL), .clients = 1};

    (void)state;
    assert_int_equal(fp_server_open(visit.server, NULL), FP_OK);
    assert_non_null(fp_server_pair(visit.server, 0));
    fp_server_handler(visit.server, hello, NULL);
    assert_int_equal(run(&visit), FP_OK);
    assert_string_equal(visit.heard, "hello\n");
    fp_server_free(visit.server);
}

static void test_runs_once(void **state)
{
    struct visit visit = {.server = make(hello), .clients = 1};

    (void)state;
    assert_int_equal(run(&visit), FP_OK);
    assert_int_equal(fp_server_run(visit.server, NULL), FP_USAGE);
    assert_int_equal(fp_server_open(visit.server, NULL), FP_USAGE);
    fp_server_free(visit.server);
}

/* Rather than to be told that it is done what has no effect. */
static void test_nothing_is_set_once_it_is_open(void **state)
{
    struct visit visit = {.server = make(hello), .clients = 1};
    char *const argv[] = {(char *)"true", NULL};
    struct fp_error err;
    char pair[64];

    (void)state;
    assert_int_equal(fp_server_open(visit.server, NULL), FP_OK);
    snprintf(pair, sizeof(pair), "%s", fp_server_pair(visit.server, 0));
    for (int round = 0; round < 2; round++) {
        assert_int_equal(fp_server_listen(visit.server, "127.0.0.1:0,127.0.0.2:0", &err), FP_USAGE);
        assert_string_equal(err.what, "127.0.0.1:0,127.0.0.2:0");
        assert_string_equal(err.reason, "the server has been opened already");
        assert_int_equal(fp_server_set(visit.server, "backlog", "5", &err), FP_USAGE);
        assert_string_equal(err.what, "backlog");
        assert_int_equal(fp_server_program(visit.server, argv, &err), FP_USAGE);
        assert_int_equal(fp_server_keep(visit.server, 3, &err), FP_USAGE);
        assert_string_equal(err.reason, "the server has been opened already");
        if (round == 0)
            assert_int_equal(run(&visit), FP_OK);
    }
    assert_string_equal(fp_server_pair(visit.server, 0), pair);
    fp_server_free(visit.server);
    assert_string_equal(visit.heard, "hello\n");
}

/* Under the leak checker a second attempt must not forget what the first one had made. */
static void test_opened_again_after_a_failure(void **state)
{
    struct fp_server *first = make(hello);
    struct fp_server *second = make(hello);
    char address[32];

    (void)state;
    assert_int_equal(fp_server_open(first, NULL), FP_OK);
    snprintf(address, sizeof(address), "127.0.0.1:%d", atoi(strchr(fp_server_pair(first, 0), ':') + 1));
    assert_int_equal(fp_server_listen(second, address, NULL), FP_OK);
    assert_int_equal(fp_server_open(second, NULL), FP_UNAVAILABLE);
    assert_null(fp_server_pair(second, 0));
    fp_server_free(first);
    assert_int_equal(fp_server_open(second, NULL), FP_OK);
    fp_server_free(second);
}

static void test_stopped_before_it_runs(void **state)
{
    struct fp_server *server = make(hello);

    (void)state;
    fp_server_stop(server);
    assert_int_equal(fp_server_run(server, NULL), FP_OK);
    fp_server_free(server);
}

static void test_kept_descriptor_is_open_in_a_program(void **state)
{
    char command[32];
    char *const argv[] = {(char *)"sh", (char *)"-c", command, NULL};
    struct visit visit = {.server = make(NULL), .clients = 1};
    int ends[2];

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_true(write(ends[1], "kept\n", 5) == 5);
    close(ends[1]);
    /* A shell redirects from one digit. */
    assert_true(ends[0] <= 9 || dup3(ends[0], 9, O_CLOEXEC) == 9);
    int kept = ends[0] <= 9 ? ends[0] : 9;
    snprintf(command, sizeof(command), "cat <&%d", kept);
    assert_int_equal(fp_server_program(visit.server, argv, NULL), FP_OK);
    assert_int_equal(fp_server_keep(visit.server, kept, NULL), FP_OK);
    assert_int_equal(fp_server_keep(visit.server, kept, NULL), FP_OK);
    assert_int_equal(run(&visit), FP_OK);
    close(kept);
    fp_server_free(visit.server);
    assert_string_equal(visit.heard, "kept\n");
}

static void test_kept_descriptor_that_is_not_open(void **state)
{
    struct fp_server *server = make(hello);
    struct fp_error err;
    int fd = fcntl(0, F_DUPFD_CLOEXEC, 50);

    (void)state;
    assert_true(fd >= 50);
    assert_int_equal(fp_server_keep(server, fd, NULL), FP_OK);
    close(fd);
    for (int round = 0; round < 2; round++) {
        enum fp_status status = round == 0 ? fp_server_open(server, &err) : fp_server_run(server, &err);
        assert_int_equal(status, FP_USAGE);
        assert_int_equal(err.errnum, EBADF);
        assert_int_equal(atoi(strpbrk(err.what, "0123456789")), fd);
    }
    assert_null(fp_server_pair(server, 0));
    assert_int_equal(dup3(0, fd, O_CLOEXEC), fd);
    assert_int_equal(fp_server_open(server, NULL), FP_OK);
    /* Closed since. */
    close(fd);
    assert_int_equal(fp_server_run(server, NULL), FP_USAGE);
    fp_server_free(server);
}

static void test_descriptors_are_kept_in_any_order(void **state)
{
    char *const argv[] = {(char *)"cat", (char *)"/dev/fd/42", (char *)"/dev/fd/41", (char *)"/dev/fd/43",
                          NULL};
    static const int kept[] = {42, 43, 41};
    struct visit visit = {.server = make(NULL), .clients = 1};

    (void)state;
    assert_int_equal(fp_server_program(visit.server, argv, NULL), FP_OK);
    for (size_t i = 0; i < 3; i++) {
        int ends[2];
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        assert_int_equal(dprintf(ends[1], "%d\n", kept[i]), 3);
        assert_int_equal(dup3(ends[0], kept[i], O_CLOEXEC), kept[i]);
        close(ends[0]);
        close(ends[1]);
        assert_int_equal(fp_server_keep(visit.server, kept[i], NULL), FP_OK);
    }
    enum fp_status status = run(&visit);
    for (size_t i = 0; i < 3; i++)
        close(kept[i]);
    fp_server_free(visit.server);
    assert_int_equal(status, FP_OK);
    assert_string_equal(visit.heard, "42\n41\n43\n");
}

static void test_standard_descriptors_are_the_workers_own(void **state)
{
    struct fp_server *server = make(hello);
    struct fp_error err;

    (void)state;
    for (int fd = -1; fd <= 2; fd++) {
        assert_int_equal(fp_server_keep(server, fd, &err), FP_USAGE);
        assert_string_equal(err.reason, "descriptors 0 to 2 are the worker's own");
    }
    fp_server_free(server);
}

/* Runs another server, from the first one's thread while that one runs. */
static void run_another(const char *line, size_t length, void *data)
{
    enum fp_status *status = data;

    (void)line;
    (void)length;
    if (*status == FP_OK) {
        struct fp_server *other = make(hello);
        fp_server_stop(other);
        *status = fp_server_run(other, NULL);
        fp_server_free(other);
    }
}

static void test_one_at_a_time(void **state)
{
    enum fp_status of_other = FP_OK;
    struct visit visit = {.server = make(hello), .clients = 1};

    (void)state;
    fp_server_log(visit.server, run_another, &of_other);
    assert_int_equal(run(&visit), FP_OK);
    fp_server_free(visit.server);
    assert_string_equal(visit.heard, "hello\n");
    assert_int_equal(of_other, FP_USAGE);
}

/* A file that handlers write to. */
static char data_path[64];

static void make_data(void)
{
    strcpy(data_path, "/tmp/forkport.XXXXXX");
    int fd = mkstemp(data_path);
    assert_true(fd >= 0);
    close(fd);
}

static void write_line(const char *line, size_t length, void *file)
{
    fwrite(line, 1, length, file);
}

static int open_data(void)
{
    return open(data_path, O_WRONLY | O_APPEND);
}

static size_t take_data(char *buffer, size_t size)
{
    FILE *file = fopen(data_path, "r");

    assert_non_null(file);
    size_t length = fread(buffer, 1, size - 1, file);
    buffer[length] = '\0';
    fclose(file);
    unlink(data_path);
    return length;
}

/* Its file gets the number that the server's had, whose buffer exit(3) writes. */
static int record_and_exit(struct fp_connection *connection, void *data)
{
    (void)connection;
    (void)data;
    for (int i = 0; i < 3; i++)
        dprintf(open_data(), "record\n");
    puts("hello");
    exit(0);
}

static void test_what_the_program_logs_is_not_the_handlers(void **state)
{
    struct visit visit = {.server = make(record_and_exit), .clients = 2};
    char found[4096];
    char buffer[8192];
    FILE *log = tmpfile();

    (void)state;
    make_data();
    assert_non_null(log);
    setvbuf(log, buffer, _IOFBF, sizeof(buffer));
    fp_server_log(visit.server, write_line, log);
    assert_int_equal(run(&visit), FP_OK);
    fp_server_free(visit.server);
    fclose(log);
    assert_string_equal(visit.heard, "hello\nhello\n");
    take_data(found, sizeof(found));
    assert_string_equal(found, "record\nrecord\nrecord\nrecord\nrecord\nrecord\n");
}

static struct fp_server *stopped_by_handler;

static int stop_server(struct fp_connection *connection, void *data)
{
    (void)connection;
    (void)data;
    for (int i = 0; i < 8; i++)
        open_data();
    fp_server_stop(stopped_by_handler);
    return puts("still here") < 0;
}

static void test_a_handler_stops_nothing(void **state)
{
    struct visit visit = {.server = make(stop_server), .clients = 2};
    char found[64];

    (void)state;
    make_data();
    stopped_by_handler = visit.server;
    assert_int_equal(run(&visit), FP_OK);
    fp_server_free(visit.server);
    assert_string_equal(visit.heard, "still here\nstill here\n");
    assert_int_equal(take_data(found, sizeof(found)), 0);
}

static int wait_for_ever(struct fp_connection *connection, void *data)
{
    (void)connection;
    (void)data;
    pause();
    return 0;
}

/* When the connection has its process: the second call is there before the first has been looked at. */
static void stop_twice(const char *line, size_t length, void *server)
{
    (void)length;
    if (strstr(line, " start ") == NULL)
        return;
    fp_server_stop(server);
    fp_server_stop(server);
}

static void test_two_stops_are_two(void **state)
{
    struct timespec begin;
    struct timespec end;
    struct fp_server *server = make(wait_for_ever);

    (void)state;
    assert_int_equal(fp_server_set(server, "drain", "60", NULL), FP_OK);
    assert_int_equal(fp_server_open(server, NULL), FP_OK);
    fp_server_log(server, stop_twice, server);
    int fd = connect_to(server);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    assert_int_equal(fp_server_run(server, NULL), FP_OK);
    clock_gettime(CLOCK_MONOTONIC, &end);
    close(fd);
    fp_server_free(server);
    assert_in_range(end.tv_sec - begin.tv_sec, 0, 30);
}

/* Behind the last turn: nobody looks for signals any more. */
static void signal_late(const char *line, size_t length, void *said)
{
    (void)length;
    if (strstr(line, " stop ") == NULL)
        return;
    *(bool *)said = true;
    raise(SIGTERM);
    raise(SIGPIPE);
}

static void test_signals_that_come_late_do_not_end_the_program(void **state)
{
    struct visit visit = {.server = make(hello), .clients = 1};
    bool said = false;

    (void)state;
    fp_server_log(visit.server, signal_late, &said);
    assert_int_equal(run(&visit), FP_OK);
    fp_server_free(visit.server);
    assert_true(said);
}

static void test_a_user_with_children_ignored(void **state)
{
    struct visit visit = {.server = make(hello), .clients = 1};

    (void)state;
    if (geteuid() != 0) {
        print_message("only root may change users\n");
        skip();
    }
    signal(SIGCHLD, SIG_IGN);
    assert_int_equal(fp_server_set(visit.server, "user", "nobody", NULL), FP_OK);
    enum fp_status status = run(&visit);
    signal(SIGCHLD, SIG_DFL);
    fp_server_free(visit.server);
    assert_int_equal(status, FP_OK);
    assert_string_equal(visit.heard, "hello\n");
}

static void test_signals_are_as_before(void **state)
{
    struct visit visit = {.server = make(hello), .clients = 1};
    struct sigaction child;
    sigset_t before;
    sigset_t after;
    sigset_t old;

    (void)state;
    sigemptyset(&before);
    sigaddset(&before, SIGUSR2);
    signal(SIGCHLD, SIG_IGN);
    pthread_sigmask(SIG_SETMASK, &before, &old);
    enum fp_status status = run(&visit);
    pthread_sigmask(SIG_SETMASK, &old, &after);
    sigaction(SIGCHLD, NULL, &child);
    signal(SIGCHLD, SIG_DFL);
    fp_server_free(visit.server);
    assert_int_equal(status, FP_OK);
    assert_string_equal(visit.heard, "hello\n");
    for (int number = 1; number < NSIG; number++)
        assert_int_equal(sigismember(&after, number) == 1, number == SIGUSR2);
    assert_ptr_equal(child.sa_handler, SIG_IGN);
}

static void test_a_builtin_and_a_handler(void **state)
{
    struct fp_server *server = make(hello);

    (void)state;
    assert_int_equal(fp_server_set(server, "builtin", "echo", NULL), FP_OK);
    assert_int_equal(fp_server_open(server, NULL), FP_USAGE);
    fp_server_free(server);
}

static void test_what_a_handler_does_not_go_with(void **state)
{
    static const struct {
        const char *option;
        const char *value;
        const char *what;
    } rows[] = {
        {NULL, NULL, "a program and a handler"},        {"builtin", "echo", "a builtin and a handler"},
        {"resolve", NULL, "a handler with --resolve"},  {"engine", "fork", "a handler with --engine fork"},
        {"gate", "read", "a handler with --gate read"},
    };
    static char *const program[] = {(char *)"cat", NULL};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fp_server *server = make(hello);
        struct fp_error err;
        if (rows[i].option != NULL)
            assert_int_equal(fp_server_set(server, rows[i].option, rows[i].value, NULL), FP_OK);
        else
            assert_int_equal(fp_server_program(server, program, NULL), FP_OK);
        assert_int_equal(fp_server_open(server, &err), FP_USAGE);
        assert_string_equal(err.what, rows[i].what);
        fp_server_free(server);
    }
}

static int is_without_error(struct fp_connection *connection, void *data)
{
    (void)connection;
    (void)data;
    return ferror(stdout) || puts("no error") < 0;
}

static void test_an_error_of_the_programs_output_is_not_the_handlers(void **state)
{
    struct visit visit = {.server = make(is_without_error), .clients = 1};
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

    (void)state;
    fflush(stdout);
    int saved = replace(1, full);
    putchar('x');
    assert_int_equal(fflush(stdout), EOF);
    __fpurge(stdout);
    give_back(1, saved);
    close(full);
    assert_true(ferror(stdout));
    enum fp_status status = run(&visit);
    clearerr(stdout);
    fp_server_free(visit.server);
    assert_int_equal(status, FP_OK);
    assert_string_equal(visit.heard, "no error\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buffered_output_is_not_the_clients),
        cmocka_unit_test(test_buffered_input_is_not_the_handlers),
        cmocka_unit_test(test_program_without_a_name),
        cmocka_unit_test(test_a_handler_is_given_when_it_is_open),
        cmocka_unit_test(test_runs_once),
        cmocka_unit_test(test_nothing_is_set_once_it_is_open),
        cmocka_unit_test(test_opened_again_after_a_failure),
        cmocka_unit_test(test_kept_descriptor_is_open_in_a_program),
        cmocka_unit_test(test_kept_descriptor_that_is_not_open),
        cmocka_unit_test(test_descriptors_are_kept_in_any_order),
        cmocka_unit_test(test_standard_descriptors_are_the_workers_own),
        cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_what_a_handler_does_not_go_with),
        cmocka_unit_test(test_what_the_program_logs_is_not_the_handlers),
        cmocka_unit_test(test_a_handler_stops_nothing),
        cmocka_unit_test(test_two_stops_are_two),
        cmocka_unit_test(test_a_user_with_children_ignored),
        cmocka_unit_test(test_signals_are_as_before),
        cmocka_unit_test(test_signals_that_come_late_do_not_end_the_program),
        cmocka_unit_test(test_a_builtin_and_a_handler),
        cmocka_unit_test(test_an_error_of_the_programs_output_is_not_the_handlers),
        cmocka_unit_test(test_stopped_before_it_runs),
    };

    return cmocka_run_group_tests_name("serve/library", tests, NULL, NULL);
}
