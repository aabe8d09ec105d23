/* SPDX-License-Identifier: MIT
 *
 * pairs/render.h - a row of the table as a line: in columns, as netstat(8) shows it, or in JSON.
 *
 * Everything is appended to a struct text, nothing is printed; a line that does not fit is cut and its length still
 * counted, so the caller can come again with more room. Names of processes and services pass the escaper. A line has
 * no newline. The columns are as wide as the widest shown row needs: render_measure() looks at them, of one table or of several. In
 * the JSON fields are added, never renamed; what is unknown is null.
 */
#ifndef PAIRS_RENDER_H
#define PAIRS_RENDER_H

#include "base/text.h"
#include "pairs/pairs.h"

enum render_form { RENDER_COLUMNS, RENDER_NETSTAT, RENDER_JSON };

struct render {
    enum render_form form;
    bool with_counts;
    const char *change; /* of the row, for JSON; NULL: not said */
    size_t state_width;
    size_t local_width; /* of the pair, or of the local end alone */
    size_t foreign_width;
    size_t queue_width;
};

void render_measure(struct render *render, const struct pairs_table *table);
/* The heads of the columns; nothing for JSON. */
void render_heading(const struct render *render, struct text *text);
void render_row(const struct render *render, const struct pairs_table *table, const struct pairs_row *row,
                struct text *text);
/* Who has it: "service #17: sshd 812 (fd 3)", "waiting for sshd 812 (fd 3)", "no process", ... */
void render_owner(const struct pairs_table *table, const struct pairs_row *row, struct text *text);
/* Who has it, for JSON: an array that the caller owns. */
struct json_t *render_processes(const struct pairs_table *table, const struct pairs_row *row);
/* The JSON object of a row; `change` as above. */
void render_json(const char *change, const struct pairs_table *table, const struct pairs_row *row,
                 struct text *text);

#endif
