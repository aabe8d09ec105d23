/* SPDX-License-Identifier: MIT */
#include "sys/pinned.h"

#include "../../fixtures/filter.h"
#include "sys/process.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { OF_CHILD = 'c', OF_PARENT = 'p', OF_BOTH = 'b' };

static char *map_page(void)
{
    char *page = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(page, MAP_FAILED);
    *page = OF_BOTH;
    return page;
}

/* How many faults it takes to write there. */
static long faults_to_write(volatile char *at, char what)
{
    struct rusage used[2];

    /* Where the answers come to is this process's own by then. */
    for (int i = 0; i < 4; i++)
        getrusage(RUSAGE_SELF, &used[i % 2]);
    getrusage(RUSAGE_SELF, &used[0]);
    *at = what;
    getrusage(RUSAGE_SELF, &used[1]);
    return used[1].ru_minflt - used[0].ru_minflt;
}

/* How many faults a copy has in writing there, where it finds what was there when it was made, and this process afterwards. */
static void write_both(char *at, long *ret_in_copy, long *ret_here)
{
    int go[2];
    char byte = 0;
    int status;

    assert_int_equal(pipe(go), 0);
    pid_t pid = fork();
    if (pid == 0) {
        long faults = read(go[0], &byte, 1) == 1 && *at == OF_BOTH ? faults_to_write(at, OF_CHILD) : 100;
        _exit((int)faults);
    }
    *ret_here = faults_to_write(at, OF_PARENT);
    assert_int_equal(write(go[1], &byte, 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    *ret_in_copy = WEXITSTATUS(status);
    assert_int_equal(*at, OF_PARENT);
    *at = OF_BOTH;
    close(go[0]);
    close(go[1]);
}

/* Where no io_uring may be had there is nothing to be seen. */
static long pin(char *at)
{
    const struct iovec one = {.iov_base = at, .iov_len = 1};
    long fd = process_is_filtered() ? -EACCES : pinned_make(&one, 1);

    if (fd == -EPERM || fd == -ENOSYS || fd == -EACCES || fd == -ENOMEM)
        skip();
    assert_true(fd >= 0);
    assert_int_equal(fcntl((int)fd, F_GETFD), FD_CLOEXEC);
    return fd;
}

static void test_a_pinned_page_is_copied_by_the_fork(void **state)
{
    char *page = map_page();
    long in_copy;
    long here;

    (void)state;
    write_both(page, &in_copy, &here);
    assert_int_equal(in_copy, 1);
    assert_int_equal(here, 1);
    long fd = pin(page);
    for (int i = 0; i < 2; i++) {
        write_both(page, &in_copy, &here);
        assert_int_equal(in_copy, 0);
        assert_int_equal(here, 0);
    }
    close((int)fd);
    munmap(page, 1);
}

static void test_two_ranges(void **state)
{
    char *pages[2] = {map_page(), map_page()};
    const struct iovec both[] = {{.iov_base = pages[0] + 7, .iov_len = 1},
                                 {.iov_base = pages[1], .iov_len = 2}};
    long in_copy;
    long here;

    (void)state;
    close((int)pin(pages[0]));
    long fd = pinned_make(both, 2);
    assert_true(fd >= 0);
    for (int i = 0; i < 2; i++) {
        write_both(pages[i], &in_copy, &here);
        assert_int_equal(in_copy + here, 0);
    }
    close((int)fd);
}

static void test_what_is_not_there(void **state)
{
    char *page = map_page();
    const struct iovec one = {.iov_base = page, .iov_len = 1};

    (void)state;
    close((int)pin(page));
    munmap(page, 1);
    int next = dup(0);
    close(next);
    assert_int_equal(pinned_make(&one, 1), -EFAULT);
    /* None is left open. */
    assert_int_equal(dup(0), next);
    close(next);
}

/* What others need is left to them. */
static void test_limits(void **state)
{
    char *page = map_page();
    const struct iovec one = {.iov_base = page, .iov_len = 1};
    struct rlimit files;
    struct rlimit locked;

    (void)state;
    close((int)pin(page));
    int next = dup(0);
    close(next);
    getrlimit(RLIMIT_NOFILE, &files);
    for (unsigned left = 0; left < 3; left++) {
        setrlimit(RLIMIT_NOFILE,
                  &(struct rlimit){.rlim_cur = (rlim_t)next + left, .rlim_max = files.rlim_max});
        long fd = pinned_make(&one, 1);
        assert_int_equal(fd, left < 2 ? -EMFILE : next);
        close((int)fd);
    }
    setrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_MEMLOCK, &locked);
    setrlimit(RLIMIT_MEMLOCK,
              &(struct rlimit){.rlim_cur = PINNED_LOCKED_LEAST - 1, .rlim_max = locked.rlim_max});
    assert_int_equal(pinned_make(&one, 1), -ENOMEM);
    setrlimit(RLIMIT_MEMLOCK, &locked);
    int again = dup(0);
    assert_int_equal(again, next);
    close(again);
    munmap(page, 1);
}

/* How much of this process's memory is nobody else's, and has been written to. */
static long private_kib(void)
{
    char line[128];
    long kib = -1;
    FILE *file = fopen("/proc/self/smaps_rollup", "re");

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        sscanf(line, "Private_Dirty: %ld", &kib);
    return kib;
}

static void test_of_a_huge_page_the_page_alone_is_copied(void **state)
{
    enum { HUGE = 2 << 20 };
    char *memory = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *huge = (char *)(((uintptr_t)memory + HUGE - 1) & -(uintptr_t)HUGE);
    int status;

    (void)state;
    assert_ptr_not_equal(memory, MAP_FAILED);
    madvise(huge, HUGE, MADV_HUGEPAGE);
    memset(huge, OF_BOTH, HUGE);
    long fd = pin(huge + HUGE / 2);
    pid_t pid = fork();
    if (pid == 0)
        _exit(huge[HUGE / 2] != OF_BOTH || private_kib() < 0 || private_kib() > HUGE / 1024 / 2);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close((int)fd);
    munmap(memory, 2 * HUGE);
}

static void test_a_filter_of_system_calls_is_seen(void **state)
{
    int status;

    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(!filter_one_call(SYS_prctl, SECCOMP_RET_KILL_PROCESS) ? 2 : !process_is_filtered());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    /* Where this test runs with one, every answer is true. */
    assert_int_equal(process_is_filtered(), prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pinned_page_is_copied_by_the_fork),
        cmocka_unit_test(test_two_ranges),
        cmocka_unit_test(test_what_is_not_there),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_of_a_huge_page_the_page_alone_is_copied),
        cmocka_unit_test(test_a_filter_of_system_calls_is_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
