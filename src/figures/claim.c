/* SPDX-License-Identifier: MIT */
#include "figures/claim.h"

#include "wire/sock_diag.h"

#include <errno.h>
#include <string.h>

static void put_pair(struct text *proof, const struct pair *pair)
{
    pair_format(pair, proof);
}

static void put_address(struct text *proof, const struct address *address)
{
    address_format(address, proof);
}

static void put_holders(struct text *proof, const struct story *story, const struct story_socket *socket)
{
    if (socket->holder_count == 0)
        text_string(proof, "no process");
    for (size_t i = 0; i < socket->holder_count; i++)
        text_printf(proof, "%s%s", i > 0 ? " and " : "", story_role_name(story, socket->holders[i]));
}

/* The listening socket, or a proof that there is none. */
static const struct story_socket *need_listening(const struct story *story, enum story_scene scene,
                                                 struct text *proof)
{
    const struct story_socket *listening = story_listening(story, scene);

    if (listening == NULL)
        text_string(proof, "the server host has not exactly one listening socket");
    return listening;
}

static const struct story_socket *need_connected(const struct story *story, enum story_scene scene,
                                                 enum stage_host host, uint16_t port, struct text *proof)
{
    struct pair pair = story_pair(story, host, port);
    const struct story_socket *socket = story_find_pair(story, scene, host, &pair);

    if (socket != NULL && socket->state == DIAG_ESTABLISHED)
        return socket;
    text_string(proof, host == STAGE_SERVER ? "the server host has no connected socket "
                                            : "the client host has no connected socket ");
    put_pair(proof, &pair);
    return NULL;
}

static void put_receiver(struct text *proof, const struct story *story, enum story_scene scene,
                         uint64_t cookie)
{
    const struct story_socket *socket = story_find_cookie(story, scene, STAGE_SERVER, cookie);

    if (cookie == 0) {
        text_string(proof, "nobody");
    } else if (socket == NULL) {
        text_string(proof, "a socket that is not in the table");
    } else {
        put_holders(proof, story, socket);
        text_string(proof, ", ");
        put_pair(proof, &socket->pair);
    }
}

/* Would the kernel give the segment to this socket (NULL: to nobody)? */
static bool looks_at(const struct story *story, enum story_look look, enum story_scene scene,
                     const struct story_socket *expected, struct text *proof)
{
    const struct story_look_up *looked = &story->looks[look];

    put_address(proof, &looked->pair.foreign);
    text_string(proof, " to ");
    put_address(proof, &looked->pair.local);
    text_string(proof, ": ");
    put_receiver(proof, story, scene, looked->cookie);
    return expected != NULL ? expected->cookie != 0 && looked->cookie == expected->cookie
                            : looked->cookie == 0;
}

static bool passive_open(const struct story *story, struct text *proof)
{
    const struct story_socket *listening = need_listening(story, SCENE_LISTENING, proof);

    if (listening == NULL)
        return false;
    put_pair(proof, &listening->pair);
    text_printf(proof, " in state %s, held by ", diag_state_name(listening->state));
    put_holders(proof, story, listening);
    return story->scenes[SCENE_LISTENING][STAGE_SERVER].count == 1 &&
           address_is_wildcard(&listening->pair.local) && address_is_wildcard(&listening->pair.foreign) &&
           listening->pair.local.port == story->server[0].port && listening->pair.foreign.port == 0 &&
           story_holds_alone(story, ROLE_SERVER, listening);
}

static bool any_interface(const struct story *story, struct text *proof)
{
    const struct story_socket *listening = need_listening(story, SCENE_LISTENING, proof);

    if (listening == NULL)
        return false;
    bool first = looks_at(story, LOOK_ANY_FIRST, SCENE_LISTENING, listening, proof);
    text_string(proof, "; ");
    return looks_at(story, LOOK_ANY_SECOND, SCENE_LISTENING, listening, proof) && first;
}

