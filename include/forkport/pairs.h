/* SPDX-License-Identifier: MIT
 *
 * forkport/pairs.h - every TCP socket pair of a network namespace, and the processes that hold it.
 *
 *     struct fp_error err;
 *     struct fp_pair pair;
 *     struct fp_pairs *pairs = fp_pairs_new(&err);
 *     fp_pairs_filter(pairs, ":21", &err);
 *     fp_pairs_filter(pairs, "listening", &err);
 *     fp_pairs_read(pairs, &err);
 *     for (size_t i = 0; fp_pairs_get(pairs, i, &pair); i++)
 *         printf("%s %s\n", pair.state, pair.pair);
 *     fp_pairs_free(pairs);
 *
 * What `forkport pairs` shows, as values. Reading takes no privilege, but the processes of other users are only seen by
 * root; nothing is ever changed. An object belongs to one thread at a time; it may read again and again, and what it
 * gave out by pointer is valid until the next reading. A socket is known again by its cookie, not by its inode or pair.
 */
#ifndef FORKPORT_PAIRS_H
#define FORKPORT_PAIRS_H

#include <forkport/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct fp_pairs;

/** Who has a socket. */
enum fp_owner {
    FP_OWNER_HELD = 1,      /**< the processes that fp_pairs_process() names */
    FP_OWNER_WAITING,       /**< nobody yet: it waits to be accepted, by the processes named */
    FP_OWNER_NONE,          /**< no process any more: TIME-WAIT, or closed and not finished */
    FP_OWNER_NOT_PERMITTED, /**< processes that the caller may not look into */
    FP_OWNER_UNSEEN,        /**< the kernel, another PID namespace, or on its way between two processes */
};

/** A socket. It holds no memory of its own. */
struct fp_pair {
    const char *proto;             /**< "tcp4", "tcp6", or "tcp46": an IPv6 socket that takes IPv4, or has */
    const char *state;             /**< "LISTEN", "SYN-RECEIVED", "ESTABLISHED", ..., or "BOUND" */
    char pair[264];                /**< "{192.0.2.1:21, 198.51.100.7:1500}" */
    struct sockaddr_storage local; /**< IPv4 is AF_INET whatever the socket is */
    struct sockaddr_storage foreign; /**< of a listening socket a wildcard with port 0 */
    char device[16];                 /**< that it is bound to, or "" */
    uint64_t cookie;                 /**< its identity (SO_COOKIE) */
    uint32_t inode;                  /**< 0: no descriptor refers to it */
    uint32_t uid;                    /**< of its maker; meaningless without an inode */
    enum fp_owner owner;
    const char *service;    /**< of a running forkport: its name; NULL: none */
    uint64_t connection;    /**< its number there; 0: unknown */
    uint32_t receive_queue; /**< not read yet; of a listening socket: not accepted yet */
    uint32_t send_queue;    /**< not acknowledged yet; of a listening socket: its backlog */
    bool has_counts;        /**< the rest is known, see fp_pairs_count_bytes() */
    uint32_t rtt_us;        /**< round trip, smoothed */
    uint32_t segments_resent;
    uint64_t bytes_received;
    uint64_t bytes_sent; /**< each once */
    uint64_t bytes_resent;
};

/** A process that holds a socket. */
struct fp_pair_process {
    pid_t pid;
    int fd;        /**< a descriptor of it; it may have several, one after the other */
    char name[16]; /**< as the process calls itself: any bytes */
};

/** Every socket of the caller's network namespace, once it is read. NULL and *err where memory is short. */
struct fp_pairs *fp_pairs_new(struct fp_error *err);

/** NULL is allowed. */
void fp_pairs_free(struct fp_pairs *pairs);

/** A filter of forkport-pairs(1): ":21", "listening", "pid:812". All of those added must match. FP_USAGE: it is none. */
enum fp_status fp_pairs_filter(struct fp_pairs *pairs, const char *filter, struct fp_error *err);

/** Another network namespace: a name of ip-netns(8), a process, or a path. NULL: the caller's own again. FP_SYSTEM. */
enum fp_status fp_pairs_namespace(struct fp_pairs *pairs, const char *name, struct fp_error *err);

/** Bytes and round trips too, which takes about twice the time. What listens or is bound only has none. */
void fp_pairs_count_bytes(struct fp_pairs *pairs, bool wanted);

/** Reads the sockets anew. FP_NOT_PERMITTED, FP_NO_INPUT: the namespace cannot be entered; FP_SYSTEM. */
enum fp_status fp_pairs_read(struct fp_pairs *pairs, struct fp_error *err);

/** The socket `index` of those that match, in the order of local port and address. False: there are no more. */
bool fp_pairs_get(const struct fp_pairs *pairs, size_t index, struct fp_pair *ret_pair);

/** A descriptor of a process that holds the socket `index`, by `number` from 0. False: there are no more. */
bool fp_pairs_process(const struct fp_pairs *pairs, size_t index, size_t number,
                      struct fp_pair_process *ret_process);

/** The socket `index` as `forkport pairs --json` prints it, as snprintf(3) does: the length that it wanted. */
size_t fp_pairs_json(const struct fp_pairs *pairs, size_t index, char *buffer, size_t size);

#ifdef __cplusplus
}
#endif

#endif
