/* SPDX-License-Identifier: MIT
 *
 * preload/pagemap.h - what is in a process's page table (/proc/PID/pagemap; admin-guide/mm/pagemap.rst of the kernel's documentation).
 *
 * pagemap_read() calls for each page of a range, from its start: the page's number in it, and its entry. False from the call ends it. False
 * is returned then, and where the table cannot be read. Bare system calls.
 */
#ifndef PRELOAD_PAGEMAP_H
#define PRELOAD_PAGEMAP_H

#include <stdbool.h>
#include <stdint.h>

#define PAGEMAP_PAGE_BYTES 4096

typedef bool pagemap_function(unsigned page, uint64_t entry, void *data);

bool pagemap_read(const char *path, uintptr_t start, uintptr_t end, pagemap_function *call, void *data);
/* Is there a page, or would there be one in memory if it were not swapped out? */
bool pagemap_is_there(uint64_t entry);
/* Of one that is there: is it of a file, and not this process's own copy? */
bool pagemap_is_of_file(uint64_t entry);

#endif
