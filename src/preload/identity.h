/* SPDX-License-Identifier: MIT
 *
 * preload/identity.h - what lies behind a descriptor, told apart by bare system calls.
 *
 * Two descriptors of one file, pipe or socket are the same by this, whether or not they are one open file of it (kcmp(2) tells).
 */
#ifndef PRELOAD_IDENTITY_H
#define PRELOAD_IDENTITY_H

#include "sys/child.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <stdbool.h>
#include <stdint.h>

struct identity {
    uint64_t device;
    uint64_t inode;
    uint32_t type; /* S_IFMT of inode(7); 0: it is closed */
};

static inline struct identity identity_of(int fd)
{
    const int at_empty_path = 0x1000;
    struct statx status = {0};

    if (child_call5(__NR_statx, fd, (long)"", at_empty_path, STATX_TYPE | STATX_INO, (long)&status) != 0)
        return (struct identity){0};
    return (struct identity){.device = (uint64_t)status.stx_dev_major << 32 | status.stx_dev_minor,
                             .inode = status.stx_ino,
                             .type = status.stx_mode & S_IFMT};
}

static inline bool identity_is_same(const struct identity *one, const struct identity *other)
{
    return one->device == other->device && one->inode == other->inode && one->type == other->type;
}

#endif
