/* SPDX-License-Identifier: MIT */
#include "demux/explain.h"

#include "demux/judge.h"
#include "demux/misses.h"

#include <net/if.h>
#include <string.h>

#define MARTIAN "the kernel drops it before TCP (martian source): "

const char *explain_kind(enum answer_kind kind)
{
    static const char *const names[] = {
        [ANSWER_NOBODY] = "nobody",       [ANSWER_CONNECTED] = "connected",
        [ANSWER_LISTENING] = "listening", [ANSWER_SYN_RECEIVED] = "syn-received",
        [ANSWER_TIME_WAIT] = "time-wait",
    };

    return names[kind];
}

const char *explain_certainty(enum answer_certainty certainty)
{
    static const char *const names[] = {
        [CERTAINTY_EXACT] = "exact",
        [CERTAINTY_GROUP] = "group",
        [CERTAINTY_DEPENDS] = "depends",
        [CERTAINTY_UNKNOWN] = "unknown",
    };

    return names[certainty];
}

const char *explain_reply(enum answer_reply reply)
{
    static const char *const names[] = {
        [REPLY_NOTHING] = "nothing",
        [REPLY_RESET] = "reset",
        [REPLY_SYN_ACK] = "syn-ack",
        [REPLY_ACK] = "ack",
    };

    return names[reply];
}

static const struct diag_socket *socket_at(const struct answer *answer, uint32_t row)
{
    return &answer->table.rows[row].socket;
}

static const char *silence(const struct answer *answer)
{
    if (answer->way == WAY_MANY)
        return "nothing: TCP takes neither broadcast nor multicast";
    if (answer->way == WAY_FOREIGN)
        return "nothing from here: a segment to another host is forwarded or dropped";
    if (!judge_comes(answer))
        return "nothing: the segment is dropped before TCP";
    if (answer->unanswered)
        return "nothing: no route leads back to it";
    if (judge_is_orphan(answer))
        return "nothing, where the sequence number is one that is awaited";
    if ((answer->segment.flags & SEGMENT_RST) != 0)
        return "nothing: a reset is never answered";
    if (answer->kind == ANSWER_LISTENING && judge_is_opening(&answer->segment))
        return "nothing: the SYN is dropped, and will be sent again";
    if (answer->kind == ANSWER_LISTENING)
        return "nothing: a listening socket drops it";
    if ((answer->segment.flags & SEGMENT_ACK) == 0 && answer->kind != ANSWER_TIME_WAIT)
        return "nothing: a segment without ACK is dropped";
    return "nothing, where there is nothing new in it";
}

static const char *acknowledgement(const struct answer *answer)
{
    if (judge_is_orphan(answer) && (answer->segment.flags & SEGMENT_SYN) != 0)
        return "ACK, or RST where the sequence number is one that is awaited";
    if (!judge_is_opening(&answer->segment))
        return "ACK";
    if (answer->kind == ANSWER_TIME_WAIT)
        return "ACK, where the SYN is not taken for a new connection's";
    return "ACK of the connection that is there; who has forgotten it answers RST, and then a new SYN is for "
           "those who listen";
}

/* One that is gone has its number alone. */
static void put_device(uint32_t interface, struct text *text)
{
    char name[IF_NAMESIZE];

    if (if_indextoname(interface, name) != NULL)
        text_escape(text, name, strlen(name));
    else
        text_unsigned(text, interface);
}

static void put_silence(const struct answer *answer, struct text *text)
{
    text_string(text, silence(answer));
    if (!judge_comes(answer) || !answer->unanswered || answer->kernel == ANSWER_NONE ||
        socket_at(answer, answer->kernel)->interface == 0)
        return;
    text_string(text, " by ");
    put_device(socket_at(answer, answer->kernel)->interface, text);
    text_string(text, ", to which the receiver is bound");
}

void explain_sender(const struct answer *answer, struct text *text)
{
    switch (answer->reply) {
    case REPLY_NOTHING:
        put_silence(answer, text);
        break;
    case REPLY_RESET:
        text_string(text, judge_is_orphan(answer) ? "RST, where the data is new" : "RST");
        break;
    case REPLY_SYN_ACK:
        text_string(text, "SYN,ACK");
        break;
    case REPLY_ACK:
        text_string(text, acknowledgement(answer));
        break;
    }
}

void explain_interface(const struct segment *segment, struct text *text)
{
    if (segment->interface != 0)
        put_device(segment->interface, text);
}

/* A candidate before this one in its stage is in its way. */
static bool is_behind(const struct answer *answer, const struct model_candidate *candidate)
{
    for (const struct model_candidate *at = answer->model.items; at < candidate; at++) {
        if (at->stage == candidate->stage && at->rank < candidate->rank)
            return true;
    }
    return false;
}

static bool is_before(const struct answer *answer, const struct model_candidate *candidate)
{
    const struct model_candidate *end = answer->model.items + answer->model.count;

    for (const struct model_candidate *at = candidate; at < end; at++) {
        if (at->stage == candidate->stage && at->rank > candidate->rank)
            return true;
    }
    return false;
}

