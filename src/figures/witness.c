/* SPDX-License-Identifier: MIT */
#include "figures/witness.h"

#include "pairs/exact.h"
#include "pairs/gather.h"
#include "pairs/owner.h"
#include "sys/fd.h"
#include "sys/netlink.h"
#include "sys/procfs.h"
#include "sys/ready.h"
#include "sys/tap.h"
#include "wire/sock_diag.h"

#include <errno.h>

/* A delayed acknowledgement takes a fifth of a second at most. */
#define QUIET_WAIT_NS INT64_C(300000000)
#define QUIET_TRIES   16

/* Does the row belong to the story, and to this host? In a namespace every row of its table does. */
static bool is_of(const struct stage *stage, enum stage_host host, const struct pair *pair)
{
    uint16_t port = stage->server[0].port;

    if (stage->kind != STAGE_LOOPBACK)
        return true;
    return (pair->local.port == port || pair->foreign.port == port) && stage_is_at(stage, host, pair);
}

static void note_holders(const struct pairs_table *table, const struct pairs_row *row,
                         struct story_socket *socket)
{
    struct pairs_cursor cursor = {.row = row};
    const struct descriptor *holder;

    while ((holder = pairs_next_holder(table, &cursor)) != NULL) {
        bool known = socket->holder_count > 0 && socket->holders[socket->holder_count - 1] == holder->pid;
        if (!known && socket->holder_count < STORY_HOLDERS_MAX)
            socket->holders[socket->holder_count++] = holder->pid;
    }
}

static void note_row(const struct pairs_table *table, const struct pairs_row *row, struct story_host *seen)
{
    const struct diag_socket *socket = &row->socket;
    struct story_socket *noted = &seen->sockets[seen->count];

    if (seen->count == STORY_SOCKETS_MAX)
        return;
    seen->count++;
    *noted = (struct story_socket){
        .pair = socket->pair,
        .state = socket->state,
        .queued = row->owner == OWNER_WAITING,
        .cookie = socket->cookie,
        .bytes_received = socket->bytes_received,
        .waiting = socket->receive_queue,
        .unacknowledged = socket->send_queue,
    };
    if (socket->state == DIAG_LISTEN)
        noted->unacknowledged = 0;
    note_holders(table, row, noted);
}

/* The claims are about processes: without them they would fail, though nothing speaks against them. */
static enum fp_status fail_hidden(const struct pair *pair, const char *why, struct fp_error *err)
{
    char shown[PAIR_TEXT_SIZE];
    struct text text;

    text_init(&text, shown, sizeof(shown));
    pair_format(pair, &text);
    text_end(&text);
    error_set(err, FP_NOT_PERMITTED, 0, "find the processes of", "%s", shown);
    return error_reason(err, FP_NOT_PERMITTED, "%s", why);
}

static enum fp_status note_host(const struct stage *stage, enum stage_host host, struct story_host *ret_seen,
                                struct fp_error *err)
{
    struct pairs_table table = {.count = 0};

    enum fp_status status = stage_enter(stage, host, err);
    if (status == FP_OK)
        status = gather_rows(&table, DIAG_STATES_ALL, true, err);
    for (size_t i = 0; i < table.count; i++)
        table.rows[i].shown = is_of(stage, host, &table.rows[i].socket.pair);
    if (status == FP_OK)
        status = owner_find(&table, 0, err);
    *ret_seen = (struct story_host){.count = 0};
    for (size_t i = 0; i < table.count && status == FP_OK; i++) {
        const struct pairs_row *row = &table.rows[i];
        if (row->shown && row->owner == OWNER_NOT_PERMITTED)
            status = fail_hidden(&row->socket.pair, "/proc does not show them", err);
        else if (row->shown && !procfs_is_own())
            status = fail_hidden(&row->socket.pair, "/proc is that of another PID namespace", err);
        else if (row->shown)
            note_row(&table, row, ret_seen);
    }
    pairs_done(&table);
    return status;
}

enum fp_status witness_scene(const struct stage *stage, struct story *story, enum story_scene scene,
                             struct fp_error *err)
{
    enum fp_status status = note_host(stage, STAGE_CLIENT, &story->scenes[scene][STAGE_CLIENT], err);

    if (status == FP_OK)
        status = note_host(stage, STAGE_SERVER, &story->scenes[scene][STAGE_SERVER], err);
    return status;
}

