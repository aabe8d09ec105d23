/* SPDX-License-Identifier: MIT */
#include "preload/files.h"

#include "preload/lines.h"
#include "preload/standard.h"
#include "sys/child.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/epoll.h>

#define MEMBERS_MAX    32
#define EPOLL_DEPTH    5 /* the kernel nests no deeper */
#define AT_EMPTY_PATH_ 0x1000

struct member {
    int fd;
    struct epoll_event event;
};

struct file {
    int fd;
    int original; /* another one that is the same open file, and was noted before it; -1: none */
    bool is_epoll;
    int flags;      /* of open(2); of an epoll instance 0 */
    int close_flag; /* O_CLOEXEC or 0 */
    int64_t offset;
    unsigned first; /* of its members */
    unsigned count;
};

static struct {
    struct file items[FILES_MAX];
    unsigned count;
    struct member members[MEMBERS_MAX];
    unsigned member_count;
    bool too_many;
} files;

/* "/proc/self/fdinfo/5"; room for 32. */
static const char *path_of(const char *folder, int fd, char *path)
{
    char digits[12];
    size_t length = strlen(folder);
    size_t count = 0;

    memcpy(path, folder, length);
    do
        digits[count++] = (char)('0' + fd % 10);
    while ((fd /= 10) != 0);
    while (count > 0)
        path[length++] = digits[--count];
    path[length] = '\0';
    return path;
}

static int number_of(const char *digits)
{
    int number = 0;

    for (; *digits >= '0' && *digits <= '9'; digits++)
        number = number * 10 + (*digits - '0');
    return number;
}

static bool is_of_member(const char **line)
{
    return strncmp(*line, "tfd:", 4) == 0 && lines_skip(line, "tfd:");
}

/* "tfd:        5 events:       19 data:     7ffc  pos:..." */
static void note_member(const char *line, void *data)
{
    struct member member = {0};

    (void)data;
    if (!is_of_member(&line))
        return;
    member.fd = number_of(line);
    if (!lines_skip(&line, "events:"))
        return;
    member.event.events = (uint32_t)lines_hexadecimal(&line);
    if (!lines_skip(&line, "data:"))
        return;
    member.event.data.u64 = lines_hexadecimal(&line);
    if (files.member_count < MEMBERS_MAX)
        files.members[files.member_count++] = member;
    else
        files.too_many = true;
}

static void note_epoll(struct file *file)
{
    char path[40];

    file->is_epoll = true;
    file->first = files.member_count;
    lines_read(path_of("/proc/self/fdinfo/", file->fd, path), note_member, NULL);
    file->count = files.member_count - file->first;
}

/* Is it one with a place in it, a file or a folder? */
static bool has_place(int fd)
{
    struct statx status = {0};

    return child_call5(__NR_statx, fd, (long)"", AT_EMPTY_PATH_, STATX_TYPE, (long)&status) == 0 &&
           ((status.stx_mode & S_IFMT) == S_IFREG || (status.stx_mode & S_IFMT) == S_IFDIR);
}

static void find_lock(const char *line, void *data)
{
    if (strncmp(line, "lock:", 5) == 0)
        *(bool *)data = true;
}

/* By any of the calls that lock a file: copies would share it (flock(2)), or not have it (fcntl(2)). */
static bool is_locked(int fd)
{
    bool found = false;
    char path[40];

    lines_read(path_of("/proc/self/fdinfo/", fd, path), find_lock, &found);
    return found;
}

/* Are they one open file, with one place in it (dup(2))? A kernel that does not say (kcmp(2)) has told it as no. */
static bool is_one(int fd, int other)
{
    long pid = child_call(__NR_getpid, 0, 0, 0, 0);

    return child_call5(__NR_kcmp, pid, pid, KCMP_FILE, fd, other) == 0;
}

/* What it shares with other processes by being executed, it goes on sharing. */
static bool is_inherited(int fd)
{
    for (int other = 0; other < STANDARD_COUNT; other++) {
        if (standard_stands(other) && (fd == other || is_one(fd, other)))
            return true;
    }
    return false;
}

static int original_of(int fd)
{
    for (unsigned i = 0; i < files.count; i++) {
        if (is_one(fd, files.items[i].fd))
            return files.items[i].fd;
    }
    return -1;
}

static long open_file(const struct file *file)
{
    char path[40];
    int flags = (file->flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW)) | O_CLOEXEC;

    /* It has no name, but can be opened by its descriptor as any other file. */
    if ((flags & O_TMPFILE) == O_TMPFILE)
        flags &= ~O_TMPFILE;
    long fd = child_call(__NR_openat, AT_FDCWD, (long)path_of("/proc/self/fd/", file->fd, path), flags, 0);

    if (fd >= 0)
        child_call(__NR_lseek, fd, file->offset, 0 /* SEEK_SET */, 0);
    return fd;
}

/* By a process that gave up its privileges since, or where its path is no more, as some file systems have it. */
static bool can_be_renewed(const struct file *file)
{
    long fd = open_file(file);

    if (fd >= 0)
        child_call(__NR_close, fd, 0, 0, 0);
    return fd >= 0;
}

