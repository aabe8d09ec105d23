/* SPDX-License-Identifier: MIT */
#include "sys/descriptors.h"

#include "sys/task_files.h"

#include "../../fixtures/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define FAR 1000

static uint32_t inode_of(int fd)
{
    struct stat about;

    assert_int_equal(fstat(fd, &about), 0);
    return (uint32_t)about.st_ino;
}

/* Two sockets, one of them a second time far from the others, and what is none. */
static int open_sockets(int ret_fds[3])
{
    ret_fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ret_fds[1] = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ret_fds[2] = dup2(ret_fds[0], FAR);
    return ret_fds[2];
}

static void close_sockets(const int fds[3])
{
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

static void check(const struct descriptors *descriptors, const int fds[3])
{
    size_t count;
    const struct descriptor *found = descriptors_find(descriptors, inode_of(fds[0]), &count);

    assert_int_equal(count, 2);
    assert_int_equal(found[0].fd, fds[0]);
    assert_int_equal(found[1].fd, FAR);
    assert_int_equal(found[0].pid, getpid());
    found = descriptors_find(descriptors, inode_of(fds[1]), &count);
    assert_int_equal(count, 1);
    assert_int_equal(found->fd, fds[1]);
    assert_null(descriptors_find(descriptors, 1, &count));
    assert_int_equal(count, 0);
}

static void test_of_one_process(void **state)
{
    struct descriptors descriptors = {.count = 0};
    int fds[3];

    (void)state;
    assert_int_equal(open_sockets(fds), FAR);
    assert_int_equal(descriptors_read(&descriptors, getpid()), 0);
    descriptors_sort(&descriptors);
    check(&descriptors, fds);
    assert_false(descriptors.incomplete);
    descriptors_done(&descriptors);
    close_sockets(fds);
    /* Their numbers are close together then, and so they are asked for one by one. */
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(descriptors_read(&descriptors, getpid()), 0);
    descriptors_sort(&descriptors);
    size_t count;
    assert_non_null(descriptors_find(&descriptors, inode_of(fds[0]), &count));
    descriptors_done(&descriptors);
    close(fds[0]);
}

static void test_of_all_processes(void **state)
{
    struct descriptors descriptors = {.count = 0};
    int fds[3];

    (void)state;
    assert_int_equal(open_sockets(fds), FAR);
    assert_int_equal(descriptors_read_all(&descriptors), 0);
    descriptors_sort(&descriptors);
    check(&descriptors, fds);
    descriptors_done(&descriptors);
    close_sockets(fds);
}

static void test_one_that_has_gone_holds_nothing(void **state)
{
    struct descriptors descriptors = {.count = 0};
    size_t count;

    (void)state;
    assert_int_equal(descriptors_read(&descriptors, 0x7ffffff0), 0);
    assert_int_equal(descriptors.count, 0);
    assert_false(descriptors.incomplete);
    assert_null(descriptors_find(&descriptors, 1, &count));
    descriptors_done(&descriptors);
}

static bool take(void *data, const struct descriptor *descriptor)
{
    struct descriptors *taken = data;

    if (descriptor->pid != getpid())
        return true;
    if (taken->count == taken->room) {
        errno = ENOSPC;
        return false;
    }
    taken->items[taken->count++] = *descriptor;
    return true;
}

/* The kernel's own pass says the same, and the name with it. */
static void test_the_kernel_s_pass(void **state)
{
    struct descriptor room[16];
    struct descriptors taken = {.items = room, .room = 16};
    char name[PROCFS_NAME_SIZE];
    int fds[3];

    (void)state;
    assert_int_equal(open_sockets(fds), FAR);
    if (task_files_read(take, &taken) < 0) {
        print_message("the kernel does not run the iterator here: %s\n", strerror(errno));
        close_sockets(fds);
        skip();
    }
    descriptors_sort(&taken);
    check(&taken, fds);
    assert_int_equal(taken.count, 3);
    procfs_name(getpid(), name);
    assert_string_equal(taken.items[0].name, name);
    taken.count = 0;
    taken.room = 1;
    assert_int_equal(task_files_read(take, &taken), -1);
    assert_int_equal(errno, ENOSPC);
    close_sockets(fds);
}

/* A thread that has its descriptors for itself, with one more socket. */
struct apart {
    pthread_barrier_t barrier; /* passed when the socket is there, and when it may go */
    uint32_t inode;
    int fd;
};

static void *stay_apart(void *data)
{
    struct apart *apart = data;

    apart->fd = unshare(CLONE_FILES) == 0 ? socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    apart->inode = apart->fd >= 0 ? inode_of(apart->fd) : 0;
    pthread_barrier_wait(&apart->barrier);
    pthread_barrier_wait(&apart->barrier);
    if (apart->fd >= 0)
        close(apart->fd);
    return NULL;
}

/* /proc tells of it where it is asked for threads, the kernel's own pass in any case. */
static void test_what_a_thread_has_for_itself(void **state)
{
    struct descriptors descriptors = {.count = 0};
    struct descriptor room[16];
    struct descriptors taken = {.items = room, .room = 16};
    struct apart apart;
    pthread_t thread;
    size_t count;

    (void)state;
    assert_int_equal(pthread_barrier_init(&apart.barrier, NULL, 2), 0);
    assert_int_equal(pthread_create(&thread, NULL, stay_apart, &apart), 0);
    pthread_barrier_wait(&apart.barrier);
    assert_true(apart.fd >= 0);
    int result = descriptors_read_all(&descriptors);
    if (result == 0)
        result = descriptors_read_threads(&descriptors);
    bool is_seen = task_files_read(take, &taken) == 0;
    pthread_barrier_wait(&apart.barrier);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(pthread_barrier_destroy(&apart.barrier), 0);
    assert_int_equal(result, 0);
    for (struct descriptors *each = &descriptors; each != NULL; each = each == &descriptors ? &taken : NULL) {
        if (each == &taken && !is_seen)
            break;
        descriptors_sort(each);
        const struct descriptor *found = descriptors_find(each, apart.inode, &count);
        assert_int_equal(count, 1);
        assert_int_equal(found->pid, getpid());
        assert_int_equal(found->fd, apart.fd);
    }
    descriptors_done(&descriptors);
}

#ifdef SECCOMP_RET_ERRNO
struct untold {
    struct descriptors descriptors;
    pid_t pid;
    bool is_filtered;
    int result;
};

/* For this thread kcmp(2) is refused, as Docker does. */
static void *read_untold(void *data)
{
    struct untold *untold = data;

    untold->is_filtered = filter_one_call(SYS_kcmp, SECCOMP_RET_ERRNO | EPERM);
    untold->result = descriptors_read(&untold->descriptors, untold->pid);
    return NULL;
}

static struct untold untold_of(pid_t pid)
{
    struct untold untold = {.pid = pid};
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, read_untold, &untold), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(untold.result, 0);
    return untold;
}

