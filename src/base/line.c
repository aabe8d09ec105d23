/* SPDX-License-Identifier: MIT */
#include "base/line.h"

#include <stdlib.h>

struct text *line_begin(struct line *line)
{
    text_init(&line->text, line->text.start, line->text.size);
    return &line->text;
}

bool line_again(struct line *line)
{
    struct text *text = &line->text;

    if (text_end(text) < text->size)
        return false;
    char *start = realloc(text->start, text->length + 1);
    if (start == NULL)
        return false;
    text->start = start;
    text->size = text->length + 1;
    return true;
}

const char *line_text(const struct line *line)
{
    return line->text.length < line->text.size ? line->text.start : NULL;
}

void line_done(struct line *line)
{
    free(line->text.start);
    *line = (struct line){0};
}
