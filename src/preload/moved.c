/* SPDX-License-Identifier: MIT */
#include "preload/moved.h"

#include "sys/child.h"
#include "sys/memory.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define EXPORTED  __attribute__((visibility("default")))
#define PARTS_FEW 64
/* Of less, a mapping of its own costs more than the memory is worth: then it is zeros that are written. */
#define APART_BYTES ((uintptr_t)64 * 1024)
#define ERRORS_MAX  4095

struct part {
    uintptr_t start;
    uintptr_t end;
    int protection;
};

struct table {
    struct part *parts; /* by their place; none overlaps another */
    unsigned count;
    unsigned room;
};

/* The table is never changed in its place: a fork finds it whole, whatever another thread was at. */
static struct {
    struct part few[2][PARTS_FEW];
    struct table tables[2];
    unsigned changes; /* by their number, which one holds */
    bool *is_held;    /* in memory that a fork wipes, so that it is free there, whoever had it */
    bool held_here;   /* where there is no such memory */
} moved = {
    .tables = {{.parts = moved.few[0], .room = PARTS_FEW}, {.parts = moved.few[1], .room = PARTS_FEW}}};

static struct table *table_now(void)
{
    return &moved.tables[__atomic_load_n(&moved.changes, __ATOMIC_ACQUIRE) % 2];
}

static struct table *table_next(void)
{
    return &moved.tables[(moved.changes + 1) % 2];
}

static void make_lock(void)
{
    long bytes = (long)getauxval(AT_PAGESZ);
    long page = child_map_anonymous(0, bytes, PROT_READ | PROT_WRITE);

    moved.is_held = &moved.held_here;
    if (page >= 0 && child_call(__NR_madvise, page, bytes, MADV_WIPEONFORK, 0) == 0)
        moved.is_held = (bool *)page;
    else if (page >= 0)
        child_call(__NR_munmap, page, bytes, 0, 0);
}

/* As many as backing.c finds, which are few. */
void moved_add(uintptr_t start, uintptr_t end)
{
    struct table *table = table_now();

    if (moved.is_held == NULL)
        make_lock();
    table->parts[table->count++] =
        (struct part){.start = start, .end = end, .protection = PROT_READ | PROT_WRITE};
}

/* No handler runs meanwhile: it may want the table too, or stop this thread for long. */
static void hold(uint64_t *signals)
{
    *signals = child_block_signals();
    while (__atomic_test_and_set(moved.is_held, __ATOMIC_ACQUIRE))
        child_call(__NR_sched_yield, 0, 0, 0, 0);
}

static void release(const uint64_t *signals)
{
    __atomic_clear(moved.is_held, __ATOMIC_RELEASE);
    child_set_mask(*signals);
}

static struct part part_of(const void *memory, size_t bytes)
{
    uintptr_t page = getauxval(AT_PAGESZ);

    return (struct part){.start = (uintptr_t)memory,
                         .end = ((uintptr_t)memory + bytes + page - 1) & ~(page - 1)};
}

static bool begins_a_page(const void *memory)
{
    return (uintptr_t)memory % getauxval(AT_PAGESZ) == 0;
}

