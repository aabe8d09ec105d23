/* SPDX-License-Identifier: MIT */
#include "doctor/cgroup.h"

#include "base/text.h"
#include "sys/probe.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Version 1 has no word for "no limit", only a number that no machine has. */
#define ABSURD (UINT64_C(1) << 60)

/* The files of one version. */
struct files {
    const char *limit;
    const char *used;
};

struct controller {
    const char *name; /* in version 1 */
    struct files files[2];
};

static const struct controller controllers[] = {
    [CGROUP_PROCESSES] = {"pids", {{"pids.max", "pids.current"}, {"pids.max", "pids.current"}}},
    [CGROUP_MEMORY] = {"memory",
                       {{"memory.limit_in_bytes", "memory.usage_in_bytes"},
                        {"memory.max", "memory.current"}}},
};

static bool read_number(const char *folder, const char *file, uint64_t *ret_number)
{
    char path[PATH_MAX];
    char digits[32];

    if (snprintf(path, sizeof(path), "%s/%s", folder, file) >= (int)sizeof(path))
        return false;
    return probe_read(path, digits, sizeof(digits)) > 0 &&
           text_parse_unsigned(digits, UINT64_MAX, ret_number);
}

static uint64_t room_in(const char *folder, const struct files *files)
{
    uint64_t limit;
    uint64_t used;

    if (!read_number(folder, files->limit, &limit) || limit >= ABSURD ||
        !read_number(folder, files->used, &used))
        return UINT64_MAX;
    return limit > used ? limit - used : 0;
}

/* From the group's folder up to the mount. */
static uint64_t least_room(const char *mount, const char *group, const struct files *files)
{
    char folder[PATH_MAX];
    size_t mounted = strlen(mount);
    uint64_t least = UINT64_MAX;

    if (snprintf(folder, sizeof(folder), "%s%s", mount, group) >= (int)sizeof(folder))
        return least;
    for (;;) {
        uint64_t room = room_in(folder, files);
        least = room < least ? room : least;
        char *slash = strrchr(folder, '/');
        if (strlen(folder) <= mounted || slash == NULL)
            return least;
        *slash = '\0';
    }
}

/* Is the word one of those between commas? */
static bool has_word(const char *list, size_t length, const char *word)
{
    while (length > 0) {
        size_t one = 0;
        while (one < length && list[one] != ',')
            one++;
        if (one == strlen(word) && strncmp(list, word, one) == 0)
            return true;
        one += one < length;
        list += one;
        length -= one;
    }
    return false;
}

/* "0::/group" is of version 2, "4:memory:/group" of version 1. */
static uint64_t room_by_line(const char *line, const struct controller *controller)
{
    const char *list = strchr(line, ':');
    const char *group = list != NULL ? strchr(list + 1, ':') : NULL;
    char mount[64];

    if (group == NULL)
        return UINT64_MAX;
    list++;
    if (group == list) {
        uint64_t alone = least_room("/sys/fs/cgroup", group + 1, &controller->files[1]);
        uint64_t beside = least_room("/sys/fs/cgroup/unified", group + 1, &controller->files[1]);
        return alone < beside ? alone : beside;
    }
    if (!has_word(list, (size_t)(group - list), controller->name))
        return UINT64_MAX;
    snprintf(mount, sizeof(mount), "/sys/fs/cgroup/%s", controller->name);
    return least_room(mount, group + 1, &controller->files[0]);
}

uint64_t cgroup_room(enum cgroup_kind kind)
{
    char groups[8192];
    uint64_t least = UINT64_MAX;
    char *rest = groups;

    if (probe_read("/proc/self/cgroup", groups, sizeof(groups)) < 0)
        return least;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        uint64_t room = room_by_line(line, &controllers[kind]);
        least = room < least ? room : least;
    }
    return least;
}
