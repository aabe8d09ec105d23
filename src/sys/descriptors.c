/* SPDX-License-Identifier: MIT */
#include "sys/descriptors.h"

#include "base/error.h"
#include "base/text.h"
#include "sys/fd.h"
#include "sys/task_files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* "socket:[4294967295]" */
#define LINK_SIZE 32
/* "4294967295/task/4294967295/fd/4294967295" */
#define PATH_SIZE 64
/* Of /proc/PID/task: its own, and one for each thread. */
#define LINKS_OF_ONE_THREAD 3
/* Numbers in a row that no descriptor has, from which on listing the directory is cheaper than asking. */
#define MISSES_MAX 6
/* To start the kernel's own pass takes as long as to read some hundred processes in /proc. */
#define MANY_PROCESSES 1000

static DIR *open_directory(int at, const char *path)
{
    FD_AUTO fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    DIR *directory = fdopendir(fd);
    if (directory != NULL)
        fd_take(&fd);
    return directory;
}

static bool is_not_permitted(int errnum)
{
    return errnum == EACCES || errnum == EPERM;
}

int descriptors_append(struct descriptors *descriptors, const struct descriptor *item)
{
    if (descriptors->count == descriptors->room) {
        size_t room = descriptors->room != 0 ? 2 * descriptors->room : 256;
        struct descriptor *items = reallocarray(descriptors->items, room, sizeof(*items));
        if (items == NULL)
            return -1;
        descriptors->items = items;
        descriptors->room = room;
    }
    descriptors->items[descriptors->count++] = *item;
    return 0;
}

/* What readlink(2) gave for a descriptor: the inode where it is a socket's, else 0. */
static uint32_t parse_link(const char *link, size_t length)
{
    static const char prefix[] = "socket:[";
    const size_t start = sizeof(prefix) - 1;
    uint64_t inode = 0;

    if (length <= start || memcmp(link, prefix, start) != 0)
        return 0;
    for (size_t i = start; i < length && link[i] >= '0' && link[i] <= '9'; i++)
        inode = inode * 10 + (uint64_t)(link[i] - '0');
    return (uint32_t)inode;
}

/* 1: the descriptor is there, and appended if a socket's; 0: it is not; -1: the call failed, see errno. */
static int read_link(struct descriptors *descriptors, int at, const char *path, pid_t pid, int fd)
{
    char link[LINK_SIZE];
    ssize_t length = readlinkat(at, path, link, sizeof(link));

    if (length < 0)
        return errno == ENOENT || errno == ESRCH ? 0 : -1;
    uint32_t inode = parse_link(link, (size_t)length);
    struct descriptor found = {.inode = inode, .pid = pid, .fd = fd};
    if (inode != 0 && descriptors_append(descriptors, &found) < 0)
        return -1;
    return 1;
}

/* 1: descriptors are there, 0: none is. */
static int read_listed(struct descriptors *descriptors, int proc, const char *path, pid_t pid)
{
    int result = 0;

    DIRECTORY_AUTO *directory = open_directory(proc, path);
    if (directory == NULL)
        return -1;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
            continue;
        int fd = (int)strtol(entry->d_name, NULL, 10);
        if (read_link(descriptors, dirfd(directory), entry->d_name, pid, fd) < 0)
            return -1;
        result = 1;
    }
    return result;
}

/* Asks for numbers from 0 on until `left` descriptors were there. 0: they are too far apart, and nothing is appended. */
static int read_asked(struct descriptors *descriptors, int proc, const char *path, pid_t pid, off_t left)
{
    const size_t before = descriptors->count;
    char room[PATH_SIZE];
    int misses = 0;

    for (int fd = 0; left > 0; fd++) {
        struct text text;
        text_init(&text, room, sizeof(room));
        text_string(&text, path);
        text_bytes(&text, "/", 1);
        text_unsigned(&text, (uint64_t)fd);
        text_end(&text);
        int there = read_link(descriptors, proc, room, pid, fd);
        if (there < 0)
            return -1;
        misses = there ? 0 : misses + 1;
        left -= there;
        if (misses > MISSES_MAX) {
            descriptors->count = before;
            return 0;
        }
    }
    return 1;
}

/*
 * What one task has open, in the name of its process. 1: something, 0: nothing, -1: it may not be looked into, or a
 * shortage. One that has gone meanwhile is no failure.
 */
static int read_task(struct descriptors *descriptors, int proc, const char *path, pid_t pid)
{
    struct stat about;

    int result = fstatat(proc, path, &about, 0);
    if (result == 0 && about.st_size > 0)
        result = read_asked(descriptors, proc, path, pid, about.st_size);
    if (result == 0)
        result = read_listed(descriptors, proc, path, pid);
    if (result >= 0)
        return result;
    if (is_not_permitted(errno)) {
        descriptors->incomplete = true;
        return -1;
    }
    return error_is_shortage(errno) ? -1 : 0;
}

/* "812/fd", or of a thread "812/task/813/fd" */
static void put_path(char path[PATH_SIZE], pid_t pid, const char *tid)
{
    struct text text;

    text_init(&text, path, PATH_SIZE);
    text_unsigned(&text, (uint64_t)pid);
    text_string(&text, tid != NULL ? "/task/" : "");
    text_string(&text, tid != NULL ? tid : "");
    text_string(&text, "/fd");
    text_end(&text);
}

/*
 * Where the kernel does not say (a sandbox, or it has no kcmp(2)), they do: to read the same for each thread would take
 * longer than all the rest. Where one has gone they do not, since the others were not compared with it.
 */
static bool share_descriptors(pid_t one, pid_t other)
{
    long order = syscall(SYS_kcmp, one, other, KCMP_FILES, 0, 0);

    return order == 0 || (order < 0 && errno != ESRCH);
}

