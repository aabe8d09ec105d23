/* SPDX-License-Identifier: MIT
 *
 * preload/files.h - open descriptors that workers must not share, and what is done about each.
 *
 * A forked copy has the same open file descriptions: of a file, the place that is read next (shells read their scripts
 * on), and the locks (flock(2)); of an epoll instance, the set itself; of an eventfd(2), a timerfd or a pipe or socketpair(2) that it has both ends of, what
 * one wakes itself by, and another would read. So at the gate they are noted, and before each fork the
 * template opens them anew, for the worker alone: there they take the places of the others, put to where these were, or filled with
 * the same descriptors, of which 0 is the connection by then. What cannot be told apart at all (io_uring, a connected socket) makes a program unfit, and
 * so does what cannot be opened anew, at the gate or later. What the server keeps open for its workers (fp_server_keep(3)) is theirs in
 * common, as where they are executed. Bare system calls; errno stays.
 */
#ifndef PRELOAD_FILES_H
#define PRELOAD_FILES_H

#include "wire/template_message.h"

#include <stdbool.h>

/* Before the program has opened anything. `own`: two descriptors of the gate's, which are passed over when files are noted. */
void files_begin(const struct template_board *board, const int own[2]);
/*
 * While the stand-in for the connection is still open. `is_alone`: it is to be the worker itself, which shares them with no other
 * one: what has that socket in it, or stands in its place, is noted alone.
 */
enum template_refusal files_note(bool is_alone);

#define FILES_MAX 32

struct files_anew {
    unsigned count;
    int fds[FILES_MAX]; /* -1: it is to be a copy of another one's */
};

/* While 0 to 2 are the connection's. False: one cannot be, and none is. */
bool files_open(struct files_anew *ret_anew);
/* In whoever is the worker: each to its place. */
void files_take(const struct files_anew *anew);
/* In whoever is not. */
void files_close(const struct files_anew *anew);
/* Is descriptor 0 in this epoll instance? */
bool files_epoll_has_input(int fd);

#endif
