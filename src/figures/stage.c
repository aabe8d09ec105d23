/* SPDX-License-Identifier: MIT */
#include "figures/stage.h"

#include "sys/fd.h"
#include "sys/link.h"
#include "sys/netns.h"
#include "sys/tap.h"

#include <errno.h>
#include <string.h>

#define WIRE_WAIT_NS INT64_C(2000000000)

/* The wire that leads to each address of the server. */
static const char *const wires[2] = {"eth0", "eth1"};

const char *stage_kind_name(enum stage_kind kind)
{
    static const char *const names[] = {
        [STAGE_NAMESPACES] = "network namespaces",
        [STAGE_USER_NAMESPACES] = "network namespaces of a user namespace",
        [STAGE_LOOPBACK] = "loopback addresses",
    };

    return names[kind];
}

static struct address ipv4(uint8_t first, uint8_t second, uint8_t third, uint8_t fourth, uint16_t port)
{
    return (struct address){.family = AF_INET, .port = port, .bytes = {first, second, third, fourth}};
}

/* On the loopback device the book's addresses with another first number, as near as one gets. */
static void set_addresses(struct stage *stage)
{
    bool loopback = stage->kind == STAGE_LOOPBACK;
    uint16_t port = loopback ? 2121 : 21;

    stage->server[0] = ipv4(loopback ? 127 : 12, 106, 32, 254, port);
    stage->server[1] = ipv4(loopback ? 127 : 192, 168, 42, 1, port);
    stage->client = ipv4(loopback ? 127 : 206, 168, 112, 219, 0);
}

/* Goes into a new namespace, in a user namespace where it takes one: 0, or -1 where the kernel gives none. */
static int make_first_host(struct stage *stage)
{
    stage->kind = STAGE_NAMESPACES;
    stage->namespaces[STAGE_SERVER] = netns_new();
    if (stage->namespaces[STAGE_SERVER] >= 0 || errno != EPERM)
        return stage->namespaces[STAGE_SERVER] < 0 ? -1 : 0;
    stage->kind = STAGE_USER_NAMESPACES;
    if (netns_own_user() < 0)
        return -1;
    stage->namespaces[STAGE_SERVER] = netns_new();
    return stage->namespaces[STAGE_SERVER] < 0 ? -1 : 0;
}

/* At the host that the process is at. */
static int set_up_wires(const struct stage *stage, enum stage_host host)
{
    FD_AUTO fd = link_open();
    if (fd < 0)
        return -1;
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *here = host == STAGE_SERVER ? stage->server[i].bytes : stage->client.bytes;
        const uint8_t *there = host == STAGE_SERVER ? stage->client.bytes : stage->server[i].bytes;
        if (host == STAGE_SERVER && link_wire(fd, wires[i], stage->namespaces[STAGE_CLIENT]) < 0)
            return -1;
        if (link_address(fd, wires[i], here, there) < 0 || link_up(fd, wires[i]) < 0)
            return -1;
    }
    return 0;
}

/* A segment sent before both ends of its wire carry would be lost, and sent again a second later. */
static int make_network(struct stage *stage)
{
    stage->namespaces[STAGE_CLIENT] = netns_new();
    if (stage->namespaces[STAGE_CLIENT] < 0 || netns_join(stage->namespaces[STAGE_SERVER]) < 0 ||
        set_up_wires(stage, STAGE_SERVER) < 0)
        return -1;
    if (netns_join(stage->namespaces[STAGE_CLIENT]) < 0 || set_up_wires(stage, STAGE_CLIENT) < 0 ||
        link_wait(wires[0], WIRE_WAIT_NS) < 0)
        return -1;
    if (netns_join(stage->namespaces[STAGE_SERVER]) < 0)
        return -1;
    return link_wait(wires[0], WIRE_WAIT_NS);
}

static void say_why(struct stage *stage, int errnum)
{
    struct fp_error reason;
    struct text text;

    error_set(&reason, FP_SYSTEM, errnum, "make", "a network namespace");
    text_init(&text, stage->why, sizeof(stage->why));
    text_string(&text, reason.reason);
    text_end(&text);
}

enum fp_status stage_open(bool loopback, struct stage *ret_stage, struct fp_error *err)
{
    struct stage stage = {.kind = STAGE_LOOPBACK, .namespaces = {-1, -1}, .tap = -1};

    if (!loopback && make_first_host(&stage) < 0) {
        say_why(&stage, errno);
        stage.kind = STAGE_LOOPBACK;
    }
    set_addresses(&stage);
    if (stage.kind != STAGE_LOOPBACK && make_network(&stage) < 0) {
        enum fp_status status =
            error_set(err, error_class(errno), errno, "make a wire between", "two network namespaces");
        error_hint(err, "forkport figures --loopback does without");
        stage_close(&stage);
        return status;
    }
    stage.tap = tap_open(stage.kind == STAGE_LOOPBACK ? "lo" : wires[0]);
    stage.errnum = stage.tap < 0 ? errno : 0;
    *ret_stage = stage;
    return FP_OK;
}

void stage_close(struct stage *stage)
{
    for (size_t i = 0; i < STAGE_HOSTS; i++)
        fd_close(fd_take(&stage->namespaces[i]));
    fd_close(fd_take(&stage->tap));
}

enum fp_status stage_enter(const struct stage *stage, enum stage_host host, struct fp_error *err)
{
    if (stage->namespaces[host] < 0 || netns_join(stage->namespaces[host]) == 0)
        return FP_OK;
    return error_set(err, error_class(errno), errno, "go to", "the %s",
                     host == STAGE_SERVER ? "server host" : "client host");
}

bool stage_is_at(const struct stage *stage, enum stage_host host, const struct pair *pair)
{
    const struct address *end = &pair->local;

    if (host == STAGE_CLIENT)
        return end->family == AF_INET && memcmp(end->bytes, stage->client.bytes, sizeof(end->bytes)) == 0;
    return end->port == stage->server[0].port && !stage_is_at(stage, STAGE_CLIENT, pair);
}
