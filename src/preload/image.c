/* SPDX-License-Identifier: MIT */
#include "preload/image.h"

#include "sys/child.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define HUGE_BYTES ((uintptr_t)2 << 20)
/* Where in the C library's description of a thread its number can stand. */
#define THREAD_BYTES 2048

/* Not in every C library of every age. */
#pragma weak pthread_self
#pragma weak pthread_getcpuclockid

/* Does the clock of this thread, which is made of its number, change with this word? */
static bool is_thread_number(int *word)
{
    clockid_t before;
    clockid_t after;
    int number = *word;

    if (pthread_getcpuclockid(pthread_self(), &before) != 0)
        return false;
    *(volatile int *)word = number ^ 1;
    int result = pthread_getcpuclockid(pthread_self(), &after);
    *(volatile int *)word = number;
    return result == 0 && before != after;
}

static int *search_thread_number(int number)
{
    if (pthread_self == NULL || pthread_getcpuclockid == NULL)
        return NULL;
    char *thread = (char *)pthread_self();
    for (size_t at = 0; at < THREAD_BYTES; at += sizeof(int)) {
        int *word = (int *)(thread + at);
        if (*word == number && is_thread_number(word))
            return word;
    }
    return NULL;
}

void image_thread(struct image_thread *ret_thread)
{
    int number = (int)child_call(__NR_gettid, 0, 0, 0, 0);

    memset(ret_thread, 0, sizeof(*ret_thread));
    child_call(__NR_prctl, PR_GET_TID_ADDRESS, (long)&ret_thread->cleared, 0, 0);
    child_call(__NR_get_robust_list, 0, (long)&ret_thread->robust_list, (long)&ret_thread->robust_bytes, 0);
    if (ret_thread->cleared != NULL && *ret_thread->cleared == number)
        ret_thread->tid = ret_thread->cleared;
    else
        ret_thread->tid = search_thread_number(number);
}

/* The text of a file of /proc, piece by piece, line by line: calls for each line that is whole, without its newline. */
static bool each_line(const char *path, void (*call)(const char *line, void *data), void *data)
{
    char text[4096];
    size_t held = 0;
    long got;
    long fd = child_call(__NR_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0);

    if (fd < 0)
        return false;
    while ((got = child_call(__NR_read, fd, (long)(text + held), (long)(sizeof(text) - held), 0)) > 0) {
        char *start = text;
        char *end;
        held += (size_t)got;
        while ((end = memchr(start, '\n', held)) != NULL) {
            *end = '\0';
            call(start, data);
            held -= (size_t)(end + 1 - start);
            start = end + 1;
        }
        memmove(text, start, held);
        if (held == sizeof(text))
            held = 0;
    }
    child_call(__NR_close, fd, 0, 0, 0);
    return got == 0;
}

static void note_threads(const char *line, void *data)
{
    static const char name[] = "Threads:\t";

    if (strncmp(line, name, strlen(name)) == 0)
        *(bool *)data = strcmp(line + strlen(name), "1") == 0;
}

/* As the kernel has it: linux_dirent64 of getdents(2). */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

static enum template_refusal judge_descriptor(int folder, const char *name)
{
    char target[64];
    long length = child_call(__NR_readlinkat, folder, (long)name, (long)target, sizeof(target) - 1);

    if (length <= 0)
        return TEMPLATE_REFUSAL_NONE;
    target[length] = '\0';
    if (strcmp(target, "anon_inode:[io_uring]") == 0)
        return TEMPLATE_REFUSAL_URING;
    if (strcmp(target, "anon_inode:[eventpoll]") == 0)
        return TEMPLATE_REFUSAL_EPOLL;
    return TEMPLATE_REFUSAL_NONE;
}

static enum template_refusal judge_descriptors(int folder)
{
    char entries[2048] __attribute__((aligned(8)));
    enum template_refusal refusal = TEMPLATE_REFUSAL_NONE;
    long got;

    while (refusal == TEMPLATE_REFUSAL_NONE &&
           (got = child_call(__NR_getdents64, folder, (long)entries, sizeof(entries), 0)) > 0) {
        for (long at = 0; at < got && refusal == TEMPLATE_REFUSAL_NONE;) {
            const struct entry *entry = (const struct entry *)(entries + at);
            at += entry->length;
            if (entry->name[0] != '.')
                refusal = judge_descriptor(folder, entry->name);
        }
    }
    return refusal;
}

enum template_refusal image_refusal(void)
{
    bool has_one_thread = false;

    if (!each_line("/proc/self/status", note_threads, &has_one_thread))
        return TEMPLATE_REFUSAL_PROC;
    if (!has_one_thread)
        return TEMPLATE_REFUSAL_THREADS;
    long folder =
        child_call(__NR_openat, AT_FDCWD, (long)"/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (folder < 0)
        return TEMPLATE_REFUSAL_PROC;
    enum template_refusal refusal = judge_descriptors((int)folder);
    child_call(__NR_close, folder, 0, 0, 0);
    return refusal;
}

static uintptr_t parse_hexadecimal(const char **at)
{
    uintptr_t number = 0;

    for (;; ++*at) {
        char c = **at;
        if (c >= '0' && c <= '9')
            number = number << 4 | (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            number = number << 4 | (uintptr_t)(c - 'a' + 10);
        else
            return number;
    }
}

/* "start-end rw-p offset device inode path": private memory without a file behind it, and of that what fills huge pages. */
static void collapse_mapping(const char *line, void *data)
{
    struct template_board *board = data;
    uintptr_t start = parse_hexadecimal(&line);

    board->mappings++;
    if (*line++ != '-')
        return;
    uintptr_t end = parse_hexadecimal(&line);
    if (strncmp(line, " rw-p ", 6) != 0 || strstr(line, " 00:00 0 ") == NULL ||
        strstr(line, "[stack]") != NULL)
        return;
    start = (start + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1);
    end &= ~(HUGE_BYTES - 1);
    /* By the piece: one that has holes, or for which there is no huge page, does not keep the others back. */
    for (; start < end; start += HUGE_BYTES) {
        if (child_call(__NR_madvise, (long)start, HUGE_BYTES, MADV_COLLAPSE, 0) == 0)
            board->collapsed_kib += HUGE_BYTES / 1024;
    }
}

static int64_t now_us(void)
{
    struct timespec now = {0};

    child_call(__NR_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0, 0);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

void image_collapse(struct template_board *board)
{
    int64_t started_us = now_us();

    each_line("/proc/self/maps", collapse_mapping, board);
    board->collapse_us = (uint32_t)(now_us() - started_us);
}
