/* SPDX-License-Identifier: MIT */
#include "preload/learn.h"

#include "preload/code.h"
#include "preload/lines.h"
#include "preload/pagemap.h"
#include "sys/child.h"

#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* Before that, what is saved is not worth what it costs; after, so many did not end by themselves that no more are tried. */
#define FIRST_ORDER 16
#define LAST_ORDER  8192
#define REPORTS     4
/* How often, and how many times in a row, the template looks whether one is at its end. It is waited for no longer than it waits. */
#define LOOK_NS    500000
#define LOOKS_MAX  2000
#define PAUSES_MAX 200000

/* What both can write to, the worker's program included. */
struct shared {
    int32_t worker; /* that is learnt from: its pid */
    int32_t ended;  /* it is at its end */
    int32_t seen;   /* and need not wait any more */
};

static struct {
    struct shared *shared; /* NULL: nothing is learnt any more */
    int pid;               /* of the worker; 0: none. In the worker its own; 0: it is none */
    const int *tid;
    unsigned reports;
    uint8_t counts[CODE_PAGES_MAX];
} learn;

static void stop(void)
{
    child_call(__NR_munmap, (long)learn.shared, sizeof(*learn.shared), 0, 0);
    learn.shared = NULL;
    learn.pid = 0;
}

static void note_most(const char *line, void *data)
{
    *(uint64_t *)data = lines_decimal(line);
}

void learn_begin(uint32_t mappings)
{
    uint64_t most = 0;

    /* The program is to have as many as it may come to need. */
    lines_read("/proc/sys/vm/max_map_count", note_most, &most);
    if (most < 4 * (CODE_PAGES_MAX + (uint64_t)mappings))
        return;
    long memory = child_call6(__NR_mmap, 0, sizeof(*learn.shared), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory < 0 && memory > -PAGEMAP_PAGE_BYTES)
        return;
    learn.shared = (struct shared *)memory; /* NOLINT(performance-no-int-to-ptr) */
    child_call(__NR_madvise, memory, sizeof(*learn.shared), MADV_DONTFORK, 0);
}

bool learn_before(uint64_t sequence)
{
    if (learn.shared == NULL || sequence < FIRST_ORDER || (sequence & (sequence - 1)) != 0)
        return false;
    if (sequence > LAST_ORDER) {
        stop();
        return false;
    }
    return child_call(__NR_madvise, (long)learn.shared, sizeof(*learn.shared), MADV_DOFORK, 0) == 0;
}

void learn_after(long pid)
{
    learn.pid = pid > 0 ? (int)pid : 0;
    if (child_call(__NR_madvise, (long)learn.shared, sizeof(*learn.shared), MADV_DONTFORK, 0) != 0)
        stop();
}

static bool count_page(unsigned page, uint64_t entry, void *data)
{
    uint8_t *counts = data;

    if (pagemap_is_there(entry) && pagemap_is_of_file(entry))
        counts[page]++;
    return true;
}

static void look_into(int pid)
{
    unsigned count;
    const struct code_mapping *mappings = code_mappings(&count);
    char path[32];

    lines_path("/proc/", pid, path);
    strcat(path, "/pagemap");
    for (unsigned i = 0; i < count; i++)
        if (!pagemap_read(path, mappings[i].start, mappings[i].end, count_page,
                          learn.counts + mappings[i].first))
            return;
    learn.reports++;
}

/* Whether it is at its end. */
static bool look(void)
{
    if (__atomic_load_n(&learn.shared->ended, __ATOMIC_ACQUIRE) != learn.pid)
        return false;
    look_into(learn.pid);
    __atomic_store_n(&learn.shared->seen, learn.pid, __ATOMIC_RELEASE);
    learn.pid = 0;
    return true;
}

uint32_t learn_wait(int control)
{
    const struct timespec a_moment = {.tv_nsec = LOOK_NS};
    struct pollfd order = {.fd = control, .events = POLLIN};
    struct timespec left;

    for (unsigned i = 0; i < LOOKS_MAX && learn.pid != 0; i++) {
        if (look()) {
            if (learn.reports < REPORTS)
                return 0;
            stop();
            return code_hand_down(learn.counts, REPORTS / 2);
        }
        left = a_moment;
        if (child_call5(__NR_ppoll, (long)&order, 1, (long)&left, 0, 0) != 0)
            return 0;
    }
    /* Nothing is written for each worker: the page would be copied each time. */
    if (learn.pid != 0)
        learn.pid = 0;
    return 0;
}

void learn_in_worker(const int *tid)
{
    unsigned count;
    const struct code_mapping *mappings = code_mappings(&count);

    for (unsigned i = 0; i < count; i++)
        for (uintptr_t at = mappings[i].start; at < mappings[i].end; at += 2 * (uintptr_t)PAGEMAP_PAGE_BYTES)
            child_call(__NR_madvise, (long)at, PAGEMAP_PAGE_BYTES, MADV_RANDOM, 0);
    learn.tid = tid;
    learn.pid = *tid;
    learn.shared->worker = learn.pid;
}

static inline void pause_a_little(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("isb" : : : "memory");
#endif
}

void learn_at_end(void)
{
    /* A child of it has another number there. */
    if (learn.pid == 0 || learn.tid == NULL || *learn.tid != learn.pid || learn.shared->worker != learn.pid)
        return;
    __atomic_store_n(&learn.shared->ended, learn.pid, __ATOMIC_RELEASE);
    for (unsigned i = 0;
         i < PAUSES_MAX && __atomic_load_n(&learn.shared->seen, __ATOMIC_ACQUIRE) != learn.pid; i++)
        pause_a_little();
    learn.pid = 0;
}
