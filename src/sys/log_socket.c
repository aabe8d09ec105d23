/* SPDX-License-Identifier: MIT */
#include "sys/log_socket.h"

#include "sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* An abstract name (unix(7)): a zero byte, then this, the tag and the number, 16 hexadecimal digits each. */
#define PREFIX        "forkport."
#define PREFIX_LENGTH (sizeof(PREFIX) - 1)
#define DIGITS        16
#define NAME_LENGTH   (1 + PREFIX_LENGTH + 2 * DIGITS)
/* Where the name stays, if nobody else makes or removes anything there. */
#define KEPT_IN "/run"

static socklen_t length_of(size_t name_length)
{
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name_length);
}

static void put_digits(char *at, uint64_t number)
{
    static const char hex[] = "0123456789abcdef";

    for (int i = DIGITS - 1; i >= 0; i--, number >>= 4)
        at[i] = hex[number & 15];
}

/* Of a name with a slash, which is no longer than one of a socket. */
static void folder_of(const char *name, char ret_folder[sizeof(((struct sockaddr_un *)NULL)->sun_path)])
{
    size_t length = strlen(name);

    while (length > 0 && name[--length] != '/')
        ;
    memcpy(ret_folder, name, length);
    ret_folder[length] = '\0';
}

static void remove_name(const char *name)
{
    char folder[sizeof(((struct sockaddr_un *)NULL)->sun_path)];

    folder_of(name, folder);
    unlink(name);
    rmdir(folder);
}

/* Nobody finds the reader any more. */
static void lose_name(struct log_socket *log)
{
    if (log->name[0] != '\0')
        remove_name(log->name);
    log->name[0] = '\0';
    fd_close(fd_take(&log->path_fd));
}

void log_socket_close(struct log_socket *log)
{
    int saved = errno;

    lose_name(log);
    fd_close(fd_take(&log->reader));
    errno = saved;
}

/* Is it a folder of ours, or root's, that nobody else may write to? */
static bool is_safe(const char *folder)
{
    struct stat status;

    return lstat(folder, &status) == 0 && S_ISDIR(status.st_mode) &&
           (status.st_mode & (S_IWGRP | S_IWOTH)) == 0 && (status.st_uid == 0 || status.st_uid == geteuid());
}

/* Of a server that was killed: its folder is as bind_reader() makes one, and its socket refuses. */
static bool is_stale(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char folder[sizeof(at.sun_path)];
    struct stat status;

    folder_of(name, folder);
    if (lstat(folder, &status) < 0 || status.st_mode != (S_IFDIR | 0700) || status.st_uid != geteuid() ||
        lstat(name, &status) < 0 || !S_ISSOCK(status.st_mode))
        return false;
    FD_AUTO fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    memcpy(at.sun_path, name, strlen(name));
    return fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0 && errno == ECONNREFUSED;
}

void log_socket_remove_stale(void)
{
    char name[sizeof(((struct log_socket *)NULL)->name)];
    const struct dirent *entry;

    DIRECTORY_AUTO *folder = is_safe(KEPT_IN) ? opendir(KEPT_IN) : NULL;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        int length = snprintf(name, sizeof(name), KEPT_IN "/%s/log", entry->d_name);
        if (length == sizeof(name) - 1 && strncmp(entry->d_name, PREFIX, PREFIX_LENGTH) == 0 &&
            is_stale(name))
            remove_name(name);
    }
}

