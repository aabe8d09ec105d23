/* SPDX-License-Identifier: MIT
 *
 * tests/model/world.h - two hosts with two wires, and random sets of sockets on one of them.
 *
 * The hosts are network namespaces: the process lives on the one that has the sockets, and makes sockets of the other,
 * its clients, by world_client_socket(). A set is made from its seed alone, so a seed makes the same set again, as far
 * as ports and cookies let it. Sockets that the kernel refuses, since they are in each other's way, are left out.
 * What cannot be made ends the program with a message.
 */
#ifndef TESTS_MODEL_WORLD_H
#define TESTS_MODEL_WORLD_H

#include "addr/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SET_MAX  12
#define WIRES    2
#define END_SIZE 48

struct random {
    uint64_t state;
};

uint32_t random_below(struct random *random, uint32_t below);
/* True so many times of a hundred. */
bool random_percent(struct random *random, uint32_t percent);

/* Makes the hosts. Returns NULL, or why it cannot be done here. */
const char *world_make(void);
/*
 * A socket of the clients' host, bound to its end of a wire, or where its routes lead it: those to WORLD_CROSSED, which
 * the server's host has on wire1, lead by wire0, though all that comes from WORLD_CROSSING should come in by wire1.
 */
#define WORLD_ANY_WIRE WIRES
#define WORLD_CROSSED  "10.0.1.3"
#define WORLD_CROSSING "10.0.1.9"
int world_client_socket(int family, unsigned wire);
/* May sockets be made as other users? */
bool world_has_users(void);
uint32_t world_device(const char *name);

/* An address that a listening socket may have. */
struct end {
    int family;
    char host[END_SIZE];
};

enum fate { FATE_LISTENS, FATE_BOUND, FATE_CLOSED, FATE_SHUT };

struct member {
    int fd; /* -1: closed again */
    enum fate fate;
    uint64_t cookie;
    const char *host;
    const char *device; /* "" for none */
    bool shared;
    bool program; /* a group of its own choosing */
    bool cpu;
    char key[96];   /* of its group: the same for all that share its address by SO_REUSEPORT */
    char text[160]; /* how it was made, for a failure */
};

struct set {
    uint16_t port;
    bool has_programs;
    bool has_cpus;
    bool is_odd; /* options were changed behind the back of bind(2), or one listens in another's way */
    size_t count;
    struct member members[SET_MAX];
};

void set_make(struct random *random, uint16_t port, struct set *ret_set);
void set_done(struct set *set);
/* The member with this cookie, or NULL. */
const struct member *set_find(const struct set *set, uint64_t cookie);

uint64_t socket_cookie(int fd);
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);

#endif
