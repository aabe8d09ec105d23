/* SPDX-License-Identifier: MIT */
#include "preload/moved.h"

#include "sys/child.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif

#define EXPORTED        __attribute__((visibility("default")))
#define PARTS_MAX       1024
#define PARTS_MADE_FREE 16
/* Of less, a mapping of its own costs more than the memory is worth: then it is zeros that are written. */
#define APART_BYTES ((uintptr_t)64 * 1024)
#define ERRORS_MAX  4095
/* A thread that holds the table does not take so long, unless it was lost in a fork. */
#define YIELDS_MAX 1000000

struct part {
    uintptr_t start;
    uintptr_t end;
    int protection;
};

static struct {
    struct part parts[PARTS_MAX]; /* by their place; none overlaps another */
    unsigned count;
    bool is_held;
} moved;

void moved_add(uintptr_t start, uintptr_t end)
{
    moved.parts[moved.count++] =
        (struct part){.start = start, .end = end, .protection = PROT_READ | PROT_WRITE};
}

static void hold(void)
{
    for (unsigned i = 0; __atomic_test_and_set(&moved.is_held, __ATOMIC_ACQUIRE) && i < YIELDS_MAX; i++)
        child_call(__NR_sched_yield, 0, 0, 0, 0);
}

static void release(void)
{
    __atomic_clear(&moved.is_held, __ATOMIC_RELEASE);
}

static struct part part_of(const void *memory, size_t bytes)
{
    uintptr_t page = getauxval(AT_PAGESZ);

    return (struct part){.start = (uintptr_t)memory,
                         .end = ((uintptr_t)memory + bytes + page - 1) & ~(page - 1)};
}

