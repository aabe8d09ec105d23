/* SPDX-License-Identifier: MIT */
#include "sys/probe.h"

#include "sys/child.h"
#include "sys/fd.h"
#include "sys/loop.h"
#include "sys/memory.h"
#include "sys/netns.h"
#include "sys/pinned.h"
#include "sys/process.h"
#include "sys/read.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define STACK_BYTES 65536

/* What a child tells, in memory that it shares. */
struct report {
    bool told;
    int result;
    int errnum;
    pid_t pid;
    char reason[256];
};

/* What is tried, and the arguments of whatever needs any. */
struct trial {
    int (*run)(const struct trial *trial, struct report *report);
    uid_t uid;
    gid_t gid;
    int fd;
};

static int try_and_tell(const struct trial *trial, struct report *report)
{
    report->result = trial->run(trial, report);
    report->errnum = errno;
    report->told = true;
    return 0;
}

/* *ret_report is a copy. */
static int try_in_child(const struct trial *trial, struct report *ret_report)
{
    struct report *report = memory_map_shared(sizeof(*report));

    if (report == NULL)
        return -1;
    pid_t pid = process_fork();
    if (pid == 0)
        process_exit(try_and_tell(trial, report));
    int errnum = errno;
    if (pid > 0) {
        process_wait(pid);
        errnum = report->told ? report->errnum : ENOTSUP;
    }
    *ret_report = *report;
    memory_unmap(report, sizeof(*report));
    errno = errnum;
    return pid > 0 && ret_report->told ? ret_report->result : -1;
}

static int try_run(int (*run)(const struct trial *trial, struct report *report))
{
    struct trial trial = {.run = run, .fd = -1};
    struct report report;

    return try_in_child(&trial, &report);
}

int probe_release(char *ret_release, char *ret_machine, size_t size)
{
    struct utsname names;

    if (uname(&names) < 0)
        return -1;
    snprintf(ret_release, size, "%s", names.release);
    snprintf(ret_machine, size, "%s", names.machine);
    return 0;
}

ssize_t probe_read(const char *path, char *ret_text, size_t size)
{
    FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read_all(fd, ret_text, size - 1);

    if (length < 0)
        return -1;
    if (length > 0 && ret_text[length - 1] == '\n')
        length--;
    ret_text[length] = '\0';
    return length;
}

/* Not by a function that is known not to return: sanitizers then look at the stack, which is not the one they know. */
static int end_at_once(void *data)
{
    (void)data;
    return (int)child_call(__NR_exit_group, 0, 0, 0, 0);
}

int probe_processes(void)
{
    volatile int in_use = 1;

    char *stack = memory_map_private(STACK_BYTES);
    if (stack == NULL)
        return -1;
    pid_t pid = process_clone_vm(end_at_once, NULL, stack, STACK_BYTES, &in_use);
    int errnum = errno;
    int result = pid > 0 ? process_wait(pid) : -1;
    memory_unmap(stack, STACK_BYTES);
    errno = pid > 0 ? ENOTSUP : errnum;
    if (result != 0)
        return -1;
    pid = process_fork();
    if (pid == 0)
        process_exit(0);
    return pid > 0 && process_wait(pid) == 0 ? 0 : -1;
}

static int clone_parent(const struct trial *trial, struct report *report)
{
    (void)trial;
    /* By its flags alone: the order of the other arguments is not the same on all machines. */
    report->pid = (pid_t)syscall(SYS_clone, CLONE_PARENT, 0, 0, 0, 0);
    if (report->pid == 0)
        process_exit(0);
    return report->pid > 0 ? 0 : -1;
}

int probe_clone_parent(void)
{
    struct trial trial = {.run = clone_parent, .fd = -1};
    struct report report;

    if (try_in_child(&trial, &report) < 0)
        return -1;
    /* It is ours to wait for, or it was not what was asked for. */
    if (process_wait(report.pid) == 0)
        return 0;
    errno = ENOTSUP;
    return -1;
}

static int close_nothing(const struct trial *trial, struct report *report)
{
    (void)trial;
    (void)report;
    return (int)syscall(SYS_close_range, ~0U, ~0U, 0);
}

int probe_close_range(void)
{
    return try_run(close_nothing);
}

int probe_events(void)
{
    struct loop loop;
    sigset_t none;

    if (loop_init(&loop) < 0)
        return -1;
    sigemptyset(&none);
    FD_AUTO signals = signalfd(-1, &none, SFD_CLOEXEC | SFD_NONBLOCK);
    FD_AUTO event = fd_open_event();
    int errnum = errno;
    loop_done(&loop);
    errno = errnum;
    return signals >= 0 && event >= 0 ? 0 : -1;
}

int probe_tcp(int family)
{
    FD_AUTO fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);

    return fd >= 0 ? 0 : -1;
}

