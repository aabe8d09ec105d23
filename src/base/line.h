/* SPDX-License-Identifier: MIT
 *
 * base/line.h - a text of any length, in memory that grows to the longest.
 *
 * A struct text counts what it wanted where it was cut. So a line is made, and where it did not fit made again, with the
 * room that it takes:
 *
 *     do
 *         pair_format(&pair, line_begin(&line));
 *     while (line_again(&line));
 *
 * Whatever makes it must make the same each time. One of zeros is empty; line_done() releases it. The only failure is
 * of memory, and is told by line_text() alone: nothing is ever shown in part.
 */
#ifndef BASE_LINE_H
#define BASE_LINE_H

#include "base/text.h"

struct line {
    struct text text; /* its buffer is the line's */
};

/* Empties it, to be appended to. */
struct text *line_begin(struct line *line);
/* It was cut, and there is room now: it is to be made again. */
bool line_again(struct line *line);
/* With a NUL at text.length; NULL: there is no memory for one as long as this. */
const char *line_text(const struct line *line);
void line_done(struct line *line);

#endif
