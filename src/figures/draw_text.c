/* SPDX-License-Identifier: MIT */
#include "figures/drawing.h"

#include <string.h>

/* Two hosts of 36 columns, 8 between them; the boxes in them are of 32. */
#define COLUMNS    80
#define LINES_MAX  128
#define HOST_WIDTH 36
#define BOX_WIDTH  32

/* The characters beyond ASCII that are drawn with: a byte each on the canvas, from 1. */
enum glyph {
    GLYPH_HORIZONTAL = 1,
    GLYPH_VERTICAL,
    GLYPH_TOP_LEFT,
    GLYPH_TOP_RIGHT,
    GLYPH_BOTTOM_LEFT,
    GLYPH_BOTTOM_RIGHT,
    GLYPH_LEFT_ARROW,
    GLYPH_RIGHT_ARROW,
    GLYPH_DOWN_ARROW,
    GLYPHS
};

static const struct {
    const char *utf8;
    char ascii;
} glyphs[GLYPHS] = {
    [GLYPH_HORIZONTAL] = {"─", '-'}, [GLYPH_VERTICAL] = {"│", '|'},    [GLYPH_TOP_LEFT] = {"┌", '+'},
    [GLYPH_TOP_RIGHT] = {"┐", '+'},  [GLYPH_BOTTOM_LEFT] = {"└", '+'}, [GLYPH_BOTTOM_RIGHT] = {"┘", '+'},
    [GLYPH_LEFT_ARROW] = {"◀", '<'}, [GLYPH_RIGHT_ARROW] = {"▶", '>'}, [GLYPH_DOWN_ARROW] = {"▼", 'v'},
};

struct canvas {
    char cells[LINES_MAX][COLUMNS];
    size_t height;
};

static void put_cell(struct canvas *canvas, size_t x, size_t y, char cell)
{
    if (y >= LINES_MAX || x >= COLUMNS)
        return;
    canvas->cells[y][x] = cell;
    if (y >= canvas->height)
        canvas->height = y + 1;
}

static void put_string(struct canvas *canvas, size_t x, size_t y, size_t width, const char *string)
{
    for (size_t i = 0; string[i] != '\0' && i < width; i++)
        put_cell(canvas, x + i, y, string[i]);
}

static void put_frame(struct canvas *canvas, size_t x, size_t y, size_t width, size_t height,
                      const char *title)
{
    size_t right = x + width - 1;
    size_t bottom = y + height - 1;

    for (size_t i = x + 1; i < right; i++) {
        put_cell(canvas, i, y, GLYPH_HORIZONTAL);
        put_cell(canvas, i, bottom, GLYPH_HORIZONTAL);
    }
    for (size_t i = y + 1; i < bottom; i++) {
        put_cell(canvas, x, i, GLYPH_VERTICAL);
        put_cell(canvas, right, i, GLYPH_VERTICAL);
    }
    put_cell(canvas, x, y, GLYPH_TOP_LEFT);
    put_cell(canvas, right, y, GLYPH_TOP_RIGHT);
    put_cell(canvas, x, bottom, GLYPH_BOTTOM_LEFT);
    put_cell(canvas, right, bottom, GLYPH_BOTTOM_RIGHT);
    size_t length = strlen(title);
    put_cell(canvas, x + 2, y, ' ');
    put_string(canvas, x + 3, y, width - 6, title);
    put_cell(canvas, x + 3 + (length < width - 6 ? length : width - 6), y, ' ');
}

static size_t host_x(enum stage_host host)
{
    return host == STAGE_CLIENT ? 0 : COLUMNS - HOST_WIDTH;
}

static size_t box_height(const struct drawing_box *box)
{
    return box->title[0] == '\0' ? 0 : box->line_count + 2;
}

static void put_box(struct canvas *canvas, enum stage_host host, size_t y, const struct drawing_box *box)
{
    size_t x = host_x(host) + 2;

    if (box->title[0] == '\0')
        return;
    put_frame(canvas, x, y, BOX_WIDTH, box_height(box), box->title);
    for (size_t i = 0; i < box->line_count; i++)
        put_string(canvas, x + 2, y + 1 + i, BOX_WIDTH - 4, box->lines[i]);
}

static void put_link(struct canvas *canvas, size_t y, enum drawing_link link)
{
    size_t left = HOST_WIDTH;
    size_t right = COLUMNS - HOST_WIDTH - 1;

    if (link == LINK_NONE)
        return;
    for (size_t x = left; x <= right; x++)
        put_cell(canvas, x, y, GLYPH_HORIZONTAL);
    put_cell(canvas, right, y, GLYPH_RIGHT_ARROW);
    if (link == LINK_CONNECTION)
        put_cell(canvas, left, y, GLYPH_LEFT_ARROW);
    else
        put_string(canvas, left + 1, y, 5, " SYN ");
}

/* The height of the row, which begins at y. */
static size_t put_row(struct canvas *canvas, size_t y, const struct drawing_row *row)
{
    size_t height = 0;
    size_t top = y;

    if (row->forked) {
        put_cell(canvas, host_x(STAGE_SERVER) + 5, top, GLYPH_DOWN_ARROW);
        put_string(canvas, host_x(STAGE_SERVER) + 7, top, BOX_WIDTH, "forked by server");
        top++;
    }
    for (enum stage_host host = STAGE_SERVER; host < STAGE_HOSTS; host++) {
        put_box(canvas, host, top, &row->boxes[host]);
        if (box_height(&row->boxes[host]) > height)
            height = box_height(&row->boxes[host]);
    }
    put_link(canvas, top + height / 2, row->link);
    return top + height - y;
}

static void write_canvas(const struct canvas *canvas, bool utf8, struct text *text)
{
    for (size_t y = 0; y < canvas->height; y++) {
        size_t width = COLUMNS;
        while (width > 0 && canvas->cells[y][width - 1] == ' ')
            width--;
        for (size_t x = 0; x < width; x++) {
            const char *cell = &canvas->cells[y][x];
            if (*cell >= GLYPHS)
                text_bytes(text, cell, 1);
            else if (utf8)
                text_string(text, glyphs[(unsigned char)*cell].utf8);
            else
                text_bytes(text, &glyphs[(unsigned char)*cell].ascii, 1);
        }
        text_bytes(text, "\n", 1);
    }
}

void draw_text(const struct drawing *drawing, bool utf8, struct text *text)
{
    static const char *const names[] = {[STAGE_SERVER] = "server host", [STAGE_CLIENT] = "client host"};
    struct canvas canvas = {.height = 0};
    size_t y = 2;

    memset(canvas.cells, ' ', sizeof(canvas.cells));
    for (size_t i = 0; i < drawing->row_count; i++)
        y += put_row(&canvas, y, &drawing->rows[i]);
    for (enum stage_host host = STAGE_SERVER; host < STAGE_HOSTS; host++) {
        put_string(&canvas, host_x(host) + 2, 0, HOST_WIDTH, drawing->hosts[host]);
        put_frame(&canvas, host_x(host), 1, HOST_WIDTH, y, names[host]);
    }
    if (drawing->number[0] != '\0')
        text_printf(text, "Figure %s. ", drawing->number);
    text_printf(text, "%s.\n\n", drawing->title);
    write_canvas(&canvas, utf8, text);
}