int probe_bind(uint16_t port)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1;

    FD_AUTO fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    /* Nobody else is kept from the port meanwhile. */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        return -1;
    return bind(fd, (const struct sockaddr *)&any, sizeof(any));
}

static int change_user(const struct trial *trial, struct report *report)
{
    (void)report;
    if (setgroups(0, NULL) < 0 || setresgid(trial->gid, trial->gid, trial->gid) < 0)
        return -1;
    return setresuid(trial->uid, trial->uid, trial->uid);
}

int probe_user(uid_t uid, gid_t gid)
{
    struct trial trial = {.run = change_user, .uid = uid, .gid = gid, .fd = -1};
    struct report report;

    return try_in_child(&trial, &report);
}

/* The descriptor ends with the process. */
static int make_namespace(const struct trial *trial, struct report *report)
{
    (void)trial;
    (void)report;
    return netns_new() >= 0 ? 0 : -1;
}

static int make_user_namespace(const struct trial *trial, struct report *report)
{
    return netns_own_user() == 0 ? make_namespace(trial, report) : -1;
}

int probe_namespace(void)
{
    return try_run(make_namespace);
}

int probe_user_namespace(void)
{
    return try_run(make_user_namespace);
}

/* At its place, a private mapping of a file that has as much in it. */
static int put_file(char *memory)
{
    FD_AUTO fd = memfd_create("forkport", MFD_CLOEXEC);
    struct rlimit limit;

    /* Beyond it a signal would come. */
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < HUGE_BYTES) {
        errno = EFBIG;
        return -1;
    }
    if (fd < 0 || write(fd, memory, HUGE_BYTES) != (ssize_t)HUGE_BYTES)
        return -1;
    void *placed = mmap(memory, HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0);
    return placed == MAP_FAILED ? -1 : 0;
}

int probe_collapse(bool in_file, int64_t *ret_took_ns)
{
    char *memory = memory_map_aligned(HUGE_BYTES, HUGE_BYTES);

    if (memory == NULL)
        return -1;
    memset(memory, 1, HUGE_BYTES);
    if (in_file && put_file(memory) < 0) {
        memory_unmap(memory, HUGE_BYTES);
        return -1;
    }
    int64_t start_ns = clock_monotonic_ns();
    int result = madvise(memory, HUGE_BYTES, MADV_COLLAPSE);
    int errnum = errno;
    int64_t took_ns = clock_monotonic_ns() - start_ns;
    memory_unmap(memory, HUGE_BYTES);
    errno = errnum;
    if (result == 0)
        *ret_took_ns = took_ns;
    return result;
}

/* In a child: memory that is counted for the user of a descriptor is let go with it, if somewhat later. */
static int pin(const struct trial *trial, struct report *report)
{
    char here = 0;
    const struct iovec page = {.iov_base = &here, .iov_len = sizeof(here)};
    long fd = process_is_filtered() ? -EACCES : pinned_make(&page, 1);

    (void)trial;
    (void)report;
    errno = fd < 0 ? (int)-fd : 0;
    return fd < 0 ? -1 : 0;
}

int probe_pinned(void)
{
    return try_run(pin);
}

/* Its constructors run as well: in a child, whatever they do. */
static int load(const struct trial *trial, struct report *report)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", trial->fd);
    if (dlopen(path, RTLD_NOW | RTLD_LOCAL) != NULL)
        return 0;
    snprintf(report->reason, sizeof(report->reason), "%s", dlerror());
    errno = ENOEXEC;
    return -1;
}

int probe_load(int fd, char *ret_reason, size_t size)
{
    struct trial trial = {.run = load, .fd = fd};
    struct report report;

    int result = try_in_child(&trial, &report);
    if (result < 0)
        snprintf(ret_reason, size, "%s", errno == ENOEXEC ? report.reason : "");
    return result;
}

void probe_version(const char *const libraries[], const char *function, char *ret_version, size_t size)
{
    const char *(*version)(void) = NULL;
    void *handle = NULL;

    ret_version[0] = '\0';
    for (; *libraries != NULL && handle == NULL; libraries++)
        handle = dlopen(*libraries, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        return;
    void *symbol = dlsym(handle, function);
    memcpy(&version, &symbol, sizeof(version));
    if (version != NULL)
        snprintf(ret_version, size, "%s", version());
    dlclose(handle);
}

static int get_limit(__rlimit_resource_t resource, uint64_t *ret_soft, uint64_t *ret_hard)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) < 0)
        return -1;
    *ret_soft = limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
    *ret_hard = limit.rlim_max == RLIM_INFINITY ? UINT64_MAX : limit.rlim_max;
    return 0;
}

int probe_descriptor_limit(uint64_t *ret_soft, uint64_t *ret_hard)
{
    return get_limit(RLIMIT_NOFILE, ret_soft, ret_hard);
}

int probe_process_limit(uint64_t *ret_soft, uint64_t *ret_hard)
{
    return get_limit(RLIMIT_NPROC, ret_soft, ret_hard);
}
