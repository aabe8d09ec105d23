/* SPDX-License-Identifier: MIT */
#include "preload/files.h"

#include "preload/channel.h"
#include "preload/filter.h"
#include "preload/identity.h"
#include "preload/lines.h"
#include "preload/standard.h"
#include "sys/child.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/epoll.h>

#define MEMBERS_MAX 32
#define EPOLL_DEPTH 5 /* the kernel nests no deeper */

struct member {
    int fd;
    struct epoll_event event;
};

enum file_kind { FILE_PLACE, FILE_EPOLL, FILE_EVENT, FILE_TIMER, FILE_PIPE, FILE_PAIR };

struct file {
    int fd;
    int original; /* another one that is the same open file, and was noted before it; -1: none */
    enum file_kind kind;
    int flags;             /* of open(2); of an eventfd(2) channel_event_note() adds to them */
    int close_flag;        /* O_CLOEXEC or 0 */
    int64_t offset;        /* of an eventfd(2) its count, of a pipe its size */
    unsigned first;        /* of an epoll instance's members */
    unsigned count;        /* of these */
    struct identity which; /* of a pipe, or of a socket of a pair */
    struct identity peer;  /* of the other end; of a pipe, which has one for both, the same */
    int other;             /* the item of the other end; -1: there is none */
    bool is_ended;         /* of a pipe: nobody writes to it any more */
    struct channel_timer timer;
};

static struct {
    struct file items[FILES_MAX];
    unsigned count;
    struct member members[MEMBERS_MAX];
    unsigned member_count;
    bool too_many;
    int sockets[FILES_MAX]; /* that are connected, and may be one of a pair */
    unsigned socket_count;
    int own[2];
} files;

/* What the server has all workers share. */
static struct {
    int fds[TEMPLATE_KEPT_MAX];
    struct identity which[TEMPLATE_KEPT_MAX];
    unsigned count;
} kept;

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
    member.fd = (int)lines_decimal(line);
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

    file->kind = FILE_EPOLL;
    file->first = files.member_count;
    lines_read(lines_path("/proc/self/fdinfo/", file->fd, path), note_member, NULL);
    file->count = files.member_count - file->first;
}

/* Is it one with a place in it, a file or a folder? */
static bool has_place(int fd)
{
    struct identity which = identity_of(fd);

    return which.type == S_IFREG || which.type == S_IFDIR;
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

    lines_read(lines_path("/proc/self/fdinfo/", fd, path), find_lock, &found);
    return found;
}

/* Are they one open file, with one place in it (dup(2))? Of files and timers a kernel that does not say (kcmp(2)) has told it as no. */
static bool is_one(int fd, int other)
{
    long pid = child_self();
    long order = child_call5(__NR_kcmp, pid, pid, KCMP_FILE, fd, other);

    return order == 0 || (order < 0 && channel_is_one(fd, other));
}

void files_begin(const struct template_board *board, const int own[2])
{
    memcpy(files.own, own, sizeof(files.own));
    for (uint32_t i = 0; i < board->kept_count && i < TEMPLATE_KEPT_MAX; i++) {
        kept.fds[i] = board->kept[i];
        kept.which[i] = identity_of(kept.fds[i]);
        kept.count++;
    }
}

/* Not where the program has put something else there. */
static bool is_kept(int fd)
{
    for (unsigned i = 0; i < kept.count; i++) {
        struct identity now = identity_of(kept.fds[i]);
        if (identity_is_same(&now, &kept.which[i]) && (fd == kept.fds[i] || is_one(fd, kept.fds[i])))
            return true;
    }
    return false;
}

/* What it shares with other processes by being executed, it goes on sharing. */
static bool is_inherited(int fd)
{
    if (is_kept(fd))
        return true;
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
    long fd = child_call(__NR_openat, AT_FDCWD, (long)lines_path("/proc/self/fd/", file->fd, path), flags, 0);

    if (fd >= 0)
        child_call(__NR_lseek, fd, file->offset, 0 /* SEEK_SET */, 0);
    return fd;
}

/* By a process that gave up its privileges since, or where its path is no more, as some file systems have it. */
static bool can_be_renewed(const struct file *file)
{
    long fd = file->kind == FILE_TIMER ? channel_timer_open(&file->timer, file->flags) : open_file(file);

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
    if (file->original < 0 && file->kind == FILE_EVENT)
        file->offset = (int64_t)channel_event_note(file->fd, &file->flags);
    if (file->kind == FILE_PIPE)
        file->offset = channel_pipe_size(file->fd);
    if (file->kind == FILE_TIMER)
        file->timer = channel_timer_note(file->fd);
    if (file->original < 0 && (file->kind == FILE_PLACE || file->kind == FILE_TIMER) && !can_be_renewed(file))
        return TEMPLATE_REFUSAL_REOPEN;
    files.items[files.count++] = *file;
    return TEMPLATE_REFUSAL_NONE;
}

static bool is_noted(int fd)
{
    for (unsigned i = 0; i < files.count; i++) {
        if (files.items[i].fd == fd)
            return true;
    }
    return false;
}

