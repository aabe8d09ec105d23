/* SPDX-License-Identifier: MIT
 *
 * demux/elsewhere.h - who would receive a segment in the other network namespaces of the host.
 *
 * For a segment that nobody receives in this one: the container that has the address, or the server that somebody
 * started in the wrong place. Each namespace that a process is in, or that ip-netns(8) has named, is entered once by
 * the calling thread, which is back where it was when the call returns. It takes CAP_SYS_ADMIN; without it nothing is entered and `permitted` is false,
 * which is an answer and no failure. It costs a look at each process and some tens of microseconds for each namespace.
 */
#ifndef DEMUX_ELSEWHERE_H
#define DEMUX_ELSEWHERE_H

#include "sys/namespaces.h"
#include "sys/procfs.h"
#include "wire/packet.h"
#include "wire/sock_diag.h"

#define ELSEWHERE_MAX 8

struct elsewhere_place {
    pid_t pid;                      /* a process that is in there; 0: none is seen */
    pid_t holder;                   /* then one outside, which holds the socket; 0: none is seen */
    char process[PROCFS_NAME_SIZE]; /* the name of whichever of the two there is */
    char name[NAME_MAX + 1];        /* the namespace's own; "": it has none */
    bool
        listening; /* the socket below would receive it there; else the namespace has the address, and that is all */
    struct diag_socket socket;
};

struct elsewhere {
    bool looked;
    bool permitted;    /* to enter them */
    bool incomplete;   /* some processes may not be looked into, or their namespaces not be entered */
    bool names_hidden; /* the same of names */
    size_t count;      /* of the places found; the first of them are kept */
    struct elsewhere_place places[ELSEWHERE_MAX];
};

/* `address_is_here`: then only places where somebody listens are told. */
enum fp_status elsewhere_find(const struct segment *segment, bool address_is_here,
                              struct elsewhere *ret_elsewhere, struct fp_error *err);

#endif
