/* SPDX-License-Identifier: MIT
 *
 * demux/misses.h - why nobody receives a segment: who has the port, and why it is none of them.
 *
 * For explain.c alone, in whose words: a line for each socket at the port with the reason why the segment is not for it
 * (another family, another address, another interface, it does not listen), or that there is none, and then what the
 * other network namespaces have. Each line goes to a function of the caller's. Nothing is asked, nothing fails.
 */
#ifndef DEMUX_MISSES_H
#define DEMUX_MISSES_H

#include "demux/answer.h"

void misses_explain(const struct answer *answer, void (*reason)(void *data, const char *line), void *data);
void misses_explain_elsewhere(const struct answer *answer, void (*reason)(void *data, const char *line),
                              void *data);
/* A connection has the pair, but is bound to another interface: a line about it. False: there is none. */
bool misses_connection(const struct answer *answer, struct text *text);

#endif
