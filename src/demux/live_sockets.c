/* SPDX-License-Identifier: MIT */
#include "demux/live_sockets.h"

#include <stdlib.h>
#include <string.h>

#define NONE        UINT32_MAX
#define HEADS_LEAST 1024

enum { BY_COOKIE, BY_PAIR };

bool live_sockets_init(struct live_sockets *sockets, uint32_t most)
{
    uint32_t heads = HEADS_LEAST;

    /* Heads cost four bytes each and are not touched before they are needed, so the table of them never grows. */
    while (heads < most && heads < 1U << 30)
        heads *= 2;
    *sockets = (struct live_sockets){
        .free = NONE,
        .most = most,
        .mask = heads - 1,
        .first_ended = NONE,
        .last_ended = NONE,
        .secret = hash_secret_make(),
    };
    for (unsigned i = 0; i < 2; i++)
        sockets->heads[i] = calloc(heads, sizeof(*sockets->heads[i]));
    if (sockets->heads[0] != NULL && sockets->heads[1] != NULL)
        return true;
    live_sockets_done(sockets);
    return false;
}

void live_sockets_done(struct live_sockets *sockets)
{
    free(sockets->items);
    free(sockets->heads[0]);
    free(sockets->heads[1]);
    *sockets = (struct live_sockets){.free = NONE};
}

/* What of a pair tells it from others: a socket's device and scope are not in a segment. */
struct key {
    uint8_t addresses[32];
    uint16_t ports[2];
};

static struct key key_of(const struct pair *pair)
{
    struct key key;

    memcpy(key.addresses, pair->local.bytes, 16);
    memcpy(key.addresses + 16, pair->foreign.bytes, 16);
    key.ports[0] = pair->local.port;
    key.ports[1] = pair->foreign.port;
    return key;
}

static bool same_pair(const struct pair *a, const struct pair *b)
{
    return a->local.port == b->local.port && a->foreign.port == b->foreign.port &&
           a->local.family == b->local.family && memcmp(a->local.bytes, b->local.bytes, 16) == 0 &&
           memcmp(a->foreign.bytes, b->foreign.bytes, 16) == 0;
}

static uint32_t *head_of_cookie(const struct live_sockets *sockets, uint64_t cookie)
{
    return &sockets->heads[BY_COOKIE][hash_bytes(&sockets->secret, &cookie, 8) & sockets->mask];
}

static uint32_t *head_of_pair(const struct live_sockets *sockets, const struct pair *pair)
{
    struct key key = key_of(pair);

    return &sockets->heads[BY_PAIR][hash_36(&sockets->secret, &key) & sockets->mask];
}

/* Heads and links hold an index and one: zero is the end. */
static void link_in(struct live_sockets *sockets, struct live_socket *socket, unsigned way, uint32_t *head)
{
    socket->next[way] = *head;
    *head = (uint32_t)(socket - sockets->items) + 1;
}

static void link_out(struct live_sockets *sockets, struct live_socket *socket, unsigned way, uint32_t *head)
{
    uint32_t number = (uint32_t)(socket - sockets->items) + 1;

    while (*head != 0 && *head != number)
        head = &sockets->items[*head - 1].next[way];
    if (*head == number)
        *head = socket->next[way];
}

struct live_socket *live_sockets_by_cookie(const struct live_sockets *sockets, uint64_t cookie)
{
    for (uint32_t at = *head_of_cookie(sockets, cookie); at != 0;
         at = sockets->items[at - 1].next[BY_COOKIE]) {
        if (sockets->items[at - 1].cookie == cookie)
            return &sockets->items[at - 1];
    }
    return NULL;
}

/* How well a socket fits a connection, worst first; of two in the same way it is the times that tell. */
enum fit { FIT_PAST, FIT_TO_COME, FIT_ALIVE, FIT_PASSIVE, FIT_ACTIVE };

static enum fit fit_of(const struct live_socket *socket, const struct live_moment *moment)
{
    bool began = socket->start_ns <= moment->time_ns + LIVE_CLOCK_ERROR_NS;
    bool lives = socket->end_ns > moment->time_ns;

    if (moment->opens && socket->active && began && lives)
        return FIT_ACTIVE;
    if (moment->opens && socket->passive && socket->start_ns != 0)
        return socket->start_ns >= moment->time_ns - LIVE_CLOCK_ERROR_NS ? FIT_PASSIVE : FIT_PAST;
    if (began && lives)
        return FIT_ALIVE;
    return began ? FIT_PAST : FIT_TO_COME;
}

