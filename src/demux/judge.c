/* SPDX-License-Identifier: MIT */
#include "demux/judge.h"

bool judge_is_opening(const struct segment *segment)
{
    return (segment->flags & (SEGMENT_SYN | SEGMENT_ACK | SEGMENT_RST | SEGMENT_FIN)) == SEGMENT_SYN;
}

bool judge_is_full(const struct diag_socket *listening)
{
    return listening->receive_queue > listening->send_queue;
}

bool judge_comes(const struct answer *answer)
{
    return answer->way == WAY_HERE || answer->way == WAY_REMOTE;
}

bool judge_is_orphan(const struct answer *answer)
{
    if (answer->kind != ANSWER_CONNECTED)
        return false;
    const struct diag_socket *socket = &answer->table.rows[answer->row].socket;
    return socket->state == DIAG_FIN_WAIT_2 && socket->inode == 0;
}

bool judge_is_request(const struct answer *answer)
{
    return answer->kind == ANSWER_SYN_RECEIVED && answer->table.rows[answer->row].socket.inode == 0;
}

const struct model_candidate *judge_listening(const struct answer *answer)
{
    for (size_t i = 0; i < answer->model.count; i++) {
        if (answer->model.items[i].stage != MODEL_CONNECTED)
            return &answer->model.items[i];
    }
    return NULL;
}

static enum answer_kind kind_of(const struct answer *answer, const struct diag_socket *socket)
{
    switch (socket->state) {
    case DIAG_LISTEN:
        return ANSWER_LISTENING;
    case DIAG_TIME_WAIT:
        return ANSWER_TIME_WAIT;
    case DIAG_SYN_RECEIVED:
    case DIAG_NEW_SYN_RECEIVED:
        /* A half-open connection ends with the next segment that finds its listening socket closed. */
        return socket->inode != 0 || judge_listening(answer) != NULL ? ANSWER_SYN_RECEIVED : ANSWER_NOBODY;
    default:
        return ANSWER_CONNECTED;
    }
}

/* A program that chooses chooses wrongly at worst, and then a hash does: of one alone always that one. */
static bool has_say(const struct steering *steering, bool alone)
{
    return steering->refuses || (steering->program && !alone);
}

/* Among the members of a group a program chooses, or a hash, which the kernel tells; or, where the CPU is asked for, that. */
static enum answer_certainty certainty_of_group(const struct answer *answer)
{
    bool alone = answer->model.best <= 1;

    if (!answer->steering.known)
        return alone ? CERTAINTY_EXACT : CERTAINTY_GROUP;
    for (size_t i = 0; i < answer->model.best; i++) {
        const struct diag_socket *socket = &answer->table.rows[answer->model.items[i].row].socket;
        const struct steering *steering = model_steering(&answer->steering, socket->cookie);
        if (steering == NULL)
            return CERTAINTY_GROUP;
        if (has_say(steering, alone) || (!alone && steering->cpu >= 0 && !answer->cpus_all))
            return CERTAINTY_GROUP;
    }
    return CERTAINTY_EXACT;
}

static bool may_be_new(const struct answer *answer)
{
    return answer->kind == ANSWER_TIME_WAIT && judge_is_opening(&answer->segment) &&
           judge_listening(answer) != NULL;
}

/*
 * Data for one that has sent its FIN: what is new of it is answered by RST where nobody reads any more, by ACK where
 * only the other direction is shut down. Of one that a process still holds the rows do not tell.
 */
bool judge_may_be_refused(const struct answer *answer)
{
    uint16_t flags = answer->segment.flags & (SEGMENT_SYN | SEGMENT_RST | SEGMENT_PSH | SEGMENT_ACK);

    if (answer->kind != ANSWER_CONNECTED || flags != (SEGMENT_PSH | SEGMENT_ACK))
        return false;
    const struct diag_socket *socket = &answer->table.rows[answer->row].socket;
    return socket->state == DIAG_FIN_WAIT_1 || socket->state == DIAG_FIN_WAIT_2;
}

/* The SYN that it knows is answered by SYN,ACK again; another by RST within the window, by ACK outside of it. */
bool judge_may_be_another_syn(const struct answer *answer)
{
    return answer->kind == ANSWER_SYN_RECEIVED && judge_is_opening(&answer->segment);
}

static enum answer_certainty certainty_of_way(const struct answer *answer)
{
    if (answer->way == WAY_FOREIGN)
        return CERTAINTY_UNKNOWN;
    if (answer->way == WAY_MANY || answer->way == WAY_NO_SOURCE || answer->way == WAY_DOWN)
        return CERTAINTY_EXACT;
    /* route_localnet and accept_local of net.ipv4.conf.INTERFACE let them in; IPv6 has nothing of the kind. */
    return answer->segment.pair.local.family == AF_INET ? CERTAINTY_DEPENDS : CERTAINTY_EXACT;
}

