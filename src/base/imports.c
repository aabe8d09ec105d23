/* SPDX-License-Identifier: MIT */
#include "base/imports.h"

#include <stddef.h>
#include <string.h>

/* glibc has put addresses in the place of offsets, but for the kernel's object (vdso(7)); musl has not. */
static const void *address(ElfW(Addr) base, ElfW(Addr) value)
{
    return (const void *)(value < base ? base + value : value); /* NOLINT(performance-no-int-to-ptr) */
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
    static const struct {
        unsigned start;
        unsigned bytes;
    } tables[] = {{DT_RELA, DT_RELASZ}, {DT_JMPREL, DT_PLTRELSZ}};
    ElfW(Addr) values[DT_JMPREL + 1] = {0}; /* of the section's entries, by their tags */

    for (; dynamic->d_tag != DT_NULL; dynamic++)
        if (dynamic->d_tag > 0 && dynamic->d_tag <= DT_JMPREL)
            values[dynamic->d_tag] = dynamic->d_un.d_val;
    if (values[DT_REL] != 0)
        return true;
    const ElfW(Sym) *symbols = address(base, values[DT_SYMTAB]);
    const char *texts = address(base, values[DT_STRTAB]);
    for (size_t t = 0; t < sizeof(tables) / sizeof(*tables); t++) {
        const ElfW(Rela) *entry = address(base, values[tables[t].start]);
        const ElfW(Rela) *end = entry + values[tables[t].bytes] / sizeof(*entry);
        for (; entry < end; entry++) {
            size_t symbol = entry->r_info >> (sizeof(ElfW(Addr)) == 8 ? 32 : 8);
            if (symbol != 0 && is_among(texts + symbols[symbol].st_name, names))
                return true;
        }
    }
    return false;
}