static size_t group_size(const struct answer *answer, const struct model_candidate *candidate)
{
    size_t size = 0;

    for (size_t i = 0; i < answer->model.count; i++)
        size += answer->model.items[i].rank == candidate->rank;
    return size;
}

static void explain_listening(const struct answer *answer, const struct model_candidate *candidate,
                              struct text *text)
{
    const struct diag_socket *socket = socket_at(answer, candidate->row);
    size_t size = group_size(answer, candidate);

    text_string(text, candidate->stage == MODEL_ADDRESS ? "listens on the segment's own address"
                                                        : "listens on any address");
    if (socket->interface != 0) {
        text_string(text, ", by ");
        put_device(socket->interface, text);
        text_string(text, " alone");
    }
    if (socket->family == AF_INET6 && answer->segment.pair.local.family == AF_INET)
        text_string(text, ", being an IPv6 socket that takes IPv4 too");
    if (size > 1)
        text_printf(text, ", in a group of %zu that share it (SO_REUSEPORT)", size);
    if (is_behind(answer, candidate))
        text_string(text, ", but the kernel prefers the one before");
    else if (is_before(answer, candidate))
        text_string(text, ", and the kernel prefers it to the next");
}

void explain_candidate(const struct answer *answer, const struct model_candidate *candidate,
                       struct text *text)
{
    const struct diag_socket *socket = socket_at(answer, candidate->row);

    if (candidate->stage != MODEL_CONNECTED) {
        explain_listening(answer, candidate, text);
        return;
    }
    text_string(text, "has the segment's socket pair");
    if (socket->interface != 0) {
        text_string(text, " on ");
        put_device(socket->interface, text);
    }
}

struct speaker {
    void (*reason)(void *data, const char *line);
    void *data;
    struct text text;
    char line[EXPLAIN_SIZE];
};

static struct text *begin(struct speaker *speaker)
{
    text_init(&speaker->text, speaker->line, sizeof(speaker->line));
    return &speaker->text;
}

static void say(struct speaker *speaker)
{
    text_end(&speaker->text);
    speaker->reason(speaker->data, speaker->line);
}

static void say_string(struct speaker *speaker, const char *string)
{
    text_string(begin(speaker), string);
    say(speaker);
}

static void format_row(const struct answer *answer, uint32_t row, struct text *text)
{
    if (row == ANSWER_NONE)
        text_string(text, "nobody");
    else
        pair_format(&socket_at(answer, row)->pair, text);
}

static void explain_disagreement(const struct answer *answer, struct speaker *speaker)
{
    struct text *text = begin(speaker);

    text_string(text, "the kernel says ");
    format_row(answer, answer->kernel, text);
    text_string(text, ", but by the rules it would be ");
    format_row(answer, answer->model.count != 0 ? answer->model.items[0].row : ANSWER_NONE, text);
    if (answer->programs < 0)
        text_string(text, "; sk_lookup programs, if there are any, may not be seen");
    say(speaker);
}

static bool has_program(const struct answer *answer, bool *ret_refuses)
{
    bool found = false;

    *ret_refuses = false;
    for (size_t i = 0; i < answer->model.best; i++) {
        const struct diag_socket *socket = socket_at(answer, answer->model.items[i].row);
        const struct steering *steering = model_steering(&answer->steering, socket->cookie);
        found = found || (steering != NULL && steering->program);
        *ret_refuses = *ret_refuses || (steering != NULL && steering->refuses);
    }
    return found;
}

static const char *program_of(const struct answer *answer)
{
    bool refuses;

    if (!has_program(answer, &refuses))
        return NULL;
    if (answer->model.best > 1)
        return refuses ? "a BPF program of the group decides, which may also refuse the segment, as if "
                         "nobody listened"
                       : "a BPF program of the group decides";
    return refuses ? "its BPF program (SO_REUSEPORT) may refuse the segment, as if nobody listened" : NULL;
}

static void explain_group(const struct answer *answer, struct speaker *speaker)
{
    const char *program = program_of(answer);

    if (answer->programs > 0)
        say_string(speaker, "a BPF program of the network namespace (sk_lookup) decides who listens to it");
    if (answer->cpus_vary)
        say_string(speaker, "the CPU on which it comes in decides (SO_INCOMING_CPU)");
    if (program != NULL)
        say_string(speaker, program);
    else if (answer->certainty == CERTAINTY_GROUP && answer->model.best > 1 && !answer->steering.known)
        say_string(speaker,
                   "a hash of the socket pair decides, which chooses this one, unless the group has a BPF "
                   "program; seeing that takes CAP_BPF and CAP_PERFMON");
    else if (answer->certainty == CERTAINTY_EXACT && answer->model.best > 1)
        say_string(speaker, "a hash of the socket pair chooses this member of the group");
}

static void explain_interfaces(const struct answer *answer, struct speaker *speaker)
{
    for (size_t i = 0; i < answer->interface_count; i++) {
        struct text *text = begin(speaker);
        text_string(text, "where it comes in by ");
        text_escape(text, answer->interfaces[i].name, strlen(answer->interfaces[i].name));
        text_string(text, answer->interfaces[i].others ? " or by one of the others, it is " : ", it is ");
        format_row(answer, answer->interfaces[i].row, text);
        say(speaker);
    }
}

