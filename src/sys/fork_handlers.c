/* SPDX-License-Identifier: MIT */
#include "sys/fork_handlers.h"

#include "base/imports.h"
#include "sys/process.h"

#include <unistd.h>

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)

#include <link.h>
#include <pthread.h>
#include <string.h>

/* xxHash (package libxxhash-dev), compiled into this file. */
#define XXH_INLINE_ALL
#include <xxhash.h>

/*
 * Of the program or library that this file is linked into, where pthread_atfork() is a part of it if anything in it calls that:
 * glibc gives each its own, which calls __register_atfork() of the one C library.
 */
extern int pthread_atfork(void (*)(void), void (*)(void), void (*)(void))
    __attribute__((weak, visibility("hidden")));
/* Of the dynamic loader; a program that is linked statically has none, or an empty one. */
extern struct r_debug _r_debug __attribute__((weak)); /* NOLINT: the name is the C library's */

/* What pthread_atfork() of each object calls, and what those of old programs call. */
static const char *const registering[] = {"__register_atfork", "pthread_atfork", NULL};
/* Whoever has these of another may have an address in his own code that leads there. */
static const char *const forking[] = {"fork", "_Fork", NULL};

struct search {
    bool registers;
    bool has_both; /* fork() and _Fork() in one object */
};

/* Which objects are loaded. Reading their list writes to no page, as dl_iterate_phdr(3) does. */
static uint64_t loaded_objects(void)
{
    uint64_t sum = 1;

    if (&_r_debug == NULL)
        return sum;
    for (const struct link_map *object = _r_debug.r_map; object != NULL; object = object->l_next)
        sum = XXH3_64bits_withSeed(object->l_name, strlen(object->l_name), sum ^ object->l_addr);
    return sum;
}

static bool is_in(const struct dl_phdr_info *object, const ElfW(Phdr) * segment, pid_t (*function)(void))
{
    return (uintptr_t)function - object->dlpi_addr - segment->p_vaddr < segment->p_memsz;
}

static int look(struct dl_phdr_info *object, size_t size, void *data)
{
    struct search *search = data;
    bool has_both = false;
    bool imports = false;
    (void)size;

    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD)
            has_both |= is_in(object, segment, fork) && is_in(object, segment, _Fork);
        if (segment->p_type != PT_DYNAMIC)
            continue;
        const ElfW(Dyn) *dynamic = (const ElfW(Dyn) *)(object->dlpi_addr + segment->p_vaddr);
        search->registers |= imports_any(dynamic, object->dlpi_addr, registering);
        imports = imports_any(dynamic, object->dlpi_addr, forking);
    }
    search->has_both |= has_both && !imports;
    return 0;
}

bool fork_handlers_possible(struct fork_handlers *found)
{
    if (!process_has_one_thread())
        return true;
    uint64_t objects = loaded_objects();
    if (objects != found->objects) {
        struct search search = {0};
        dl_iterate_phdr(look, &search);
        found->objects = objects;
        found->possible = pthread_atfork != NULL || search.registers || !search.has_both;
    }
    return found->possible;
}

pid_t fork_handlers_fork(bool are_possible)
{
    return are_possible ? fork() : _Fork();
}

#else

bool fork_handlers_possible(struct fork_handlers *found)
{
    (void)found;
    return true;
}

pid_t fork_handlers_fork(bool are_possible)
{
    (void)are_possible;
    return fork();
}

#endif
