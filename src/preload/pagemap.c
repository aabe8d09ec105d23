/* SPDX-License-Identifier: MIT */
#include "preload/pagemap.h"

#include "sys/child.h"

#include <fcntl.h>

#define PRESENT (UINT64_C(1) << 63)
#define SWAPPED (UINT64_C(1) << 62)
#define OF_FILE (UINT64_C(1) << 61)

bool pagemap_is_there(uint64_t entry)
{
    return (entry & (PRESENT | SWAPPED)) != 0;
}

bool pagemap_is_of_file(uint64_t entry)
{
    return (entry & OF_FILE) != 0;
}

static bool read_open(int fd, uintptr_t start, uintptr_t end, pagemap_function *call, void *data)
{
    uint64_t entries[64];
    unsigned count = (unsigned)((end - start) / PAGEMAP_PAGE_BYTES);
    unsigned done = 0;

    while (done < count) {
        unsigned left = count - done;
        size_t bytes = (left < 64 ? left : 64) * sizeof(*entries);
        long at = (long)((start / PAGEMAP_PAGE_BYTES + done) * sizeof(*entries));
        long got = child_call(__NR_pread64, fd, (long)entries, (long)bytes, at);
        if (got < (long)sizeof(*entries))
            return false;
        for (unsigned i = 0; i < (size_t)got / sizeof(*entries); i++)
            if (!call(done + i, entries[i], data))
                return false;
        done += (unsigned)((size_t)got / sizeof(*entries));
    }
    return true;
}

bool pagemap_read(const char *path, uintptr_t start, uintptr_t end, pagemap_function *call, void *data)
{
    long fd = child_call(__NR_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0);

    if (fd < 0)
        return false;
    bool is_whole = read_open((int)fd, start, end, call, data);
    child_call(__NR_close, fd, 0, 0, 0);
    return is_whole;
}
