/* SPDX-License-Identifier: MIT */
#include "preload/code.h"

#include "preload/ending.h"
#include "preload/mapping.h"
#include "preload/pagemap.h"
#include "sys/child.h"
#include "sys/memory.h"

#include <string.h>
#include <unistd.h>

#define PAGE_BYTES   PAGEMAP_PAGE_BYTES
#define MAPPINGS_MAX 192
#define STACK_BYTES  (64 * 1024)
/* Of a function that the C library calls from one that it gives a name to: next to it, as they are of one file. */
#define NEAR_BYTES  1024
#define STDIO_BYTES (9 * 1024)

/* By which exit(3) comes to the streams; only glibc has it. */
int _IO_flush_all(void); /* NOLINT: the name is the C library's */
#pragma weak _IO_flush_all

static struct {
    struct code_mapping mappings[MAPPINGS_MAX];
    unsigned count;
    unsigned pages;
    bool kept[CODE_PAGES_MAX];
} code;

static void note(const struct mapping *now, void *data)
{
    uintptr_t pages = (now->end - now->start) / PAGE_BYTES;

    (void)data;
    if (!now->is_private_r || !mapping_is_of_file(now) || now->own_kib != 0 || code.count == MAPPINGS_MAX ||
        pages > CODE_PAGES_MAX - code.pages)
        return;
    code.mappings[code.count++] =
        (struct code_mapping){.start = now->start, .end = now->end, .first = code.pages};
    code.pages += (unsigned)pages;
}

static struct code_mapping *mapping_of(uintptr_t address)
{
    for (unsigned i = 0; i < code.count; i++)
        if (address >= code.mappings[i].start && address < code.mappings[i].end)
            return &code.mappings[i];
    return NULL;
}

static void note_change(const struct mapping *now, void *data)
{
    struct code_mapping *mapping = mapping_of(now->start);

    (void)data;
    if (mapping != NULL && now->own_kib != 0)
        mapping->is_changed = true;
}

/* Of which a page is not the file's. */
static void drop_changed(void)
{
    unsigned kept = 0;
    bool is_known = mappings_read(note_change, NULL);

    for (unsigned i = 0; is_known && i < code.count; i++)
        if (!code.mappings[i].is_changed)
            code.mappings[kept++] = code.mappings[i];
    code.count = kept;
}

void code_note(void)
{
    code.pages = 0;
    code.count = 0;
    if (!mappings_read(note, NULL))
        code.count = 0;
}

const struct code_mapping *code_mappings(unsigned *ret_count)
{
    *ret_count = code.count;
    return code.mappings;
}

static void keep(const struct code_mapping *mapping, uintptr_t from, uintptr_t to)
{
    if (from < mapping->start)
        from = mapping->start;
    if (to > mapping->end)
        to = mapping->end;
    for (; from < to; from = (from & ~(uintptr_t)(PAGE_BYTES - 1)) + PAGE_BYTES)
        code.kept[mapping->first + (from - mapping->start) / PAGE_BYTES] = true;
}

static void keep_near(const struct code_mapping *mapping, uintptr_t function)
{
    keep(mapping, function - NEAR_BYTES, function + NEAR_BYTES);
}

/* What main() is called from, and where the gate is a read, what it was read by. */
static void keep_callers(const struct code_mapping *mapping, const uintptr_t *stack_end)
{
    const uintptr_t *word = (const uintptr_t *)((uintptr_t)__builtin_frame_address(0) & ~(sizeof(*word) - 1));

    if (stack_end > word + STACK_BYTES / sizeof(*word))
        stack_end = word + STACK_BYTES / sizeof(*word);
    /* A stack of the program's own (makecontext(3), sigaltstack(2)) may have nothing behind it that can be read. */
    uintptr_t page = (uintptr_t)word & ~(uintptr_t)(PAGE_BYTES - 1);
    if (child_call(__NR_madvise, (long)page, (long)((uintptr_t)stack_end - page), MADV_POPULATE_READ, 0) != 0)
        return;
    for (; word < stack_end; word++)
        keep(mapping, *word, *word + 1);
}

static bool is_near(uintptr_t function, uintptr_t page)
{
    return function - page < PAGE_BYTES || page - function < PAGE_BYTES;
}

/* By that advice the range has an entry in its place, for the time between two calls: nothing is called, no signal handled. */
static bool have_table_copied(const struct code_mapping *mapping)
{
    uintptr_t page = mapping->end - PAGE_BYTES;

    /* Not where this function is. */
    if (is_near((uintptr_t)have_table_copied, page))
        page = mapping->start;
    uint64_t mask = child_block_signals();
    bool is_guarded = child_call(__NR_madvise, (long)page, PAGE_BYTES, MADV_GUARD_INSTALL, 0) == 0;
    /* With the guard left there, this process could come to its end at any time. */
    if (is_guarded && child_call(__NR_madvise, (long)page, PAGE_BYTES, MADV_GUARD_REMOVE, 0) != 0)
        child_exit(70);
    child_set_mask(mask);
    return is_guarded;
}

/* The kept ones are brought in, each with its neighbours; those go. */
static uint32_t settle(const struct code_mapping *mapping)
{
    const bool *kept = code.kept + mapping->first;
    uintptr_t count = (mapping->end - mapping->start) / PAGE_BYTES;
    uint32_t kept_count = 0;

    for (int pass = 0; pass < 2; pass++) {
        bool is_kept = pass == 0;
        for (uintptr_t at = 0, next; at < count; at = next) {
            for (next = at + 1; next < count && kept[next] == kept[at];)
                next++;
            if (kept[at] != is_kept)
                continue;
            child_call(__NR_madvise, (long)(mapping->start + at * PAGE_BYTES),
                       (long)((next - at) * PAGE_BYTES), is_kept ? MADV_POPULATE_READ : MADV_DONTNEED, 0);
            if (is_kept)
                kept_count += (uint32_t)(next - at);
        }
    }
    return kept_count;
}

uint32_t code_keep(const void *stack_end)
{
    const struct code_mapping *library = mapping_of((uintptr_t)ending_leave());

    if (library == NULL || !have_table_copied(library))
        return 0;
    keep_callers(library, stack_end);
    keep_near(library, (uintptr_t)ending_exit());
    keep_near(library, (uintptr_t)ending_leave());
    keep_near(library, (uintptr_t)write);
    keep_near(library, (uintptr_t)memcpy);
    keep_near(library, (uintptr_t)memset);
    keep_near(library, (uintptr_t)memchr);
    keep_near(library, (uintptr_t)strlen);
    if (_IO_flush_all != NULL)
        keep(library, (uintptr_t)_IO_flush_all - 2 * NEAR_BYTES, (uintptr_t)_IO_flush_all + STDIO_BYTES);
    return settle(library);
}

static bool is_come_to(const struct code_mapping *mapping)
{
    const bool *kept = code.kept + mapping->first;

    return memchr(kept, true, (mapping->end - mapping->start) / PAGE_BYTES) != NULL;
}

uint32_t code_hand_down(const uint8_t counts[CODE_PAGES_MAX], unsigned least)
{
    uint32_t kept = 0;

    /* A debugger or a tracer may have come since. */
    drop_changed();
    for (unsigned i = 0; i < CODE_PAGES_MAX; i++)
        code.kept[i] |= counts[i] >= least;
    for (unsigned i = 0; i < code.count; i++)
        if (is_come_to(&code.mappings[i]) && have_table_copied(&code.mappings[i]))
            kept += settle(&code.mappings[i]);
    return kept;
}