static void explain_time_wait(const struct answer *answer, struct speaker *speaker)
{
    const struct model_candidate *listening = judge_listening(answer);

    if (!judge_is_opening(&answer->segment) || listening == NULL)
        return;
    struct text *text = begin(speaker);
    text_string(
        text,
        "a SYN with a later sequence number or timestamp than the old connection had is a new one, for ");
    format_row(answer, listening->row, text);
    say(speaker);
}

/* A request does not say which listening socket it came to. */
static void explain_request(const struct answer *answer, struct speaker *speaker)
{
    const struct model_candidate *listening = judge_listening(answer);

    struct text *text = begin(speaker);
    text_string(text, "it ends with the listening socket that its SYN came to: were that closed since, "
                      "the segment would be for ");
    format_row(answer, listening != NULL ? listening->row : ANSWER_NONE, text);
    say(speaker);
}

static void explain_state(const struct answer *answer, struct speaker *speaker)
{
    if (judge_is_request(answer))
        explain_request(answer, speaker);
    if (judge_is_orphan(answer))
        say_string(
            speaker,
            "its process has closed it: a FIN that is awaited is taken and answered by ACK, new data or "
            "a SYN within the window by RST, and what is outside of the window by ACK");
    if (judge_may_be_refused(answer))
        say_string(speaker,
                   socket_at(answer, answer->row)->inode == 0
                       ? "its process has closed it: new data is answered by RST, what is not new by ACK"
                       : "new data is answered by RST where its process has shut down reading as well");
    if (judge_may_be_another_syn(answer))
        say_string(speaker, "the SYN that it came of is answered so, one with another sequence number by RST "
                            "within the window and by ACK outside of it");
    if (answer->kind == ANSWER_TIME_WAIT)
        explain_time_wait(answer, speaker);
    if (answer->kind != ANSWER_LISTENING)
        return;
    const struct diag_socket *socket = socket_at(answer, answer->row);
    if (judge_is_opening(&answer->segment) && judge_is_full(socket)) {
        text_printf(begin(speaker),
                    "its queue is full: %u connections not accepted yet, with a backlog of %u",
                    socket->receive_queue, socket->send_queue);
        say(speaker);
    }
    bool is_missed = misses_connection(answer, begin(speaker));
    if (is_missed)
        say(speaker);
    if (!is_missed && (answer->segment.flags & (SEGMENT_ACK | SEGMENT_RST)) == SEGMENT_ACK)
        say_string(speaker,
                   "no connection has this pair, so the ACK is refused, unless it brings back a SYN cookie");
}

/* Why IPv4 does not take it from outside; what IPv6 does not take, no setting changes. */
static const char *obstacle4(const struct answer *answer)
{
    if (answer->way == WAY_MARTIAN)
        return "from outside nothing may go to a loopback address, unless route_localnet is set";
    if (answer->segment.pair.foreign.bytes[0] == 127)
        return MARTIAN "from outside nothing may come from a loopback address, unless route_localnet and "
                       "accept_local are set";
    return MARTIAN "from outside nothing may come from an address of this host, unless accept_local is set";
}

/* Why it does not come to TCP. */
static const char *obstacle(const struct answer *answer)
{
    if (answer->way == WAY_FOREIGN)
        return "its destination is no address of this host";
    if (answer->way == WAY_MANY)
        return "its destination is no host's address, but for many";
    if (answer->way == WAY_DOWN)
        return "the interface that it would pass is down";
    if (answer->way == WAY_NO_SOURCE)
        return MARTIAN "nothing may come from a multicast or broadcast address";
    if (answer->segment.pair.local.family == AF_INET)
        return obstacle4(answer);
    return answer->way == WAY_MARTIAN ? "from outside nothing may go to a loopback address"
                                      : MARTIAN "from outside nothing may come from a loopback address";
}

static void explain_port(const struct answer *answer, struct speaker *speaker)
{
    struct text *text = begin(speaker);

    put_device(answer->port, text);
    text_string(text, " is a port of ");
    put_device(answer->segment.interface, text);
    text_string(text, ", which what comes in by it belongs to");
    say(speaker);
}

void explain_reasons(const struct answer *answer, void (*reason)(void *data, const char *line), void *data)
{
    struct speaker speaker = {.reason = reason, .data = data};
    bool comes = judge_comes(answer);

    if (answer->port != 0)
        explain_port(answer, &speaker);
    if (!comes)
        say_string(&speaker, obstacle(answer));
    if (comes && !answer->agree)
        explain_disagreement(answer, &speaker);
    if (comes && answer->kind == ANSWER_NOBODY)
        misses_explain(answer, reason, data);
    explain_group(answer, &speaker);
    explain_interfaces(answer, &speaker);
    explain_state(answer, &speaker);
    if (answer->kind == ANSWER_NOBODY)
        misses_explain_elsewhere(answer, reason, data);
}
