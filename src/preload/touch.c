/* SPDX-License-Identifier: MIT */
#include "preload/touch.h"

#include "preload/lines.h"
#include "sys/child.h"

#include <string.h>

#define POPULATE_READ  22 /* MADV_POPULATE_READ, MADV_POPULATE_WRITE: Linux 5.14 */
#define POPULATE_WRITE 23
#define RANGES_MAX     48
/* A worker of a larger one comes to little of it. */
#define WRITTEN_BYTES_MAX (256 * 1024)
#define CODE_BYTES_MAX    (2 * 1024 * 1024)
#define PAGE_BYTES        4096
#define STACK_BYTES       (2 * PAGE_BYTES)

static struct {
    uintptr_t start;
    uintptr_t bytes;
    int advice;
} ranges[RANGES_MAX];
static unsigned range_count;
static uintptr_t stack_end;

static void note(const char *line, void *data)
{
    uintptr_t start = lines_hexadecimal(&line);
    int advice = 0;

    (void)data;
    if (*line++ != '-')
        return;
    uintptr_t bytes = lines_hexadecimal(&line) - start;
    if (strncmp(line, " rw-p ", 6) == 0 && bytes <= WRITTEN_BYTES_MAX && strstr(line, "[stack]") == NULL)
        advice = POPULATE_WRITE;
    else if (strncmp(line, " r-xp ", 6) == 0 && bytes <= CODE_BYTES_MAX && strchr(line, '/') != NULL)
        advice = POPULATE_READ;
    if (advice == 0 || range_count == RANGES_MAX)
        return;
    ranges[range_count].start = start;
    ranges[range_count].bytes = bytes;
    ranges[range_count++].advice = advice;
}

void touch_note(const void *written_end)
{
    range_count = 0;
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
        child_call(__NR_madvise, (long)stack, (long)stack_bytes, POPULATE_WRITE, 0);
}
