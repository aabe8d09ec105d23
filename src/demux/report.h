/* SPDX-License-Identifier: MIT
 *
 * demux/report.h - what the replay of a capture has found, as lines: of a segment, of an endpoint, of the whole.
 *
 * In columns for people or as JSON objects, of which fields are added, never renamed. Everything
 * is appended to a struct text, with the newline; nothing is printed. Names of processes pass the escaper. A pair is that
 * of the receiver, its own end first. Times are seconds since the capture's first frame for people, dates in JSON.
 * Where there is a table (demux/known.h), each endpoint is shown with the processes that the table says have it.
 */
#ifndef DEMUX_REPORT_H
#define DEMUX_REPORT_H

#include "demux/replay.h"

/* Room for any one of the lines where there is no table, with the NUL; with one it names all that hold a socket. */
#define REPORT_LINE_SIZE 16384

struct report {
    bool json;
    const struct known *known; /* NULL: no table */
    const struct replay_counts *counts;
};

/* A line for a frame that is a segment, or that should have been; for others nothing. */
void report_frame(const struct report *report, int64_t time_ns, const struct replay_result *result,
                  struct text *text);
/* "{192.0.2.1:21, 198.51.100.7:1500} connected: sshd 812 (fd 3)", for a comment in a file; empty where there is no answer. */
void report_comment(const struct report *report, const struct replay_result *result, struct text *text);
/* The heads of the columns of what follows. */
void report_heading(const struct report *report, struct text *text);
/* The two endpoints of a connection, as far as they received anything. */
void report_stream(const struct report *report, const struct stream *stream, bool is_given_up,
                   struct text *text);
/* An end that was asked for connections. */
void report_end(const struct report *report, const struct replay_end *end, struct text *text);
/* What there was in all. */
void report_counts(const struct report *report, struct text *text);

#endif
