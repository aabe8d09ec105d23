/* SPDX-License-Identifier: MIT */
#include "preload/standard.h"

#include "preload/identity.h"
#include "sys/child.h"

#include <fcntl.h>
#include <stdint.h>

/* Out of the way of the numbers that the program gets for its own; from 64 on, a table of them costs more to copy. */
#define UP_LEAST 56

/* What a program may ask for of a descriptor, by fcntl(2). */
struct manner {
    int status;     /* F_SETFL */
    int close_flag; /* F_SETFD, as O_CLOEXEC */
    bool is_owner;  /* F_SETOWN, the process itself */
    int signal;     /* F_SETSIG */
};

static struct {
    struct identity first[STANDARD_COUNT];
    struct manner first_manner[STANDARD_COUNT];
    struct manner manner[STANDARD_COUNT];
    /* Of what each becomes in a worker: its own number where it stays; -1 where it is closed. */
    int source[STANDARD_COUNT];
} standard;

uint64_t standard_socket(int fd)
{
    struct identity now = identity_of(fd);

    return now.type == S_IFSOCK ? now.inode : 0;
}

static struct manner manner_of(int fd)
{
    long status = child_call(__NR_fcntl, fd, F_GETFL, 0, 0);
    long close_flag = child_call(__NR_fcntl, fd, F_GETFD, 0, 0);
    long number = child_call(__NR_fcntl, fd, F_GETSIG, 0, 0);
    struct f_owner_ex owner = {0};

    child_call(__NR_fcntl, fd, F_GETOWN_EX, (long)&owner, 0);
    return (struct manner){.status = status < 0 ? 0 : (int)status,
                           .close_flag = close_flag > 0 ? O_CLOEXEC : 0,
                           .is_owner = owner.pid != 0 && owner.pid == child_self(),
                           .signal = number > 0 ? (int)number : 0};
}

void standard_begin(void)
{
    for (int fd = 0; fd < STANDARD_COUNT; fd++) {
        standard.first[fd] = identity_of(fd);
        standard.first_manner[fd] = manner_of(fd);
    }
}

static bool stands_for(int fd, int which)
{
    struct identity now = identity_of(fd);

    return identity_is_same(&now, &standard.first[which]);
}

bool standard_stands(int fd)
{
    return stands_for(fd, fd);
}

bool standard_is_connection(int fd)
{
    return stands_for(fd, 0);
}

bool standard_is_copied_to(int fd)
{
    struct identity now = identity_of(fd);

    /* A standard error that is logged is a socket of each worker's own; any other is the same for all. */
    return now.type == S_IFSOCK &&
           (identity_is_same(&now, &standard.first[0]) || identity_is_same(&now, &standard.first[2]));
}

int standard_duplicate(int fd)
{
    long number = child_call(__NR_fcntl, fd, F_DUPFD_CLOEXEC, UP_LEAST, 0);

    return (int)(number < 0 ? child_call(__NR_fcntl, fd, F_DUPFD_CLOEXEC, STANDARD_COUNT, 0) : number);
}

/* False: there is none. */
static bool find_source(int fd, int *ret_source)
{
    const struct identity closed = {0};
    struct identity now = identity_of(fd);

    *ret_source = identity_is_same(&now, &standard.first[fd]) ? fd : -1;
    if (*ret_source == fd || identity_is_same(&now, &closed))
        return true;
    for (int other = 0; other < STANDARD_COUNT && *ret_source < 0; other++) {
        if (identity_is_same(&now, &standard.first[other]))
            *ret_source = other;
    }
    if (*ret_source < 0)
        *ret_source = standard_duplicate(fd);
    return *ret_source >= 0;
}

bool standard_keep(void)
{
    for (int fd = 0; fd < STANDARD_COUNT; fd++) {
        standard.manner[fd] = manner_of(fd);
        if (fd != 0 && !find_source(fd, &standard.source[fd]))
            return false;
    }
    return child_close_range(0, STANDARD_COUNT - 1) == 0;
}

void standard_restore(void)
{
    const int *source = standard.source;

    /* 1 may be a copy of 2, but 2 never of 1: where that is the connection, it is 0 as well. */
    for (int fd = 1; fd < STANDARD_COUNT; fd++) {
        if (source[fd] < 0)
            child_call(__NR_close, fd, 0, 0, 0);
        else if (source[fd] != fd)
            child_call(__NR_dup3, source[fd], fd, 0, 0);
    }
    for (int fd = 0; fd < STANDARD_COUNT; fd++) {
        const struct manner *manner = &standard.manner[fd];
        if (source[fd] == fd && manner->status != standard.first_manner[fd].status)
            child_call(__NR_fcntl, fd, F_SETFL, manner->status, 0);
        if (manner->close_flag != 0)
            child_call(__NR_fcntl, fd, F_SETFD, FD_CLOEXEC, 0);
    }
}

void standard_forget(void)
{
    for (int fd = 1; fd < STANDARD_COUNT; fd++) {
        if (standard.source[fd] >= STANDARD_COUNT)
            child_call(__NR_close, standard.source[fd], 0, 0, 0);
    }
    for (int fd = 0; fd < STANDARD_COUNT; fd++) {
        const struct manner *manner = &standard.manner[fd];
        if (standard.source[fd] == fd && manner->is_owner)
            child_call(__NR_fcntl, fd, F_SETOWN, child_self(), 0);
        if (standard.source[fd] == fd && manner->signal != 0)
            child_call(__NR_fcntl, fd, F_SETSIG, manner->signal, 0);
    }
}