/* The number of the first that ends behind this place. */
static unsigned first_behind(uintptr_t place)
{
    unsigned from = 0;
    unsigned to = moved.count;

    while (from < to) {
        unsigned middle = (from + to) / 2;
        if (moved.parts[middle].end <= place)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* What of `asked` was moved, first; false: nothing. */
static bool find(const struct part *asked, struct part *ret_part)
{
    unsigned at = first_behind(asked->start);

    if (asked->start >= asked->end || at == moved.count || moved.parts[at].start >= asked->end)
        return false;
    *ret_part = moved.parts[at];
    if (ret_part->start < asked->start)
        ret_part->start = asked->start;
    if (ret_part->end > asked->end)
        ret_part->end = asked->end;
    return true;
}

static void insert(unsigned at, const struct part *part)
{
    memmove(&moved.parts[at + 1], &moved.parts[at], (moved.count - at) * sizeof(*part));
    moved.parts[at] = *part;
    moved.count++;
}

/* So that parts begin and end at `place`, or lie beside it. There is room, as has_room() said. */
static void split(uintptr_t place)
{
    unsigned at = first_behind(place);

    if (at == moved.count || moved.parts[at].start >= place)
        return;
    struct part tail = moved.parts[at];
    tail.start = place;
    moved.parts[at].end = place;
    insert(at + 1, &tail);
}

/* For both ends of what is asked. */
static bool has_room(void)
{
    return moved.count + 2 <= PARTS_MAX;
}

/* It is not, or no longer, what was moved. */
static void cut(const struct part *asked)
{
    if (asked->start >= asked->end)
        return;
    split(asked->start);
    split(asked->end);
    unsigned from = first_behind(asked->start);
    unsigned to = from;
    while (to < moved.count && moved.parts[to].start < asked->end)
        to++;
    memmove(&moved.parts[from], &moved.parts[to], (moved.count - to) * sizeof(moved.parts[0]));
    moved.count -= to - from;
}

/* Those beside each other that differ in nothing are one again, from the number `first` to one before `last`. */
static void join(unsigned first, unsigned last)
{
    for (unsigned i = last; i-- > first;) {
        struct part *part = &moved.parts[i];
        if (i + 1 >= moved.count || part[0].end != part[1].start || part[0].protection != part[1].protection)
            continue;
        part->end = part[1].end;
        memmove(&part[1], &part[2], (moved.count - i - 2) * sizeof(*part));
        moved.count--;
    }
}

static void set_protection(const struct part *asked, int protection)
{
    split(asked->start);
    split(asked->end);
    unsigned first = first_behind(asked->start);
    unsigned last = first;
    for (; last < moved.count && moved.parts[last].start < asked->end; last++)
        moved.parts[last].protection = protection;
    join(first > 0 ? first - 1 : 0, last);
}

static long map_anonymous(uintptr_t place, long bytes, int protection)
{
    return child_call6(__NR_mmap, (long)place, bytes, protection,
                       MAP_PRIVATE | MAP_ANONYMOUS | (place != 0 ? MAP_FIXED : 0), -1, 0);
}

/* What stands there becomes anonymous memory, with what is in it. A hole in it is not read. */
static bool make_anonymous(const struct part *part)
{
    long bytes = (long)(part->end - part->start);
    bool is_read = (part->protection & PROT_READ) != 0;
    long copy = map_anonymous(0, bytes, PROT_READ | PROT_WRITE);

    if (copy < 0)
        return false;
    bool done = (is_read || child_call(__NR_mprotect, (long)part->start, bytes, PROT_READ, 0) == 0) &&
                child_call(__NR_madvise, (long)part->start, bytes, MADV_POPULATE_READ, 0) == 0;
    if (done) {
        memcpy((void *)copy, (const void *)part->start, (size_t)bytes);
        /* Not the copy itself: moved there, it would not become one mapping with its neighbours, which mremap(2) needs. */
        done = map_anonymous(part->start, bytes, PROT_READ | PROT_WRITE) >= 0;
    }
    if (done)
        memcpy((void *)part->start, (const void *)copy, (size_t)bytes);
    child_call(__NR_munmap, copy, bytes, 0, 0);
    if (part->protection != (PROT_READ | PROT_WRITE))
        child_call(__NR_mprotect, (long)part->start, bytes, part->protection, 0);
    return done;
}

static unsigned find_smallest(void)
{
    unsigned smallest = 0;

    for (unsigned i = 1; i < moved.count; i++) {
        if (moved.parts[i].end - moved.parts[i].start <
            moved.parts[smallest].end - moved.parts[smallest].start)
            smallest = i;
    }
    return smallest;
}

/* Where it has been cut into more parts than there is room for, the smallest is no longer one of them. */
static bool make_room(void)
{
    if (has_room())
        return true;
    for (unsigned i = 0; i < PARTS_MADE_FREE; i++) {
        struct part part = moved.parts[find_smallest()];
        if (!make_anonymous(&part))
            return has_room();
        cut(&part);
    }
    return true;
}

/* Before something is done that only anonymous memory lets be done, or that marks a mapping, which must stay one then. */
static long settle(const struct part *asked)
{
    struct part part;

    while (find(asked, &part)) {
        if (!make_room())
            return -ENOMEM;
        /* It may have been the one that made room. */
        if (find(asked, &part) && !make_anonymous(&part))
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
    if (!has_room() || map_anonymous(part->start, bytes, part->protection) < 0)
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

/* Advice that marks a mapping, or that is for anonymous memory only. */
static bool marks(int advice)
{
    switch (advice) {
    case MADV_REMOVE:
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_MERGEABLE:
    case MADV_UNMERGEABLE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
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
    bool is_ours = (uintptr_t)memory % getauxval(AT_PAGESZ) == 0 && find(&asked, &part);
    bool gives_back = advice == MADV_DONTNEED || advice == MADV_DONTNEED_LOCKED || advice == MADV_FREE;

    if (is_ours && gives_back)
        return give_back(&asked, advice);
    long result = is_ours && marks(advice) ? settle(&asked) : 0;
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
    if (moved.count == 0)
        return answer(child_call(__NR_madvise, (long)memory, (long)bytes, advice, 0));
    hold();
    long result = advise(memory, bytes, advice);
    release();
    return answer(result);
}

EXPORTED int mprotect(void *memory, size_t bytes, int protection)
{
    struct part asked = part_of(memory, bytes);
    struct part part;

    if (moved.count == 0)
        return answer(child_call(__NR_mprotect, (long)memory, (long)bytes, protection, 0));
    hold();
    bool is_ours = find(&asked, &part);
    long result = is_ours && !make_room()
                      ? -ENOMEM
                      : child_call(__NR_mprotect, (long)memory, (long)bytes, protection, 0);
    if (is_ours && result == 0)
        set_protection(&asked, protection);
    release();
    return answer(result);
}

EXPORTED int munmap(void *memory, size_t bytes)
{
    struct part asked = part_of(memory, bytes);

    if (moved.count == 0)
        return answer(child_call(__NR_munmap, (long)memory, (long)bytes, 0, 0));
    hold();
    long result = make_room() ? child_call(__NR_munmap, (long)memory, (long)bytes, 0, 0) : -ENOMEM;
    if (result == 0)
        cut(&asked);
    release();
    return answer(result);
}

static void *map(void *memory, size_t bytes, int protection, int flags, int fd, long at)
{
    if (moved.count == 0)
        return answer_place(child_call6(__NR_mmap, (long)memory, (long)bytes, protection, flags, fd, at));
    hold();
    void *result =
        has_room()
            ? answer_place(child_call6(__NR_mmap, (long)memory, (long)bytes, protection, flags, fd, at))
            : answer_place(-ENOMEM);
    struct part here = part_of(result, bytes);
    if (result != MAP_FAILED)
        cut(&here);
    release();
    return result;
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
    va_list more;

    va_start(more, flags);
    long to = (flags & MREMAP_FIXED) != 0 ? (long)va_arg(more, void *) : 0;
    va_end(more);
    hold();
    long result = settle(&asked);
    if (result == 0 && !make_room())
        result = -ENOMEM;
    if (result == 0)
        result = child_call5(__NR_mremap, (long)memory, (long)bytes, (long)new_bytes, flags, to);
    void *place = answer_place(result);
    struct part here = part_of(place, new_bytes);
    if (place != MAP_FAILED)
        cut(&here);
    release();
    return place;
}
