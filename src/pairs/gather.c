/* SPDX-License-Identifier: MIT */
#include "pairs/gather.h"

#include "sys/fd.h"
#include "sys/netlink.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>

/* The kernel fills as much as the reader has shown to take, up to this. */
#define BUFFER_SIZE 32768
/* How often those that listen are listed while they change. */
#define READS_MAX 16
/* Those whose ports differ by a multiple of it may stand in one chain, before Linux 5.19; since then those of one port. */
#define CHAINS 32

static enum fp_status fail(struct fp_error *err, int errnum)
{
    enum fp_status status =
        error_set(err, error_class(errnum), errnum, "read", "the kernel's table of sockets");

    if (errnum == ENOENT || errnum == EPROTONOSUPPORT)
        error_hint(err, "the kernel lacks the modules tcp_diag and inet_diag");
    return status;
}

/* The device of the row before is mostly that of this one. */
struct device {
    uint32_t interface;
    char name[IF_NAMESIZE];
};

static void name_device(struct diag_socket *socket, struct device *last)
{
    struct pair *pair = &socket->pair;

    if (socket->interface == 0 || pair->local.scope != 0)
        return;
    if (last->interface != socket->interface) {
        last->interface = socket->interface;
        if (if_indextoname(socket->interface, last->name) == NULL)
            last->name[0] = '\0';
    }
    memcpy(pair->local.device, last->name, sizeof(pair->local.device));
}

/* What is asked for in one dump; `port` 0: any. */
struct dump {
    uint32_t states;
    uint16_t port;
    uint16_t foreign_port;
    bool with_counts;
};

/*
 * Those that listen, in one dump. The kernel goes on in a chain by counting, so where one has gone from it since the
 * datagram before, as many that stay are passed over. Where nothing came or went, the sum of the cookies is the same.
 */
struct listed {
    uint64_t cookies;
    bool is_cut; /* a chain went on in the next datagram */
};

static void note(struct listed *listed, const struct diag_socket *socket, const struct diag_socket *before)
{
    if (socket->state != DIAG_LISTEN)
        return;
    listed->cookies += socket->cookie;
    if (before->state == DIAG_LISTEN && (before->pair.local.port - socket->pair.local.port) % CHAINS == 0)
        listed->is_cut = true;
}

/* The kernel does not heed the port for sockets that are only bound. */
static enum fp_status read_answer(struct pairs_table *table, int fd, uint16_t port, struct listed *listed,
                                  struct fp_error *err)
{
    static const struct diag_socket none = {.state = 0};
    _Alignas(uint32_t) char buffer[BUFFER_SIZE];
    struct device last = {.interface = 0};
    struct diag_socket socket = none;
    struct diag_reader reader;
    enum diag_item item;

    for (;;) {
        struct diag_socket before = socket;
        ssize_t length = netlink_receive(fd, buffer, sizeof(buffer));
        if (length < 0)
            return fail(err, errno);
        diag_reader_init(&reader, buffer, (size_t)length);
        while ((item = diag_reader_next(&reader, &socket)) == DIAG_SOCKET) {
            note(listed, &socket, &before);
            before = none;
            if (port != 0 && socket.pair.local.port != port)
                continue;
            name_device(&socket, &last);
            if (!pairs_append(table, &socket))
                return fail(err, ENOMEM);
        }
        if (item == DIAG_END)
            return FP_OK;
        if (item == DIAG_ERROR)
            return fail(err, reader.errnum);
    }
}

static enum fp_status read_dump(struct pairs_table *table, int fd, const struct dump *dump,
                                struct listed *listed, struct fp_error *err)
{
    char request[DIAG_REQUEST_SIZE];
    size_t length =
        diag_request_dump(request, dump->states, dump->port, dump->foreign_port, dump->with_counts);

    *listed = (struct listed){.is_cut = false};
    if (netlink_send(fd, request, length) < 0)
        return fail(err, errno);
    return read_answer(table, fd, dump->port, listed, err);
}

/* Of what is in the table several times one stays. */
static enum fp_status read_again(struct pairs_table *table, int fd, const struct dump *dump,
                                 const struct listed *listed, struct fp_error *err)
{
    struct dump again = *dump;
    struct listed before = *listed;
    enum fp_status status = FP_OK;

    again.states &= DIAG_STATE_BIT(DIAG_LISTEN);
    for (unsigned reads = 1; reads < READS_MAX && before.is_cut && status == FP_OK; reads++) {
        struct listed now;
        status = read_dump(table, fd, &again, &now, err);
        now.is_cut = now.is_cut && now.cookies != before.cookies;
        before = now;
    }
    return status;
}

static enum fp_status gather(struct pairs_table *table, const struct dump *dumps, size_t count,
                             struct fp_error *err)
{
    enum fp_status status = FP_OK;
    struct listed listed;

    FD_AUTO fd = netlink_open();
    if (fd < 0)
        return fail(err, errno);
    for (size_t i = 0; i < count && status == FP_OK; i++) {
        status = read_dump(table, fd, &dumps[i], &listed, err);
        if (status == FP_OK)
            status = read_again(table, fd, &dumps[i], &listed, err);
    }
    pairs_sort(table);
    return status;
}

enum fp_status gather_rows(struct pairs_table *table, uint32_t states, bool with_counts, struct fp_error *err)
{
    struct dump dump = {.states = states, .with_counts = with_counts};

    return gather(table, &dump, 1, err);
}

enum fp_status gather_endpoints(struct pairs_table *table, uint16_t port, uint16_t foreign_port,
                                struct fp_error *err)
{
    const uint32_t alone = DIAG_STATE_BIT(DIAG_LISTEN) | DIAG_STATE_BIT(DIAG_BOUND);
    const struct dump dumps[] = {
        {.states = DIAG_STATES_ALL & ~alone, .port = port, .foreign_port = foreign_port},
        {.states = alone, .port = port},
    };

    return gather(table, dumps, sizeof(dumps) / sizeof(dumps[0]), err);
}