static enum answer_certainty certainty_of(const struct answer *answer)
{
    bool listening = answer->kind == ANSWER_LISTENING || answer->kernel == ANSWER_NONE;

    if (!judge_comes(answer))
        return certainty_of_way(answer);
    if (answer->interface_count != 0 || may_be_new(answer) || judge_is_orphan(answer) ||
        judge_may_be_refused(answer) || judge_may_be_another_syn(answer) || judge_is_request(answer))
        return CERTAINTY_DEPENDS;
    if (listening && (answer->programs > 0 || answer->cpus_vary))
        return CERTAINTY_GROUP;
    if (!answer->agree)
        return CERTAINTY_UNKNOWN;
    return listening ? certainty_of_group(answer) : CERTAINTY_EXACT;
}

static enum answer_reply reply_of_nobody(const struct answer *answer)
{
    if (!judge_comes(answer))
        return REPLY_NOTHING;
    return (answer->segment.flags & SEGMENT_RST) != 0 ? REPLY_NOTHING : REPLY_RESET;
}

static enum answer_reply reply_of_listening(const struct diag_socket *socket, const struct segment *segment)
{
    if ((segment->flags & SEGMENT_RST) != 0)
        return REPLY_NOTHING;
    if ((segment->flags & SEGMENT_ACK) != 0)
        return REPLY_RESET;
    return judge_is_opening(segment) && !judge_is_full(socket) ? REPLY_SYN_ACK : REPLY_NOTHING;
}

static enum answer_reply reply_of_syn_sent(const struct segment *segment)
{
    if ((segment->flags & SEGMENT_RST) != 0)
        return REPLY_NOTHING;
    if ((segment->flags & SEGMENT_SYN) != 0)
        return (segment->flags & SEGMENT_ACK) != 0 ? REPLY_ACK : REPLY_SYN_ACK;
    return (segment->flags & SEGMENT_ACK) != 0 ? REPLY_RESET : REPLY_NOTHING;
}

/* A SYN out of place is answered by an ACK of what is there (RFC 5961), and so is a FIN; an ACK by itself is not. */
static enum answer_reply reply_of_connected(const struct segment *segment)
{
    if ((segment->flags & SEGMENT_RST) != 0)
        return REPLY_NOTHING;
    if ((segment->flags & SEGMENT_SYN) != 0)
        return REPLY_ACK;
    if ((segment->flags & SEGMENT_ACK) == 0)
        return REPLY_NOTHING;
    return (segment->flags & (SEGMENT_FIN | SEGMENT_PSH)) != 0 ? REPLY_ACK : REPLY_NOTHING;
}

/* Whatever is not new to it is answered, be there an ACK in it or not. */
static enum answer_reply reply_of_time_wait(const struct segment *segment)
{
    if ((segment->flags & SEGMENT_RST) != 0)
        return REPLY_NOTHING;
    return (segment->flags & (SEGMENT_SYN | SEGMENT_FIN | SEGMENT_PSH)) != 0 ? REPLY_ACK : REPLY_NOTHING;
}

static enum answer_reply reply_of(const struct answer *answer)
{
    if (answer->kind == ANSWER_NOBODY)
        return reply_of_nobody(answer);
    const struct diag_socket *socket = &answer->table.rows[answer->row].socket;
    if (answer->kind == ANSWER_LISTENING)
        return reply_of_listening(socket, &answer->segment);
    if (socket->state == DIAG_SYN_SENT)
        return reply_of_syn_sent(&answer->segment);
    if (judge_may_be_another_syn(answer))
        return REPLY_SYN_ACK;
    if (answer->kind == ANSWER_TIME_WAIT)
        return reply_of_time_wait(&answer->segment);
    if (judge_may_be_refused(answer) && socket->inode == 0)
        return REPLY_RESET;
    return reply_of_connected(&answer->segment);
}

void judge(struct answer *answer)
{
    answer->kind = ANSWER_NOBODY;
    if (judge_comes(answer) && answer->kernel != ANSWER_NONE)
        answer->kind = kind_of(answer, &answer->table.rows[answer->kernel].socket);
    answer->row = answer->kind != ANSWER_NOBODY ? answer->kernel : ANSWER_NONE;
    answer->certainty = certainty_of(answer);
    answer->reply = answer->unanswered ? REPLY_NOTHING : reply_of(answer);
}
