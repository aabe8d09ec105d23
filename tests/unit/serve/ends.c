/* SPDX-License-Identifier: MIT
 *
 * Ends of workers that are not told, or are followed by another process of theirs; what they have in a buffer then.
 */
#include "visit.h"

#include <fcntl.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>

static int hello(struct fp_connection *connection, void *data)
{
    (void)connection;
    (void)data;
    printf("hello\n");
    return 0;
}

static void *take_ends(void *taken)
{
    sigset_t set;
    int number;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (int i = 0; i < 2; i++) {
        sigwait(&set, &number);
        sem_post(taken);
    }
    return NULL;
}

static void wait_until_taken(const char *line, size_t length, void *taken)
{
    (void)length;
    if (strstr(line, " start ") != NULL)
        sem_wait(taken);
}

/* The one place for a connection is given back all the same. */
static void test_a_thread_that_waits_for_signals(void **state)
{
    struct visit visit = {.server = make(hello), .clients = 2};
    pthread_t thread;
    sem_t taken;

    (void)state;
    sem_init(&taken, 0, 0);
    start_thread(&thread, take_ends, &taken);
    assert_int_equal(fp_server_set(visit.server, "max", "1", NULL), FP_OK);
    assert_int_equal(fp_server_set(visit.server, "drain", "3600", NULL), FP_OK);
    fp_server_log(visit.server, wait_until_taken, &taken);
    assert_int_equal(run(&visit), FP_OK);
    pthread_join(thread, NULL);
    sem_destroy(&taken);
    fp_server_free(visit.server);
    assert_string_equal(visit.heard, "hello\nhello\n");
}

static void *take_and_wait(void *waited_for)
{
    sigset_t set;
    int number;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (;;) {
        sigwait(&set, &number);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            sem_post(waited_for);
    }
    return NULL;
}

static int stay_or_say_hello(struct fp_connection *connection, void *data)
{
    if (fp_connection_number(connection) > 1)
        return hello(connection, data);
    while (getchar() != EOF)
        ;
    return 0;
}

static void *visit_beside_another(void *data)
{
    const struct timeval patience = {.tv_sec = 20};
    struct visit *visit = data;
    int first = connect_to(visit->server);
    char line[8];

    for (int i = 0; i < visit->clients; i++) {
        int fd = connect_to(visit->server);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        visit->length += (size_t)(read(fd, line, sizeof(line)) == 6);
        close(fd);
    }
    close(first);
    fp_server_stop(visit->server);
    return NULL;
}

static void wait_until_waited_for(const char *line, size_t length, void *waited_for)
{
    (void)length;
    if (strstr(line, " start ") != NULL && strstr(line, " #1 ") == NULL)
        sem_wait(waited_for);
}

/* While another worker lives, places are given back all the same. */
static void test_a_thread_that_takes_signals_and_ends(void **state)
{
    struct visit visit = {.server = make(stay_or_say_hello), .clients = 2};
    pthread_t thread;
    sem_t waited_for;

    (void)state;
    sem_init(&waited_for, 0, 0);
    start_thread(&thread, take_and_wait, &waited_for);
    assert_int_equal(fp_server_set(visit.server, "max", "2", NULL), FP_OK);
    fp_server_log(visit.server, wait_until_waited_for, &waited_for);
    assert_int_equal(run_for(&visit, visit_beside_another), FP_OK);
    pthread_cancel(thread);
    pthread_join(thread, NULL);
    sem_destroy(&waited_for);
    fp_server_free(visit.server);
    assert_int_equal(visit.length, 2);
}

/* Of the first connection's a second process goes on, and returns as the handler does. */
static int leave_it_to_a_child(struct fp_connection *connection, void *data)
{
    (void)data;
    if (fp_connection_number(connection) == 1 && fork() != 0)
        return 0;
    while (getchar() != EOF)
        ;
    if (fp_connection_number(connection) == 2)
        _exit(0);
    return 0;
}

struct steps {
    struct visit visit;
    sem_t ended;
    sem_t started;
    bool has_bytes;
};

