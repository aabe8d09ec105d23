/* SPDX-License-Identifier: MIT */
#include "sys/namespaces.h"

#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

/* 0: the process has gone, or may not be looked into, which errno tells. */
static ino_t namespace_of(const char *process)
{
    char path[64];
    struct text text;
    struct stat about;

    text_init(&text, path, sizeof(path));
    text_printf(&text, "/proc/%s/ns/net", process);
    text_end(&text);
    return stat(path, &about) == 0 ? about.st_ino : 0;
}

static bool is_listed(const struct namespace *items, size_t count, ino_t inode)
{
    for (size_t i = 0; i < count; i++) {
        if (items[i].inode == inode)
            return true;
    }
    return false;
}

static int add(struct namespace **items, size_t *count, ino_t inode, pid_t pid)
{
    struct namespace *grown = reallocarray(*items, *count + 1, sizeof(*grown));

    if (grown == NULL)
        return -1;
    grown[(*count)++] = (struct namespace){.inode = inode, .pid = pid};
    *items = grown;
    return 0;
}

int namespaces_list(struct namespace **ret_items, size_t *ret_count, bool *ret_incomplete)
{
    struct namespace *items = NULL;
    size_t count = 0;
    bool incomplete = false;
    int result = 0;
    uint64_t pid;

    ino_t own = namespace_of("thread-self");
    DIR *processes = own != 0 ? opendir("/proc") : NULL;
    if (processes == NULL)
        return -1;
    for (const struct dirent *entry; result == 0 && (entry = readdir(processes)) != NULL;) {
        if (!text_parse_unsigned(entry->d_name, INT_MAX, &pid))
            continue;
        ino_t inode = namespace_of(entry->d_name);
        if (inode == 0)
            incomplete = incomplete || errno == EACCES || errno == EPERM;
        else if (inode != own && !is_listed(items, count, inode))
            result = add(&items, &count, inode, (pid_t)pid);
    }
    closedir(processes);
    if (result < 0) {
        free(items);
        return -1;
    }
    *ret_items = items;
    *ret_count = count;
    *ret_incomplete = incomplete;
    return 0;
}
