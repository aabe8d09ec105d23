/* SPDX-License-Identifier: MIT */
#include "figures/drawing.h"

#include "wire/sock_diag.h"

#include <string.h>

/* A pair that is longer stands in two lines, as in the book. */
#define PAIR_LINE_MAX 28

static const struct {
    const char *number;
    const char *title;
} captions[SCENES] = {
    [SCENE_LISTENING] = {"2.11", "TCP server with a passive open on port 21"},
    [SCENE_REQUEST] = {"2.12", "Connection request from client to server"},
    [SCENE_CHILD] = {"2.13", "Concurrent server has child handle client"},
    [SCENE_SECOND] = {"2.14", "Second client connection with same server"},
    [SCENE_OTHER] = {"", "A third connection request goes to the listening socket"},
};

static void put_line(struct drawing_box *box, const char *line)
{
    struct text text;

    if (box->line_count == DRAWING_LINES_MAX)
        return;
    text_init(&text, box->lines[box->line_count++], DRAWING_LINE_SIZE);
    text_string(&text, line);
    text_end(&text);
}

static void put_pair(struct drawing_box *box, const struct pair *pair)
{
    char line[PAIR_TEXT_SIZE];
    struct text text;

    text_init(&text, line, sizeof(line));
    pair_format(pair, &text);
    if (text_end(&text) <= PAIR_LINE_MAX) {
        put_line(box, line);
        return;
    }
    char *comma = strchr(line, ',');
    char first = comma[1];
    comma[1] = '\0';
    put_line(box, line);
    comma[1] = first;
    put_line(box, comma + 1);
}

static void put_title(struct drawing_box *box, const struct story *story, const struct story_socket *socket)
{
    struct text text;

    text_init(&text, box->title, sizeof(box->title));
    if (socket->queued)
        text_string(&text, "in the queue");
    else if (socket->holder_count == 0)
        text_string(&text, "no process");
    for (size_t i = 0; i < socket->holder_count && !socket->queued; i++)
        text_printf(&text, "%s%s, pid %d", i > 0 ? "; " : "", story_role_name(story, socket->holders[i]),
                    (int)socket->holders[i]);
    text_end(&text);
}

static void fill_box(struct drawing_box *box, const struct story *story, const struct story_socket *socket)
{
    put_title(box, story, socket);
    put_pair(box, &socket->pair);
    if (socket->state == DIAG_LISTEN)
        put_line(box, "listening socket");
    else if (socket->queued)
        put_line(box, "not accepted yet");
    else
        put_line(box,
                 socket->state == DIAG_ESTABLISHED ? "connected socket" : diag_state_name(socket->state));
}

static bool is_server_child(const struct story *story, const struct story_socket *socket)
{
    for (enum story_role role = ROLE_CHILD_1; role <= ROLE_CHILD_2; role++) {
        if (story_holds_alone(story, role, socket))
            return story->parents[role] == story->pids[ROLE_SERVER];
    }
    return false;
}

static struct drawing_row *add_row(struct drawing *drawing)
{
    return &drawing->rows[drawing->row_count++];
}

static void add_server_row(struct drawing *drawing, const struct story *story, enum story_scene scene,
                           const struct story_socket *socket)
{
    struct pair reverse = {.local = socket->pair.foreign, .foreign = socket->pair.local};
    const struct story_socket *peer = story_find_pair(story, scene, STAGE_CLIENT, &reverse);
    struct drawing_row *row = add_row(drawing);

    fill_box(&row->boxes[STAGE_SERVER], story, socket);
    row->forked = is_server_child(story, socket);
    if (peer == NULL)
        return;
    fill_box(&row->boxes[STAGE_CLIENT], story, peer);
    row->link = socket->queued ? LINK_REQUEST : LINK_CONNECTION;
}

/* Of the server's sockets those in the state (or, without listening, in every other), in the order of the table. */
static void add_server_rows(struct drawing *drawing, const struct story *story, enum story_scene scene,
                            bool listening)
{
    const struct story_host *seen = &story->scenes[scene][STAGE_SERVER];

    for (size_t i = 0; i < seen->count; i++) {
        if ((seen->sockets[i].state == DIAG_LISTEN) == listening)
            add_server_row(drawing, story, scene, &seen->sockets[i]);
    }
}

/* Those of the client's whose other end the server host does not know. */
static void add_client_rows(struct drawing *drawing, const struct story *story, enum story_scene scene)
{
    const struct story_host *seen = &story->scenes[scene][STAGE_CLIENT];

    for (size_t i = 0; i < seen->count; i++) {
        const struct pair *pair = &seen->sockets[i].pair;
        struct pair reverse = {.local = pair->foreign, .foreign = pair->local};
        if (story_find_pair(story, scene, STAGE_SERVER, &reverse) == NULL)
            fill_box(&add_row(drawing)->boxes[STAGE_CLIENT], story, &seen->sockets[i]);
    }
}

static void put_hosts(struct drawing *drawing, const struct story *story)
{
    struct text text;

    text_init(&text, drawing->hosts[STAGE_SERVER], DRAWING_LINE_SIZE);
    address_format_host(&story->server[0], &text);
    text_string(&text, ", ");
    address_format_host(&story->server[1], &text);
    text_end(&text);
    text_init(&text, drawing->hosts[STAGE_CLIENT], DRAWING_LINE_SIZE);
    address_format_host(&story->client, &text);
    text_end(&text);
}

void drawing_make(const struct story *story, enum story_scene scene, struct drawing *ret_drawing)
{
    *ret_drawing = (struct drawing){.number = captions[scene].number, .title = captions[scene].title};
    put_hosts(ret_drawing, story);
    add_server_rows(ret_drawing, story, scene, true);
    add_server_rows(ret_drawing, story, scene, false);
    add_client_rows(ret_drawing, story, scene);
}
