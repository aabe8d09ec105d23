/* SPDX-License-Identifier: MIT
 *
 * preload/mapping.h - this process's mappings, as /proc/self/smaps has them, by bare system calls.
 *
 * mappings_read() calls for each, in the order of their addresses; it must not change them. False where that cannot be read to its end.
 */
#ifndef PRELOAD_MAPPING_H
#define PRELOAD_MAPPING_H

#include <stdbool.h>
#include <stdint.h>

struct mapping {
    uintptr_t start;
    uintptr_t end;
    uintptr_t resident_kib;
    uintptr_t own_kib; /* of that what is not the file's, and what is in swap */
    uint64_t device;   /* both 0: anonymous */
    uint64_t inode;
    bool is_private_r;  /* may be read, not written */
    bool is_code;       /* may be read and executed, not written */
    bool is_named;      /* a file's name, or one in brackets */
    bool is_stack;      /* that of the process */
    bool is_private_rw; /* may be read and written, not executed, and is copied on write */
    bool is_ordinary;   /* nothing special was asked for it, and none of it is in swap */
};

static inline bool mapping_is_of_file(const struct mapping *mapping)
{
    return mapping->device != 0 || mapping->inode != 0;
}

static inline bool mapping_has(const struct mapping *mapping, const void *place)
{
    return (uintptr_t)place >= mapping->start && (uintptr_t)place < mapping->end;
}

typedef void mapping_function(const struct mapping *mapping, void *data);

bool mappings_read(mapping_function *call, void *data);

#endif
