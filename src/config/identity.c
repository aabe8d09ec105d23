/* SPDX-License-Identifier: MIT */
#include "config/identity.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

/* (uid_t)-1 means "leave as it is" to the system calls, so it is nobody's number. */
#define ID_MAX (UINT32_MAX - 1)

static enum fp_status unknown(struct fp_error *err, const char *operation, const char *name)
{
    enum fp_status status = error_set(err, FP_CONFIG, 0, operation, "%s", name);

    return error_reason(err, status, "there is no such name in the host's database, and it is no number");
}

/* Replaces the supplementary groups by those of a name; without one there are none. */
static enum fp_status set_user_groups(struct config_identity *identity, const char *name,
                                      struct fp_error *err)
{
    gid_t *groups = NULL;
    int count = 0;

    if (name != NULL) {
        getgrouplist(name, identity->gid, NULL, &count);
        groups = calloc((size_t)count + 1, sizeof(*groups));
        if (groups == NULL)
            return error_set(err, FP_SYSTEM, errno, "look up the groups of", "%s", name);
        if (getgrouplist(name, identity->gid, groups, &count) < 0) {
            free(groups);
            return error_set(err, FP_SYSTEM, EAGAIN, "look up the groups of", "%s", name);
        }
    }
    free(identity->groups);
    identity->groups = groups;
    identity->group_count = (uint32_t)count;
    return FP_OK;
}

enum fp_status identity_set_user(struct config_identity *identity, const char *user, struct fp_error *err)
{
    struct config_identity found = *identity;
    const struct passwd *entry = getpwnam(user);
    uint64_t number;

    if (entry == NULL && text_parse_unsigned(user, ID_MAX, &number))
        entry = getpwuid((uid_t)number);
    else if (entry == NULL)
        return unknown(err, "use the user", user);
    found.user_set = true;
    found.uid = entry != NULL ? entry->pw_uid : (uid_t)number;
    if (!found.group_set) {
        /* A number without an entry has no group of its own; its number is the convention, and fails closed. */
        found.gid = entry != NULL ? entry->pw_gid : (gid_t)number;
        enum fp_status status = set_user_groups(&found, entry != NULL ? entry->pw_name : NULL, err);
        if (status != FP_OK)
            return status;
    }
    *identity = found;
    return FP_OK;
}

static bool find_group(const char *name, gid_t *ret_gid)
{
    const struct group *entry = getgrnam(name);
    uint64_t number;

    if (entry != NULL)
        *ret_gid = entry->gr_gid;
    else if (text_parse_unsigned(name, ID_MAX, &number))
        *ret_gid = (gid_t)number;
    else
        return false;
    return true;
}

enum fp_status identity_set_groups(struct config_identity *identity, const char *groups, struct fp_error *err)
{
    char *copy = strdup(groups);
    gid_t *list = calloc(strlen(groups) / 2 + 1, sizeof(*list));
    enum fp_status status = FP_OK;
    uint32_t count = 0;
    char *rest = copy;

    if (copy == NULL || list == NULL)
        status = error_set(err, FP_SYSTEM, errno, "use the group", "%s", groups);
    for (char *name = NULL; status == FP_OK && (name = strsep(&rest, ",")) != NULL; count++) {
        if (!find_group(name, &list[count]))
            status = unknown(err, "use the group", name);
    }
    free(copy);
    if (status != FP_OK) {
        free(list);
        return status;
    }
    free(identity->groups);
    identity->group_set = true;
    identity->gid = list[0];
    identity->groups = list;
    identity->group_count = count - 1;
    memmove(list, list + 1, (count - 1) * sizeof(*list));
    return FP_OK;
}
