/* SPDX-License-Identifier: MIT */
#include "sys/program.h"

#include "sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

int program_check(const char *path)
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
    return program_check(path) == 0 ? strdup(path) : NULL;
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
        if (program_check(path) == 0)
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

int program_map(const char *path, struct program_file *ret_file)
{
    struct stat status;
    FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &status) < 0)
        return -1;
    struct program_file file = {
        .length = (size_t)status.st_size,
        .gains_rights =
            (status.st_mode & (S_ISUID | S_ISGID)) != 0 || fgetxattr(fd, "security.capability", NULL, 0) >= 0,
    };
    if (file.length > 0) {
        void *bytes = mmap(NULL, file.length, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED)
            return -1;
        file.bytes = bytes;
    }
    *ret_file = file;
    return 0;
}

void program_unmap(struct program_file *file)
{
    if (file->bytes != NULL)
        munmap((void *)file->bytes, file->length);
    file->bytes = NULL;
}

static int open_in(const char *start, int length, const char *folder, const char *name)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof(path), "%.*s%s/%s", length, start, folder, name) >= (int)sizeof(path))
        return -1;
    return open(path, O_RDONLY | O_CLOEXEC);
}

int program_open_companion(const char *name, const char *folder, const char *installed)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    int fd = -1;

    if (length > 0) {
        self[length] = '\0';
        char *slash = strrchr(self, '/');
        int parent = slash != NULL ? (int)(slash - self) : 0;
        fd = open_in(self, parent, "", name);
        while (parent > 0 && self[parent - 1] != '/')
            parent--;
        if (fd < 0)
            fd = open_in(self, parent, folder, name);
    }
    return fd >= 0 ? fd : open_in(installed, (int)strlen(installed), "", name);
}

bool program_has_path(int fd)
{
    char path[32];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return access(path, F_OK) == 0;
}

bool program_can_be_mapped(int fd)
{
    void *bytes = mmap(NULL, 1, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);

    return bytes != MAP_FAILED && munmap(bytes, 1) == 0;
}
