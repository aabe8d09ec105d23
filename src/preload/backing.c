/* SPDX-License-Identifier: MIT */
#include "preload/backing.h"

#include "preload/lines.h"
#include "preload/moved.h"
#include "sys/child.h"
#include "sys/memory.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define FILE_NAME "forkport-template"
/* One huge page: of less there is little to copy, and each page that a worker only reads would be a fault more. */
#define LEAST_BYTES ((uintptr_t)2 << 20)
/* A mapping may be made larger (mremap(2)) and then shows more of its file: zeros, however far. */
#define FILE_BYTES ((off_t)1 << 46)
/* Where glibc has a further arena, a mapping begins at a multiple of this; it counts on zeros that it made itself. */
#define ARENA_BYTES ((uintptr_t)64 << 20)
#define RANGES_MAX  32

struct range {
    uintptr_t start;
    uintptr_t end;
};

struct ranges {
    struct range items[RANGES_MAX];
    unsigned count;
};

/* "start-end rw-p ...": of /proc/self/maps and of what begins an entry of smaps. */
static bool parse_mapping(const char *line, struct range *ret_range, const char **ret_rest)
{
    ret_range->start = lines_hexadecimal(&line);
    if (*line++ != '-')
        return false;
    ret_range->end = lines_hexadecimal(&line);
    *ret_rest = line;
    return line[0] == ' ' && strlen(line) > 5;
}

struct candidates {
    struct ranges ranges;
    struct range now;
    bool is_ordinary;
    uintptr_t resident_kib;
};

static uintptr_t decimal(const char *at)
{
    uintptr_t number = 0;

    for (at += strspn(at, " \t"); *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (uintptr_t)(*at - '0');
    return number;
}

/* Those of memory that a program got and asked nothing special for. */
static bool has_ordinary_flags(const char *flags)
{
    static const char ordinary[] = " rd wr mr mw me ac sd nr hg nh ";

    for (; *flags != '\0'; flags += 3) {
        const char word[] = {' ', flags[0], flags[1], ' ', '\0'};
        if (flags[1] == '\0' || flags[2] != ' ' || strstr(ordinary, word) == NULL)
            return false;
    }
    return true;
}

/* Anonymous private memory, and enough of it. */
static bool is_candidate(const char *line, struct range *ret_range)
{
    const char *rest;

    return parse_mapping(line, ret_range, &rest) && strncmp(rest, " rw-p ", 6) == 0 &&
           strstr(rest, " 00:00 0 ") != NULL && strstr(rest, "[stack]") == NULL &&
           ret_range->end - ret_range->start >= LEAST_BYTES && ret_range->start % ARENA_BYTES != 0;
}

/* A program may have its stack in memory that it got (makecontext(3)). What is done there while it is moved would be lost. */
static bool has_our_stack(const struct range *range)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);

    return here >= range->start && here < range->end;
}

/* What is mostly not there would be made to be there by moving it. */
static bool is_dense(const struct candidates *found)
{
    return found->resident_kib >= (found->now.end - found->now.start) / 2048;
}

/* The lines of smaps: a mapping, then what is said of it, its flags last. */
static void consider(const char *line, void *data)
{
    struct candidates *found = data;

    if (strncmp(line, "Rss:", 4) == 0)
        found->resident_kib = decimal(line + 4);
    else if (strncmp(line, "Swap:", 5) == 0)
        found->is_ordinary = found->is_ordinary && decimal(line + 5) == 0;
    else if (strncmp(line, "VmFlags: ", 9) == 0)
        found->is_ordinary = found->is_ordinary && is_dense(found) && has_ordinary_flags(line + 9);
    else if (line[0] < 'A' || line[0] > 'Z')
        found->is_ordinary = is_candidate(line, &found->now) && !has_our_stack(&found->now);
    if (line[0] == 'V' && found->is_ordinary && found->ranges.count < RANGES_MAX)
        found->ranges.items[found->ranges.count++] = found->now;
}

static bool write_piece(int fd, const struct range *piece, uintptr_t base)
{
    for (uintptr_t at = piece->start; at < piece->end;) {
        long put = child_call(__NR_pwrite64, fd, (long)at, (long)(piece->end - at), (long)(at - base));
        if (put <= 0)
            return false;
        at += (uintptr_t)put;
    }
    return true;
}

/*
 * One huge page of it at a time, so that no more than that is there twice, and what could not be moved has not been touched. The file's
 * pages become huge ones by the same call as anonymous ones.
 */
static bool move_range(const struct range *range, struct template_board *board)
{
    uintptr_t base = range->start & ~(HUGE_BYTES - 1);
    int fd = (int)child_call(__NR_memfd_create, (long)FILE_NAME, MFD_CLOEXEC, 0, 0);
    bool is_whole = true;

    if (fd < 0)
        return true;
    struct range piece = {.start = range->start};
    bool goes_on = child_call(__NR_ftruncate, fd, FILE_BYTES, 0, 0) == 0;
    for (; goes_on && piece.start < range->end; piece.start = piece.end) {
        piece.end = (piece.start & ~(HUGE_BYTES - 1)) + HUGE_BYTES;
        if (piece.end > range->end)
            piece.end = range->end;
        uintptr_t bytes = piece.end - piece.start;
        goes_on = write_piece(fd, &piece, base);
        if (goes_on)
            is_whole = goes_on =
                child_call6(__NR_mmap, (long)piece.start, (long)bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_FIXED, fd, (long)(piece.start - base)) >= 0;
        if (!goes_on)
            break;
        board->file_kib += (uint32_t)(bytes / 1024);
        if (bytes == HUGE_BYTES &&
            child_call(__NR_madvise, (long)piece.start, HUGE_BYTES, MADV_COLLAPSE, 0) == 0)
            board->huge_kib += HUGE_BYTES / 1024;
    }
    child_call(__NR_close, fd, 0, 0, 0);
    if (piece.start > range->start)
        moved_add(range->start, piece.start);
    return is_whole;
}

bool backing_move(struct template_board *board)
{
    struct candidates found = {0};
    struct rlimit limit;

    /* The file is larger than any, and the signal would be the program's. */
    if (child_call5(__NR_prlimit64, 0, RLIMIT_FSIZE, 0, (long)&limit, 0) < 0 ||
        limit.rlim_cur != RLIM_INFINITY)
        return true;
    if (!lines_read("/proc/self/smaps", consider, &found))
        return true;
    bool is_whole = true;
    for (unsigned i = 0; i < found.ranges.count && is_whole; i++)
        is_whole = move_range(&found.ranges.items[i], board);
    return is_whole;
}
