/* SPDX-License-Identifier: MIT */
#include "figures/report.h"

#include "addr/value.h"
#include "figures/claim.h"
#include "wire/sock_diag.h"

#include <stdlib.h>

static json_t *cookie_value(uint64_t cookie)
{
    return cookie != 0 ? value_cookie(cookie) : json_null();
}

static json_t *socket_value(const struct story *story, const struct story_socket *socket)
{
    json_t *processes = json_array();

    for (size_t i = 0; i < socket->holder_count; i++)
        json_array_append_new(processes, json_pack("{s:i, s:s}", "pid", (int)socket->holders[i], "role",
                                                   story_role_name(story, socket->holders[i])));
    return json_pack("{s:o, s:s, s:o, s:b, s:o}", "pair", value_pair(&socket->pair), "state",
                     diag_state_name(socket->state), "cookie", cookie_value(socket->cookie), "waiting",
                     (int)socket->queued, "processes", processes);
}

static json_t *host_value(const struct story *story, const struct story_host *seen)
{
    json_t *sockets = json_array();

    for (size_t i = 0; i < seen->count; i++)
        json_array_append_new(sockets, socket_value(story, &seen->sockets[i]));
    return sockets;
}

static json_t *figures_value(const struct story *story)
{
    static const struct {
        const char *number;
        enum story_scene scene;
    } drawn[] = {
        {"2.11", SCENE_LISTENING}, {"2.12", SCENE_REQUEST}, {"2.13", SCENE_CHILD},
        {"2.14", SCENE_SECOND},    {"end", SCENE_OTHER},
    };
    json_t *figures = json_object();

    for (size_t i = 0; i < sizeof(drawn) / sizeof(drawn[0]); i++) {
        const struct story_host *hosts = story->scenes[drawn[i].scene];
        json_object_set_new(figures, drawn[i].number,
                            json_pack("{s:o, s:o}", "server", host_value(story, &hosts[STAGE_SERVER]),
                                      "client", host_value(story, &hosts[STAGE_CLIENT])));
    }
    return figures;
}

static json_t *segments_value(const struct story *story)
{
    json_t *segments = json_array();
    char flags[32];
    struct text names;

    for (size_t i = 0; i < story->segment_count; i++) {
        const struct story_segment *segment = &story->segments[i];
        text_init(&names, flags, sizeof(flags));
        packet_format_flags(segment->segment.flags, &names);
        text_end(&names);
        json_array_append_new(segments,
                              json_pack("{s:o, s:s, s:i, s:o}", "pair", value_pair(&segment->segment.pair),
                                        "flags", flags, "bytes", (int)segment->segment.length, "received_by",
                                        cookie_value(segment->cookie)));
    }
    return segments;
}

static json_t *claims_value(const struct story *story)
{
    json_t *array = json_array();
    char proof[CLAIM_PROOF_SIZE];

    for (size_t i = 0; i < claim_count; i++) {
        bool holds = claim_check(&claims[i], story, proof);
        json_array_append_new(array, json_pack("{s:s, s:s, s:b, s:s}", "figure", claims[i].figure, "says",
                                               claims[i].says, "holds", (int)holds, "proof", proof));
    }
    return array;
}

bool report_json(const struct story *story, struct text *text)
{
    json_t *report = json_pack("{s:s, s:o, s:o, s:o, s:i}", "stage", stage_kind_name(story->kind), "figures",
                               figures_value(story), "segments", segments_value(story), "claims",
                               claims_value(story), "failed", (int)claims_failed(story));
    char *dump = report != NULL ? json_dumps(report, JSON_COMPACT) : NULL;

    if (dump != NULL) {
        text_string(text, dump);
        text_string(text, "\n");
    }
    free(dump);
    json_decref(report);
    return dump != NULL;
}