/* The socket was closed before the first scene, so its cookie is in none of them. */
static bool one_interface(const struct story *story, struct text *proof)
{
    const struct story_look_up *itself = &story->looks[LOOK_ONE_ITSELF];
    const struct story_look_up *other = &story->looks[LOOK_ONE_OTHER];

    text_string(proof, "listening on ");
    put_address(proof, &itself->pair.local);
    text_string(proof,
                itself->cookie != 0 ? ", it receives a segment to there" : ", it receives nothing there");
    text_string(proof, other->cookie == 0 ? ", and nobody one to " : ", and somebody one to ");
    put_address(proof, &other->pair.local);
    return itself->cookie != 0 && other->cookie == 0;
}

static bool no_list(const struct story *story, struct text *proof)
{
    if (story->bind_again_errnum == 0)
        text_string(proof, "a listening socket could be bound to one address more");
    else
        text_printf(proof, "bind() to one address more: %s", strerror(story->bind_again_errnum));
    return story->bind_again_errnum == EINVAL;
}

static bool client_pair(const struct story *story, struct text *proof)
{
    const struct story_socket *client =
        need_connected(story, SCENE_REQUEST, STAGE_CLIENT, STORY_PORT_1, proof);

    if (client == NULL)
        return false;
    put_pair(proof, &client->pair);
    text_string(proof, ", held by ");
    put_holders(proof, story, client);
    return story_holds_alone(story, ROLE_CLIENT_1, client);
}

static bool request_waits(const struct story *story, struct text *proof)
{
    const struct story_socket *listening = need_listening(story, SCENE_REQUEST, proof);
    const struct story_socket *queued =
        need_connected(story, SCENE_REQUEST, STAGE_SERVER, STORY_PORT_1, proof);

    if (listening == NULL || queued == NULL)
        return false;
    put_pair(proof, &queued->pair);
    text_printf(proof, " is %s queue of ", queued->queued ? "in the" : "in no");
    put_pair(proof, &listening->pair);
    text_printf(proof, ", where %u waits", listening->waiting);
    return queued->queued && listening->waiting == 1 && queued->holder_count == 1 &&
           queued->holders[0] == story->pids[ROLE_SERVER];
}

static bool child_serves(const struct story *story, struct text *proof)
{
    const struct story_socket *connected =
        need_connected(story, SCENE_CHILD, STAGE_SERVER, STORY_PORT_1, proof);

    if (connected == NULL)
        return false;
    bool is_child = story->parents[ROLE_CHILD_1] == story->pids[ROLE_SERVER];
    text_printf(proof, "process %d, %s %d, holds the connected socket", (int)story->pids[ROLE_CHILD_1],
                is_child ? "forked by" : "not forked by", (int)story->pids[ROLE_SERVER]);
    text_string(proof, story_holds_alone(story, ROLE_CHILD_1, connected) ? " alone" : ", but not alone");
    return is_child && story_holds_alone(story, ROLE_CHILD_1, connected);
}

static bool sockets_distinct(const struct story *story, struct text *proof)
{
    const struct story_socket *listening = need_listening(story, SCENE_CHILD, proof);
    const struct story_socket *connected =
        need_connected(story, SCENE_CHILD, STAGE_SERVER, STORY_PORT_1, proof);

    if (listening == NULL || connected == NULL)
        return false;
    text_printf(proof, "%s socket %llx of ", diag_state_name(listening->state),
                (unsigned long long)listening->cookie);
    put_holders(proof, story, listening);
    text_printf(proof, ", %s socket %llx of ", diag_state_name(connected->state),
                (unsigned long long)connected->cookie);
    put_holders(proof, story, connected);
    return listening->cookie != connected->cookie && story_holds_alone(story, ROLE_SERVER, listening) &&
           !story_holds_alone(story, ROLE_SERVER, connected);
}

static bool same_port(const struct story *story, struct text *proof)
{
    const struct story_socket *listening = need_listening(story, SCENE_CHILD, proof);
    const struct story_socket *connected =
        need_connected(story, SCENE_CHILD, STAGE_SERVER, STORY_PORT_1, proof);

    if (listening == NULL || connected == NULL)
        return false;
    bool same = listening->pair.local.port == connected->pair.local.port;
    text_printf(proof, "%u %s %u", connected->pair.local.port, same ? "=" : "is not",
                listening->pair.local.port);
    return same;
}