static void *stay(void *data)
{
    for (;;)
        pause();
    return data;
}

/* A process whose main thread has ended, and so has nothing open; the other goes on. */
static pid_t start_headless(void)
{
    char path[64];
    char line[256] = "";
    pthread_t thread;

    pid_t pid = fork();
    if (pid == 0) {
        if (pthread_create(&thread, NULL, stay, NULL) == 0)
            pthread_exit(NULL);
        _exit(1);
    }
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    while (strstr(line, ") Z ") == NULL) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(read(fd, line, sizeof(line) - 1) > 0);
        close(fd);
    }
    return pid;
}

/* Where the kernel does not say who shares descriptors, all are taken to, and what is shared is read once. */
static void test_threads_of_which_the_kernel_does_not_tell(void **state)
{
    size_t count;

    (void)state;
    struct untold untold = untold_of(getpid());
    if (!untold.is_filtered)
        skip();
    const size_t before = untold.descriptors.count;
    descriptors_done(&untold.descriptors);
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    untold = untold_of(getpid());
    assert_int_equal(untold.descriptors.count, before + 1);
    descriptors_done(&untold.descriptors);
    pid_t pid = start_headless();
    untold = untold_of(pid);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(untold.descriptors.count, before + 1);
    descriptors_sort(&untold.descriptors);
    assert_non_null(descriptors_find(&untold.descriptors, inode_of(made), &count));
    assert_int_equal(count, 1);
    descriptors_done(&untold.descriptors);
    close(made);
}
#endif

static void test_what_is_there_twice_is_sorted_into_one(void **state)
{
    const struct descriptor items[] = {{.inode = 2, .pid = 1, .fd = 3},
                                       {.inode = 1, .pid = 1, .fd = 3},
                                       {.inode = 2, .pid = 1, .fd = 3},
                                       {.inode = 2, .pid = 1, .fd = 4}};
    struct descriptors descriptors = {.count = 0};
    size_t count;

    (void)state;
    for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++)
        assert_int_equal(descriptors_append(&descriptors, &items[i]), 0);
    descriptors_sort(&descriptors);
    assert_int_equal(descriptors.count, 3);
    assert_non_null(descriptors_find(&descriptors, 2, &count));
    assert_int_equal(count, 2);
    descriptors_done(&descriptors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_one_process),
        cmocka_unit_test(test_of_all_processes),
        cmocka_unit_test(test_one_that_has_gone_holds_nothing),
        cmocka_unit_test(test_the_kernel_s_pass),
        cmocka_unit_test(test_what_a_thread_has_for_itself),
#ifdef SECCOMP_RET_ERRNO
        cmocka_unit_test(test_threads_of_which_the_kernel_does_not_tell),
#endif
        cmocka_unit_test(test_what_is_there_twice_is_sorted_into_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
