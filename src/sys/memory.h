/* SPDX-License-Identifier: MIT
 *
 * sys/memory.h - anonymous memory from the kernel, zeroed and backed only where it is touched.
 *
 * Private memory belongs to the supervisor: it is left out of forked copies (MADV_DONTFORK), so a child cannot read
 * it and the supervisor does not pay for copying its pages after each fork. A forked child that touches it ends by
 * SIGSEGV. Shared memory is seen by forked children, who may write to it. Both are for tables made once, at start:
 * calls return NULL with errno set, and the size given to memory_unmap() must be the one it was mapped with.
 */
#ifndef SYS_MEMORY_H
#define SYS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#define HUGE_BYTES ((uintptr_t)2 << 20)
/* Of madvise(2), from Linux 5.14, 6.1 and 6.13 on. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif

void *memory_map_private(size_t bytes);
/*
 * Behind the end of the first thread's stack where there is room: a forked copy that writes there has a page table for it
 * already, which a mapping of no neighbours would have to be given.
 */
void *memory_map_shared(size_t bytes);
void memory_unmap(void *memory, size_t bytes);
/*
 * Shared with whoever maps the descriptor as well, also after execve(2); forked copies do not have it. It stays as large as it is
 * (seals of memfd_create(2)), whoever comes to the descriptor: a look at memory that is gone would be a fault.
 */
void *memory_map_common(size_t bytes, int *ret_fd);

/* Ordinary memory, which forked copies keep; `alignment` is a power of two, not below a page. */
void *memory_map_aligned(size_t bytes, size_t alignment);
/* Has the kernel back it now and not when it is touched; `huge`: by huge pages where it can. Failing changes nothing. */
void memory_back(void *memory, size_t bytes, bool huge);

#endif