/*
 * What threads have open that the task before has not: few have descriptors of their own. `last`: the first such task, which
 * has been read; 0: none that has something open.
 */
static int read_others(struct descriptors *descriptors, int proc, pid_t pid, pid_t last)
{
    char path[PATH_SIZE];
    struct stat about;
    struct text text;

    text_init(&text, path, sizeof(path));
    text_unsigned(&text, (uint64_t)pid);
    text_string(&text, "/task");
    text_end(&text);
    if (fstatat(proc, path, &about, 0) < 0 || about.st_nlink <= LINKS_OF_ONE_THREAD)
        return 0;
    DIRECTORY_AUTO *threads = open_directory(proc, path);
    if (threads == NULL)
        return error_is_shortage(errno) ? -1 : 0;
    for (const struct dirent *entry; (entry = readdir(threads)) != NULL;) {
        pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (tid == 0 || tid == pid || (last != 0 && share_descriptors(last, tid)))
            continue;
        put_path(path, pid, entry->d_name);
        int result = read_task(descriptors, proc, path, pid);
        if (result < 0)
            return error_is_shortage(errno) ? -1 : 0;
        last = result != 0 ? tid : last;
    }
    return 0;
}

static int read_threads(struct descriptors *descriptors, int proc, pid_t pid)
{
    return read_others(descriptors, proc, pid, pid);
}

/* A main thread that has ended has nothing open, as a thread of the kernel, but the others go on. */
static int read_process(struct descriptors *descriptors, int proc, pid_t pid)
{
    char path[PATH_SIZE];

    put_path(path, pid, NULL);
    int result = read_task(descriptors, proc, path, pid);
    if (result == 0)
        return read_others(descriptors, proc, pid, 0);
    return result < 0 && error_is_shortage(errno) ? -1 : 0;
}

static int open_proc(void)
{
    return open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int descriptors_read(struct descriptors *descriptors, pid_t pid)
{
    FD_AUTO proc = open_proc();

    if (proc < 0 || read_process(descriptors, proc, pid) < 0)
        return -1;
    return read_threads(descriptors, proc, pid);
}

static bool append_found(void *data, const struct descriptor *descriptor)
{
    return descriptors_append(data, descriptor) == 0;
}

/* Is it worth the start that a pass of the kernel's own takes? /proc has a link for each process. */
static bool are_many(void)
{
    struct stat about;

    return stat("/proc", &about) == 0 && about.st_nlink >= MANY_PROCESSES;
}

/* The first process is there as long as any is: from whom it is hidden (hidepid), those of others are. */
static bool are_hidden(void)
{
    struct stat about;

    return stat("/proc/1", &about) < 0 && errno == ENOENT;
}

static int each_process(struct descriptors *descriptors,
                        int (*read)(struct descriptors *descriptors, int proc, pid_t pid))
{
    DIRECTORY_AUTO *processes = opendir("/proc");
    if (processes == NULL)
        return -1;
    for (const struct dirent *entry; (entry = readdir(processes)) != NULL;) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
            continue;
        if (read(descriptors, dirfd(processes), (pid_t)strtol(entry->d_name, NULL, 10)) < 0)
            return -1;
    }
    return 0;
}

int descriptors_read_all(struct descriptors *descriptors)
{
    size_t before = descriptors->count;

    descriptors->with_threads = are_many() && task_files_read(append_found, descriptors) == 0;
    if (descriptors->with_threads)
        return 0;
    descriptors->count = before;
    descriptors->incomplete = descriptors->incomplete || are_hidden();
    return each_process(descriptors, read_process);
}

int descriptors_read_threads(struct descriptors *descriptors)
{
    return descriptors->with_threads ? 0 : each_process(descriptors, read_threads);
}

static int compare(const void *left, const void *right)
{
    const struct descriptor *a = left;
    const struct descriptor *b = right;

    if (a->inode != b->inode)
        return a->inode < b->inode ? -1 : 1;
    if (a->pid != b->pid)
        return a->pid < b->pid ? -1 : 1;
    return a->fd < b->fd ? -1 : a->fd > b->fd;
}

void descriptors_sort(struct descriptors *descriptors)
{
    struct descriptor *items = descriptors->items;
    size_t count = 0;

    if (descriptors->count > 1)
        qsort(items, descriptors->count, sizeof(*items), compare);
    /* Threads may have the same socket under the same number, and those whose main thread has ended all have. */
    for (size_t i = 0; i < descriptors->count; i++) {
        if (count == 0 || compare(&items[count - 1], &items[i]) != 0)
            items[count++] = items[i];
    }
    descriptors->count = count;
}

const struct descriptor *descriptors_find(const struct descriptors *descriptors, uint32_t inode,
                                          size_t *ret_count)
{
    size_t low = 0;
    size_t high = descriptors->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (descriptors->items[middle].inode < inode)
            low = middle + 1;
        else
            high = middle;
    }
    size_t end = low;
    while (end < descriptors->count && descriptors->items[end].inode == inode)
        end++;
    *ret_count = end - low;
    return end == low ? NULL : &descriptors->items[low];
}

void descriptors_done(struct descriptors *descriptors)
{
    free(descriptors->items);
    *descriptors = (struct descriptors){0};
}

size_t descriptors_holders(uint32_t inode, pid_t *ret_pids, size_t room)
{
    struct descriptors all = {0};
    size_t holders = 0;
    size_t count;

    /* Where it fails there are fewer. */
    descriptors_read_all(&all);
    descriptors_sort(&all);
    const struct descriptor *found = descriptors_find(&all, inode, &count);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && found[i].pid == found[i - 1].pid)
            continue;
        if (holders < room)
            ret_pids[holders] = found[i].pid;
        holders++;
    }
    descriptors_done(&all);
    return holders;
}