static bool is_nearer(const struct live_socket *socket, const struct live_socket *than,
                      const struct live_moment *moment)
{
    enum fit fit = fit_of(socket, moment);
    enum fit than_fit = fit_of(than, moment);

    if (fit != than_fit)
        return fit > than_fit;
    if (fit == FIT_TO_COME || fit == FIT_PASSIVE)
        return socket->start_ns < than->start_ns;
    return socket->start_ns > than->start_ns;
}

struct live_socket *live_sockets_by_pair(const struct live_sockets *sockets, const struct pair *pair,
                                         const struct live_moment *moment)
{
    struct live_socket *best = NULL;

    for (uint32_t at = *head_of_pair(sockets, pair); at != 0; at = sockets->items[at - 1].next[BY_PAIR]) {
        struct live_socket *socket = &sockets->items[at - 1];
        if (same_pair(&socket->pair, pair) && (best == NULL || is_nearer(socket, best, moment)))
            best = socket;
    }
    return best;
}

static bool grow(struct live_sockets *sockets)
{
    uint32_t room = sockets->room != 0 ? 2 * sockets->room : 256;

    if (room > sockets->most)
        room = sockets->most;
    struct live_socket *items = reallocarray(sockets->items, room, sizeof(*items));
    if (items == NULL)
        return false;
    sockets->items = items;
    sockets->room = room;
    return true;
}

struct live_socket *live_sockets_add(struct live_sockets *sockets, uint64_t cookie, int64_t start_ns)
{
    struct live_socket *socket;

    if (sockets->free != NONE) {
        socket = &sockets->items[sockets->free];
        sockets->free = socket->next_ended;
    } else {
        if (sockets->count == sockets->room && (sockets->room >= sockets->most || !grow(sockets)))
            return NULL;
        socket = &sockets->items[sockets->count++];
    }
    *socket = (struct live_socket){.cookie = cookie,
                                   .start_ns = start_ns,
                                   .end_ns = LIVE_FOREVER,
                                   .next_ended = NONE};
    link_in(sockets, socket, BY_COOKIE, head_of_cookie(sockets, cookie));
    sockets->used++;
    return socket;
}

void live_sockets_set_pair(struct live_sockets *sockets, struct live_socket *socket, const struct pair *pair)
{
    if (socket->pair.local.port != 0)
        link_out(sockets, socket, BY_PAIR, head_of_pair(sockets, &socket->pair));
    socket->pair = *pair;
    if (pair->local.port != 0)
        link_in(sockets, socket, BY_PAIR, head_of_pair(sockets, pair));
}

void live_sockets_end(struct live_sockets *sockets, struct live_socket *socket, int64_t time_ns)
{
    uint32_t number = (uint32_t)(socket - sockets->items);

    if (socket->end_ns != LIVE_FOREVER)
        return;
    socket->end_ns = time_ns;
    if (sockets->last_ended != NONE)
        sockets->items[sockets->last_ended].next_ended = number;
    else
        sockets->first_ended = number;
    sockets->last_ended = number;
}

void live_socket_name(struct live_socket *socket, enum live_way way, const struct live_process *processes,
                      size_t count)
{
    size_t kept = count < LIVE_PROCESSES ? count : LIVE_PROCESSES;

    if (count == 0 || socket->way >= way)
        return;
    socket->way = (uint8_t)way;
    memcpy(socket->processes, processes, kept * sizeof(*processes));
    socket->process_count = (uint8_t)kept;
    socket->more = (uint32_t)(count - kept);
}

bool live_sockets_expire(struct live_sockets *sockets, int64_t before_ns, struct live_socket *ret_socket)
{
    uint32_t number = sockets->first_ended;

    if (number == NONE || sockets->items[number].end_ns >= before_ns)
        return false;
    struct live_socket *socket = &sockets->items[number];
    sockets->first_ended = socket->next_ended;
    if (sockets->first_ended == NONE)
        sockets->last_ended = NONE;
    if (socket->pair.local.port != 0)
        link_out(sockets, socket, BY_PAIR, head_of_pair(sockets, &socket->pair));
    link_out(sockets, socket, BY_COOKIE, head_of_cookie(sockets, socket->cookie));
    *ret_socket = *socket;
    socket->cookie = 0;
    socket->next_ended = sockets->free;
    sockets->free = number;
    sockets->used--;
    return true;
}

struct live_socket *live_sockets_next(const struct live_sockets *sockets, const struct live_socket *socket)
{
    uint32_t at = socket != NULL ? (uint32_t)(socket - sockets->items) + 1 : 0;

    for (; at < sockets->count; at++) {
        if (sockets->items[at].cookie != 0)
            return &sockets->items[at];
    }
    return NULL;
}
