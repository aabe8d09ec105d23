/* SPDX-License-Identifier: MIT
 *
 * Ends of workers that are not told, or are followed by another process of theirs.
 */
#include "visit.h"

#include <semaphore.h>
#include <stdio.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thread_that_waits_for_signals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
