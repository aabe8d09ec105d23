/* SPDX-License-Identifier: MIT */
#include "sys/fork_handlers.h"

#include "sys/process.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A sanitizer may fork in its own way, and other C libraries are not asked: there may always be some. */
static void assert_none(struct fork_handlers *found)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34) && !defined(__SANITIZE_ADDRESS__)
    assert_false(fork_handlers_possible(found));
#else
    fork_handlers_possible(found);
#endif
}

static void *load(void)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/tests/fixtures/registers.so", getenv("FORKPORT_BUILD"));
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        fail_msg("%s", dlerror());
    return library;
}

/* How the copy ends, which ends with what `number` points to then. */
static int copy_ends(struct fork_handlers *found, const int *number)
{
    int status;
    pid_t pid = fork_handlers_fork(fork_handlers_possible(found));

    if (pid == 0)
        _exit(*number);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_none_of_a_plain_program(void **state)
{
    struct fork_handlers found = {0};
    int number = 7;

    (void)state;
    assert_none(&found);
    assert_int_equal(copy_ends(&found, &number), 7);
}

static void test_a_library_that_comes_is_told(void **state)
{
    struct fork_handlers found = {0};

    (void)state;
    assert_none(&found);
    void *library = load();
    assert_int_equal(copy_ends(&found, dlsym(library, "forks_told")), 1);
    assert_true(fork_handlers_possible(&found));
    dlclose(library);
    assert_none(&found);
}

static void *wait_for(void *lock)
{
    pthread_mutex_lock(lock);
    return NULL;
}

/* The last: the C library does not say when it is alone again. */
static void test_another_thread(void **state)
{
    struct fork_handlers found = {0};
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_t thread;

    (void)state;
#ifdef __GLIBC__
    assert_true(process_has_one_thread());
#endif
    pthread_mutex_lock(&lock);
    assert_int_equal(pthread_create(&thread, NULL, wait_for, &lock), 0);
    assert_false(process_has_one_thread());
    assert_true(fork_handlers_possible(&found));
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_of_a_plain_program),
        cmocka_unit_test(test_a_library_that_comes_is_told),
        cmocka_unit_test(test_another_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
