/* SPDX-License-Identifier: MIT */
#include "sys/fork_handlers.h"

#include "sys/process.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
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
    pid_t pid = fork_handlers_fork(found, fork_handlers_possible(found));

    if (pid == 0)
        _exit(*number);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static volatile sig_atomic_t got_signal;

static void count_signal(int number)
{
    (void)number;
    got_signal++;
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

/* What locks, signals and clocks of the C library know the copy's thread by is the copy's own; and a lock that it ends with is given back. */
static int copy_of_thread(pthread_mutex_t *owned, pthread_mutex_t *robust)
{
    clockid_t clock;
    struct timespec now;
    volatile sig_atomic_t *told = &got_signal;

    if (pthread_mutex_lock(owned) != 0 || pthread_mutex_lock(owned) != EDEADLK ||
        pthread_mutex_unlock(owned) != 0)
        return 1;
    if (raise(SIGUSR1) != 0 || *told != 1 || pthread_kill(pthread_self(), SIGUSR1) != 0 || *told != 2)
        return 2;
    if (pthread_getcpuclockid(pthread_self(), &clock) != 0 || clock_gettime(clock, &now) != 0)
        return 3;
    return pthread_mutex_lock(robust) == 0 ? 0 : 4;
}

/* Two robust locks that processes share, and one that only this process has and that asks for its owner. */
struct locks {
    pthread_mutex_t *robust;
    pthread_mutex_t owned;
};

static void make_locks(struct locks *ret_locks)
{
    pthread_mutexattr_t attributes;

    ret_locks->robust =
        mmap(NULL, 2 * sizeof(pthread_mutex_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(ret_locks->robust, MAP_FAILED);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    assert_int_equal(pthread_mutex_init(&ret_locks->owned, &attributes), 0);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_mutex_init(&ret_locks->robust[i], &attributes), 0);
}

static void assert_ends_with_0(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_the_copy_of_a_thread(void **state)
{
    struct fork_handlers found = {0};
    struct sigaction action = {.sa_handler = count_signal};
    struct locks locks;

    (void)state;
    make_locks(&locks);
    sigaction(SIGUSR1, &action, NULL);
    assert_none(&found);
    pid_t pid = fork_handlers_fork(&found, fork_handlers_possible(&found));
    if (pid == 0)
        _exit(copy_of_thread(&locks.owned, locks.robust));
    assert_ends_with_0(pid);
    assert_int_equal(pthread_mutex_trylock(locks.robust), EOWNERDEAD);
    assert_int_equal(pthread_mutex_consistent(locks.robust), 0);
    assert_int_equal(pthread_mutex_unlock(locks.robust), 0);
    munmap(locks.robust, 2 * sizeof(*locks.robust));
}

/* The copy's list of what it holds begins anew: a lock that it takes is not tied to those of the server. */
static void test_the_copy_of_one_that_holds_a_lock(void **state)
{
    struct fork_handlers found = {0};
    struct locks locks;

    (void)state;
    make_locks(&locks);
    assert_none(&found);
    assert_int_equal(pthread_mutex_lock(&locks.robust[0]), 0);
    pthread_mutex_t before = locks.robust[0];
    pid_t pid = fork_handlers_fork(&found, fork_handlers_possible(&found));
    if (pid == 0)
        _exit(pthread_mutex_trylock(&locks.robust[0]) != EBUSY || pthread_mutex_lock(&locks.robust[1]) != 0);
    assert_ends_with_0(pid);
    assert_memory_equal(&locks.robust[0], &before, sizeof(before));
    assert_int_equal(pthread_mutex_trylock(&locks.robust[1]), EOWNERDEAD);
    pthread_mutex_consistent(&locks.robust[1]);
    pthread_mutex_unlock(&locks.robust[1]);
    assert_int_equal(pthread_mutex_unlock(&locks.robust[0]), 0);
    munmap(locks.robust, 2 * sizeof(*locks.robust));
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
        cmocka_unit_test(test_the_copy_of_a_thread),
        cmocka_unit_test(test_the_copy_of_one_that_holds_a_lock),
        cmocka_unit_test(test_another_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
