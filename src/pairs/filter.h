/* SPDX-License-Identifier: MIT
 *
 * pairs/filter.h - which rows of the table are asked for, in the words people use.
 *
 * A filter is a list of terms; a row matches where all of them do. A term is an end of the pair (":21", "192.0.2.0/24",
 * "[2001:db8::1]:21", ":2000-2999", "ftp"; of either end, or of one: "local::21", "foreign:1500"), a whole pair in
 * notation, a word for states ("listening", "established", "time-wait", "connected"), who has it ("waiting", "orphan"),
 * a protocol ("tcp46"), or a thing by name: "pid:812", "name:sshd", "service:ftp", "connection:17", "uid:33",
 * "device:eth0", "cookie:1f", "inode:4711". No name of a host is looked up. A struct filter is a plain value.
 * Parsing is strict; a bad term is FP_USAGE, says what was expected and leaves the filter as it was.
 */
#ifndef PAIRS_FILTER_H
#define PAIRS_FILTER_H

#include "base/error.h"
#include "pairs/pairs.h"

#define FILTER_TERMS_MAX 32
/* A service has the name of its program's file, unless it is given one. */
#define FILTER_TEXT_SIZE 256

enum filter_kind {
    FILTER_END,
    FILTER_PAIR,
    FILTER_STATES,
    FILTER_OWNER,
    FILTER_PROTOCOL,
    FILTER_PID,
    FILTER_NAME,
    FILTER_SERVICE,
    FILTER_CONNECTION,
    FILTER_UID,
    FILTER_DEVICE,
    FILTER_COOKIE,
    FILTER_INODE
};

enum filter_side { SIDE_LOCAL = 1, SIDE_FOREIGN = 2, SIDE_EITHER = SIDE_LOCAL | SIDE_FOREIGN };

struct filter_end {
    uint8_t sides;          /* enum filter_side */
    bool has_address;       /* else any */
    struct address address; /* its port is not used */
    uint8_t prefix;         /* leading bits that count */
    uint16_t port_low;      /* 0: any port */
    uint16_t port_high;
};

struct filter_term {
    enum filter_kind kind;
    union {
        struct filter_end end;
        struct pair pair;
        uint64_t number;
        char text[FILTER_TEXT_SIZE];
    };
};

struct filter {
    struct filter_term terms[FILTER_TERMS_MAX];
    size_t count;
};

enum fp_status filter_add(struct filter *filter, const char *string, struct fp_error *err);

/* The states to ask the kernel for: those of the terms, and listening ones, which connections may wait for. */
uint32_t filter_states(const struct filter *filter);
/* The process whose descriptors alone matter; 0: all processes' do, as where two are asked for that share a socket. */
pid_t filter_pid(const struct filter *filter);
/* Do the terms match that are about the socket? Those about processes are left out. */
bool filter_matches_socket(const struct filter *filter, const struct diag_socket *socket);
/* Do the terms match that are about processes? The owners of the row are known. */
bool filter_matches_owner(const struct filter *filter, const struct pairs_table *table,
                          const struct pairs_row *row);

#endif
