/* SPDX-License-Identifier: MIT */
#include "preload/join.h"

#include "preload/mapping.h"
#include "sys/child.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

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

    return mapping->is_private_rw && mapping->is_ordinary && mapping->is_of_file &&
           mapping->device == code->device && mapping->inode == code->inode && bytes <= BYTES_MAX &&
           bytes / 1024 - mapping->own_kib <= FILE_KIB_MAX &&
           !mapping_has(mapping, __builtin_frame_address(0));
}

static void consider(const struct mapping *now, void *data)
{
    struct join *join = data;
    bool is_bss = now->is_private_rw && now->is_ordinary && !now->is_of_file && !now->is_named;

    if (is_bss && join->last.end == now->start && is_data(&join->last, &join->code) &&
        join->count < JOINED_MAX)
        join->found[join->count++] =
            (struct piece){.start = join->last.start, .bytes = join->last.end - join->last.start};
    if (now->is_code)
        join->code = *now;
    join->last = *now;
}

static void *map_anonymous(uintptr_t place, uintptr_t bytes, int flags)
{
    long result = child_call6(__NR_mmap, (long)place, (long)bytes, PROTECTION_RW,
                              MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

    return result < 0 && result > -4096 ? NULL : (void *)result;
}

/* Not by memcpy(3): by what is being moved the way there may lead, and this library's own variables. */
static void copy(volatile uint64_t *to, const volatile uint64_t *from, uintptr_t bytes)
{
    for (uintptr_t i = 0; i < bytes / sizeof(*to); i++)
        to[i] = from[i];
}

static bool is_there(const struct piece *piece)
{
    unsigned char pages[BYTES_MAX / 4096];

    return child_call(__NR_mincore, (long)piece->start, (long)piece->bytes, (long)pages, 0) == 0;
}

/* False: it has not, and is as it was, or gone. */
static bool make_anonymous(const struct piece *piece, void *room)
{
    copy(room, (void *)piece->start, piece->bytes);
    if (map_anonymous(piece->start, piece->bytes, MAP_FIXED) == NULL)
        return false;
    copy((void *)piece->start, room, piece->bytes);
    return true;
}

bool join_variables(uint32_t *ret_joined)
{
    const uint64_t all = ~UINT64_C(0);
    uint64_t signals = 0;
    struct join join = {0};
    void *room = NULL;

    *ret_joined = 0;
    /* A filter may kill for what is done, or refuse it. */
    if (child_call(__NR_prctl, PR_GET_SECCOMP, 0, 0, 0) != 0)
        return true;
    /* No handler may change what the mappings are, or what is in them. */
    child_call(__NR_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&signals, sizeof(all));
    if (mappings_read(consider, &join) && join.count != 0)
        room = map_anonymous(0, BYTES_MAX, 0);
    while (room != NULL && *ret_joined < join.count && make_anonymous(&join.found[*ret_joined], room))
        ++*ret_joined;
    if (room != NULL)
        child_call(__NR_munmap, (long)room, BYTES_MAX, 0, 0);
    child_call(__NR_rt_sigprocmask, SIG_SETMASK, (long)&signals, 0, sizeof(signals));
    /* A limit of what may be locked (mlockall(2)) is looked at before anything is taken away. */
    return room == NULL || *ret_joined == join.count || is_there(&join.found[*ret_joined]);
}
