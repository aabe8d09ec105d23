/* SPDX-License-Identifier: MIT */
#include "preload/code.h"

#include "preload/ending.h"
#include "preload/lines.h"
#include "sys/child.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define POPULATE_READ 22  /* MADV_POPULATE_READ: Linux 5.14 */
#define GUARD_INSTALL 102 /* MADV_GUARD_INSTALL, MADV_GUARD_REMOVE: Linux 6.13 */
#define GUARD_REMOVE  103
#define PAGE_BYTES    4096
#define PAGES_MAX     1024
#define STACK_BYTES   (64 * 1024)
/* Of a function that the C library calls from one that it gives a name to: next to it, as they are of one file. */
#define NEAR_BYTES  1024
#define STDIO_BYTES (9 * 1024)
/* pagemap(5) of the kernel's documentation: the page is there; it is of a file. */
#define ENTRY_PRESENT (UINT64_C(1) << 63)
#define ENTRY_SWAPPED (UINT64_C(1) << 62)
#define ENTRY_OF_FILE (UINT64_C(1) << 61)

/* By which exit(3) comes to the streams; only glibc has it. */
int _IO_flush_all(void); /* NOLINT: the name is the C library's */
#pragma weak _IO_flush_all

static struct {
    uintptr_t start;
    uintptr_t end;
} library; /* its mapping that is executed; none: start and end are 0 */

static void note(const char *line, void *data)
{
    uintptr_t start = lines_hexadecimal(&line);

    (void)data;
    if (*line++ != '-')
        return;
    uintptr_t end = lines_hexadecimal(&line);
    if ((uintptr_t)_exit < start || (uintptr_t)_exit >= end || strncmp(line, " r-xp ", 6) != 0 ||
        strchr(line, '/') == NULL || end - start > (uintptr_t)PAGES_MAX * PAGE_BYTES)
        return;
    library.start = start;
    library.end = end;
}

/* What of it is in memory is as it is in the file. */
static bool is_as_in_file(void)
{
    uint64_t entries[64];
    size_t left = (library.end - library.start) / PAGE_BYTES;
    long at = (long)(library.start / PAGE_BYTES * sizeof(*entries));
    long got = -1;
    bool is_of_file = true;
    long fd = child_call(__NR_openat, AT_FDCWD, (long)"/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);

    if (fd < 0)
        return false;
    while (left > 0 && is_of_file) {
        size_t bytes = left * sizeof(*entries);
        got = child_call(__NR_pread64, fd, (long)entries,
                         (long)(bytes < sizeof(entries) ? bytes : sizeof(entries)), at);
        size_t count = got > 0 ? (size_t)got / sizeof(*entries) : 0;
        is_of_file = count > 0;
        for (size_t i = 0; i < count && is_of_file; i++)
            is_of_file =
                (entries[i] & (ENTRY_PRESENT | ENTRY_SWAPPED)) == 0 || (entries[i] & ENTRY_OF_FILE) != 0;
        left -= count;
        at += got;
    }
    child_call(__NR_close, fd, 0, 0, 0);
    return is_of_file;
}

void code_note(void)
{
    library.start = 0;
    library.end = 0;
    lines_read("/proc/self/maps", note, NULL);
    if (library.end != 0 && !is_as_in_file())
        library.end = library.start = 0;
}

/* The pages of the mapping, from its start. */
struct pages {
    bool kept[PAGES_MAX];
};

static void keep(struct pages *pages, uintptr_t from, uintptr_t to)
{
    if (from < library.start)
        from = library.start;
    if (to > library.end)
        to = library.end;
    for (; from < to; from = (from & ~(uintptr_t)(PAGE_BYTES - 1)) + PAGE_BYTES)
        pages->kept[(from - library.start) / PAGE_BYTES] = true;
}

static void keep_near(struct pages *pages, uintptr_t function)
{
    keep(pages, function - NEAR_BYTES, function + NEAR_BYTES);
}

/* What main() is called from, and where the gate is a read, what it was read by. */
static void keep_callers(struct pages *pages, const uintptr_t *stack_end)
{
    const uintptr_t *word = (const uintptr_t *)((uintptr_t)__builtin_frame_address(0) & ~(sizeof(*word) - 1));

    if (stack_end > word + STACK_BYTES / sizeof(*word))
        stack_end = word + STACK_BYTES / sizeof(*word);
    for (; word < stack_end; word++)
        keep(pages, *word, *word + 1);
}

/* By that advice the range has an entry in its place, for the time between two calls: nothing is called, no signal handled. */
static bool have_table_copied(void)
{
    uint64_t all = ~UINT64_C(0);
    uint64_t mask = 0;
    uintptr_t last = library.end - PAGE_BYTES;

    child_call(__NR_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&mask, sizeof(mask));
    bool is_guarded = child_call(__NR_madvise, (long)last, PAGE_BYTES, GUARD_INSTALL, 0) == 0;
    /* With the guard left there, this process could come to its end at any time. */
    if (is_guarded && child_call(__NR_madvise, (long)last, PAGE_BYTES, GUARD_REMOVE, 0) != 0)
        child_exit(70);
    child_set_mask(mask);
    return is_guarded;
}

/* The kept ones are brought in, each with its neighbours; those go. */
static uint32_t settle(const struct pages *pages)
{
    uintptr_t count = (library.end - library.start) / PAGE_BYTES;
    uint32_t kept = 0;

    for (int pass = 0; pass < 2; pass++) {
        bool is_kept = pass == 0;
        for (uintptr_t at = 0, next; at < count; at = next) {
            for (next = at + 1; next < count && pages->kept[next] == pages->kept[at];)
                next++;
            if (pages->kept[at] != is_kept)
                continue;
            child_call(__NR_madvise, (long)(library.start + at * PAGE_BYTES),
                       (long)((next - at) * PAGE_BYTES), is_kept ? POPULATE_READ : MADV_DONTNEED, 0);
            if (is_kept)
                kept += (uint32_t)(next - at);
        }
    }
    return kept;
}

uint32_t code_keep(const void *stack_end)
{
    struct pages pages = {0};

    if (library.end == 0 || !have_table_copied())
        return 0;
    keep_callers(&pages, stack_end);
    keep_near(&pages, (uintptr_t)ending_exit());
    keep_near(&pages, (uintptr_t)_exit);
    keep_near(&pages, (uintptr_t)write);
    keep_near(&pages, (uintptr_t)memcpy);
    keep_near(&pages, (uintptr_t)memset);
    keep_near(&pages, (uintptr_t)memchr);
    keep_near(&pages, (uintptr_t)strlen);
    if (_IO_flush_all != NULL)
        keep(&pages, (uintptr_t)_IO_flush_all - 2 * NEAR_BYTES, (uintptr_t)_IO_flush_all + STDIO_BYTES);
    return settle(&pages);
}
