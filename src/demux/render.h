/* SPDX-License-Identifier: MIT
 *
 * demux/render.h - an answer as lines of text, or as an object of JSON.
 *
 * Everything is appended to a struct text, nothing is printed; what does not fit is cut and its length still counted,
 * so the caller can come again with more room. Names of processes and devices pass the escaper. The text ends with a
 * newline; the JSON is one line without one, of which fields are added, never renamed.
 */
#ifndef DEMUX_RENDER_H
#define DEMUX_RENDER_H

#include "demux/answer.h"

void render_answer(const struct answer *answer, struct text *text);
void render_answer_json(const struct answer *answer, struct text *text);

#endif
