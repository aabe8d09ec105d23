/* SPDX-License-Identifier: MIT */
#include "base/imports.h"

#include <stddef.h>
#include <string.h>

struct imports {
    const ElfW(Sym) * symbols;
    const char *names;
    const ElfW(Rela) * tables[2];
    size_t counts[2];
    bool unreadable;
};

/* glibc has put addresses in the place of offsets, but for the kernel's object (vdso(7)); musl has not. */
static const void *address(ElfW(Addr) base, ElfW(Addr) value)
{
    return (const void *)(value < base ? base + value : value); /* NOLINT(performance-no-int-to-ptr) */
}

static void read_entry(struct imports *imports, const ElfW(Dyn) * entry, ElfW(Addr) base)
{
    switch (entry->d_tag) {
    case DT_SYMTAB:
        imports->symbols = address(base, entry->d_un.d_ptr);
        break;
    case DT_STRTAB:
        imports->names = address(base, entry->d_un.d_ptr);
        break;
    case DT_RELA:
        imports->tables[0] = address(base, entry->d_un.d_ptr);
        break;
    case DT_RELASZ:
        imports->counts[0] = entry->d_un.d_val / sizeof(ElfW(Rela));
        break;
    case DT_JMPREL:
        imports->tables[1] = address(base, entry->d_un.d_ptr);
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

static bool is_among(const char *name, const char *const names[])
{
    for (; *names != NULL; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

bool imports_any(const ElfW(Dyn) * dynamic, ElfW(Addr) base, const char *const names[])
{
    struct imports imports = {0};

    for (; dynamic->d_tag != DT_NULL; dynamic++)
        read_entry(&imports, dynamic, base);
    if (imports.unreadable)
        return true;
    for (size_t t = 0; t < 2; t++)
        for (size_t i = 0; i < imports.counts[t]; i++) {
            size_t symbol = imports.tables[t][i].r_info >> (sizeof(ElfW(Addr)) == 8 ? 32 : 8);
            if (symbol != 0 && is_among(imports.names + imports.symbols[symbol].st_name, names))
                return true;
        }
    return false;
}
