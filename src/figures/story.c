/* SPDX-License-Identifier: MIT */
#include "figures/story.h"

#include "wire/sock_diag.h"

const struct story_socket *story_find_cookie(const struct story *story, enum story_scene scene,
                                             enum stage_host host, uint64_t cookie)
{
    const struct story_host *seen = &story->scenes[scene][host];

    for (size_t i = 0; i < seen->count && cookie != 0; i++) {
        if (seen->sockets[i].cookie == cookie)
            return &seen->sockets[i];
    }
    return NULL;
}

const struct story_socket *story_find_pair(const struct story *story, enum story_scene scene,
                                           enum stage_host host, const struct pair *pair)
{
    const struct story_host *seen = &story->scenes[scene][host];

    for (size_t i = 0; i < seen->count; i++) {
        if (pair_equal(&seen->sockets[i].pair, pair))
            return &seen->sockets[i];
    }
    return NULL;
}

const struct story_socket *story_listening(const struct story *story, enum story_scene scene)
{
    const struct story_host *seen = &story->scenes[scene][STAGE_SERVER];
    const struct story_socket *found = NULL;

    for (size_t i = 0; i < seen->count; i++) {
        if (seen->sockets[i].state != DIAG_LISTEN)
            continue;
        if (found != NULL)
            return NULL;
        found = &seen->sockets[i];
    }
    return found;
}

struct pair story_pair(const struct story *story, enum stage_host host, uint16_t client_port)
{
    struct pair pair = {.local = story->server[0], .foreign = story->client};

    pair.foreign.port = client_port;
    if (host == STAGE_SERVER)
        return pair;
    return (struct pair){.local = pair.foreign, .foreign = pair.local};
}

bool story_holds_alone(const struct story *story, enum story_role role, const struct story_socket *socket)
{
    return !socket->queued && socket->holder_count == 1 && socket->holders[0] == story->pids[role];
}

const char *story_role_name(const struct story *story, pid_t pid)
{
    static const char *const names[] = {
        [ROLE_SERVER] = "server",     [ROLE_CHILD_1] = "child 1",   [ROLE_CHILD_2] = "child 2",
        [ROLE_CLIENT_1] = "client 1", [ROLE_CLIENT_2] = "client 2", [ROLE_CLIENT_3] = "client 3",
    };

    for (size_t i = 0; i < ROLES; i++) {
        if (story->pids[i] == pid)
            return names[i];
    }
    return "process";
}
