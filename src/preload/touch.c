/* SPDX-License-Identifier: MIT */
#include "preload/touch.h"

#include "preload/lines.h"
#include "sys/child.h"
#include "sys/memory.h"

#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>

#define RANGES_MAX 48
/* A worker of a larger one comes to little of it. What is brought in for nothing is taken apart at the end, while the client waits. */
#define WRITTEN_BYTES_MAX (256 * 1024)
#define CODE_BYTES_MAX    (64 * 1024)
#define PAGE_BYTES        4096
#define STACK_BYTES       (2 * PAGE_BYTES)
/* Between a program's segments, where they are laid out for pages of 64 KiB (arm64). */
#define GAP_BYTES (128 * 1024)

static struct {
    uintptr_t start;
    uintptr_t bytes;
    int advice;
} ranges[RANGES_MAX];
static unsigned range_count;
/* An address in the program, and the end of its mappings as far as they are known, each of which begins not far behind the last one. */
static uintptr_t program_at;
static uintptr_t program_end;
static uintptr_t stack_end;

static void note(const char *line, void *data)
{
    uintptr_t start = lines_hexadecimal(&line);
    int advice = 0;

    (void)data;
    if (*line++ != '-')
        return;
    uintptr_t bytes = lines_hexadecimal(&line) - start;
    bool is_next = program_end != 0 && start - program_end < GAP_BYTES && strstr(line, "[heap]") == NULL;
    if (program_at - start < bytes || is_next)
        program_end = start + bytes;
    else if (strstr(line, "[heap]") == NULL)
        return;
    if (strncmp(line, " rw-p ", 6) == 0 && bytes <= WRITTEN_BYTES_MAX)
        advice = MADV_POPULATE_WRITE;
    else if (strncmp(line, " r-xp ", 6) == 0 && bytes <= CODE_BYTES_MAX && strchr(line, '/') != NULL)
        advice = MADV_POPULATE_READ;
    if (advice == 0 || range_count == RANGES_MAX)
        return;
    ranges[range_count].start = start;
    ranges[range_count].bytes = bytes;
    ranges[range_count++].advice = advice;
}

void touch_note(const void *written_end)
{
    range_count = 0;
    program_at = getauxval(AT_PHDR);
    program_end = 0;
    stack_end = (uintptr_t)written_end;
    lines_read("/proc/self/maps", note, NULL);
}

void touch_pages(void)
{
    char here;
    /* From below this function to the environment's texts. */
    uintptr_t stack = ((uintptr_t)&here & ~(uintptr_t)(PAGE_BYTES - 1)) - STACK_BYTES;
    uintptr_t stack_bytes = stack_end - stack;

    for (unsigned i = 0; i < range_count; i++)
        child_call(__NR_madvise, (long)ranges[i].start, (long)ranges[i].bytes, ranges[i].advice, 0);
    if (stack < stack_end && stack_bytes <= WRITTEN_BYTES_MAX)
        child_call(__NR_madvise, (long)stack, (long)stack_bytes, MADV_POPULATE_WRITE, 0);
}
