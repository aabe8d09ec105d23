/* SPDX-License-Identifier: MIT */
#include "preload/backing.h"

#include "preload/mapping.h"
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

/* What is mostly not there would be made to be there by moving it. */
static bool is_dense(const struct mapping *mapping)
{
    return mapping->resident_kib >= (mapping->end - mapping->start) / 2048;
}

/*
 * Anonymous private memory, and enough of it. A program may have its stack in memory that it got (makecontext(3)): what is done there
 * while it is moved would be lost.
 */
static void consider(const struct mapping *now, void *data)
{
    struct ranges *found = data;

    if (now->is_private_rw && !mapping_is_of_file(now) && !now->is_stack && now->is_ordinary &&
        is_dense(now) && now->end - now->start >= LEAST_BYTES && now->start % ARENA_BYTES != 0 &&
        !mapping_has(now, __builtin_frame_address(0)) && found->count < RANGES_MAX)
        found->items[found->count++] = (struct range){.start = now->start, .end = now->end};
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
    struct ranges found = {0};
    struct rlimit limit;

    /* The file is larger than any, and the signal would be the program's. */
    if (child_call5(__NR_prlimit64, 0, RLIMIT_FSIZE, 0, (long)&limit, 0) < 0 ||
        limit.rlim_cur != RLIM_INFINITY)
        return true;
    if (!mappings_read(consider, &found))
        return true;
    bool is_whole = true;
    for (unsigned i = 0; i < found.count && is_whole; i++)
        is_whole = move_range(&found.items[i], board);
    return is_whole;
}
