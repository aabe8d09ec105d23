/* SPDX-License-Identifier: MIT
 *
 * wire/sock_diag.h - the messages of sock_diag(7) about TCP sockets: requests made, answers read.
 *
 * Bytes in, values out: sys/netlink.h carries the bytes. Answers are read by a cursor over one datagram, which must
 * be aligned as a uint32_t is and outlive the cursor; what is cut short, of another kind or absurd is skipped, never
 * read beyond, so the worst that a broken answer does is to say nothing. Attributes that a newer kernel adds are
 * passed over, fields that an older one does not have are left unknown. The same messages tell of the sockets that a
 * dump lists, of one that was asked for, and of those that the kernel announces when they are destroyed.
 *
 * A socket is what its cookie says: an inode is 0 before accept(2) and after close(2), and pairs come again.
 */
#ifndef WIRE_SOCK_DIAG_H
#define WIRE_SOCK_DIAG_H

#include "addr/pair.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The kernel's numbers. */
enum diag_state {
    DIAG_ESTABLISHED = 1,
    DIAG_SYN_SENT,
    DIAG_SYN_RECEIVED,
    DIAG_FIN_WAIT_1,
    DIAG_FIN_WAIT_2,
    DIAG_TIME_WAIT,
    DIAG_CLOSED,
    DIAG_CLOSE_WAIT,
    DIAG_LAST_ACK,
    DIAG_LISTEN,
    DIAG_CLOSING,
    DIAG_NEW_SYN_RECEIVED,
    DIAG_BOUND, /* to an address, neither listening nor connected; since Linux 6.8 */
};
#define DIAG_STATE_BIT(state) (UINT32_C(1) << (state))
#define DIAG_STATES_ALL       UINT32_MAX

struct diag_socket {
    struct pair pair; /* local AF_UNSPEC: [::] that takes IPv4 too; a scope is set, a device is `interface` */
    int family;       /* of the socket itself: AF_INET6 also where the pair is of IPv4 */
    uint8_t state;    /* enum diag_state */
    bool v6only;
    bool has_bytes;  /* the counts below are known: those from bytes_received on */
    uint64_t cookie; /* a TIME-WAIT has one of its own */
    uint32_t inode;  /* 0: no descriptor refers to it */
    uint32_t uid;
    uint32_t interface;      /* it is bound to; 0: none */
    uint32_t receive_queue;  /* not read yet, a FIN counts one; of a listening one: not accepted yet */
    uint32_t send_queue;     /* not acknowledged yet, a FIN counts one; of a listening one: its backlog */
    uint64_t bytes_received; /* in order, a FIN counts one */
    uint64_t bytes_sent;     /* each once, whatever was sent again; a FIN does not count */
    uint64_t bytes_acked;    /* a FIN counts one, and of an active open the SYN too */
    uint64_t bytes_unsent;   /* written, not sent yet; a FIN counts one */
    uint64_t bytes_resent;
    uint32_t segments_resent;
    uint32_t rtt_us; /* the round trip, smoothed; 0: not measured yet */
    uint32_t rtt_variation_us;
};

/* "LISTEN", "TIME-WAIT", ...; "UNKNOWN" for a number that is none. */
const char *diag_state_name(uint8_t state);

#define DIAG_REQUEST_SIZE 128

/*
 * A request for the sockets of both families in the states given, at a local port and with a foreign one, or (0) at
 * any; their counts take the kernel a lock of each. Returns the length of the request. An answer to it ends with
 * DIAG_END. Where two sockets are in the way of one segment, the one that the kernel looks at first is listed first:
 * no dump of one family can tell that, since the kernel's chains have IPv4 and IPv6 side by side. With both ports no
 * listening socket matches, since it has no foreign one.
 */
size_t diag_request_dump(char ret_request[DIAG_REQUEST_SIZE], uint32_t states, uint16_t port,
                         uint16_t foreign_port, bool with_counts);
/*
 * A request for the one socket that receives segments of this pair, with its bytes. With a cookie (not 0) that one
 * alone is meant: another gives ENOENT. One bound to an interface is found only under its number. There is one answer.
 */
size_t diag_request_exact(char ret_request[DIAG_REQUEST_SIZE], const struct pair *pair, uint32_t interface,
                          uint64_t cookie);

struct sock_filter;
/*
 * A filter for announcements that lets only sockets of these local ports pass; DIAG_FILTER_SIZE(count) statements are
 * written. More than DIAG_FILTER_PORTS_MAX ports do not fit in one.
 */
#define DIAG_FILTER_PORTS_MAX   200
#define DIAG_FILTER_SIZE(count) ((count) + 3)
void diag_port_filter(const uint16_t *ports, size_t count, struct sock_filter *ret_filter);

enum diag_item {
    DIAG_NOTHING, /* the datagram is used up */
    DIAG_SOCKET,
    DIAG_END,   /* of a dump */
    DIAG_ERROR, /* diag_reader.errnum says which: ENOENT, no such socket */
};

struct diag_reader {
    const void *at;
    int left;
    int errnum;
};

void diag_reader_init(struct diag_reader *reader, const void *bytes, size_t length);
enum diag_item diag_reader_next(struct diag_reader *reader, struct diag_socket *ret_socket);

#endif
