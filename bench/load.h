/* SPDX-License-Identifier: MIT
 *
 * The load generator's engine: opens TCP connections to one address from one process, sends a
 * line that no other connection sends, and expects exactly that line back, once, and then the
 * end of the stream. The server closes first, so TIME-WAIT stays with it.
 *
 * load_run() is called once, by load.c. It owns every fd it opens and the arrays behind them;
 * the caller owns the options and the result. It returns false, having written one line to
 * stderr, when it cannot do its work at all (no memory, no fd, no such source address); a
 * connection that fails is not an error but a count. It never retries a connection, never hides
 * one that failed and never leaves out of the times one that started late: in the open loop a
 * time runs from the moment the connection was meant to start.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "histogram.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

enum load_outcome {
    LOAD_OK,
    LOAD_WRONG,     /* bytes that were not the line, or more than the line */
    LOAD_MISSING,   /* the stream ended before the whole line */
    LOAD_REFUSED,   /* connection refused */
    LOAD_RESET,     /* connection reset, at any time after it was made */
    LOAD_TIMED_OUT, /* no end within the time allowed */
    LOAD_LOCAL,     /* this side could not: no port, no fd, no route */
    LOAD_OUTCOMES
};

struct load_options {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address;
    socklen_t address_bytes;
    unsigned concurrency; /* connections at once, at most */
    unsigned sources;     /* how many source addresses of 127/8; 0: the kernel chooses */
    unsigned hold;        /* open this many, keep them, end them together; 0: do not */
    uint64_t count;       /* connections to start, at most; 0: any number */
    uint64_t duration_ns; /* start none after this; 0: never mind the time */
    uint64_t timeout_ns;  /* of one connection */
    double rate;          /* open loop: connections a second; 0: closed loop */
    bool prove;           /* while holding: the line is sent and is back before the hold counts */
    bool half_close;      /* say end-of-stream after the line */
    void (*held)(unsigned held, uint64_t took_ns); /* called once all are held */
};

struct load_result {
    uint64_t outcomes[LOAD_OUTCOMES];
    uint64_t started;
    uint64_t lost_early;       /* of the held: ended before they were released */
    uint64_t late;             /* of the open loop: started over 1 ms after the intended time */
    uint64_t elapsed_ns;       /* hold: from the release */
    bool gave_up;              /* nothing but failures: stopped before the end */
    struct histogram answered; /* until the line was back */
    struct histogram ended;    /* until the stream ended, successes only */
};

bool load_run(const struct load_options *options, struct load_result *result);

#endif
