/* SPDX-License-Identifier: MIT
 *
 * base/imports.h - what an object that is loaded wants of others.
 */
#ifndef BASE_IMPORTS_H
#define BASE_IMPORTS_H

#include <link.h>
#include <stdbool.h>

/*
 * Whether the object at this address, with this dynamic section, has a relocation against one of the names, the last of which is NULL:
 * what it calls of others without asking the loader by name (dlsym(3)) has one. True where its relocations are of the kind that this
 * machine's objects do not have.
 */
bool imports_any(const ElfW(Dyn) * dynamic, ElfW(Addr) base, const char *const names[]);

#endif
