/* SPDX-License-Identifier: MIT */
#include "figures/report.h"

#include "figures/claim.h"
#include "figures/drawing.h"

#include <string.h>

#define COLUMNS 80

static void put_stage(const struct story *story, struct text *text)
{
    char words[512];
    struct text line;

    text_init(&line, words, sizeof(words));
    text_printf(&line, "Section 2.10 on %s", stage_kind_name(story->kind));
    if (story->why[0] != '\0')
        text_printf(&line, " (no network namespace: %s)", story->why);
    if (story->server[0].port != 21)
        text_printf(&line, ", with port %u in place of 21", story->server[0].port);
    text_string(&line, ": the server host has the addresses ");
    address_format_host(&story->server[0], &line);
    text_string(&line, " and ");
    address_format_host(&story->server[1], &line);
    text_string(&line, ", the client host ");
    address_format_host(&story->client, &line);
    text_string(&line, ". All sockets and processes are real, and drawn as the kernel's table has them.");
    text_end(&line);
    text_words(text, 0, COLUMNS, words);
    text_string(text, "\n");
}

static void put_drawings(const struct story *story, bool utf8, struct text *text)
{
    static const enum story_scene drawn[] = {SCENE_LISTENING, SCENE_REQUEST, SCENE_CHILD, SCENE_SECOND,
                                             SCENE_OTHER};
    struct drawing drawing;

    for (size_t i = 0; i < sizeof(drawn) / sizeof(drawn[0]); i++) {
        drawing_make(story, drawn[i], &drawing);
        draw_text(&drawing, utf8, text);
        text_string(text, "\n");
    }
}

/* The socket that received it: as it was at the end, since a cookie stays. */
static void put_receiver(const struct story *story, const struct story_segment *segment, struct text *text)
{
    const struct story_socket *socket = NULL;
    const char *role = "queue";

    for (enum stage_host host = STAGE_SERVER; host < STAGE_HOSTS && socket == NULL; host++)
        socket = story_find_cookie(story, SCENE_OTHER, host, segment->cookie);
    if (socket == NULL) {
        text_string(text, segment->cookie == 0 ? "nobody" : "a socket that has gone");
        return;
    }
    if (!segment->queued && !socket->queued)
        role = socket->holder_count > 0 ? story_role_name(story, socket->holders[0]) : "nobody";
    text_printf(text, "%-8s ", role);
    pair_format(&socket->pair, text);
}

static void put_segment(const struct story *story, const struct story_segment *segment, struct text *text)
{
    const struct segment *sent = &segment->segment;
    char flags[32];
    struct text names;

    text_init(&names, flags, sizeof(flags));
    packet_format_flags(sent->flags, &names);
    text_end(&names);
    text_printf(text, "%4u to %-4u  %-7s %3u  ", sent->pair.foreign.port, sent->pair.local.port, flags,
                sent->length);
    put_receiver(story, segment, text);
    text_string(text, "\n");
}

static void put_segments(const struct story *story, struct text *text)
{
    if (story->tap_errnum != 0) {
        text_printf(text, "The segments cannot be captured here: %s.\n\n", strerror(story->tap_errnum));
        return;
    }
    text_string(text, "The segments, and the endpoint that received each.\n\n"
                      "port to port  flags  bytes received by\n");
    for (size_t i = 0; i < story->segment_count; i++)
        put_segment(story, &story->segments[i], text);
    if (story->segments_lost != 0)
        text_printf(text, "and %zu more\n", story->segments_lost);
    text_string(text, "\n");
}

static void put_claims(const struct story *story, struct text *text)
{
    char proof[CLAIM_PROOF_SIZE];
    size_t failed = claims_failed(story);

    text_string(text, "What the section says, and the proof.\n\n");
    for (size_t i = 0; i < claim_count; i++) {
        bool holds = claim_check(&claims[i], story, proof);
        text_printf(text, "%-6s %-4s ", holds ? "holds" : "FAILED", claims[i].figure);
        text_words(text, 12, COLUMNS, claims[i].says);
        text_printf(text, "%*s", 14, "");
        text_words(text, 14, COLUMNS, proof);
    }
    text_printf(text, "\n%zu claims, %zu failed\n", claim_count, failed);
}

void report_text(const struct story *story, bool utf8, struct text *text)
{
    put_stage(story, text);
    put_drawings(story, utf8, text);
    put_segments(story, text);
    put_claims(story, text);
}
