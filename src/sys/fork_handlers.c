/* SPDX-License-Identifier: MIT */
#include "sys/fork_handlers.h"

#include "base/imports.h"
#include "sys/process.h"

#include <unistd.h>

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)

#include <errno.h>
#include <link.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
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

/* glibc has the thread's number where the kernel clears it. */
static void look_at_thread(struct thread_known *ret_thread)
{
    *ret_thread = (struct thread_known){0};
    if (process_is_filtered())
        return;
    thread_ask(ret_thread);
    if (ret_thread->cleared != NULL && *ret_thread->cleared != child_call(__NR_gettid, 0, 0, 0, 0))
        ret_thread->cleared = NULL;
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
        look_at_thread(&found->thread);
        found->possible = pthread_atfork != NULL || search.registers || !search.has_both;
    }
    return found->possible;
}

/* Robust locks that are held are not the copy's: the C library has a list of its own behind the kernel's, which it begins anew. */
static bool holds_none(const struct thread_known *thread)
{
    const struct robust_list_head *held = thread->robust_list;

    return held == NULL || held->list.next == &held->list;
}

__attribute__((hot)) pid_t fork_handlers_fork(const struct fork_handlers *found, bool are_possible)
{
    /* The copy may not have what was found. */
    const struct thread_known thread = found->thread;

    if (are_possible)
        return fork();
    if (thread.cleared == NULL || !holds_none(&thread))
        return _Fork();
    long pid = thread_fork(CLONE_CHILD_CLEARTID | SIGCHLD, NULL, thread.cleared);
    if (pid == 0)
        thread_tell_robust_list(&thread);
    if (pid < 0)
        errno = (int)-pid;
    return pid < 0 ? -1 : (pid_t)pid;
}

#else

bool fork_handlers_possible(struct fork_handlers *found)
{
    (void)found;
    return true;
}

pid_t fork_handlers_fork(const struct fork_handlers *found, bool are_possible)
{
    (void)found;
    (void)are_possible;
    return fork();
}

#endif
