/* SPDX-License-Identifier: MIT */
#include "sys/namespaces.h"

#include "base/text.h"
#include "sys/fd.h"
#include "sys/netns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_not_permitted(void)
{
    return errno == EACCES || errno == EPERM;
}

/* False: the process has gone, or may not be looked into, which errno tells. */
static bool find_namespace(const char *process, struct stat *ret_about)
{
    char path[64];
    struct text text;

    text_init(&text, path, sizeof(path));
    text_printf(&text, "/proc/%s/ns/net", process);
    text_end(&text);
    return stat(path, ret_about) == 0;
}

static struct namespace *find(const struct namespaces *namespaces, ino_t inode)
{
    for (size_t i = 0; i < namespaces->count; i++) {
        if (namespaces->items[i].inode == inode)
            return &namespaces->items[i];
    }
    return NULL;
}

/* NULL: no memory. */
static struct namespace *add(struct namespaces *namespaces, ino_t inode)
{
    struct namespace *grown = reallocarray(namespaces->items, namespaces->count + 1, sizeof(*grown));

    if (grown == NULL)
        return NULL;
    namespaces->items = grown;
    grown[namespaces->count] = (struct namespace){.inode = inode};
    return &grown[namespaces->count++];
}

static int list_processes(struct namespaces *namespaces, const struct stat *own)
{
    struct stat about;
    uint64_t pid;

    DIRECTORY_AUTO *processes = opendir("/proc");
    if (processes == NULL)
        return -1;
    for (const struct dirent *entry; (entry = readdir(processes)) != NULL;) {
        if (!text_parse_unsigned(entry->d_name, INT_MAX, &pid))
            continue;
        if (!find_namespace(entry->d_name, &about)) {
            namespaces->incomplete = namespaces->incomplete || is_not_permitted();
        } else if (about.st_ino != own->st_ino && find(namespaces, about.st_ino) == NULL) {
            struct namespace *added = add(namespaces, about.st_ino);
            if (added == NULL)
                return -1;
            added->pid = (pid_t)pid;
        }
    }
    return 0;
}

/* Of two names of one namespace the first that is read stays. */
static int take_name(struct namespaces *namespaces, const char *name, ino_t inode)
{
    struct namespace *known = find(namespaces, inode);

    if (known == NULL)
        known = add(namespaces, inode);
    if (known == NULL)
        return -1;
    if (known->name[0] == '\0')
        memcpy(known->name, name, strlen(name) + 1);
    return 0;
}

static int list_names(struct namespaces *namespaces, const struct stat *own)
{
    struct stat about;
    int result = 0;

    DIRECTORY_AUTO *names = opendir(NETNS_NAMES);
    if (names == NULL) {
        namespaces->names_hidden = is_not_permitted();
        return 0;
    }
    for (const struct dirent *entry; result == 0 && (entry = readdir(names)) != NULL;) {
        if (entry->d_name[0] == '.' && (entry->d_name[1] == '\0' || strcmp(entry->d_name, "..") == 0))
            continue;
        if (fstatat(dirfd(names), entry->d_name, &about, 0) < 0)
            namespaces->names_hidden = namespaces->names_hidden || is_not_permitted();
        /* What is left of a name whose mount has gone is a file of another file system. */
        else if (about.st_dev == own->st_dev && about.st_ino != own->st_ino)
            result = take_name(namespaces, entry->d_name, about.st_ino);
    }
    return result;
}

int namespaces_list(struct namespaces *ret_namespaces)
{
    struct namespaces namespaces = {.count = 0};
    struct stat own;

    if (!find_namespace("thread-self", &own))
        return -1;
    if (list_processes(&namespaces, &own) < 0 || list_names(&namespaces, &own) < 0) {
        namespaces_done(&namespaces);
        return -1;
    }
    *ret_namespaces = namespaces;
    return 0;
}

void namespaces_done(struct namespaces *namespaces)
{
    free(namespaces->items);
    *namespaces = (struct namespaces){.count = 0};
}
