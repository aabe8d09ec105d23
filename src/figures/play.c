/* SPDX-License-Identifier: MIT */
#include "figures/play.h"

#include "figures/actor.h"
#include "figures/witness.h"
#include "sys/procfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct play {
    const struct stage *stage;
    struct story *story;
    struct actors actors;
    const struct actor *server;
    const struct actor *clients[3];
};

static const uint16_t ports[3] = {STORY_PORT_1, STORY_PORT_2, STORY_PORT_3};

/* The listening socket's pair, of one address or (NULL) of any. */
static struct pair listening_pair(const struct story *story, const struct address *one)
{
    struct pair pair = {.local = {.family = AF_INET, .port = story->server[0].port}};

    if (one != NULL)
        pair.local = *one;
    return pair;
}

static enum fp_status look(struct play *play, enum story_look which, struct pair pair, struct fp_error *err)
{
    struct story_look_up *noted = &play->story->looks[which];

    noted->pair = pair;
    return witness_look(play->stage, STAGE_SERVER, &pair, &noted->cookie, err);
}

static enum fp_status look_to(struct play *play, enum story_look which, const struct address *local,
                              struct fp_error *err)
{
    struct pair pair = story_pair(play->story, STAGE_SERVER, STORY_PORT_1);

    pair.local = *local;
    return look(play, which, pair, err);
}

/* "This is a one-or-any choice for the server. The server cannot specify a list of multiple addresses." */
static enum fp_status play_one(struct play *play, struct fp_error *err)
{
    const struct address *addresses = play->story->server;
    struct pair one = listening_pair(play->story, &addresses[1]);
    struct pair other = listening_pair(play->story, &addresses[0]);
    struct actor_report report;

    enum fp_status status = actor_do(play->server, ORDER_LISTEN, &one, err);
    if (status == FP_OK)
        status = look_to(play, LOOK_ONE_OTHER, &addresses[0], err);
    if (status == FP_OK)
        status = look_to(play, LOOK_ONE_ITSELF, &addresses[1], err);
    if (status == FP_OK)
        status = actor_tell(play->server, ORDER_BIND_AGAIN, &other, err);
    if (status == FP_OK)
        status = actor_hear(play->server, &report, err);
    if (status == FP_OK)
        play->story->bind_again_errnum = report.status == FP_OK ? 0 : report.error.errnum;
    return status;
}

/* Figure 2.11. */
static enum fp_status play_passive_open(struct play *play, struct fp_error *err)
{
    struct pair any = listening_pair(play->story, NULL);

    enum fp_status status = actor_start(&play->actors, ACTOR_SERVER, &play->server, err);
    if (status != FP_OK)
        return status;
    play->story->pids[ROLE_SERVER] = play->server->pid;
    status = play_one(play, err);
    if (status == FP_OK)
        status = actor_do(play->server, ORDER_LISTEN, &any, err);
    if (status == FP_OK)
        status = witness_scene(play->stage, play->story, SCENE_LISTENING, err);
    if (status == FP_OK)
        status = look_to(play, LOOK_ANY_FIRST, &play->story->server[0], err);
    if (status == FP_OK)
        status = look_to(play, LOOK_ANY_SECOND, &play->story->server[1], err);
    return status;
}

static enum fp_status start_client(struct play *play, size_t which, struct fp_error *err)
{
    struct fp_error back;

    enum fp_status status = stage_enter(play->stage, STAGE_CLIENT, err);
    if (status != FP_OK)
        return status;
    status = actor_start(&play->actors, ACTOR_CLIENT, &play->clients[which], err);
    if (status == FP_OK)
        play->story->pids[ROLE_CLIENT_1 + which] = play->clients[which]->pid;
    if (stage_enter(play->stage, STAGE_SERVER, &back) == FP_OK)
        return status;
    *err = back;
    return back.status;
}

/* The kernel is asked for the receiver of the request first: once it has been received, it is another. */
static enum fp_status play_active_open(struct play *play, size_t which, struct fp_error *err)
{
    struct pair pair = story_pair(play->story, STAGE_CLIENT, ports[which]);
    struct story_look_up before = {.pair = story_pair(play->story, STAGE_SERVER, ports[which])};

    enum fp_status status = witness_look(play->stage, STAGE_SERVER, &before.pair, &before.cookie, err);
    if (status == FP_OK)
        status = actor_do(play->clients[which], ORDER_CONNECT, &pair, err);
    if (status == FP_OK)
        status = actor_do(play->server, ORDER_AWAIT, &pair, err);
    if (status == FP_OK)
        status = witness_segments(play->stage, play->story, &before, err);
    return status;
}

/* The server and its new child both report, in any order; then neither holds what is the other's. */
static enum fp_status play_fork(struct play *play, enum story_role child, struct fp_error *err)
{
    struct pair none = {.local = {.family = AF_UNSPEC}};
    struct actor_report report;

    enum fp_status status = actor_tell(play->server, ORDER_ACCEPT, &none, err);
    for (int i = 0; i < 2 && status == FP_OK; i++) {
        status = actor_hear(play->server, &report, err);
        if (status == FP_OK && report.status != FP_OK) {
            *err = report.error;
            status = report.status;
        }
        if (status == FP_OK && report.of_child) {
            play->story->pids[child] = report.pid;
            play->story->parents[child] = procfs_parent(report.pid);
        }
    }
    return status;
}

