/* SPDX-License-Identifier: MIT */
#include "pairs/gather.h"

#include "sys/fd.h"
#include "sys/netlink.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>

/* The kernel fills as much as the reader has shown to take, up to this. */
#define BUFFER_SIZE 32768

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

/* `port` 0: any. The kernel does not heed it for sockets that are only bound. */
static enum fp_status read_answer(struct pairs_table *table, int fd, uint16_t port, struct fp_error *err)
{
    _Alignas(uint32_t) char buffer[BUFFER_SIZE];
    struct device last = {.interface = 0};
    struct diag_reader reader;
    struct diag_socket socket;
    enum diag_item item;

    for (;;) {
        ssize_t length = netlink_receive(fd, buffer, sizeof(buffer));
        if (length < 0)
            return fail(err, errno);
        diag_reader_init(&reader, buffer, (size_t)length);
        while ((item = diag_reader_next(&reader, &socket)) == DIAG_SOCKET) {
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

/* What is asked for in one dump. */
struct dump {
    uint32_t states;
    uint16_t port;
    uint16_t foreign_port;
    bool with_counts;
};

static enum fp_status gather(struct pairs_table *table, const struct dump *dumps, size_t count,
                             struct fp_error *err)
{
    char request[DIAG_REQUEST_SIZE];
    enum fp_status status = FP_OK;

    FD_AUTO fd = netlink_open();
    if (fd < 0)
        return fail(err, errno);
    for (size_t i = 0; i < count && status == FP_OK; i++) {
        size_t length = diag_request_dump(request, dumps[i].states, dumps[i].port, dumps[i].foreign_port,
                                          dumps[i].with_counts);
        if (netlink_send(fd, request, length) < 0)
            return fail(err, errno);
        status = read_answer(table, fd, dumps[i].port, err);
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