static bool filled_in(const struct story *story, struct text *proof)
{
    const struct story_socket *listening = need_listening(story, SCENE_CHILD, proof);
    const struct story_socket *connected =
        need_connected(story, SCENE_CHILD, STAGE_SERVER, STORY_PORT_1, proof);

    if (listening == NULL || connected == NULL)
        return false;
    put_address(proof, &listening->pair.local);
    text_string(proof, " became ");
    put_address(proof, &connected->pair.local);
    return address_is_wildcard(&listening->pair.local) && !address_is_wildcard(&connected->pair.local);
}

static bool unused_port(const struct story *story, struct text *proof)
{
    const struct story_socket *second =
        need_connected(story, SCENE_SECOND, STAGE_CLIENT, STORY_PORT_2, proof);
    bool refused = story->same_port_errnum == EADDRNOTAVAIL || story->same_port_errnum == EADDRINUSE;

    if (second == NULL)
        return false;
    text_printf(proof, "%u once more: %s; %u: ", STORY_PORT_1,
                story->same_port_errnum == 0 ? "it can" : strerror(story->same_port_errnum), STORY_PORT_2);
    put_pair(proof, &second->pair);
    return refused && story_holds_alone(story, ROLE_CLIENT_2, second);
}

static bool pairs_differ(const struct story *story, struct text *proof)
{
    const struct story_socket *first = need_connected(story, SCENE_SECOND, STAGE_SERVER, STORY_PORT_1, proof);
    const struct story_socket *second =
        need_connected(story, SCENE_SECOND, STAGE_SERVER, STORY_PORT_2, proof);

    if (first == NULL || second == NULL)
        return false;
    struct pair but_port = second->pair;
    but_port.foreign.port = first->pair.foreign.port;
    text_printf(proof, "the foreign port is %u in one, %u in the other; all else is %s",
                first->pair.foreign.port, second->pair.foreign.port,
                pair_equal(&but_port, &first->pair) ? "the same" : "not the same");
    return first->cookie != second->cookie && !pair_equal(&first->pair, &second->pair) &&
           pair_equal(&but_port, &first->pair);
}

static bool own_children(const struct story *story, struct text *proof)
{
    static const uint16_t ports[] = {STORY_PORT_1, STORY_PORT_2};
    bool holds = story->pids[ROLE_CHILD_1] != story->pids[ROLE_CHILD_2];

    for (unsigned i = 0; i < 2; i++) {
        const struct story_socket *socket =
            need_connected(story, SCENE_SECOND, STAGE_SERVER, ports[i], proof);
        if (socket == NULL)
            return false;
        text_string(proof, i > 0 ? "; " : "");
        put_pair(proof, &socket->pair);
        text_string(proof, " is held by ");
        put_holders(proof, story, socket);
        holds = holds && story_holds_alone(story, ROLE_CHILD_1 + i, socket) &&
                story->parents[ROLE_CHILD_1 + i] == story->pids[ROLE_SERVER];
    }
    return holds;
}

static bool three_sockets(const struct story *story, struct text *proof)
{
    const struct story_host *server = &story->scenes[SCENE_SECOND][STAGE_SERVER];
    bool same = true;

    for (size_t i = 0; i < server->count; i++) {
        text_printf(proof, "%s%u", i > 0 ? " = " : "", server->sockets[i].pair.local.port);
        same = same && server->sockets[i].pair.local.port == story->server[0].port;
    }
    text_printf(proof, "; they are %zu", server->count);
    return same && server->count == 3;
}

static bool port_is_not_enough(const struct story *story, struct text *proof)
{
    uint64_t first = story->looks[LOOK_FROM_1].cookie;
    uint64_t second = story->looks[LOOK_FROM_2].cookie;
    uint64_t third = story->looks[LOOK_FROM_3].cookie;
    bool same_port = story->looks[LOOK_FROM_1].pair.local.port == story->looks[LOOK_FROM_2].pair.local.port &&
                     story->looks[LOOK_FROM_1].pair.local.port == story->looks[LOOK_FROM_3].pair.local.port;

    text_printf(proof, "to port %u from %u, %u and %u: sockets %llx, %llx and %llx",
                story->looks[LOOK_FROM_1].pair.local.port, story->looks[LOOK_FROM_1].pair.foreign.port,
                story->looks[LOOK_FROM_2].pair.foreign.port, story->looks[LOOK_FROM_3].pair.foreign.port,
                (unsigned long long)first, (unsigned long long)second, (unsigned long long)third);
    return same_port && first != 0 && second != 0 && third != 0 && first != second && second != third &&
           first != third;
}