/* Figures 2.12 and 2.13. */
static enum fp_status play_first_client(struct play *play, struct fp_error *err)
{
    enum fp_status status = start_client(play, 0, err);

    if (status == FP_OK)
        status = play_active_open(play, 0, err);
    if (status == FP_OK)
        status = witness_scene(play->stage, play->story, SCENE_REQUEST, err);
    if (status == FP_OK)
        status = play_fork(play, ROLE_CHILD_1, err);
    if (status == FP_OK)
        status = witness_scene(play->stage, play->story, SCENE_CHILD, err);
    return status;
}

/* A port that is in use towards the same server is refused, whoever asks for it. */
static enum fp_status try_same_port(struct play *play, struct fp_error *err)
{
    struct pair taken = story_pair(play->story, STAGE_CLIENT, STORY_PORT_1);
    struct actor_report report;

    enum fp_status status = actor_tell(play->clients[1], ORDER_CONNECT, &taken, err);
    if (status == FP_OK)
        status = actor_hear(play->clients[1], &report, err);
    if (status == FP_OK)
        play->story->same_port_errnum = report.status == FP_OK ? 0 : report.error.errnum;
    return status;
}

/* Figure 2.14. */
static enum fp_status play_second_client(struct play *play, struct fp_error *err)
{
    enum fp_status status = start_client(play, 1, err);

    if (status == FP_OK)
        status = try_same_port(play, err);
    if (status == FP_OK)
        status = play_active_open(play, 1, err);
    if (status == FP_OK)
        status = play_fork(play, ROLE_CHILD_2, err);
    if (status == FP_OK)
        status = witness_scene(play->stage, play->story, SCENE_SECOND, err);
    return status;
}

/* Who would receive a segment that differs from the first client's in one element of the pair. */
static enum fp_status look_around(struct play *play, struct fp_error *err)
{
    const struct story *story = play->story;
    struct pair first = story_pair(story, STAGE_SERVER, STORY_PORT_1);
    struct pair changed[LOOKS];

    for (size_t i = LOOK_FROM_1; i < LOOKS; i++)
        changed[i] = first;
    changed[LOOK_FROM_2].foreign.port = STORY_PORT_2;
    changed[LOOK_FROM_3].foreign.port = STORY_PORT_3;
    changed[LOOK_OTHER_FOREIGN].foreign.bytes[3]++;
    changed[LOOK_OTHER_LOCAL].local = story->server[1];
    changed[LOOK_OTHER_LOCAL_PORT].local.port++;
    enum fp_status status = FP_OK;
    for (size_t i = LOOK_FROM_1; i < LOOKS && status == FP_OK; i++)
        status = look(play, (enum story_look)i, changed[i], err);
    return status;
}

static enum fp_status play_line(struct play *play, size_t which, struct fp_error *err)
{
    struct pair none = {.local = {.family = AF_UNSPEC}};
    struct actor_report report;

    enum fp_status status = actor_do(play->clients[which], ORDER_SEND, &none, err);
    if (status == FP_OK)
        status = actor_hear(play->server, &report, err);
    if (status != FP_OK)
        return status;
    play->story->readers[which] = report.pid;
    return witness_settled(play->stage, play->story, (enum story_scene)(SCENE_SENT_1 + which), err);
}

/* The last paragraph. */
static enum fp_status play_segments(struct play *play, struct fp_error *err)
{
    enum fp_status status = look_around(play, err);

    if (status == FP_OK)
        status = play_line(play, 0, err);
    if (status == FP_OK)
        status = play_line(play, 1, err);
    if (status == FP_OK)
        status = start_client(play, 2, err);
    if (status == FP_OK)
        status = play_active_open(play, 2, err);
    if (status == FP_OK)
        status = witness_scene(play->stage, play->story, SCENE_OTHER, err);
    return status;
}

enum fp_status play(const struct stage *stage, struct story *ret_story, struct fp_error *err)
{
    /* The stack may be small (RLIMIT_STACK). */
    struct story *story = calloc(1, sizeof(*story));
    struct play play = {.stage = stage, .story = story};

    if (story == NULL)
        return error_set(err, FP_SYSTEM, errno, "note", "what is seen");
    story->kind = stage->kind;
    story->tap_errnum = stage->errnum;
    memcpy(story->server, stage->server, sizeof(story->server));
    story->client = stage->client;
    memcpy(story->why, stage->why, sizeof(story->why));
    enum fp_status status = stage_enter(stage, STAGE_SERVER, err);
    if (status == FP_OK)
        status = play_passive_open(&play, err);
    if (status == FP_OK)
        status = play_first_client(&play, err);
    if (status == FP_OK)
        status = play_second_client(&play, err);
    if (status == FP_OK)
        status = play_segments(&play, err);
    actor_end_all(&play.actors);
    if (status == FP_OK)
        memcpy(ret_story, story, sizeof(*story));
    free(story);
    return status;
}
