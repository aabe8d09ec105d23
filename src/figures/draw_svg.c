/* SPDX-License-Identifier: MIT */
#include "figures/drawing.h"

/* In pixels. */
enum {
    MARGIN = 12,
    HOST_WIDTH = 290,
    GAP = 120,
    WIDTH = 2 * MARGIN + 2 * HOST_WIDTH + GAP,
    TOP = 84, /* of the hosts: title and addresses are above */
    PADDING = 18,
    BOX_WIDTH = HOST_WIDTH - 2 * PADDING,
    LINE = 19,
};

/* A picture in a page does not know the page's colours, so it has a ground of its own; it knows whether its reader
 * wants dark ones. */
static const char style[] =
    "<style>\n"
    "text { font: 14px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #1f2328; }\n"
    ".ground { fill: #ffffff; }\n"
    ".title { font-weight: bold; }\n"
    ".quiet { fill: #59636e; }\n"
    ".host { fill: none; stroke: #818b98; stroke-width: 1.5; }\n"
    ".box { fill: #f6f8fa; stroke: #1f2328; stroke-width: 1.5; }\n"
    ".queue { fill: none; stroke: #59636e; stroke-dasharray: 5 4; }\n"
    ".link { stroke: #0969da; stroke-width: 2; fill: none; }\n"
    ".head { fill: #0969da; }\n"
    "@media (prefers-color-scheme: dark) {\n"
    "text { fill: #e6edf3; }\n"
    ".ground { fill: #0d1117; }\n"
    ".quiet { fill: #9198a1; }\n"
    ".host { stroke: #6e7681; }\n"
    ".box { fill: #151b23; stroke: #e6edf3; }\n"
    ".queue { fill: none; stroke: #9198a1; }\n"
    ".link { stroke: #4493f8; }\n"
    ".head { fill: #4493f8; }\n"
    "}\n"
    "</style>\n";

/* All that is drawn is of our own making but for this: no name or address has such a character, and none shall. */
static void put_escaped(struct text *text, const char *string)
{
    for (; *string != '\0'; string++) {
        if (*string == '<')
            text_string(text, "&lt;");
        else if (*string == '>')
            text_string(text, "&gt;");
        else if (*string == '&')
            text_string(text, "&amp;");
        else
            text_bytes(text, string, 1);
    }
}

static void put_label(struct text *text, unsigned x, unsigned y, const char *class, const char *string)
{
    text_printf(text, "<text x=\"%u\" y=\"%u\" class=\"%s\" xml:space=\"preserve\">", x, y, class);
    put_escaped(text, string);
    text_string(text, "</text>\n");
}

static void put_rectangle(struct text *text, unsigned x, unsigned y, unsigned width, unsigned height,
                          const char *class)
{
    text_printf(text, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" rx=\"6\" class=\"%s\"/>\n", x, y,
                width, height, class);
}

static unsigned host_x(enum stage_host host)
{
    return host == STAGE_CLIENT ? MARGIN : MARGIN + HOST_WIDTH + GAP;
}

static unsigned box_height(const struct drawing_box *box)
{
    return box->title[0] == '\0' ? 0 : ((unsigned)box->line_count + 1) * LINE + PADDING;
}

static unsigned row_height(const struct drawing_row *row)
{
    unsigned left = box_height(&row->boxes[STAGE_CLIENT]);
    unsigned right = box_height(&row->boxes[STAGE_SERVER]);

    return (left > right ? left : right) + PADDING;
}

static void put_box(struct text *text, enum stage_host host, unsigned y, const struct drawing_row *row)
{
    const struct drawing_box *box = &row->boxes[host];
    bool queued = host == STAGE_SERVER && row->link == LINK_REQUEST;
    unsigned x = host_x(host) + PADDING;

    if (box->title[0] == '\0')
        return;
    put_rectangle(text, x, y, BOX_WIDTH, box_height(box), queued ? "box queue" : "box");
    put_label(text, x + 10, y + LINE, "title", box->title);
    for (size_t i = 0; i < box->line_count; i++)
        put_label(text, x + 10, y + LINE * ((unsigned)i + 2), i + 1 == box->line_count ? "quiet" : "pair",
                  box->lines[i]);
}

static void put_head(struct text *text, unsigned x, unsigned y, int way)
{
    text_printf(text, "<path d=\"M%u %u l%d -6 v12 z\" class=\"head\"/>\n", x, y, -10 * way);
}

