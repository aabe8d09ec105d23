/* SPDX-License-Identifier: MIT */
#include "config/identity.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_BYTES 1024 /* at first */

/* (uid_t)-1 means "leave as it is" to the system calls, so it is nobody's number. */
#define ID_MAX (UINT32_MAX - 1)

static enum fp_status unknown(struct fp_error *err, const char *operation, const char *name)
{
    enum fp_status status = error_set(err, FP_CONFIG, 0, operation, "%s", name);

    return error_reason(err, status, "there is no such name in the host's database, and it is no number");
}

static enum fp_status usage(struct fp_error *err, const char *option, const char *value, const char *expected)
{
    enum fp_status status =
        error_set(err, FP_USAGE, 0, "set", "%s to %s", option, value[0] != '\0' ? value : "an empty text");

    return error_reason(err, status, "%s is expected, by name or by a number up to %u", expected, ID_MAX);
}

static bool is_number(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* The database could not be asked, which says nothing of the name (getpwnam(3) lists what means "no such entry"). */
static enum fp_status no_answer(struct fp_error *err, const char *operation, const char *name)
{
    return error_set(err, FP_SYSTEM, errno, operation, "%s", name);
}

static bool is_answered(void)
{
    return errno == 0 || errno == ENOENT || errno == ESRCH || errno == EBADF || errno == EPERM;
}

/*
 * The entry of a user, by its name or, without one, by its number; NULL and errno as getpwnam(3) has it, which is not asked: what that
 * returned to the program, or returns to another thread, would be overwritten. What the entry points to is in *ret_texts, the caller's.
 */
static const struct passwd *find_entry(const char *name, uid_t uid, struct passwd *entry, char **ret_texts)
{
    struct passwd *found = NULL;
    int failure = ERANGE;

    for (size_t size = ENTRY_BYTES; failure == ERANGE; size *= 2) {
        free(*ret_texts);
        *ret_texts = malloc(size);
        if (*ret_texts == NULL)
            failure = ENOMEM;
        else if (name != NULL)
            failure = getpwnam_r(name, entry, *ret_texts, size, &found);
        else
            failure = getpwuid_r(uid, entry, *ret_texts, size, &found);
    }
    errno = failure;
    return found;
}

/* The number of a group; false and errno likewise. */
static bool find_gid(const char *name, gid_t *ret_gid)
{
    struct group entry;
    struct group *found = NULL;
    char *texts = NULL;
    int failure = ERANGE;

    for (size_t size = ENTRY_BYTES; failure == ERANGE; size *= 2) {
        free(texts);
        texts = malloc(size);
        failure = texts == NULL ? ENOMEM : getgrnam_r(name, &entry, texts, size, &found);
    }
    free(texts);
    errno = failure;
    if (found == NULL)
        return false;
    *ret_gid = entry.gr_gid;
    return true;
}

/* Replaces the supplementary groups by those of a name; without one there are none. */
static enum fp_status set_user_groups(struct config_identity *identity, const char *name,
                                      struct fp_error *err)
{
    gid_t *groups = NULL;
    int count = 0;

    if (name != NULL) {
        errno = 0;
        getgrouplist(name, identity->gid, NULL, &count);
        /* It has no way to fail of its own: what it could not ask is left out. */
        if (error_is_shortage(errno))
            return no_answer(err, "look up the groups of", name);
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

static enum fp_status set_user(struct config_identity *identity, const char *user, char **texts,
                               struct fp_error *err)
{
    struct config_identity found = *identity;
    struct passwd room;
    uint64_t number;

    if (user[0] == '\0')
        return usage(err, "--user", user, "a user");
    const struct passwd *entry = find_entry(user, 0, &room, texts);
    bool is_id = entry == NULL && is_answered() && text_parse_unsigned(user, ID_MAX, &number);
    if (is_id)
        entry = find_entry(NULL, (uid_t)number, &room, texts);
    if (entry == NULL && !is_answered())
        return no_answer(err, "look up the user", user);
    if (entry == NULL && !is_id)
        return is_number(user) ? usage(err, "--user", user, "a user") : unknown(err, "use the user", user);
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

enum fp_status identity_set_user(struct config_identity *identity, const char *user, struct fp_error *err)
{
    char *texts = NULL;
    enum fp_status status = set_user(identity, user, &texts, err);

    free(texts);
    return status;
}

static enum fp_status find_group(const char *name, gid_t *ret_gid, struct fp_error *err)
{
    uint64_t number;

    if (find_gid(name, ret_gid))
        return FP_OK;
    if (!is_answered())
        return no_answer(err, "look up the group", name);
    else if (text_parse_unsigned(name, ID_MAX, &number))
        *ret_gid = (gid_t)number;
    else if (is_number(name))
        return usage(err, "--group", name, "a group");
    else
        return unknown(err, "use the group", name);
    return FP_OK;
}

static bool has_empty_item(const char *list)
{
    for (const char *at = list;; at++) {
        size_t length = strcspn(at, ",");
        if (length == 0)
            return true;
        at += length;
        if (*at == '\0')
            return false;
    }
}

enum fp_status identity_set_groups(struct config_identity *identity, const char *groups, struct fp_error *err)
{
    if (has_empty_item(groups))
        return usage(err, "--group", groups,
                     groups[0] == '\0' ? "a group" : "a group on each side of a comma");

    char *copy = strdup(groups);
    gid_t *list = calloc(strlen(groups) / 2 + 1, sizeof(*list));
    enum fp_status status = FP_OK;
    uint32_t count = 0;
    char *rest = copy;

    if (copy == NULL || list == NULL)
        status = error_set(err, FP_SYSTEM, errno, "use the group", "%s", groups);
    for (char *name = NULL; status == FP_OK && (name = strsep(&rest, ",")) != NULL; count++)
        status = find_group(name, &list[count], err);
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
