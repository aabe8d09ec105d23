/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SKF_AD_RANDOM
#define SKF_AD_RANDOM 56
#endif

#define FIRST_USER 1000

static const struct end ends[] = {
    {AF_INET, "0.0.0.0"},
    {AF_INET, "0.0.0.0"},
    {AF_INET, "127.0.0.1"},
    {AF_INET, "127.0.0.2"},
    {AF_INET, "10.0.0.1"},
    {AF_INET, "10.0.0.2"},
    {AF_INET, "10.0.1.1"},
    {AF_INET6, "::"},
    {AF_INET6, "::"},
    {AF_INET6, "::1"},
    {AF_INET6, "fd00:0::1"},
    {AF_INET6, "fd00:1::1"},
    {AF_INET6, "::ffff:127.0.0.1"},
    {AF_INET6, "::ffff:0.0.0.0"},
    {AF_INET6, "::ffff:10.0.0.1"},
};
#define END_COUNT (sizeof(ends) / sizeof(ends[0]))

static const char *const devices[] = {"lo", "wire0", "wire1"};

/* What a set is made of, one in so many being of a kind that few are. */
struct recipe {
    uint32_t shared_percent;
    uint32_t device_percent;
    bool users;
    bool few_ends; /* so that many are in each other's way */
};

uint64_t socket_cookie(int fd)
{
    uint64_t cookie = 0;
    socklen_t length = sizeof(cookie);

    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) < 0)
        die("SO_COOKIE");
    return cookie;
}

static void set_option(int fd, int level, int option, int value)
{
    setsockopt(fd, level, option, &value, sizeof(value));
}

/* As another user, where this one may be another: the kernel shares an address among sockets of one user only. */
static int open_as(int family, unsigned user)
{
    if (user != 0)
        setfsuid(FIRST_USER + user);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (user != 0)
        setfsuid(geteuid());
    if (fd < 0)
        die("socket");
    return fd;
}

static int bind_end(int fd, const struct end *end, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    if (end->family == AF_INET) {
        inet_pton(AF_INET, end->host, &in.sin_addr);
        return bind(fd, (struct sockaddr *)&in, sizeof(in));
    }
    inet_pton(AF_INET6, end->host, &in6.sin6_addr);
    return bind(fd, (struct sockaddr *)&in6, sizeof(in6));
}

static enum fate random_fate(struct random *random)
{
    uint32_t number = random_below(random, 100);

    return number < 80 ? FATE_LISTENS : number < 90 ? FATE_BOUND : number < 95 ? FATE_CLOSED : FATE_SHUT;
}

static void make_member(struct random *random, const struct recipe *recipe, struct set *set)
{
    struct member *member = &set->members[set->count];
    const struct end *end = &ends[random_below(random, recipe->few_ends ? 3 : END_COUNT)];
    if (recipe->few_ends && random_percent(random, 30))
        end = &ends[7];
    bool shared = random_percent(random, recipe->shared_percent);
    bool v6only = end->family == AF_INET6 && random_percent(random, 30);
    bool late = random_percent(random, 5); /* SO_REUSEPORT only once it is bound */
    unsigned user = recipe->users ? random_below(random, 3) : 0;
    const char *device =
        random_percent(random, recipe->device_percent) ? devices[random_below(random, 3)] : "";

    *member =
        (struct member){.fate = random_fate(random), .shared = shared, .host = end->host, .device = device};
    member->fd = open_as(end->family, user);
    set_option(member->fd, SOL_SOCKET, SO_REUSEADDR, random_percent(random, 50));
    if (end->family == AF_INET6)
        set_option(member->fd, IPPROTO_IPV6, IPV6_V6ONLY, v6only);
    set_option(member->fd, SOL_SOCKET, SO_REUSEPORT, shared && !late);
    if (device[0] != '\0')
        setsockopt(member->fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device));
    if (bind_end(member->fd, end, set->port) < 0) {
        close(member->fd);
        return;
    }
    set_option(member->fd, SOL_SOCKET, SO_REUSEPORT, shared);
    char key[sizeof(member->key)];
    /* An IPv6 socket that is bound to an address is one of IPv6 alone whatever it says. */
    v6only = v6only && strcmp(end->host, "::") == 0;
    snprintf(key, sizeof(key), "%s%%%s%s%s user %u", end->host, device, shared ? " reuseport" : "",
             v6only ? " v6only" : "", user);
    memcpy(member->key, key, sizeof(key));
    snprintf(member->text, sizeof(member->text), "%s%s %s", key, late ? " late" : "",
             (const char *[]){"listens", "bound", "closed", "shut"}[member->fate]);
    member->cookie = socket_cookie(member->fd);
    set->count++;
}

