/* SPDX-License-Identifier: MIT */
#include "sys/memory.h"

#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

void *memory_map_private(size_t bytes)
{
    void *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        return NULL;
    madvise(memory, bytes, MADV_DONTFORK);
    return memory;
}

/*
 * A page behind the end of the first thread's stack, so that what is written beyond it is a fault. The last text there is the
 * program's name, with a pointer's size of zeros behind it.
 */
static void *behind_stack(void)
{
    const char *name = (const char *)getauxval(AT_EXECFN);

    if (name == NULL)
        return NULL;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t end = (uintptr_t)name + strlen(name) + 1 + sizeof(void *);
    /* Rounded as the kernel would do it; valgrind asks for that. */
    return (void *)((end / page + 1) * page);
}

void *memory_map_shared(size_t bytes)
{
    void *memory = mmap(behind_stack(), bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

void *memory_map_common(size_t bytes, int *ret_fd)
{
    FD_AUTO fd = memfd_create("forkport", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return NULL;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return NULL;
    madvise(memory, bytes, MADV_DONTFORK);
    *ret_fd = fd_take(&fd);
    return memory;
}

void memory_unmap(void *memory, size_t bytes)
{
    if (memory != NULL)
        munmap(memory, bytes);
}

static char *map_ordinary(size_t bytes)
{
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

/*
 * A mapping mostly comes next to the last one, so that the second of a row is aligned by itself and one mapping with the first.
 * Else it is mapped with the alignment to spare, and what sticks out is given back.
 */
void *memory_map_aligned(size_t bytes, size_t alignment)
{
    char *memory = map_ordinary(bytes);

    if (memory == MAP_FAILED)
        return NULL;
    if (((uintptr_t)memory & (alignment - 1)) == 0)
        return memory;
    munmap(memory, bytes);
    memory = map_ordinary(bytes + alignment);
    if (memory == MAP_FAILED)
        return NULL;
    size_t before = -(uintptr_t)memory & (alignment - 1);
    if (before > 0)
        munmap(memory, before);
    munmap(memory + before + bytes, alignment - before);
    return memory + before;
}

void memory_back(void *memory, size_t bytes, bool huge)
{
    if (huge)
        madvise(memory, bytes, MADV_HUGEPAGE);
    madvise(memory, bytes, MADV_POPULATE_WRITE); /* where it is not known, touching does it */
    if (huge)
        madvise(memory, bytes, MADV_COLLAPSE); /* what small pages backed already */
}