/* Binds the reader in a folder that only we can enter. */
static int bind_reader(struct log_socket *log, const char *folder)
{
    struct sockaddr_un first = {.sun_family = AF_UNIX};
    char made[sizeof(first.sun_path) - 8];
    char name[sizeof(first.sun_path)];

    if ((size_t)snprintf(made, sizeof(made), "%s/forkport.XXXXXX", folder) >= sizeof(made)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (mkdtemp(made) == NULL)
        return -1;
    /* Until it is bound it refuses as one of a server that was killed does: so that name is another one. */
    snprintf(first.sun_path, sizeof(first.sun_path), "%s/new", made);
    snprintf(name, sizeof(name), "%s/log", made);
    /* The umask, which is every thread's, might keep us out as well. Nobody else can come in before the second. */
    bool is_bound = chmod(made, 0700) == 0 &&
                    bind(log->reader, (struct sockaddr *)&first, sizeof(first)) == 0 &&
                    chmod(first.sun_path, 0700) == 0 && rename(first.sun_path, name) == 0;
    int path_fd = is_bound ? open(name, O_PATH | O_CLOEXEC) : -1;
    if (path_fd >= 0 && strcmp(folder, KEPT_IN) == 0 && is_safe(folder)) {
        strcpy(log->name, name);
        return path_fd;
    }
    int saved = errno;
    unlink(first.sun_path);
    remove_name(name);
    errno = saved;
    return path_fd;
}

/* What does not do in one folder may in another, whatever it was; the name is a socket's only once. */
static void open_in(struct log_socket *log, const char *folder)
{
    int on = 1;

    log->reader = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (log->reader >= 0 && setsockopt(log->reader, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0)
        log->path_fd = bind_reader(log, folder);
    if (log->path_fd < 0)
        log_socket_close(log);
}

static int connect_to(const struct log_socket *log)
{
    struct log_socket_names names;

    log_socket_names(log, &names);
    FD_AUTO fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || (connect(fd, (struct sockaddr *)&names.reader, names.reader_length) < 0 &&
                   connect(fd, (struct sockaddr *)&names.inside, names.inside_length) < 0))
        return -1;
    return fd_take(&fd);
}

int log_socket_share(struct log_socket *log)
{
    int fd = connect_to(log);

    if (fd >= 0)
        lose_name(log);
    return fd;
}

int log_socket_open(struct log_socket *log, uint64_t tag)
{
    const char *folders[] = {KEPT_IN, getenv("TMPDIR"), "/tmp", "/dev/shm"};

    *log = (struct log_socket){.reader = -1, .path_fd = -1, .tag = tag};
    for (size_t i = 0; log->path_fd < 0 && i < sizeof(folders) / sizeof(folders[0]); i++) {
        if (folders[i] != NULL && folders[i][0] != '\0')
            open_in(log, folders[i]);
    }
    /* It is tried at once: elsewhere than in /run it fails without /proc. */
    FD_AUTO tried = log->path_fd >= 0 ? connect_to(log) : -1;
    if (tried >= 0)
        return 0;
    log_socket_close(log);
    return -1;
}

__attribute__((format(printf, 2, 3))) static socklen_t put_path(struct sockaddr_un *name, const char *format,
                                                                ...)
{
    va_list arguments;

    name->sun_family = AF_UNIX;
    va_start(arguments, format);
    int length = vsnprintf(name->sun_path, sizeof(name->sun_path), format, arguments);
    va_end(arguments);
    return length_of((size_t)length + 1);
}

void log_socket_names(const struct log_socket *log, struct log_socket_names *ret_names)
{
    memset(ret_names, 0, sizeof(*ret_names));
    ret_names->own.sun_family = AF_UNIX;
    memcpy(ret_names->own.sun_path + 1, PREFIX, PREFIX_LENGTH);
    put_digits(ret_names->own.sun_path + 1 + PREFIX_LENGTH, log->tag);
    ret_names->own_length = length_of(NAME_LENGTH);
    /* Not /proc/self: for each new process the kernel would make the folder's entries anew, which costs more than all the rest. */
    ret_names->reader_length =
        log->name[0] != '\0' ? put_path(&ret_names->reader, "%s", log->name)
                             : put_path(&ret_names->reader, "/proc/%d/fd/%d", (int)getpid(), log->path_fd);
    ret_names->inside_length = put_path(&ret_names->inside, "/proc/self/fd/%d", log->path_fd);
}

void log_socket_number(struct log_socket_names *names, uint64_t number)
{
    put_digits(names->own.sun_path + 1 + PREFIX_LENGTH + DIGITS, number);
}

/* The number in a name of ours, or 0. */
static uint64_t number_of(const struct log_socket *log, const struct sockaddr_un *name, socklen_t length)
{
    char ours[PREFIX_LENGTH + DIGITS];
    char digits[DIGITS + 1] = "";

    if (length != length_of(NAME_LENGTH) || name->sun_path[0] != '\0')
        return 0;
    memcpy(ours, PREFIX, PREFIX_LENGTH);
    put_digits(ours + PREFIX_LENGTH, log->tag);
    if (memcmp(name->sun_path + 1, ours, sizeof(ours)) != 0)
        return 0;
    memcpy(digits, name->sun_path + 1 + sizeof(ours), DIGITS);
    return strtoull(digits, NULL, 16);
}

static pid_t pid_of(struct msghdr *message)
{
    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at != NULL; at = CMSG_NXTHDR(message, at)) {
        if (at->cmsg_level == SOL_SOCKET && at->cmsg_type == SCM_CREDENTIALS) {
            struct ucred sender;
            memcpy(&sender, CMSG_DATA(at), sizeof(sender));
            return sender.pid;
        }
    }
    return 0;
}

ssize_t log_socket_read(const struct log_socket *log, char *buffer, size_t size,
                        struct log_socket_sender *ret_sender)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct sockaddr_un name;
    struct iovec part = {.iov_base = buffer, .iov_len = size};
    struct msghdr message = {
        .msg_name = &name,
        .msg_namelen = sizeof(name),
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    ssize_t length = recvmsg(log->reader, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
    if (length < 0)
        return -1;
    ret_sender->pid = pid_of(&message);
    ret_sender->number = number_of(log, &name, message.msg_namelen);
    return length;
}
