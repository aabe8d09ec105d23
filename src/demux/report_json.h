/* SPDX-License-Identifier: MIT
 *
 * demux/report_json.h - the JSON lines of demux/report.h, and the words that both forms share.
 *
 * Within the room only: report.c and report_json.c include it. Each function appends one object and a newline to
 * `text`. Fields are added, never renamed. What is unknown is null. Where memory is short a field may be missing, and nothing fails.
 */
#ifndef DEMUX_REPORT_JSON_H
#define DEMUX_REPORT_JSON_H

#include "demux/report.h"

void report_json_frame(const struct report *report, int64_t time_ns, const struct replay_result *result,
                       struct text *text);
void report_json_stream(const struct report *report, const struct stream *stream, unsigned end,
                        bool is_given_up, struct text *text);
void report_json_end(const struct report *report, const struct replay_end *end, struct text *text);
void report_json_counts(const struct report *report, struct text *text);

/* Of report.c. */
const char *report_answer_name(enum stream_answer answer);
const char *report_certainty_name(enum replay_certainty certainty);
/* "": there is nothing to say. */
const char *report_direction_name(const struct segment *segment);
const char *report_handshake_name(const struct stream *stream);
const char *report_outcome_name(const struct stream *stream, unsigned end);
struct pair report_end_pair(const struct replay_end *end);
/*
 * The socket of the table that has the pair, or that listens for it; NULL: none, or there is no table. *ret_depends: it may be
 * another (KNOWN_DEPENDS).
 */
const struct pairs_row *report_row(const struct report *report, const struct pair *pair, bool *ret_depends);

#endif
