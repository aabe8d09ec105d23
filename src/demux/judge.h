/* SPDX-License-Identifier: MIT
 *
 * demux/judge.h - the verdict: what becomes of the segment, how certain that is, and what its sender sees.
 *
 * Takes an answer for which everything has been gathered and asked, and fills in its kind, certainty, reply and row.
 * The kernel's own answer decides who receives the segment; the model says whether that is all there is to it. What a
 * socket does with a segment depends on its state and on the flags alone (RFC 9293, and what Linux makes of it), never
 * on a firewall. Nothing is asked, nothing fails.
 */
#ifndef DEMUX_JUDGE_H
#define DEMUX_JUDGE_H

#include "demux/answer.h"

void judge(struct answer *answer);

/* Does it come to TCP here, as far as is known? */
bool judge_comes(const struct answer *answer);
/* What is left of a connection in FIN-WAIT-2 whose process has closed it: it takes nothing but a FIN. */
bool judge_is_orphan(const struct answer *answer);
/* A request for a connection, which ends with the listening socket that it came to. */
bool judge_is_request(const struct answer *answer);
/* Data for one that has sent its FIN, and may not read any more. */
bool judge_may_be_refused(const struct answer *answer);
/* A SYN for a connection that is half open, and may be another one than it came of. */
bool judge_may_be_another_syn(const struct answer *answer);
/* The first that listens among the candidates, or NULL. */
const struct model_candidate *judge_listening(const struct answer *answer);
/* More connections wait to be accepted than may. */
bool judge_is_full(const struct diag_socket *listening);
/* A SYN that asks for a connection. */
bool judge_is_opening(const struct segment *segment);

#endif