/* Changing one element of the first child's pair, whichever, leads elsewhere. */
static bool all_four(const struct story *story, struct text *proof)
{
    static const struct {
        enum story_look look;
        const char *element;
    } changed[] = {
        {LOOK_OTHER_LOCAL, "local address"},
        {LOOK_OTHER_LOCAL_PORT, "local port"},
        {LOOK_OTHER_FOREIGN, "foreign address"},
        {LOOK_FROM_2, "foreign port"},
    };
    const struct story_socket *first = need_connected(story, SCENE_SECOND, STAGE_SERVER, STORY_PORT_1, proof);
    bool holds = first != NULL && story->looks[LOOK_FROM_1].cookie == first->cookie;

    if (first == NULL)
        return false;
    for (size_t i = 0; i < 4; i++) {
        uint64_t cookie = story->looks[changed[i].look].cookie;
        const struct story_socket *other = story_find_cookie(story, SCENE_SECOND, STAGE_SERVER, cookie);
        text_printf(proof, "%sanother %s: ", i > 0 ? "; " : "", changed[i].element);
        if (other != NULL)
            put_holders(proof, story, other);
        else
            text_string(proof, cookie == 0 ? "nobody" : "a socket that is not in the table");
        holds = holds && cookie != first->cookie;
    }
    return holds;
}

static uint64_t received(const struct story *story, enum story_scene scene, uint16_t port)
{
    struct pair pair = story_pair(story, STAGE_SERVER, port);
    const struct story_socket *socket = story_find_pair(story, scene, STAGE_SERVER, &pair);

    return socket != NULL ? socket->bytes_received : 0;
}

/* The kernel's look-up, its counts and the process that read the line all say so. */
static bool delivered(const struct story *story, unsigned which, struct text *proof)
{
    static const uint16_t ports[] = {STORY_PORT_1, STORY_PORT_2};
    enum story_role child = ROLE_CHILD_1 + which;
    enum story_scene after = SCENE_SENT_1 + which;
    enum story_scene before = which == 0 ? SCENE_SECOND : SCENE_SENT_1;
    const struct story_socket *socket = need_connected(story, after, STAGE_SERVER, ports[which], proof);

    if (socket == NULL)
        return false;
    uint64_t to_it = received(story, after, ports[which]) - received(story, before, ports[which]);
    uint64_t to_other = received(story, after, ports[1 - which]) - received(story, before, ports[1 - which]);
    text_printf(proof, "%llu bytes to ", (unsigned long long)to_it);
    put_pair(proof, &socket->pair);
    text_printf(proof, ", %llu to the other; %s (process %d) has read them", (unsigned long long)to_other,
                story_role_name(story, story->readers[which]), (int)story->readers[which]);
    return to_it > 0 && to_other == 0 && story->readers[which] == story->pids[child] &&
           story_holds_alone(story, child, socket) &&
           story->looks[LOOK_FROM_1 + which].cookie == socket->cookie;
}

static bool delivered_first(const struct story *story, struct text *proof)
{
    return delivered(story, 0, proof);
}

static bool delivered_second(const struct story *story, struct text *proof)
{
    return delivered(story, 1, proof);
}

static bool all_other(const struct story *story, struct text *proof)
{
    static const enum story_look others[] = {LOOK_FROM_3, LOOK_OTHER_FOREIGN, LOOK_OTHER_LOCAL};
    const struct story_socket *listening = need_listening(story, SCENE_SECOND, proof);
    bool holds = listening != NULL && story_holds_alone(story, ROLE_SERVER, listening);

    for (size_t i = 0; i < 3 && listening != NULL; i++) {
        text_string(proof, i > 0 ? "; " : "");
        holds = looks_at(story, others[i], SCENE_SECOND, listening, proof) && holds;
    }
    return holds;
}