static enum fp_status ask(const struct pair *pair, uint64_t *ret_cookie, struct fp_error *err)
{
    struct diag_socket socket;

    FD_AUTO fd = netlink_open();
    bool is_found = fd >= 0 && exact_ask(fd, pair, 0, 0, &socket) == 0;
    if (!is_found && (fd < 0 || errno != ENOENT))
        return error_set(err, error_class(errno), errno, "ask the kernel for", "the receiver of a segment");
    *ret_cookie = is_found ? socket.cookie : 0;
    return FP_OK;
}

enum fp_status witness_look(const struct stage *stage, enum stage_host host, const struct pair *pair,
                            uint64_t *ret_cookie, struct fp_error *err)
{
    enum fp_status status = stage_enter(stage, host, err);
    struct fp_error back;

    if (status == FP_OK)
        status = ask(pair, ret_cookie, err);
    if (host == STAGE_SERVER || stage_enter(stage, STAGE_SERVER, &back) == FP_OK)
        return status;
    *err = back;
    return back.status;
}

static enum fp_status note_segment(const struct stage *stage, struct story *story,
                                   const struct story_look_up *before, const struct segment *segment,
                                   struct fp_error *err)
{
    bool is_request = (segment->flags & (SEGMENT_SYN | SEGMENT_ACK)) == SEGMENT_SYN;
    struct story_segment noted = {.segment = *segment};

    for (enum stage_host host = STAGE_SERVER; host < STAGE_HOSTS; host++) {
        if (!stage_is_at(stage, host, &segment->pair))
            continue;
        if (is_request && before != NULL && pair_equal(&before->pair, &segment->pair)) {
            noted.cookie = before->cookie;
            noted.asked_before = true;
        } else {
            noted.queued = before != NULL && host == STAGE_SERVER;
            enum fp_status status = witness_look(stage, host, &segment->pair, &noted.cookie, err);
            if (status != FP_OK)
                return status;
        }
    }
    if (story->segment_count < STORY_SEGMENTS_MAX)
        story->segments[story->segment_count++] = noted;
    else
        story->segments_lost++;
    return FP_OK;
}

enum fp_status witness_segments(const struct stage *stage, struct story *story,
                                const struct story_look_up *before, struct fp_error *err)
{
    _Alignas(uint32_t) uint8_t packet[2048];
    enum fp_status status = FP_OK;
    struct segment segment;
    const char *reason;
    bool outgoing;
    ssize_t length;

    while (status == FP_OK && stage->tap >= 0 &&
           (length = tap_read(stage->tap, packet, sizeof(packet), &outgoing)) > 0) {
        /* What leaves the loopback device comes in again. */
        if (stage->kind == STAGE_LOOPBACK && outgoing)
            continue;
        if (packet_parse(PACKET_LINK_IPV4, packet, (uint32_t)length, (uint32_t)length, &segment, &reason) !=
            PACKET_SEGMENT)
            continue;
        struct pair both = segment.pair;
        if (is_of(stage, STAGE_SERVER, &both) || is_of(stage, STAGE_CLIENT, &both))
            status = note_segment(stage, story, before, &segment, err);
    }
    return status;
}

static bool is_quiet(const struct story_host *seen)
{
    for (size_t i = 0; i < seen->count; i++) {
        const struct story_socket *socket = &seen->sockets[i];
        if (socket->unacknowledged != 0 || (socket->waiting != 0 && socket->state != DIAG_LISTEN))
            return false;
    }
    return true;
}

/* What is missing comes by the wire, so that is what is waited for. */
enum fp_status witness_settled(const struct stage *stage, struct story *story, enum story_scene scene,
                               struct fp_error *err)
{
    struct story_host *seen = story->scenes[scene];

    for (int i = 0; i < QUIET_TRIES; i++) {
        struct pollfd waited = {.fd = stage->tap, .events = POLLIN};
        enum fp_status status = witness_segments(stage, story, NULL, err);
        if (status == FP_OK)
            status = witness_scene(stage, story, scene, err);
        if (status != FP_OK || stage->tap < 0 ||
            (is_quiet(&seen[STAGE_SERVER]) && is_quiet(&seen[STAGE_CLIENT])))
            return status;
        ready_wait(&waited, 1, QUIET_WAIT_NS);
    }
    return FP_OK;
}
