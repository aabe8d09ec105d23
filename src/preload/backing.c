/* SPDX-License-Identifier: MIT */
#include "preload/backing.h"

#include "preload/mapping.h"
#include "preload/moved.h"
#include "preload/pagemap.h"
#include "sys/child.h"
#include "sys/memory.h"

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

struct search {
    struct template_board *board;
    struct range found[RANGES_MAX]; /* to be moved */
    unsigned count;
    unsigned room;
};

struct collapsing {
    struct template_board *board;
    uintptr_t start;
    unsigned there; /* pages, of the piece that is looked at */
};

static void collapse_piece(uintptr_t piece, struct template_board *board)
{
    if (child_call(__NR_madvise, (long)piece, HUGE_BYTES, MADV_COLLAPSE, 0) == 0)
        board->huge_kib += HUGE_BYTES / 1024;
}

/* By the piece: what is mostly holes would be made to be there, and one for which there is no huge page does not keep the others back. */
static bool look_at_page(unsigned page, uint64_t entry, void *data)
{
    const unsigned pages = HUGE_BYTES / PAGEMAP_PAGE_BYTES;
    struct collapsing *now = data;

    now->there += pagemap_is_there(entry);
    if ((page + 1) % pages != 0)
        return true;
    if (now->there >= pages / 2) {
        uintptr_t piece = now->start + (uintptr_t)(page / pages) * HUGE_BYTES;
        /* Linux 6.1 collapses none of which a trial's fork has made every page one to be copied. */
        child_call(__NR_madvise, (long)piece, PAGEMAP_PAGE_BYTES, MADV_POPULATE_WRITE, 0);
        collapse_piece(piece, now->board);
    }
    now->there = 0;
    return true;
}

/* What of it fills huge pages. */
static void collapse(uintptr_t start, uintptr_t end, struct template_board *board)
{
    struct collapsing now = {.board = board, .start = (start + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1)};

    end &= ~(HUGE_BYTES - 1);
    if (now.start < end)
        pagemap_read("/proc/self/pagemap", now.start, end, look_at_page, &now);
}

/*
 * Enough of it, and not mostly what is not there, which would be made to be there by moving it. A program may have its stack in memory that
 * it got (makecontext(3)): what is done there while it is moved would be lost.
 */
static bool is_movable(const struct mapping *mapping)
{
    uintptr_t bytes = mapping->end - mapping->start;

    return mapping->is_ordinary && bytes >= LEAST_BYTES && mapping->resident_kib >= bytes / 2048 &&
           mapping->start % ARENA_BYTES != 0 && !mapping_has(mapping, __builtin_frame_address(0));
}

/* Private memory without a file behind it. Not what is hardly anywhere, as in a sanitizer's terabytes. */
static void consider(const struct mapping *now, void *data)
{
    struct search *search = data;

    search->board->mappings++;
    if (!now->is_private_rw || mapping_is_of_file(now) || now->is_stack)
        return;
    if (search->count < search->room && is_movable(now))
        search->found[search->count++] = (struct range){.start = now->start, .end = now->end};
    else if (now->resident_kib >= (now->end - now->start) / HUGE_BYTES * (PAGEMAP_PAGE_BYTES / 1024))
        collapse(now->start, now->end, search->board);
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
    struct range piece = {.start = range->start};
    bool is_whole = true;
    bool goes_on = fd >= 0 && child_call(__NR_ftruncate, fd, FILE_BYTES, 0, 0) == 0;
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
        if (bytes == HUGE_BYTES)
            collapse_piece(piece.start, board);
    }
    child_call(__NR_close, fd, 0, 0, 0);
    if (piece.start > range->start)
        moved_add(range->start, piece.start);
    if (is_whole)
        collapse(piece.start, range->end, board);
    return is_whole;
}

bool backing_move(struct template_board *board)
{
    struct search search = {.board = board};
    struct rlimit limit;
    bool is_whole = true;

    /* The file is larger than any, and the signal would be the program's. */
    if (child_call5(__NR_prlimit64, 0, RLIMIT_FSIZE, 0, (long)&limit, 0) >= 0 &&
        limit.rlim_cur == RLIM_INFINITY)
        search.room = RANGES_MAX;
    if (!mappings_read(consider, &search))
        return true;
    for (unsigned i = 0; i < search.count && is_whole; i++)
        is_whole = move_range(&search.found[i], board);
    return is_whole;
}
