/* SPDX-License-Identifier: MIT */
#include "sys/program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int check(const char *path)
{
    struct stat status;

    if (stat(path, &status) < 0)
        return -1;
    if (S_ISDIR(status.st_mode))
        errno = EISDIR;
    else if (!S_ISREG(status.st_mode))
        errno = EACCES;
    else
        return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS);
    return -1;
}

static char *check_and_copy(const char *path)
{
    return check(path) == 0 ? strdup(path) : NULL;
}

char *program_find(const char *name)
{
    const char *directories = getenv("PATH");
    int failure = ENOENT;

    if (strchr(name, '/') != NULL)
        return check_and_copy(name);
    if (directories == NULL)
        directories = "/usr/local/bin:/bin:/usr/bin";
    for (const char *at = directories;; at++) {
        int length = (int)strcspn(at, ":");
        char *path;
        if (asprintf(&path, "%.*s/%s", length > 0 ? length : 1, length > 0 ? at : ".", name) < 0)
            return NULL;
        if (check(path) == 0)
            return path;
        /* As execvp(3): a file that may not be executed is remembered, but the search goes on. */
        if (errno == EACCES)
            failure = EACCES;
        free(path);
        at += length;
        if (*at == '\0')
            break;
    }
    errno = failure;
    return NULL;
}
