/* SPDX-License-Identifier: MIT
 *
 * demux/explain.h - an answer in words: why this one, why not the others, and what the sender sees.
 *
 * Everything is said of an answer that has been judged (demux/judge.h), from what it holds; only names of interfaces are
 * asked for.
 * The words are those of doc/demultiplexing.md. Names of processes and devices pass the escaper. A reason is one line
 * without a newline, of any length, given to a function of the caller's one by one, the most important first; one that
 * there is no memory for is left out. Nothing fails.
 */
#ifndef DEMUX_EXPLAIN_H
#define DEMUX_EXPLAIN_H

#include "demux/answer.h"

/* Room for any reason that names no process and no namespace, with the NUL. */
#define EXPLAIN_SIZE 1024

/* The words of the contract: "listening", "exact", "syn-ack". */
const char *explain_kind(enum answer_kind kind);
const char *explain_certainty(enum answer_certainty certainty);
const char *explain_reply(enum answer_reply reply);

/* "SYN,ACK", or "nothing: the SYN is dropped, and will be sent again" */
void explain_sender(const struct answer *answer, struct text *text);
/* The name of the interface by which the segment comes in; nothing where none is known. */
void explain_interface(const struct segment *segment, struct text *text);
/* Why the candidate stands where it stands. */
void explain_candidate(const struct answer *answer, const struct model_candidate *candidate,
                       struct text *text);
/* Each reason for the verdict. */
void explain_reasons(const struct answer *answer, void (*reason)(void *data, const char *line), void *data);

#endif
