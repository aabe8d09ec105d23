/* SPDX-License-Identifier: MIT
 *
 * figures/drawing.h - a scene as boxes: each socket with the processes that hold it, connected ones beside each other.
 *
 * drawing_make() lays out what was seen in a scene: the server host's sockets in rows, the listening one first, and in
 * the same row the client's end of the same connection. The same drawing is then written as text (`draw_text`, 80 columns)
 * or as a picture (`draw_svg`, readable on light and dark ground, with title and description for who cannot see it). What
 * does not fit in the text is cut; a caller that wants to know asks text_end(). Values and bytes only.
 */
#ifndef FIGURES_DRAWING_H
#define FIGURES_DRAWING_H

#include "figures/story.h"

#define DRAWING_ROWS_MAX  (2 * STORY_SOCKETS_MAX)
#define DRAWING_LINES_MAX 4
#define DRAWING_LINE_SIZE 64

enum drawing_link {
    LINK_NONE,
    LINK_REQUEST,    /* not accepted yet */
    LINK_CONNECTION, /* served */
};

struct drawing_box {
    char title[DRAWING_LINE_SIZE]; /* "": there is no box */
    char lines[DRAWING_LINES_MAX][DRAWING_LINE_SIZE];
    size_t line_count;
};

struct drawing_row {
    struct drawing_box boxes[STAGE_HOSTS];
    enum drawing_link link;
    bool forked; /* by the process of the first row */
};

struct drawing {
    const char *number; /* "2.11"; "" for the last */
    const char *title;
    char hosts[STAGE_HOSTS][DRAWING_LINE_SIZE]; /* their addresses */
    struct drawing_row rows[DRAWING_ROWS_MAX];
    size_t row_count;
};

/* Of SCENE_LISTENING to SCENE_SECOND, and SCENE_OTHER. */
void drawing_make(const struct story *story, enum story_scene scene, struct drawing *ret_drawing);
void draw_text(const struct drawing *drawing, bool utf8, struct text *text);
void draw_svg(const struct drawing *drawing, struct text *text);

#endif
