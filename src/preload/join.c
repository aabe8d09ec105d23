/* SPDX-License-Identifier: MIT */
#include "preload/join.h"

#include "preload/filter.h"
#include "preload/mapping.h"
#include "sys/child.h"

#include <sys/auxv.h>
#include <sys/mman.h>

#define JOINED_MAX 64
/* One mapping less is worth some twenty pages of a file that become the process's own. */
#define BYTES_MAX     ((uintptr_t)128 << 10)
#define FILE_KIB_MAX  32
#define PROTECTION_RW (PROT_READ | PROT_WRITE)

struct piece {
    uintptr_t start;
    uintptr_t bytes;
};

struct join {
    struct mapping last;
    struct mapping code; /* the last one: an object's variables stand behind its code */
    struct piece found[JOINED_MAX];
    uint32_t count;
};

/* Not any file's: one that the program has mapped may be shorter than its mapping, or changed later for all to see. */
static bool is_data(const struct mapping *mapping, const struct mapping *code)
{
    uintptr_t bytes = mapping->end - mapping->start;

    return mapping->is_private_rw && mapping->is_ordinary && mapping_is_of_file(mapping) &&
           mapping->device == code->device && mapping->inode == code->inode &&
           bytes / 1024 - mapping->own_kib <= FILE_KIB_MAX;
}

/* What the kernel has made behind an executable's variables is not quite as mmap(2) makes it there (VM_MTE_ALLOWED), and so is made anew, too. */
static bool takes_both(const struct mapping *code)
{
#if defined(__aarch64__)
    return mapping_has(code, (const void *)getauxval(AT_ENTRY));
#else
    (void)code;
    return false;
#endif
}

static void consider(const struct mapping *now, void *data)
{
    struct join *join = data;
    bool is_bss = now->is_private_rw && now->is_ordinary && !mapping_is_of_file(now) && !now->is_named;

    if (is_bss && join->last.end == now->start && is_data(&join->last, &join->code) &&
        join->count < JOINED_MAX) {
        struct mapping whole = {.start = join->last.start,
                                .end = takes_both(&join->code) ? now->end : now->start};
        struct piece piece = {.start = whole.start, .bytes = whole.end - whole.start};
        if (piece.bytes <= BYTES_MAX && !mapping_has(&whole, __builtin_frame_address(0)))
            join->found[join->count++] = piece;
    }
    if (now->is_code)
        join->code = *now;
    join->last = *now;
}

/* Not by memcpy(3): by what is being moved the way there may lead, and this library's own variables. What is zero stays untouched. */
static void copy(volatile uint64_t *to, const volatile uint64_t *from, uintptr_t bytes)
{
    for (uintptr_t i = 0; i < bytes / sizeof(*to); i++)
        if (to[i] != from[i])
            to[i] = from[i];
}

static bool is_there(const struct piece *piece)
{
    unsigned char pages[BYTES_MAX / 4096];

    return child_call(__NR_mincore, (long)piece->start, (long)piece->bytes, (long)pages, 0) == 0;
}

/* False: it has not, and is as it was, or gone. */
static bool make_anonymous(const struct piece *piece, long room)
{
    copy((void *)room, (void *)piece->start, piece->bytes);
    if (child_map_anonymous(piece->start, (long)piece->bytes, PROTECTION_RW) < 0)
        return false;
    copy((void *)piece->start, (void *)room, piece->bytes);
    return true;
}

bool join_variables(uint32_t *ret_joined)
{
    struct join join = {0};
    long room = -1;

    *ret_joined = 0;
    if (filter_is_own())
        return true;
    /* No handler may change what the mappings are, or what is in them. */
    uint64_t signals = child_block_signals();
    if (mappings_read(consider, &join) && join.count != 0)
        room = child_map_anonymous(0, BYTES_MAX, PROTECTION_RW);
    while (room >= 0 && *ret_joined < join.count && make_anonymous(&join.found[*ret_joined], room))
        ++*ret_joined;
    if (room >= 0)
        child_call(__NR_munmap, room, BYTES_MAX, 0, 0);
    child_set_mask(signals);
    /* A limit of what may be locked (mlockall(2)) is looked at before anything is taken away. */
    return room < 0 || *ret_joined == join.count || is_there(&join.found[*ret_joined]);
}
