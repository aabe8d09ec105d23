/* SPDX-License-Identifier: MIT
 *
 * demux/live.h - the segments that pass an interface now, each with the endpoint and the process that receives it.
 *
 * Captures (sys/capture.h), follows the connections (demux/replay.h) and the sockets (demux/attribute.h), and gives a
 * line for each segment, or one for each endpoint at the end. A segment is held for a moment before it is told of, in
 * which the process that it goes to has been told of too, so the lines come in order and a little late. Until SIGINT,
 * SIGTERM or a number of segments; then what is held is told of, and what was lost is counted. Where a file is
 * wanted, the segments are kept in it with a comment.
 *
 * Lines go to a function of the caller's, and so do notices: what is said once and belongs to no segment. One thread;
 * SIGINT and SIGTERM are blocked from the start to the end. FP_NOT_PERMITTED: without CAP_NET_RAW.
 */
#ifndef DEMUX_LIVE_H
#define DEMUX_LIVE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct live_options {
    const char *interface;
    const char *write; /* a file; NULL: none */
    bool json;
    bool summary;
    uint32_t max_pairs;
    uint64_t count; /* segments; 0: without end */
};

struct live_sink {
    /* False ends it: the lines cannot be written any more. `more` are to come at once. */
    bool (*line)(void *data, const char *line, size_t length, bool more);
    void (*notice)(void *data, const char *text);
    void *data;
};

enum fp_status live_run(const struct live_options *options, const struct live_sink *sink,
                        struct fp_error *err);

#endif