static enum template_refusal keep_end(struct file end)
{
    end.is_ended = end.kind == FILE_PIPE && channel_pipe_is_ended(end.fd);
    end.other = -1;
    enum template_refusal refusal = keep(&end);

    for (unsigned i = 0; refusal == TEMPLATE_REFUSAL_NONE && end.original < 0 && i < files.count; i++) {
        struct file *file = &files.items[i];
        if (file->kind != end.kind || file->other >= 0 || file->original >= 0 ||
            !identity_is_same(&file->which, &end.peer) ||
            (end.kind == FILE_PIPE && ((file->flags ^ end.flags) & O_ACCMODE) == 0))
            continue;
        file->other = (int)files.count - 1;
        files.items[files.count - 1].other = (int)i;
        break;
    }
    return refusal;
}

/* Are they the two ends of one? */
static bool are_both(const struct file *end, int at)
{
    struct identity of = identity_of(at);

    if (!identity_is_same(&of, &end->peer))
        return false;
    return end->kind == FILE_PAIR ? channel_pair_peer(at) == end->which.inode
                                  : channel_pipe_reads(at) != channel_pipe_reads(end->fd);
}

static enum template_refusal keep_if_of(const struct file *end, int at)
{
    struct identity of = identity_of(at);
    bool is_peer = identity_is_same(&of, &end->peer);

    if ((!is_peer && !identity_is_same(&of, &end->which)) || is_noted(at))
        return TEMPLATE_REFUSAL_NONE;
    return keep_end(
        (struct file){.fd = at, .kind = end->kind, .which = of, .peer = is_peer ? end->which : end->peer});
}

/* One of which it has both ends, to wake itself by: with the second all that are of it are kept. */
static enum template_refusal note_end(const struct file *end)
{
    enum template_refusal refusal = TEMPLATE_REFUSAL_NONE;
    bool has_both = false;

    for (int at = STANDARD_COUNT; at < end->fd && !has_both; at++)
        has_both = are_both(end, at);
    for (int at = STANDARD_COUNT; at <= end->fd && has_both && refusal == TEMPLATE_REFUSAL_NONE; at++)
        refusal = keep_if_of(end, at);
    return refusal;
}

/* And one with a text in it that was written to its end, as shells have it. */
static enum template_refusal note_pipe(int fd)
{
    struct identity which = identity_of(fd);
    struct file end = {.fd = fd, .kind = FILE_PIPE, .which = which, .peer = which};

    return channel_pipe_reads(fd) && channel_pipe_is_ended(fd) ? keep_end(end) : note_end(&end);
}

/* The other end of it may come yet. */
static enum template_refusal note_connected(int fd)
{
    if (!channel_is_connected(fd))
        return TEMPLATE_REFUSAL_NONE;
    if (files.socket_count == FILES_MAX)
        return TEMPLATE_REFUSAL_FILES;
    files.sockets[files.socket_count++] = fd;
    return TEMPLATE_REFUSAL_NONE;
}

static enum template_refusal note_socket(int fd)
{
    struct identity which = identity_of(fd);
    struct file end = {.fd = fd, .kind = FILE_PAIR, .which = which, .peer = which};

    end.peer.inode = filter_is_own() ? 0 : channel_pair_peer(fd);
    enum template_refusal refusal = end.peer.inode == 0 ? TEMPLATE_REFUSAL_NONE : note_end(&end);
    return refusal != TEMPLATE_REFUSAL_NONE || is_noted(fd) ? refusal : note_connected(fd);
}

/* What one copy asks there, another could get the answer to. */
static bool talks(void)
{
    for (unsigned i = 0; i < files.socket_count; i++) {
        if (!is_noted(files.sockets[i]))
            return true;
    }
    return false;
}

/* Of what a process that is to be a worker itself has: is it another thing, once its connection has come? */
static bool is_of_connection(int fd, const char *target)
{
    return strcmp(target, "anon_inode:[eventpoll]") == 0 ? files_epoll_has_input(fd)
                                                         : fd < STANDARD_COUNT && has_place(fd);
}

#define TIMER "anon_inode:[timerfd]"

/* By what stands for it in /proc/PID/fd. */
static enum template_refusal note_own(int fd, const char *target)
{
    struct file file = {.fd = fd};

    if (strcmp(target, "anon_inode:[eventpoll]") == 0)
        note_epoll(&file);
    else if (strcmp(target, "anon_inode:[eventfd]") == 0)
        file.kind = FILE_EVENT;
    else if (strcmp(target, TIMER) == 0)
        file.kind = FILE_TIMER;
    else if (strncmp(target, "pipe:[", 6) == 0)
        return note_pipe(fd);
    else if (strncmp(target, "socket:[", 8) == 0)
        return note_socket(fd);
    else if (!has_place(fd))
        return TEMPLATE_REFUSAL_NONE;
    return keep(&file);
}

static bool is_own(int fd)
{
    return fd == files.own[0] || fd == files.own[1];
}

