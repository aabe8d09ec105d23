/* SPDX-License-Identifier: MIT
 *
 * tests/unit/figures/true_story.h - the story as the section tells it, made by hand.
 *
 * Every claim holds of it. Tests change one thing of it and see what that contradicts.
 */
#ifndef TESTS_UNIT_FIGURES_TRUE_STORY_H
#define TESTS_UNIT_FIGURES_TRUE_STORY_H

#include "figures/story.h"
#include "wire/sock_diag.h"

#include <errno.h>

enum { PID_SERVER = 801, PID_CHILD_1 = 811, PID_CHILD_2, PID_CLIENT_1 = 821, PID_CLIENT_2, PID_CLIENT_3 };
/* Cookies: the listening socket, then for each port the server's and the client's end. */
enum { COOKIE_LISTENING = 1, COOKIE_SERVER = 2, COOKIE_CLIENT = 12, COOKIE_ONE = 99 };

static inline struct address true_address(int a, int b, int c, int d, int port)
{
    return (struct address){
        .family = AF_INET,
        .port = (uint16_t)port,
        .bytes = {(uint8_t)a, (uint8_t)b, (uint8_t)c, (uint8_t)d},
    };
}

static inline struct story_socket *true_socket(struct story *story, enum story_scene scene,
                                               enum stage_host host, struct pair pair, uint64_t cookie,
                                               pid_t holder)
{
    struct story_host *seen = &story->scenes[scene][host];
    struct story_socket *socket = &seen->sockets[seen->count++];

    *socket = (struct story_socket){
        .pair = pair,
        .state = DIAG_ESTABLISHED,
        .cookie = cookie,
        .holders = {holder},
        .holder_count = 1,
    };
    return socket;
}

/* Both ends of the connection from the port of the client of this number, from 0. */
static inline struct story_socket *true_connection(struct story *story, enum story_scene scene, int number,
                                                   pid_t server)
{
    uint16_t port = (uint16_t)(STORY_PORT_1 + number);

    true_socket(story, scene, STAGE_CLIENT, story_pair(story, STAGE_CLIENT, port),
                (uint64_t)(COOKIE_CLIENT + number), PID_CLIENT_1 + number);
    struct story_socket *socket =
        true_socket(story, scene, STAGE_SERVER, story_pair(story, STAGE_SERVER, port),
                    (uint64_t)(COOKIE_SERVER + number), server);
    socket->queued = server == PID_SERVER;
    socket->bytes_received = number < 2 && (int)scene >= SCENE_SENT_1 + number ? 15 : 0;
    return socket;
}

static inline void true_scene(struct story *story, enum story_scene scene)
{
    struct pair listening = {.local = {.family = AF_INET, .port = 21}, .foreign = {.family = AF_UNSPEC}};
    struct story_socket *socket =
        true_socket(story, scene, STAGE_SERVER, listening, COOKIE_LISTENING, PID_SERVER);

    socket->state = DIAG_LISTEN;
    socket->waiting = scene == SCENE_REQUEST || scene == SCENE_OTHER;
    if (scene == SCENE_REQUEST)
        true_connection(story, scene, 0, PID_SERVER);
    if (scene >= SCENE_CHILD)
        true_connection(story, scene, 0, PID_CHILD_1);
    if (scene >= SCENE_SECOND)
        true_connection(story, scene, 1, PID_CHILD_2);
    if (scene == SCENE_OTHER)
        true_connection(story, scene, 2, PID_SERVER);
}

static inline void true_look(struct story *story, enum story_look look, struct address local,
                             struct address foreign, uint64_t cookie)
{
    story->looks[look] = (struct story_look_up){.pair = {local, foreign}, .cookie = cookie};
}

static inline void true_looks(struct story *story)
{
    struct address here = story->server[0];
    struct address there = story->server[1];
    struct address other_port = true_address(12, 106, 32, 254, 22);

    true_look(story, LOOK_ONE_OTHER, here, true_address(206, 168, 112, 219, 1500), 0);
    true_look(story, LOOK_ONE_ITSELF, there, true_address(206, 168, 112, 219, 1500), COOKIE_ONE);
    true_look(story, LOOK_ANY_FIRST, here, true_address(206, 168, 112, 219, 1500), COOKIE_LISTENING);
    true_look(story, LOOK_ANY_SECOND, there, true_address(206, 168, 112, 219, 1500), COOKIE_LISTENING);
    true_look(story, LOOK_FROM_1, here, true_address(206, 168, 112, 219, 1500), COOKIE_SERVER);
    true_look(story, LOOK_FROM_2, here, true_address(206, 168, 112, 219, 1501), COOKIE_SERVER + 1);
    true_look(story, LOOK_FROM_3, here, true_address(206, 168, 112, 219, 1502), COOKIE_LISTENING);
    true_look(story, LOOK_OTHER_FOREIGN, here, true_address(206, 168, 112, 220, 1500), COOKIE_LISTENING);
    true_look(story, LOOK_OTHER_LOCAL, there, true_address(206, 168, 112, 219, 1500), COOKIE_LISTENING);
    true_look(story, LOOK_OTHER_LOCAL_PORT, other_port, true_address(206, 168, 112, 219, 1500), 0);
}

static inline void true_segments(struct story *story)
{
    struct pair pair = story_pair(story, STAGE_SERVER, STORY_PORT_1);
    struct pair back = story_pair(story, STAGE_CLIENT, STORY_PORT_1);

    story->segment_count = 3;
    story->segments[0] = (struct story_segment){.segment = {.pair = pair, .flags = SEGMENT_SYN},
                                                .cookie = COOKIE_LISTENING,
                                                .asked_before = true};
    story->segments[1] = (struct story_segment){.segment = {.pair = back, .flags = SEGMENT_SYN | SEGMENT_ACK},
                                                .cookie = COOKIE_CLIENT};
    story->segments[2] = (struct story_segment){.segment = {.pair = pair, .flags = SEGMENT_ACK, .length = 15},
                                                .cookie = COOKIE_SERVER};
}

static inline void tell_true_story(struct story *story)
{
    *story = (struct story){
        .kind = STAGE_NAMESPACES,
        .server = {true_address(12, 106, 32, 254, 21), true_address(192, 168, 42, 1, 21)},
        .client = true_address(206, 168, 112, 219, 0),
        .pids = {PID_SERVER, PID_CHILD_1, PID_CHILD_2, PID_CLIENT_1, PID_CLIENT_2, PID_CLIENT_3},
        .parents = {[ROLE_CHILD_1] = PID_SERVER, [ROLE_CHILD_2] = PID_SERVER},
        .bind_again_errnum = EINVAL,
        .same_port_errnum = EADDRNOTAVAIL,
        .readers = {PID_CHILD_1, PID_CHILD_2},
    };
    for (int scene = 0; scene < SCENES; scene++)
        true_scene(story, (enum story_scene)scene);
    true_looks(story);
    true_segments(story);
}

/* The server's socket at this place of its table, in the order in which true_scene() made them. */
static inline struct story_socket *at_server(struct story *story, enum story_scene scene, size_t place)
{
    return &story->scenes[scene][STAGE_SERVER].sockets[place];
}

#endif
