/* SPDX-License-Identifier: MIT
 *
 * demux/live_report.h - the lines of demux/report.h with the processes that were seen to have the sockets.
 *
 * A segment's line says who receives it and, where that is of this host, who has sent it; an endpoint's line whose it
 * was. Processes are told by their name and pid. "waiting for" are those that hold the listening socket of a connection that
 * nobody has used; "unseen" is that the socket is known, and no process of it. Fields of JSON that are added here to
 * those of the replay: processes, known_by, waiting, senders. Everything is appended to a struct text, and names pass
 * the escaper. Nothing fails.
 */
#ifndef DEMUX_LIVE_REPORT_H
#define DEMUX_LIVE_REPORT_H

#include "demux/attribute.h"
#include "demux/replay.h"

struct live_report {
    bool json;
    const struct replay_counts *counts;
};

/*
 * Before a segment is told of, in whatever way: what the capture leaves open, where a connection began before it or
 * nobody has answered yet, the sockets answer.
 */
void live_report_correct(struct replay_result *result, const struct attribute_answer *receiver);
void live_report_frame(const struct live_report *report, int64_t time_ns, const struct replay_result *result,
                       const struct attribute_answer *receiver, const struct attribute_answer *sender,
                       struct text *text);
void live_report_comment(const struct replay_result *result, const struct attribute_answer *receiver,
                         const struct attribute_answer *sender, struct text *text);
/* What each end of a connection received; whose it is stands with it. */
void live_report_heading(const struct live_report *report, struct text *text);
void live_report_stream(const struct live_report *report, const struct stream *stream, bool is_given_up,
                        const struct attribute_answer ends[2], struct text *text);

#endif
