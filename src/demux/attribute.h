/* SPDX-License-Identifier: MIT
 *
 * demux/attribute.h - whose a connection is, known from the moment it appears and kept for its life and a little longer.
 *
 * Follows the sockets of the calling thread's network namespace: by the kernel's own events where it is permitted
 * (sys/socket_events.h), which name processes however short they live; else, or for what was there before, by looking
 * at the table of sockets and the processes that hold them, now and again, which finds those that live long enough and
 * leaves others without a process. Never is a process guessed: what is said was seen by the socket's cookie, and a
 * connection that nobody has used yet is of those that hold its listening socket. A SYN is of the socket that listened
 * when it came, though that be gone when it is told of. Of several processes that use a
 * socket the first that read or wrote stays the one that is named.
 *
 * Events are taken in by attribute_drain(); attribute_look() looks, which takes milliseconds, when something is wanted
 * and it has not been done lately. Times of segments are CLOCK_REALTIME. Not thread-safe; nothing is changed, nothing is printed.
 */
#ifndef DEMUX_ATTRIBUTE_H
#define DEMUX_ATTRIBUTE_H

#include "base/error.h"
#include "demux/live_history.h"
#include "demux/live_sockets.h"

struct attribute;

enum attribute_kind {
    ATTRIBUTE_NOBODY,
    ATTRIBUTE_LISTENING,
    ATTRIBUTE_CONNECTED,
};

struct attribute_answer {
    enum attribute_kind kind;
    struct pair pair;   /* of the socket */
    bool local;         /* the end is an address of this host */
    bool waiting;       /* nobody has used it yet: the processes are those of its listening socket */
    bool lives;         /* by the kernel's events it was there, connected, when the segment came */
    bool group;         /* one of several listening sockets that share the end */
    bool not_permitted; /* who holds it may not be known */
    bool unsure;        /* sockets began or ceased to listen about then: it may have been another */
    enum live_way way;
    size_t process_count;
    uint32_t more;
    struct live_process processes[LIVE_PROCESSES];
};

struct attribute_segment {
    struct pair pair; /* local: whose socket is looked for */
    uint32_t interface;
    int64_t time_ns;           /* its own; CLOCK_REALTIME */
    struct live_moment moment; /* of its connection; CLOCK_REALTIME */
    bool opening;              /* it is to begin a connection, so a listening socket comes first */
};

/* `most` sockets at once, ended ones kept for `kept_ns`, if there is room. *ret_why: why the kernel's events cannot be had; 0: they are. */
enum fp_status attribute_new(uint32_t most, int64_t kept_ns, struct attribute **ret_attribute, int *ret_why,
                             struct fp_error *err);
/* NULL is allowed. */
void attribute_free(struct attribute *attribute);

/* To wait on; -1: there are no events. */
int attribute_fd(const struct attribute *attribute);
/* Takes in the events so far, and counts those that were lost. */
void attribute_drain(struct attribute *attribute);
uint64_t attribute_lost(const struct attribute *attribute);
/* Looks, where that is wanted. FP_SYSTEM, FP_NOT_PERMITTED: the kernel's table cannot be read. */
enum fp_status attribute_look(struct attribute *attribute, struct fp_error *err);
/* Where there are no events: a segment of this pair has just been captured, and may open another connection. */
void attribute_notice(struct attribute *attribute, const struct attribute_segment *segment);

void attribute_find(struct attribute *attribute, const struct attribute_segment *segment,
                    struct attribute_answer *ret_answer);
/* Forgets sockets that ended so long ago that no segment of them comes any more. */
void attribute_expire(struct attribute *attribute);

#endif
