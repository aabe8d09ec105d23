/* SPDX-License-Identifier: MIT
 *
 * figures/report.h - the story as text for people, and as JSON for programs.
 *
 * report_text(): where it was played, the figures, the segments with who received each, and every claim with its proof,
 * in 80 columns, in UTF-8 or ASCII. report_json(): the same facts but for the drawings, one object. Both append to a
 * text; what does not fit is cut, which text_end() tells. Nothing is asked of anybody.
 */
#ifndef FIGURES_REPORT_H
#define FIGURES_REPORT_H

#include "base/text.h"
#include "figures/story.h"

void report_text(const struct story *story, bool utf8, struct text *text);
/* False: there is no memory. */
bool report_json(const struct story *story, struct text *text);

#endif