static enum template_refusal note(int folder, const char *name, bool is_alone)
{
    char target[64];
    int fd = (int)lines_decimal(name);
    long length = child_call(__NR_readlinkat, folder, (long)name, (long)target, sizeof(target) - 1);

    if (length <= 0 || fd == folder || is_own(fd))
        return TEMPLATE_REFUSAL_NONE;
    if (fd >= STANDARD_COUNT && standard_is_copied_to(fd))
        return TEMPLATE_REFUSAL_COPIES;
    if (is_inherited(fd))
        return TEMPLATE_REFUSAL_NONE;
    target[length] = '\0';
    if (strcmp(target, "anon_inode:[io_uring]") == 0)
        return TEMPLATE_REFUSAL_URING;
    /* One that waits would keep the others from it until its client comes. */
    if (target[0] == '/' && is_locked(fd))
        return TEMPLATE_REFUSAL_LOCKS;
    /* It would run out while nobody is there. */
    if (is_alone && strcmp(target, TIMER) == 0 && channel_timer_runs(fd))
        return TEMPLATE_REFUSAL_TIMERS;
    if (is_alone && !is_of_connection(fd, target))
        return TEMPLATE_REFUSAL_NONE;
    return note_own(fd, target);
}

static bool open_pipe(unsigned item, int *fds)
{
    const struct file *file = &files.items[item];
    unsigned read_item = (file->flags & O_ACCMODE) == O_RDONLY ? item : (unsigned)file->other;
    const struct file *from = &files.items[read_item];
    const struct file *to = from->other >= 0 ? &files.items[from->other] : NULL;

    return channel_pipe_open(&(struct channel_pipe){.from = from->fd,
                                                    .size = file->offset,
                                                    .read_flags = from->flags,
                                                    .write_flags = to ? to->flags : 0},
                             &fds[read_item], to ? &fds[from->other] : NULL);
}

static bool open_anew(unsigned item, int *fds)
{
    const struct file *file = &files.items[item];
    long fd = fds[item];

    if (file->kind == FILE_PIPE)
        return fd >= 0 || open_pipe(item, fds);
    if (file->kind == FILE_PAIR)
        return fd >= 0 || channel_pair_open(file->fd, file->flags, files.items[file->other].flags, &fds[item],
                                            &fds[file->other]);
    if (file->kind == FILE_PLACE)
        fd = open_file(file);
    else if (file->kind == FILE_EPOLL)
        fd = child_call(__NR_epoll_create1, O_CLOEXEC, 0, 0, 0);
    else if (file->kind == FILE_TIMER)
        fd = channel_timer_open(&file->timer, file->flags);
    else
        fd = channel_event_open((uint64_t)file->offset, file->flags);
    fds[item] = (int)fd;
    return fd >= 0;
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
    ret_anew->count = files.count;
    for (unsigned i = 0; i < files.count; i++)
        ret_anew->fds[i] = -1;
    for (unsigned i = 0; i < files.count; i++) {
        if (files.items[i].original < 0 && !open_anew(i, ret_anew->fds)) {
            files_close(ret_anew);
            return false;
        }
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

/* One that was opened by way of /proc, and not with the two ends. */
static bool has_third_end(void)
{
    for (unsigned i = 0; i < files.count; i++) {
        const struct file *file = &files.items[i];
        if (file->kind == FILE_PIPE && file->original < 0 && file->other < 0 && !file->is_ended)
            return true;
    }
    return false;
}

enum template_refusal files_note(bool is_alone)
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
                refusal = note(folder, entry->name, is_alone);
        }
    }
    child_call(__NR_close, folder, 0, 0, 0);
    if (refusal == TEMPLATE_REFUSAL_NONE && talks())
        return TEMPLATE_REFUSAL_TALKS;
    if (refusal == TEMPLATE_REFUSAL_NONE && (has_third_end() || !can_open_all()))
        return TEMPLATE_REFUSAL_FILES;
    return refusal;
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
        int from = anew->fds[i] >= 0 ? anew->fds[i] : file->original;
        if (from >= 0)
            child_call(__NR_dup3, from, file->fd, file->close_flag, 0);
    }
    files_close(anew);
    /* Once all are there, since one may be in another. */
    for (unsigned i = 0; i < anew->count; i++) {
        if (files.items[i].kind == FILE_EPOLL && files.items[i].original < 0)
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
        found->fds[found->count++] = (int)lines_decimal(line);
}

/* A member may be an instance itself. Of what is none, no line is of a member. */
static bool has_input(int fd, unsigned depth)
{
    struct found found = {.count = 0};
    bool has = false;
    char path[40];

    lines_read(lines_path("/proc/self/fdinfo/", fd, path), find_member, &found);
    for (unsigned i = 0; i < found.count && !has; i++)
        has = found.fds[i] == 0 || (depth < EPOLL_DEPTH && has_input(found.fds[i], depth + 1));
    return has;
}

bool files_epoll_has_input(int fd)
{
    return fd >= 0 && has_input(fd, 1);
}
