/* SPDX-License-Identifier: MIT
 *
 * demux/answer.h - who would receive this segment now: all that is known, and the verdict.
 *
 * Gathers what there is (the route, the sockets at the port, what steers them), has the model and the kernel decide,
 * each for itself, and holds them against each other. Where they differ all is gathered and asked once more, since a
 * socket may have come or gone between the two; a difference that stays is kept and shown, never hidden. Then the
 * processes of those it is about are found. Everything is read in the calling thread's network namespace, and nothing
 * is changed. Not looked at is what is in the way before TCP: firewalls, address translation, BPF of an interface.
 *
 * An answer that was made is released by answer_done(). demux/judge.h decides, demux/explain.h has the words for it.
 */
#ifndef DEMUX_ANSWER_H
#define DEMUX_ANSWER_H

#include "demux/elsewhere.h"
#include "demux/model.h"

#define ANSWER_NONE UINT32_MAX

enum answer_kind {
    ANSWER_NOBODY,
    ANSWER_CONNECTED,
    ANSWER_LISTENING,
    ANSWER_SYN_RECEIVED,
    ANSWER_TIME_WAIT,
};

enum answer_certainty {
    CERTAINTY_EXACT,
    CERTAINTY_GROUP, /* a hash not known, a BPF program or the CPU decides among the candidates of rank 1 */
    CERTAINTY_DEPENDS, /* on the interface, a setting, the segment's sequence number, or what became of a listening socket */
    CERTAINTY_UNKNOWN, /* it never comes to TCP here as far as is known; or model and kernel differ */
};

/* What the sender sees. */
enum answer_reply { REPLY_NOTHING, REPLY_RESET, REPLY_SYN_ACK, REPLY_ACK };

/* How the segment comes to the socket, if it does. */
enum answer_way {
    WAY_HERE,       /* from this host itself */
    WAY_REMOTE,     /* by an interface */
    WAY_FOREIGN,    /* LOCAL is no address of this host */
    WAY_MANY,       /* LOCAL is an address of no one host */
    WAY_MARTIAN,    /* to a loopback address from outside */
    WAY_NO_SOURCE,  /* FOREIGN is an address that nothing may come from */
    WAY_OWN_SOURCE, /* from outside, and FOREIGN is an address of this host */
    WAY_DOWN,       /* by segment.interface, which is down */
};

/* Who receives it where it comes in by this interface. */
struct answer_interface {
    uint32_t number;
    char name[IF_NAMESIZE];
    uint32_t row; /* ANSWER_NONE: nobody */
    bool others;  /* there are more, to which nobody is bound either, with the same answer */
};

struct answer {
    struct segment segment;
    enum answer_way way;
    bool interface_given;
    uint32_t port;    /* the one that was given, where segment.interface is what that is a port of; else 0 */
    uint32_t through; /* what the host itself sends to LOCAL passes it: lo, or a VRF */
    bool unanswered;  /* no route leads back to FOREIGN, so that its sender sees nothing, whatever TCP does */
    struct pairs_table table;
    struct model_steering steering;
    int programs; /* sk_lookup programs of the namespace; -1: they may not be seen */
    struct model model;
    uint32_t kernel; /* row of the kernel's own answer; ANSWER_NONE: nobody */
    bool agree;
    bool cpus_vary;                      /* the kernel answers differently on different CPUs */
    bool cpus_all;                       /* it has been asked on all, or it need not be */
    struct answer_interface *interfaces; /* others by which it may come in, with other answers */
    size_t interface_count;

    enum answer_kind kind;
    enum answer_certainty certainty;
    enum answer_reply reply;
    uint32_t row; /* the receiver's; ANSWER_NONE: nobody */
    struct elsewhere elsewhere;
};

/* `given`: segment->interface was asked for; else it is found out. */
enum fp_status answer_make(const struct segment *segment, bool given, struct answer *ret_answer,
                           struct fp_error *err);
/* Finds the processes of the rows that the answer is about, and, where nobody receives it, looks elsewhere. */
enum fp_status answer_owners(struct answer *answer, struct fp_error *err);
void answer_done(struct answer *answer);

#endif
