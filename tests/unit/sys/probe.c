/* SPDX-License-Identifier: MIT */
#include "sys/probe.h"

#include "sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int memory_file(const char *bytes, size_t length)
{
    int fd = memfd_create("probe", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, length), length);
    return fd;
}

static void assert_reads(const char *bytes, size_t size, const char *expected)
{
    FD_AUTO fd = memory_file(bytes, strlen(bytes));
    char path[64];
    char text[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    memset(text, '#', sizeof(text));
    assert_int_equal(probe_read(path, text, size), strlen(expected));
    assert_string_equal(text, expected);
    assert_int_equal(text[size], '#');
}

static void test_files(void **state)
{
    char text[8];

    (void)state;
    assert_reads("4096\n", 16, "4096");
    assert_reads("4096", 16, "4096");
    assert_reads("a\nb\n", 16, "a\nb");
    assert_reads("", 16, "");
    assert_reads("12345678", 5, "1234");
    assert_int_equal(probe_read("/proc/self/nothing", text, sizeof(text)), -1);
    assert_int_equal(errno, ENOENT);
}

static int acknowledged; /* where the handler says that it ran */

static void acknowledge(int number)
{
    (void)number;
    if (write(acknowledged, "", 1) != 1)
        _exit(1);
}

/* What writes only when its reader has been interrupted many times, one after the other. */
static pid_t write_late(const char *path, int acknowledgements)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    close(acknowledged);
    int fd = open(path, O_WRONLY);
    char byte;
    for (int i = 0; i < 200; i++) {
        if (kill(getppid(), SIGUSR1) < 0 || read(acknowledgements, &byte, 1) != 1)
            _exit(1);
    }
    _exit(write(fd, "late\n", 5) == 5 ? 0 : 1);
}

static void test_a_signal_does_not_cut_what_is_read(void **state)
{
    struct sigaction action = {.sa_handler = acknowledge};
    char folder[] = "/tmp/probe-XXXXXX";
    char path[64];
    char text[16];
    int ends[2];
    int status;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/fifo", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(pipe(ends), 0);
    acknowledged = ends[1];
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    pid_t pid = write_late(path, ends[0]);
    ssize_t length = probe_read(path, text, sizeof(text));
    int errnum = errno;
    unlink(path);
    rmdir(folder);
    close(ends[0]);
    close(ends[1]);
    signal(SIGUSR1, SIG_IGN);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    signal(SIGUSR1, SIG_DFL);
    if (length < 0)
        fail_msg("%s", strerror(errnum));
    assert_int_equal(length, 4);
    assert_string_equal(text, "late");
    assert_int_equal(status, 0);
}

/* Whatever is tried, nobody is left to be waited for, and no descriptor is open. */
static void assert_nothing_is_left(int first_free)
{
    FD_AUTO fd = dup(0);

    assert_int_equal(fd, first_free);
    assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
    assert_int_equal(errno, ECHILD);
}

static void test_nothing_is_left(void **state)
{
    int first_free = dup(0);
    uid_t uid = geteuid();
    pid_t group = getpgrp();

    (void)state;
    close(first_free);
    assert_int_equal(probe_processes(), 0);
    assert_nothing_is_left(first_free);
    assert_int_equal(probe_clone_parent(), 0);
    assert_nothing_is_left(first_free);
    assert_int_equal(probe_close_range(), 0);
    assert_int_equal(probe_events(), 0);
    assert_int_equal(probe_tcp(AF_INET), 0);
    assert_int_equal(probe_bind(0), 0);
    probe_bind(1);
    assert_nothing_is_left(first_free);
    probe_namespace();
    probe_user_namespace();
    assert_nothing_is_left(first_free);
    probe_user(65534, 65534);
    assert_nothing_is_left(first_free);
    assert_int_equal(geteuid(), uid);
    assert_int_equal(getpgrp(), group);
}

static void test_a_library_is_loaded_in_a_child(void **state)
{
    static const char text[] = "this is no library\n";
    FD_AUTO broken = memory_file(text, strlen(text));
    int first_free = dup(0);
    char path[256];
    char reason[160];

    (void)state;
    close(first_free);
    assert_int_equal(probe_load(broken, reason, sizeof(reason)), -1);
    assert_int_equal(errno, ENOEXEC);
    assert_true(reason[0] != '\0');
    assert_nothing_is_left(first_free);
    snprintf(path, sizeof(path), "%s/libforkport-preload.so", getenv("FORKPORT_BUILD"));
    FILE *library = fopen(path, "re");
    assert_non_null(library);
    assert_int_equal(probe_load(fileno(library), reason, sizeof(reason)), 0);
    fclose(library);
    assert_nothing_is_left(first_free);
}

static void test_versions(void **state)
{
    static const char *const none[] = {"libthere-is-no-such.so.1", NULL};
    static const char *const c_library[] = {"libthere-is-no-such.so.1", "libc.so.6", NULL};
    char version[64] = "?";

    (void)state;
    probe_version(none, "gnu_get_libc_version", version, sizeof(version));
    assert_string_equal(version, "");
    probe_version(c_library, "there_is_no_such_function", version, sizeof(version));
    assert_string_equal(version, "");
#ifdef __GLIBC__
    probe_version(c_library, "gnu_get_libc_version", version, sizeof(version));
    assert_true(version[0] >= '2' && version[0] <= '9');
#endif
}

static void test_limits(void **state)
{
    struct rlimit before;
    uint64_t soft;
    uint64_t hard;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit limit = {.rlim_cur = 77, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(probe_descriptor_limit(&soft, &hard), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(soft, 77);
    assert_int_equal(hard, before.rlim_max == RLIM_INFINITY ? UINT64_MAX : before.rlim_max);
    assert_int_equal(probe_process_limit(&soft, &hard), 0);
    assert_true(soft <= hard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),           cmocka_unit_test(test_a_signal_does_not_cut_what_is_read),
        cmocka_unit_test(test_nothing_is_left), cmocka_unit_test(test_a_library_is_loaded_in_a_child),
        cmocka_unit_test(test_versions),        cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