/* The number of the first of `count` that ends behind this place. */
static unsigned first_behind(const struct part *parts, unsigned count, uintptr_t place)
{
    unsigned from = 0;
    unsigned to = count;

    while (from < to) {
        unsigned middle = (from + to) / 2;
        if (parts[middle].end <= place)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* What of `asked` was moved, first; false: nothing. */
static bool find(const struct part *asked, struct part *ret_part)
{
    const struct table *table = table_now();
    /* The parts are never fewer than the count was. */
    unsigned count = __atomic_load_n(&table->count, __ATOMIC_ACQUIRE);
    const struct part *parts = __atomic_load_n(&table->parts, __ATOMIC_ACQUIRE);
    unsigned at = first_behind(parts, count, asked->start);

    if (asked->start >= asked->end || at == count || parts[at].start >= asked->end)
        return false;
    *ret_part = parts[at];
    if (ret_part->start < asked->start)
        ret_part->start = asked->start;
    if (ret_part->end > asked->end)
        ret_part->end = asked->end;
    return true;
}

/*
 * Was any of it moved? Without the lock, and without a system call that the program has not made: it may have shut itself in
 * (seccomp(2)). What was not, never will be. While the number stays the same, nobody writes to the table that it names.
 */
static bool is_any(const struct part *asked)
{
    struct part part;
    unsigned before;
    bool found;

    do {
        before = __atomic_load_n(&moved.changes, __ATOMIC_ACQUIRE);
        found = find(asked, &part);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while (__atomic_load_n(&moved.changes, __ATOMIC_RELAXED) != before);
    return found;
}

/* For one change, which adds a part at each of its ends. */
static bool has_room(void)
{
    unsigned needed = table_now()->count + 2;
    struct table *next = table_next();

    if (needed <= next->room)
        return true;
    long bytes = (long)(2 * needed * sizeof(struct part));
    long memory = child_map_anonymous(0, bytes, PROT_READ | PROT_WRITE);
    if (memory < 0)
        return false;
    /* In this order, for a fork in the midst of it. What was there before stays: somebody may look at it, without the lock. */
    __atomic_store_n(&next->parts, (struct part *)memory, __ATOMIC_RELEASE);
    __atomic_store_n(&next->room, 2 * needed, __ATOMIC_RELEASE);
    return true;
}

/* To the end of the table; one with its neighbour where nothing tells them apart. */
static void append(struct table *table, uintptr_t start, uintptr_t end, int protection)
{
    struct part *last = table->count > 0 ? &table->parts[table->count - 1] : NULL;

    if (start >= end)
        return;
    if (last != NULL && last->end == start && last->protection == protection)
        last->end = end;
    else
        table->parts[table->count++] = (struct part){.start = start, .end = end, .protection = protection};
}

/* What was moved has another protection now, or (NULL) is not, or no longer, what was moved. There is room, as has_room() said. */
static void change(const struct part *asked, const int *protection)
{
    const struct table *table = table_now();
    struct table *next = table_next();
    struct part found;

    if (!find(asked, &found))
        return;
    unsigned at = first_behind(table->parts, table->count, asked->start);
    memcpy(next->parts, table->parts, at * sizeof(found));
    next->count = at;
    for (; at < table->count; at++) {
        struct part part = table->parts[at];
        uintptr_t from = part.start > asked->start ? part.start : asked->start;
        uintptr_t to = part.end < asked->end ? part.end : asked->end;
        if (from >= to) {
            append(next, part.start, part.end, part.protection);
            break;
        }
        append(next, part.start, from, part.protection);
        if (protection != NULL)
            append(next, from, to, *protection);
        append(next, to, part.end, part.protection);
    }
    if (++at < table->count) {
        memcpy(&next->parts[next->count], &table->parts[at], (table->count - at) * sizeof(found));
        next->count += table->count - at;
    }
    __atomic_store_n(&moved.changes, moved.changes + 1, __ATOMIC_RELEASE);
}

static void cut(const struct part *asked)
{
    change(asked, NULL);
}

/* What stands there becomes anonymous memory, with what is in it. A hole in it is not read. */
static bool make_anonymous(const struct part *part)
{
    long bytes = (long)(part->end - part->start);
    bool is_read = (part->protection & PROT_READ) != 0;
    long copy = child_map_anonymous(0, bytes, PROT_READ | PROT_WRITE);

    if (copy < 0)
        return false;
    bool done = (is_read || child_call(__NR_mprotect, (long)part->start, bytes, PROT_READ, 0) == 0) &&
                child_call(__NR_madvise, (long)part->start, bytes, MADV_POPULATE_READ, 0) == 0;
    if (done) {
        memcpy((void *)copy, (const void *)part->start, (size_t)bytes);
        /* Not the copy itself: moved there, it would not become one mapping with its neighbours, which mremap(2) needs. */
        done = child_map_anonymous(part->start, bytes, PROT_READ | PROT_WRITE) >= 0;
    }
    if (done)
        memcpy((void *)part->start, (const void *)copy, (size_t)bytes);
    child_call(__NR_munmap, copy, bytes, 0, 0);
    if (part->protection != (PROT_READ | PROT_WRITE))
        child_call(__NR_mprotect, (long)part->start, bytes, part->protection, 0);
    return done;
}

/* Before something is done that only anonymous memory lets be done, or for which it must be one mapping. */
static long settle(const struct part *asked)
{
    struct part part;

    while (find(asked, &part)) {
        if (!has_room() || !make_anonymous(&part))
            return -ENOMEM;
        cut(&part);
    }
    return 0;
}

/*
 * Zeros, in anonymous memory where that gives memory back. What the C library has put in its place is anonymous, has been
 * given back by now, and is told by this: the kernel takes this advice of nothing else.
 */
static bool zero(const struct part *part, bool is_locked)
{
    long bytes = (long)(part->end - part->start);
    bool is_small = part->end - part->start < APART_BYTES || !has_room();

    if (child_call(__NR_madvise, (long)part->start, bytes, MADV_FREE, 0) == 0)
        return true;
    if ((is_locked || is_small) && (part->protection & PROT_WRITE) != 0) {
        memset((void *)part->start, 0, (size_t)bytes);
        return true;
    }
    if (!has_room() || child_map_anonymous(part->start, bytes, part->protection) < 0)
        return false;
    cut(part);
    return true;
}

static long give_back(const struct part *asked, int advice)
{
    struct part rest = *asked;
    struct part part;
    /* Of a file the kernel knows no lazy way to give back. */
    long result = child_call(__NR_madvise, (long)asked->start, (long)(asked->end - asked->start),
                             advice == MADV_FREE ? MADV_DONTNEED : advice, 0);

    /* Where there is a hole in it, the rest was done all the same. */
    if (result < 0 && result != -ENOMEM)
        return result;
    while (find(&rest, &part)) {
        if (!zero(&part, advice == MADV_DONTNEED_LOCKED))
            return -ENOMEM;
        rest.start = part.end;
    }
    return result;
}

/* Advice that is for anonymous memory only. */
static bool wants_anonymous(int advice)
{
    switch (advice) {
    case MADV_REMOVE:
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
    case MADV_GUARD_INSTALL:
    case MADV_GUARD_REMOVE:
        return true;
    default:
        return false;
    }
}

static long advise(void *memory, size_t bytes, int advice)
{
    struct part asked = part_of(memory, bytes);
    struct part part;
    bool is_ours = begins_a_page(memory) && find(&asked, &part);
    bool gives_back = advice == MADV_DONTNEED || advice == MADV_DONTNEED_LOCKED || advice == MADV_FREE;

    if (is_ours && gives_back)
        return give_back(&asked, advice);
    long result = is_ours && wants_anonymous(advice) ? settle(&asked) : 0;
    return result < 0 ? result : child_call(__NR_madvise, (long)memory, (long)bytes, advice, 0);
}

static int answer(long result)
{
    if (result >= 0)
        return 0;
    errno = (int)-result;
    return -1;
}

static void *answer_place(long result)
{
    if (result >= 0 || result < -ERRORS_MAX)
        return (void *)result;
    errno = (int)-result;
    return MAP_FAILED;
}

EXPORTED int madvise(void *memory, size_t bytes, int advice)
{
    uint64_t signals;
    struct part asked = part_of(memory, bytes);

    if (!is_any(&asked))
        return answer(child_call(__NR_madvise, (long)memory, (long)bytes, advice, 0));
    hold(&signals);
    long result = advise(memory, bytes, advice);
    release(&signals);
    return answer(result);
}

/* Up to a hole the kernel has changed it. Where there is none, it had another reason to refuse. */
static void end_at_hole(struct part *part)
{
    uintptr_t page = getauxval(AT_PAGESZ);
    uintptr_t at = part->start;
    unsigned char is_there;

    while (at < part->end && child_call(__NR_mincore, (long)at, (long)page, (long)&is_there, 0) == 0)
        at += page;
    part->end = at < part->end ? at : part->start;
}

EXPORTED int mprotect(void *memory, size_t bytes, int protection)
{
    uint64_t signals;
    struct part asked = part_of(memory, bytes);
    struct part part;

    if (!is_any(&asked))
        return answer(child_call(__NR_mprotect, (long)memory, (long)bytes, protection, 0));
    hold(&signals);
    bool is_ours = find(&asked, &part);
    long result = is_ours && !has_room()
                      ? -ENOMEM
                      : child_call(__NR_mprotect, (long)memory, (long)bytes, protection, 0);
    if (is_ours && result == -ENOMEM)
        end_at_hole(&asked);
    if (is_ours && (result == 0 || result == -ENOMEM))
        change(&asked, &protection);
    release(&signals);
    return answer(result);
}

EXPORTED int munmap(void *memory, size_t bytes)
{
    uint64_t signals;
    struct part asked = part_of(memory, bytes);

    if (!is_any(&asked))
        return answer(child_call(__NR_munmap, (long)memory, (long)bytes, 0, 0));
    hold(&signals);
    long result = has_room() ? child_call(__NR_munmap, (long)memory, (long)bytes, 0, 0) : -ENOMEM;
    if (result == 0)
        cut(&asked);
    release(&signals);
    return answer(result);
}

/* What the kernel has put there is not what was moved. False: there is no room to say so. */
static bool take_place(long place, size_t bytes)
{
    uint64_t signals;
    struct part here = part_of((void *)place, bytes);

    if ((place < 0 && place >= -ERRORS_MAX) || !is_any(&here))
        return true;
    hold(&signals);
    bool is_room = has_room();
    if (is_room)
        cut(&here);
    release(&signals);
    return is_room;
}

static void *map(void *memory, size_t bytes, int protection, int flags, int fd, long at)
{
    uint64_t signals;
    struct part asked = part_of(memory, bytes);

    if ((flags & MAP_FIXED) == 0 || !is_any(&asked)) {
        long new = child_call6(__NR_mmap, (long)memory, (long)bytes, protection, flags, fd, at);
        if (take_place(new, bytes))
            return answer_place(new);
        child_call(__NR_munmap, new, (long)bytes, 0, 0);
        return answer_place(-ENOMEM);
    }
    hold(&signals);
    long place =
        has_room() ? child_call6(__NR_mmap, (long)memory, (long)bytes, protection, flags, fd, at) : -ENOMEM;
    if (place >= 0 || place < -ERRORS_MAX)
        cut(&asked);
    release(&signals);
    return answer_place(place);
}

EXPORTED void *mmap(void *memory, size_t bytes, int protection, int flags, int fd, off_t at)
{
    return map(memory, bytes, protection, flags, fd, at);
}

/* glibc's second name of it. */
EXPORTED void *mmap64(void *memory, size_t bytes, int protection, int flags, int fd, __off64_t at)
{
    return map(memory, bytes, protection, flags, fd, at);
}

EXPORTED void *mremap(void *memory, size_t bytes, size_t new_bytes, int flags, ...)
{
    struct part asked = part_of(memory, bytes);
    uint64_t signals;
    va_list more;

    va_start(more, flags);
    /* Without MREMAP_FIXED a hint: it is the result that says where. */
    long to = (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0 ? (long)va_arg(more, void *) : 0;
    va_end(more);
    struct part target = part_of((void *)to, new_bytes);
    long result;
    if (!is_any(&asked) && ((flags & MREMAP_FIXED) == 0 || !is_any(&target))) {
        result = child_call5(__NR_mremap, (long)memory, (long)bytes, (long)new_bytes, flags, to);
        take_place(result, new_bytes);
        return answer_place(result);
    }
    hold(&signals);
    result = begins_a_page(memory) ? settle(&asked) : 0;
    if (result == 0 && !has_room())
        result = -ENOMEM;
    if (result == 0)
        result = child_call5(__NR_mremap, (long)memory, (long)bytes, (long)new_bytes, flags, to);
    void *place = answer_place(result);
    struct part here = part_of(place, new_bytes);
    if (place != MAP_FAILED)
        cut(&here);
    release(&signals);
    return place;
}