static void put_link(struct text *text, unsigned y, enum drawing_link link)
{
    unsigned left = host_x(STAGE_CLIENT) + HOST_WIDTH - PADDING + 4;
    unsigned right = host_x(STAGE_SERVER) + PADDING - 4;

    if (link == LINK_NONE)
        return;
    text_printf(text, "<path d=\"M%u %u H%u\" class=\"link\"/>\n", link == LINK_REQUEST ? left - 4 : left + 6,
                y, right - 6);
    put_head(text, right, y, 1);
    if (link == LINK_CONNECTION)
        put_head(text, left, y, -1);
    put_label(text, host_x(STAGE_CLIENT) + HOST_WIDTH + 20, y - 8, "quiet",
              link == LINK_REQUEST ? " request" : "connection");
}

/* From the box of the first row, whose middle is at `from`, beside the boxes down to this one. */
static void put_fork(struct text *text, unsigned from, unsigned to)
{
    unsigned x = host_x(STAGE_SERVER) + PADDING + BOX_WIDTH;

    text_printf(text, "<path d=\"M%u %u h9 V%u h-4\" class=\"link\"/>\n", x, from, to);
    text_printf(text, "<path d=\"M%u %u l9 -5 v10 z\" class=\"head\"/>\n", x, to);
    put_label(text, x - 44, to + 5, "quiet", "fork");
}

static void put_row(struct text *text, unsigned y, const struct drawing_row *row, unsigned first_middle)
{
    put_box(text, STAGE_CLIENT, y, row);
    put_box(text, STAGE_SERVER, y, row);
    put_link(text, y + box_height(&row->boxes[STAGE_SERVER]) / 2, row->link);
    if (row->forked)
        put_fork(text, first_middle, y + LINE - 5);
}

static void describe_box(struct text *text, const char *host, const struct drawing_box *box)
{
    if (box->title[0] == '\0')
        return;
    put_escaped(text, host);
    text_string(text, ", ");
    put_escaped(text, box->title);
    text_string(text, ":");
    for (size_t i = 0; i < box->line_count; i++) {
        text_string(text, box->lines[i][0] == ' ' ? "" : " ");
        put_escaped(text, box->lines[i]);
    }
    text_string(text, ". ");
}

/* What the picture shows, for who has it read aloud. */
static void describe(const struct drawing *drawing, struct text *text)
{
    text_string(text, "<desc id=\"description\">");
    for (size_t i = 0; i < drawing->row_count; i++) {
        describe_box(text, "Server host", &drawing->rows[i].boxes[STAGE_SERVER]);
        describe_box(text, "Client host", &drawing->rows[i].boxes[STAGE_CLIENT]);
    }
    text_string(text, "</desc>\n");
}

static void put_title(const struct drawing *drawing, struct text *text)
{
    if (drawing->number[0] != '\0')
        text_printf(text, "Figure %s. ", drawing->number);
    put_escaped(text, drawing->title);
}

void draw_svg(const struct drawing *drawing, struct text *text)
{
    static const char *const names[] = {[STAGE_SERVER] = "server host", [STAGE_CLIENT] = "client host"};
    unsigned inside = PADDING;
    unsigned y = TOP + PADDING;

    for (size_t i = 0; i < drawing->row_count; i++)
        inside += row_height(&drawing->rows[i]);
    text_printf(text,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %u %u\" width=\"%u\" height=\"%u\" "
                "role=\"img\" aria-labelledby=\"title description\">\n<title id=\"title\">",
                WIDTH, TOP + inside + MARGIN, WIDTH, TOP + inside + MARGIN);
    put_title(drawing, text);
    text_string(text, "</title>\n");
    describe(drawing, text);
    text_string(text, style);
    put_rectangle(text, 0, 0, WIDTH, TOP + inside + MARGIN, "ground");
    text_printf(text, "<text x=\"%u\" y=\"24\" class=\"title\">", MARGIN);
    put_title(drawing, text);
    text_string(text, "</text>\n");
    for (enum stage_host host = STAGE_SERVER; host < STAGE_HOSTS; host++) {
        put_label(text, host_x(host), TOP - 26, "title", names[host]);
        put_label(text, host_x(host), TOP - 8, "quiet", drawing->hosts[host]);
        put_rectangle(text, host_x(host), TOP, HOST_WIDTH, inside, "host");
    }
    unsigned first_middle = y + box_height(&drawing->rows[0].boxes[STAGE_SERVER]) / 2;
    for (size_t i = 0; i < drawing->row_count; i++) {
        put_row(text, y, &drawing->rows[i], first_middle);
        y += row_height(&drawing->rows[i]);
    }
    text_string(text, "</svg>\n");
}
