/* SPDX-License-Identifier: MIT
 *
 * figures/story.h - section 2.10 as it was played here: what was seen, scene by scene.
 *
 * A plain value of observations: the sockets of both hosts in each scene with who held them, as the kernel's table and
 * /proc gave them; look-ups, the kernel's own answers to who would receive a segment; the segments that passed the
 * wire; what processes reported that they read. Nothing in it is what was meant to happen: figures/play.h writes it
 * down, figures/claim.h compares it with what the section says, and figures/drawing.h draws it. A socket is what its
 * cookie says.
 */
#ifndef FIGURES_STORY_H
#define FIGURES_STORY_H

#include "figures/stage.h"
#include "wire/packet.h"

#include <stddef.h>
#include <sys/types.h>

#define STORY_SOCKETS_MAX  8
#define STORY_HOLDERS_MAX  4
#define STORY_SEGMENTS_MAX 64

/* The sections' figures have the last digits of their scene. */
enum story_scene {
    SCENE_LISTENING, /* 2.11 */
    SCENE_REQUEST,   /* 2.12 */
    SCENE_CHILD,     /* 2.13 */
    SCENE_SECOND,    /* 2.14 */
    SCENE_SENT_1,    /* a line from the first client, */
    SCENE_SENT_2,    /* from the second */
    SCENE_OTHER,     /* a connection request from a third */
    SCENES
};

enum story_role {
    ROLE_SERVER,
    ROLE_CHILD_1,
    ROLE_CHILD_2,
    ROLE_CLIENT_1,
    ROLE_CLIENT_2,
    ROLE_CLIENT_3,
    ROLES
};

/* The ephemeral ports of the three clients: "We assume the ephemeral port chosen by the client TCP is 1500". */
#define STORY_PORT_1 1500
#define STORY_PORT_2 1501
#define STORY_PORT_3 1502

struct story_socket {
    struct pair pair;
    uint8_t state; /* enum diag_state */
    bool queued;   /* not accepted yet: its holders hold the listening socket */
    uint64_t cookie;
    uint64_t bytes_received;
    uint32_t waiting; /* of a listening socket: connections in its queue; else bytes not read yet */
    uint32_t unacknowledged;
    pid_t holders[STORY_HOLDERS_MAX];
    size_t holder_count;
};

struct story_host {
    struct story_socket sockets[STORY_SOCKETS_MAX];
    size_t count;
};

/* What the kernel was asked, and when. */
enum story_look {
    /* while the server listened on its second address alone */
    LOOK_ONE_OTHER, /* a segment to the first */
    LOOK_ONE_ITSELF,
    /* in SCENE_LISTENING, with no client yet */
    LOOK_ANY_FIRST,
    LOOK_ANY_SECOND,
    /* in SCENE_SECOND */
    LOOK_FROM_1,
    LOOK_FROM_2,
    LOOK_FROM_3,           /* another foreign port */
    LOOK_OTHER_FOREIGN,    /* the first client's pair with another foreign address, */
    LOOK_OTHER_LOCAL,      /* with another local address, */
    LOOK_OTHER_LOCAL_PORT, /* with another local port */
    LOOKS
};

struct story_look_up {
    struct pair pair;
    uint64_t cookie; /* of who would receive it; 0: nobody */
};

struct story_segment {
    struct segment segment;
    uint64_t cookie;   /* of who received it; 0: nobody, or unknown */
    bool asked_before; /* of the kernel, before it was sent; else once it had been received */
    bool queued;       /* it came before the server had accepted its connection */
};

struct story {
    enum stage_kind kind;
    char why[208];            /* no namespaces were made, or "" */
    int tap_errnum;           /* no segments could be captured: why; 0: they were */
    struct address server[2]; /* with the port */
    struct address client;
    pid_t pids[ROLES];
    pid_t parents[ROLES]; /* 0: not asked */
    struct story_host scenes[SCENES][STAGE_HOSTS];
    struct story_look_up looks[LOOKS];
    int bind_again_errnum; /* of binding the listening socket to one address more; 0: it was done */
    int same_port_errnum;  /* of the second client connecting from the first one's port */
    pid_t readers[2];      /* who reported to have read the line of each client */
    struct story_segment segments[STORY_SEGMENTS_MAX];
    size_t segment_count;
    size_t segments_lost; /* there was no room for */
};

/* The socket of a host with this cookie, or pair; NULL: there is none. */
const struct story_socket *story_find_cookie(const struct story *story, enum story_scene scene,
                                             enum stage_host host, uint64_t cookie);
const struct story_socket *story_find_pair(const struct story *story, enum story_scene scene,
                                           enum stage_host host, const struct pair *pair);
/* The one listening socket of the server; NULL: there is none or several. */
const struct story_socket *story_listening(const struct story *story, enum story_scene scene);
/* The pair of the connection from a port of the client's, as a host sees it. */
struct pair story_pair(const struct story *story, enum stage_host host, uint16_t client_port);
/* Does the process of this role hold the socket, and nobody else? */
bool story_holds_alone(const struct story *story, enum story_role role, const struct story_socket *socket);
/* "server", "child 1", ...; "process" for one that has no role. */
const char *story_role_name(const struct story *story, pid_t pid);

#endif