static void *visit_in_turn(void *data)
{
    struct steps *steps = data;
    int first = connect_to(steps->visit.server);
    int second;
    char byte;

    sem_wait(&steps->started);
    sem_wait(&steps->ended);
    second = connect_to(steps->visit.server);
    sem_wait(&steps->started);
    assert_int_equal(write(first, "words", 5), 5);
    shutdown(first, SHUT_WR);
    /* Its process has returned. */
    assert_int_equal(read(first, &byte, 1), 0);
    close(first);
    close(second);
    sem_wait(&steps->ended);
    fp_server_stop(steps->visit.server);
    return NULL;
}

static void step(const char *line, size_t length, void *data)
{
    struct steps *steps = data;

    (void)length;
    if (strstr(line, " start ") != NULL)
        sem_post(&steps->started);
    if (strstr(line, " end ") == NULL)
        return;
    steps->has_bytes = strstr(line, " in ") != NULL;
    sem_post(&steps->ended);
}

static void test_a_child_of_a_handler_that_returns(void **state)
{
    struct steps steps = {.visit.server = make(leave_it_to_a_child)};

    (void)state;
    sem_init(&steps.ended, 0, 0);
    sem_init(&steps.started, 0, 0);
    assert_int_equal(fp_server_set(steps.visit.server, "max", "1", NULL), FP_OK);
    fp_server_log(steps.visit.server, step, &steps);
    assert_int_equal(run_for(&steps.visit, visit_in_turn), FP_OK);
    fp_server_free(steps.visit.server);
    sem_destroy(&steps.ended);
    sem_destroy(&steps.started);
    /* Of the second one nobody has counted them. */
    assert_false(steps.has_bytes);
}

static int tell(struct fp_connection *connection, void *data)
{
    fputs("without an end", stderr);
    return hello(connection, data);
}

/* The program has written to its standard error before the second one comes. */
static void *visit_amid_a_line(void *data)
{
    struct visit *visit = data;
    int fd = connect_to(visit->server);
    char byte;

    shutdown(fd, SHUT_WR);
    while (read(fd, &byte, 1) > 0)
        ;
    close(fd);
    fputs("of the program", stderr);
    return run_clients(visit);
}

static size_t count(const char *text, const char *what)
{
    size_t found = 0;

    for (; (text = strstr(text, what)) != NULL; text++)
        found++;
    return found;
}

static void read_whole(int fd, char *ret_text, size_t size)
{
    ssize_t length = pread(fd, ret_text, size - 1, 0);

    assert_true(length >= 0);
    ret_text[length] = '\0';
    close(fd);
}

/* As setvbuf(3) does it for whole lines, where the last one has no end. */
static void test_standard_error_in_a_buffer(void **state)
{
    struct visit visit = {.server = make(tell), .clients = 1};
    char log[] = "/tmp/forkport-unit.XXXXXX";
    char own[] = "/tmp/forkport-unit.XXXXXX";
    char text[4096];
    char buffer[BUFSIZ];
    int log_fd = mkstemp(log);
    int own_fd = mkstemp(own);
    int saved = fcntl(2, F_DUPFD_CLOEXEC, 10);

    (void)state;
    assert_true(log_fd >= 0 && own_fd >= 0 && saved >= 0);
    assert_int_equal(fp_server_set(visit.server, "log-file", log, NULL), FP_OK);
    assert_int_equal(dup2(own_fd, 2), 2);
    setvbuf(stderr, buffer, _IOFBF, sizeof(buffer));
    enum fp_status status = run_for(&visit, visit_amid_a_line);
    fflush(stderr);
    setvbuf(stderr, NULL, _IONBF, 0);
    dup2(saved, 2);
    close(saved);
    unlink(log);
    unlink(own);
    fp_server_free(visit.server);
    assert_int_equal(status, FP_OK);
    read_whole(log_fd, text, sizeof(text));
    assert_int_equal(count(text, "without an end"), 2);
    assert_int_equal(count(text, "of the program"), 0);
    read_whole(own_fd, text, sizeof(text));
    assert_string_equal(text, "of the program");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thread_that_waits_for_signals),
        cmocka_unit_test(test_a_thread_that_takes_signals_and_ends),
        cmocka_unit_test(test_a_child_of_a_handler_that_returns),
        cmocka_unit_test(test_standard_error_in_a_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