static bool third_request(const struct story *story, struct text *proof)
{
    const struct story_socket *listening = need_listening(story, SCENE_OTHER, proof);
    const struct story_socket *queued = need_connected(story, SCENE_OTHER, STAGE_SERVER, STORY_PORT_3, proof);
    uint64_t before = received(story, SCENE_SECOND, STORY_PORT_3);

    if (listening == NULL || queued == NULL)
        return false;
    text_printf(proof, "%u waits in the queue of the listening socket: ", listening->waiting);
    put_pair(proof, &queued->pair);
    text_string(proof, ", for ");
    put_holders(proof, story, queued);
    return before == 0 && queued->queued && listening->waiting == 1 && queued->holder_count == 1 &&
           queued->holders[0] == story->pids[ROLE_SERVER] &&
           story->looks[LOOK_FROM_3].cookie == listening->cookie;
}

/* A request goes to the listening socket, everything else of a connection to the socket of its pair. */
static bool segments_agree(const struct story *story, struct text *proof)
{
    const struct story_socket *listening = need_listening(story, SCENE_OTHER, proof);
    size_t right = 0;

    if (listening == NULL)
        return false;
    for (size_t i = 0; i < story->segment_count; i++) {
        const struct story_segment *segment = &story->segments[i];
        const struct pair *pair = &segment->segment.pair;
        bool to_server = pair->local.port == story->server[0].port;
        const struct story_socket *socket =
            story_find_pair(story, SCENE_OTHER, to_server ? STAGE_SERVER : STAGE_CLIENT, pair);
        if (segment->asked_before)
            socket = listening;
        right += socket != NULL && segment->cookie != 0 && segment->cookie == socket->cookie;
    }
    if (story->tap_errnum != 0)
        text_printf(proof, "not seen: segments cannot be captured here (%s)", strerror(story->tap_errnum));
    else
        text_printf(proof, "%zu of %zu captured segments", right, story->segment_count);
    return right == story->segment_count && story->segments_lost == 0 &&
           (story->tap_errnum != 0 || right > 0);
}

const struct claim claims[] = {
    {"2.11", "The server does a passive open, and has the socket pair {*:21, *:*}.", passive_open},
    {"2.11", "It waits for a connection request on any local interface.", any_interface},
    {"2.11", "It can specify that it wants only one local interface.", one_interface},
    {"2.11", "It cannot specify a list of multiple addresses.", no_list},
    {"2.12", "The client executes an active open from its ephemeral port 1500.", client_pair},
    {"2.12", "Its request is for the listening socket until the server accepts.", request_waits},
    {"2.13", "The server forks a copy of itself, and the child handles the client.", child_serves},
    {"2.13", "The listening socket and the connected socket are two.", sockets_distinct},
    {"2.13", "The connected socket has the same local port as the listening one.", same_port},
    {"2.13", "The local address is filled in for the connected socket.", filled_in},
    {"2.14", "TCP on the client host assigns the new client socket an unused port.", unused_port},
    {"2.14", "The connections are distinct: their socket pairs differ.", pairs_differ},
    {"2.14", "Each connection is handled by a child of its own.", own_children},
    {"2.14", "There are three sockets with the same local port.", three_sockets},
    {"end", "TCP cannot demultiplex by the destination port number alone.", port_is_not_enough},
    {"end", "It must look at all four elements in the socket pair.", all_four},
    {"end", "A segment from port 1500 is delivered to the first child.", delivered_first},
    {"end", "A segment from port 1501 is delivered to the second child.", delivered_second},
    {"end", "All other segments for the port go to the listening socket.", all_other},
    {"end", "A connection request from port 1502 is one of them.", third_request},
    {"end", "Every segment went to the endpoint that these rules name.", segments_agree},
};
const size_t claim_count = sizeof(claims) / sizeof(claims[0]);

bool claim_check(const struct claim *claim, const struct story *story, char ret_proof[CLAIM_PROOF_SIZE])
{
    struct text proof;

    text_init(&proof, ret_proof, CLAIM_PROOF_SIZE);
    bool holds = claim->holds(story, &proof);
    text_end(&proof);
    return holds;
}

size_t claims_failed(const struct story *story)
{
    char proof[CLAIM_PROOF_SIZE];
    size_t failed = 0;

    for (size_t i = 0; i < claim_count; i++)
        failed += !claim_check(&claims[i], story, proof);
    return failed;
}