/* A member at random, or by its CPU: neither is anything that another process can foretell. */
static void add_program(struct random *random, struct set *set, struct member *member)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 1 + random_below(random, 4)),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog program = {.len = 3, .filter = code};

    member->program =
        setsockopt(member->fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) == 0;
    set->has_programs = set->has_programs || member->program;
}

/* listen() where it is to; the kernel may still refuse it. */
static void settle(struct random *random, struct set *set, struct member *member, bool steer, bool odd)
{
    if (member->fate == FATE_BOUND)
        return;
    if (steer && random_percent(random, 50)) {
        set_option(member->fd, SOL_SOCKET, SO_INCOMING_CPU, (int)random_below(random, 2));
        member->cpu = set->has_cpus = true;
    }
    if (listen(member->fd, 64) < 0) {
        member->fate = FATE_BOUND;
        return;
    }
    if (steer && member->shared && random_percent(random, 30))
        add_program(random, set, member);
    if (member->fate == FATE_SHUT)
        shutdown(member->fd, SHUT_RD);
    if (member->fate == FATE_CLOSED) {
        close(member->fd);
        member->fd = -1;
    }
    if (odd && member->fate == FATE_LISTENS && random_percent(random, 60)) {
        set_option(member->fd, SOL_SOCKET, SO_REUSEPORT, 0);
        set->is_odd = true;
    }
}

/* The wildcard of both families, and that of IPv4. */
static bool overlap(const struct member *one, const struct member *other)
{
    return strcmp(one->host, "::") == 0 && strcmp(other->host, "0.0.0.0") == 0 &&
           strstr(one->key, " v6only") == NULL;
}

/*
 * Both listen, in each other's way, without SO_REUSEPORT: bind(2) remembers of a port that all who bound it so far had it, and
 * looks no further where the next one has it too.
 */
static bool slipped_by(const struct member *one, const struct member *other)
{
    bool same_host = strcmp(one->host, other->host) == 0 || overlap(one, other) || overlap(other, one);
    bool same_device =
        one->device[0] == '\0' || other->device[0] == '\0' || strcmp(one->device, other->device) == 0;

    return one->fate == FATE_LISTENS && other->fate == FATE_LISTENS && same_host && same_device &&
           !(one->shared && other->shared);
}

void set_make(struct random *random, uint16_t port, struct set *ret_set)
{
    const struct recipe recipe = {
        .shared_percent = random_percent(random, 70) ? 100 : 50,
        .device_percent = random_percent(random, 50) ? 0 : 30,
        .users = random_percent(random, 20) && world_has_users(),
        .few_ends = random_percent(random, 40),
    };
    uint32_t wanted = 1 + random_below(random, SET_MAX);
    bool steer = random_percent(random, 15);
    bool odd = random_percent(random, 12);
    size_t order[SET_MAX];

    *ret_set = (struct set){.port = port};
    for (uint32_t i = 0; i < wanted; i++)
        make_member(random, &recipe, ret_set);
    for (size_t i = 0; i < ret_set->count; i++) {
        size_t at = random_below(random, (uint32_t)i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    for (size_t i = 0; i < ret_set->count; i++)
        settle(random, ret_set, &ret_set->members[order[i]], steer, odd);
    for (size_t i = 0; i < ret_set->count; i++) {
        for (size_t k = 0; k < i; k++)
            ret_set->is_odd = ret_set->is_odd || slipped_by(&ret_set->members[i], &ret_set->members[k]);
    }
}

void set_done(struct set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->members[i].fd >= 0)
            close(set->members[i].fd);
    }
}

const struct member *set_find(const struct set *set, uint64_t cookie)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->members[i].cookie == cookie)
            return &set->members[i];
    }
    return NULL;
}