static enum template_refusal keep(struct file *file)
{
    file->original = original_of(file->fd);
    file->flags = (int)child_call(__NR_fcntl, file->fd, F_GETFL, 0, 0);
    file->close_flag = child_call(__NR_fcntl, file->fd, F_GETFD, 0, 0) != 0 ? O_CLOEXEC : 0;
    file->offset = child_call(__NR_lseek, file->fd, 0, 1 /* SEEK_CUR */, 0);
    if (files.count == FILES_MAX || files.too_many)
        return TEMPLATE_REFUSAL_FILES;
    if (file->original < 0 && !file->is_epoll && !can_be_renewed(file))
        return TEMPLATE_REFUSAL_REOPEN;
    files.items[files.count++] = *file;
    return TEMPLATE_REFUSAL_NONE;
}

static enum template_refusal note(int folder, const char *name)
{
    char target[64];
    struct file file = {.fd = number_of(name)};
    long length = child_call(__NR_readlinkat, folder, (long)name, (long)target, sizeof(target) - 1);

    if (length <= 0 || file.fd == folder)
        return TEMPLATE_REFUSAL_NONE;
    if (file.fd >= STANDARD_COUNT && standard_is_copied_to(file.fd))
        return TEMPLATE_REFUSAL_COPIES;
    if (is_inherited(file.fd))
        return TEMPLATE_REFUSAL_NONE;
    target[length] = '\0';
    if (target[0] == '/' && is_locked(file.fd))
        return TEMPLATE_REFUSAL_LOCKS;
    if (strcmp(target, "anon_inode:[io_uring]") == 0)
        return TEMPLATE_REFUSAL_URING;
    if (strcmp(target, "anon_inode:[eventpoll]") == 0)
        note_epoll(&file);
    else if (!has_place(file.fd))
        return TEMPLATE_REFUSAL_NONE;
    return keep(&file);
}

static long open_epoll(void)
{
    return child_call(__NR_epoll_create1, O_CLOEXEC, 0, 0, 0);
}

void files_close(const struct files_anew *anew)
{
    for (unsigned i = 0; i < anew->count; i++) {
        if (anew->fds[i] >= 0)
            child_call(__NR_close, anew->fds[i], 0, 0, 0);
    }
}

bool files_open(struct files_anew *ret_anew)
{
    for (ret_anew->count = 0; ret_anew->count < files.count; ret_anew->count++) {
        const struct file *file = &files.items[ret_anew->count];
        long fd = file->original >= 0 ? -1 : file->is_epoll ? open_epoll() : open_file(file);
        if (fd < 0 && file->original < 0) {
            files_close(ret_anew);
            return false;
        }
        ret_anew->fds[ret_anew->count] = (int)fd;
    }
    return true;
}

/* At once, with the descriptors that there may be. */
static bool can_open_all(void)
{
    struct files_anew anew;
    bool can = files_open(&anew);

    if (can)
        files_close(&anew);
    return can;
}

/* As the kernel has it: linux_dirent64 of getdents(2). */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

enum template_refusal files_note(void)
{
    char entries[2048] __attribute__((aligned(8)));
    enum template_refusal refusal = TEMPLATE_REFUSAL_NONE;
    long got = 0;
    int folder =
        (int)child_call(__NR_openat, AT_FDCWD, (long)"/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

    if (folder < 0)
        return TEMPLATE_REFUSAL_PROC;
    while (refusal == TEMPLATE_REFUSAL_NONE &&
           (got = child_call(__NR_getdents64, folder, (long)entries, sizeof(entries), 0)) > 0) {
        for (long at = 0; at < got && refusal == TEMPLATE_REFUSAL_NONE;) {
            const struct entry *entry = (const struct entry *)(entries + at);
            at += entry->length;
            if (entry->name[0] != '.')
                refusal = note(folder, entry->name);
        }
    }
    child_call(__NR_close, folder, 0, 0, 0);
    return refusal == TEMPLATE_REFUSAL_NONE && !can_open_all() ? TEMPLATE_REFUSAL_FILES : refusal;
}

static void fill_epoll(const struct file *file)
{
    for (unsigned i = 0; i < file->count; i++) {
        struct member *member = &files.members[file->first + i];
        child_call(__NR_epoll_ctl, file->fd, EPOLL_CTL_ADD, member->fd, (long)&member->event);
    }
}

void files_take(const struct files_anew *anew)
{
    for (unsigned i = 0; i < anew->count; i++) {
        const struct file *file = &files.items[i];
        child_call(__NR_dup3, anew->fds[i] >= 0 ? anew->fds[i] : file->original, file->fd, file->close_flag,
                   0);
    }
    files_close(anew);
    /* Once all are there, since one may be in another. */
    for (unsigned i = 0; i < anew->count; i++) {
        if (files.items[i].is_epoll && files.items[i].original < 0)
            fill_epoll(&files.items[i]);
    }
}

struct found {
    int fds[MEMBERS_MAX];
    unsigned count;
};

static void find_member(const char *line, void *data)
{
    struct found *found = data;

    if (is_of_member(&line) && found->count < MEMBERS_MAX)
        found->fds[found->count++] = number_of(line);
}

/* A member may be an instance itself. Of what is none, no line is of a member. */
static bool has_input(int fd, unsigned depth)
{
    struct found found = {.count = 0};
    bool has = false;
    char path[40];

    lines_read(path_of("/proc/self/fdinfo/", fd, path), find_member, &found);
    for (unsigned i = 0; i < found.count && !has; i++)
        has = found.fds[i] == 0 || (depth < EPOLL_DEPTH && has_input(found.fds[i], depth + 1));
    return has;
}

bool files_epoll_has_input(int fd)
{
    return fd >= 0 && has_input(fd, 1);
}
