/* SPDX-License-Identifier: MIT
 *
 * pairs/tally.h - the bytes of a connection whose socket this process does not hold any more.
 *
 * The kernel announces every TCP socket of the network namespace that it destroys, with its counts. tally_read() gives
 * those of the ports asked for, by cookie. TCP may be done with a connection before the process that held it is
 * reaped, or minutes later; while the socket lives on without a process, tally_ask() has its counts. So, once the
 * process is reaped: read; ask for what was not announced; and what cannot be asked for either is announced within
 * milliseconds, or was lost because the announcements were not read in time, which is counted. No privilege is needed.
 * Where the kernel has no sock_diag, tally_open() fails and the bytes stay unknown. Nothing here blocks.
 *
 * `in` is what the program read, `out` what it wrote and TCP has sent (tally_ask(): or will send), without what was
 * sent again, SYN and FIN. Both are exact, but for one byte of `in` in the cases that fin_was_read() in tally.c names.
 */
#ifndef PAIRS_TALLY_H
#define PAIRS_TALLY_H

#include "addr/pair.h"

#include <stddef.h>
#include <stdint.h>

struct tally {
    int fd;            /* for the loop: readable when tally_read() has something; -1: closed */
    int ask_fd;        /* synchronous questions */
    uint64_t overruns; /* how often announcements were lost; nobody but the tests asks */
};

struct tally_bytes {
    uint64_t cookie; /* SO_COOKIE of the socket */
    uint64_t in;
    uint64_t out;
};

/* For connections to these local ports (the same one may stand there twice). -1 with errno set. */
int tally_open(struct tally *tally, const uint16_t *ports, size_t count);
void tally_close(struct tally *tally);
/* One announcement; false: there is none now. */
bool tally_read(struct tally *tally, struct tally_bytes *ret_bytes);
/* The counts of one socket so far, which is bound to `interface` (0: none); false where it is no more (its announcement was made, or will be soon). */
bool tally_ask(struct tally *tally, const struct pair *pair, uint32_t interface, uint64_t cookie,
               struct tally_bytes *ret_bytes);

#endif
