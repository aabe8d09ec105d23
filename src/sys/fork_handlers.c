/* SPDX-License-Identifier: MIT */
#include "sys/fork_handlers.h"

#include "sys/process.h"

#include <unistd.h>

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)

#include <link.h>
#include <pthread.h>
#include <string.h>

#define NO_OBJECTS UINT64_C(1469598103934665603)

/*
 * Of the program or library that this file is linked into, where pthread_atfork() is a part of it if anything in it calls that:
 * glibc gives each its own, which calls __register_atfork() of the one C library.
 */
extern int pthread_atfork(void (*)(void), void (*)(void), void (*)(void))
    __attribute__((weak, visibility("hidden")));
/* Of the dynamic loader; a program that is linked statically has none, or an empty one. */
extern struct r_debug _r_debug __attribute__((weak)); /* NOLINT: the name is the C library's */

/* What the dynamic section of an object says of its symbols and its relocations. */
struct imports {
    const ElfW(Sym) * symbols;
    const char *names;
    const ElfW(Rela) * tables[2];
    size_t counts[2];
    bool unreadable;
};

struct search {
    bool registers;
    bool has_both; /* fork() and _Fork() in one object */
};

/* Bytes after bytes, by FNV-1a. */
static uint64_t hash(uint64_t sum, const void *bytes, size_t count)
{
    const unsigned char *next = bytes;

    for (size_t i = 0; i < count; i++)
        sum = (sum ^ next[i]) * UINT64_C(1099511628211);
    return sum;
}

/* Which objects are loaded. Reading their list writes to no page, as dl_iterate_phdr(3) does. */
static uint64_t loaded_objects(void)
{
    uint64_t sum = NO_OBJECTS;

    if (&_r_debug == NULL)
        return sum;
    for (const struct link_map *object = _r_debug.r_map; object != NULL; object = object->l_next) {
        sum = hash(sum, &object->l_addr, sizeof(object->l_addr));
        sum = hash(sum, object->l_name, strlen(object->l_name) + 1);
    }
    return sum;
}

/* glibc has put addresses in the place of offsets, but for the kernel's object. */
static const void *address(const struct dl_phdr_info *object, ElfW(Addr) value)
{
    return (const void *)(value < object->dlpi_addr ? object->dlpi_addr + value : value);
}

static void read_entry(const struct dl_phdr_info *object, const ElfW(Dyn) * entry, struct imports *imports)
{
    switch (entry->d_tag) {
    case DT_SYMTAB:
        imports->symbols = address(object, entry->d_un.d_ptr);
        break;
    case DT_STRTAB:
        imports->names = address(object, entry->d_un.d_ptr);
        break;
    case DT_RELA:
        imports->tables[0] = address(object, entry->d_un.d_ptr);
        break;
    case DT_RELASZ:
        imports->counts[0] = entry->d_un.d_val / sizeof(ElfW(Rela));
        break;
    case DT_JMPREL:
        imports->tables[1] = address(object, entry->d_un.d_ptr);
        break;
    case DT_PLTRELSZ:
        imports->counts[1] = entry->d_un.d_val / sizeof(ElfW(Rela));
        break;
    case DT_REL:
        imports->unreadable = true;
        break;
    default:
        break;
    }
}

static bool registers(const struct imports *imports, size_t symbol)
{
    const char *name = imports->names + imports->symbols[symbol].st_name;

    return strcmp(name, "__register_atfork") == 0 || strcmp(name, "pthread_atfork") == 0;
}

/* What an object calls of others has a relocation. */
static bool may_register(const struct dl_phdr_info *object, const ElfW(Dyn) * dynamic)
{
    struct imports imports = {0};

    for (; dynamic->d_tag != DT_NULL; dynamic++)
        read_entry(object, dynamic, &imports);
    if (imports.unreadable)
        return true;
    for (size_t t = 0; t < 2; t++)
        for (size_t i = 0; i < imports.counts[t]; i++) {
            size_t symbol = imports.tables[t][i].r_info >> (sizeof(ElfW(Addr)) == 8 ? 32 : 8);
            if (symbol != 0 && registers(&imports, symbol))
                return true;
        }
    return false;
}

static bool is_in(const struct dl_phdr_info *object, const ElfW(Phdr) * segment, pid_t (*function)(void))
{
    return (uintptr_t)function - object->dlpi_addr - segment->p_vaddr < segment->p_memsz;
}

static int look(struct dl_phdr_info *object, size_t size, void *data)
{
    struct search *search = data;
    (void)size;

    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type == PT_DYNAMIC)
            search->registers |=
                may_register(object, (const ElfW(Dyn) *)(object->dlpi_addr + segment->p_vaddr));
        else if (segment->p_type == PT_LOAD && is_in(object, segment, fork) && is_in(object, segment, _Fork))
            search->has_both = true;
    }
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

pid_t fork_handlers_fork(struct fork_handlers *found)
{
    return fork_handlers_possible(found) ? fork() : _Fork();
}

#else

bool fork_handlers_possible(struct fork_handlers *found)
{
    (void)found;
    return true;
}

pid_t fork_handlers_fork(struct fork_handlers *found)
{
    (void)found;
    return fork();
}

#endif
