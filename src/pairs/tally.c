/* SPDX-License-Identifier: MIT */
#include "pairs/tally.h"

#include "pairs/exact.h"
#include "sys/fd.h"
#include "sys/netlink.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/sock_diag.h>

/* Room for some thousands of announcements, of about 1.3 KiB each as the kernel counts. */
#define WAITING_BYTES (4 << 20)

int tally_open(struct tally *tally, const uint16_t *ports, size_t count)
{
    const uint32_t groups = 1 << (SKNLGRP_INET_TCP_DESTROY - 1) | 1 << (SKNLGRP_INET6_TCP_DESTROY - 1);
    struct sock_filter filter[DIAG_FILTER_SIZE(DIAG_FILTER_PORTS_MAX)];
    size_t length = 0;

    /* More ports than a filter holds: everything comes in, and the owner does not know the cookies of the rest. */
    if (count <= DIAG_FILTER_PORTS_MAX) {
        diag_port_filter(ports, count, filter);
        length = DIAG_FILTER_SIZE(count);
    }
    *tally = (struct tally){.fd = -1, .ask_fd = -1};
    FD_AUTO fd = netlink_open_announced(groups, filter, length, WAITING_BYTES);
    FD_AUTO ask_fd = netlink_open();
    if (fd < 0 || ask_fd < 0)
        return -1;
    tally->fd = fd_take(&fd);
    tally->ask_fd = fd_take(&ask_fd);
    return 0;
}

void tally_close(struct tally *tally)
{
    fd_close(fd_take(&tally->fd));
    fd_close(fd_take(&tally->ask_fd));
}

/*
 * Of the peer's FIN, which counts as a byte received, the kernel says neither that it came nor that it was read. But
 * one that is not read stands in the receive queue, so what was read is received - queue, unless the queue is empty:
 * then a FIN that was read must be taken off. It was where our own FIN was acknowledged (else a reset or silence ended
 * the connection) and TCP is done with the pair: the one who ends last has no TIME-WAIT. Wrong by one byte:
 * a program that ended its direction first and then read the peer's FIN (it is counted), and a pair whose TIME-WAIT
 * is gone already, by a reset or for want of room (a last byte is missing).
 */
static bool fin_was_read(const struct tally *tally, const struct diag_socket *socket)
{
    struct diag_socket left;

    if (socket->receive_queue != 0 || socket->bytes_acked <= socket->bytes_sent)
        return false;
    return exact_ask(tally->ask_fd, &socket->pair, socket->interface, 0, &left) < 0 ||
           (left.state != DIAG_FIN_WAIT_2 && left.state != DIAG_TIME_WAIT);
}

/*
 * Our own FIN is the last byte written, so it is unsent while anything is. Whether a socket that is gone had one is not told: it had
 * where its process ended first, and else one byte is missing.
 */
static uint64_t count_written(const struct diag_socket *socket, bool fin_waits)
{
    uint64_t unsent = socket->bytes_unsent;

    return socket->bytes_sent + unsent - (fin_waits && unsent > 0);
}

static uint64_t count_read(const struct diag_socket *socket, bool fin_read)
{
    uint64_t queue = socket->receive_queue;

    if (queue == 0 && fin_read)
        queue = 1;
    return socket->bytes_received > queue ? socket->bytes_received - queue : 0;
}

bool tally_read(struct tally *tally, struct tally_bytes *ret_bytes)
{
    _Alignas(uint32_t) char buffer[NETLINK_BUFFER_SIZE];
    struct diag_reader reader;
    struct diag_socket socket;

    for (;;) {
        ssize_t length = netlink_receive(tally->fd, buffer, sizeof(buffer));
        if (length < 0 && errno == ENOBUFS) {
            tally->overruns++;
            continue;
        }
        if (length < 0)
            return false;
        diag_reader_init(&reader, buffer, (size_t)length);
        if (diag_reader_next(&reader, &socket) != DIAG_SOCKET || !socket.has_bytes)
            continue;
        *ret_bytes = (struct tally_bytes){
            .cookie = socket.cookie,
            .in = count_read(&socket, fin_was_read(tally, &socket)),
            .out = count_written(&socket, true),
        };
        return true;
    }
}

bool tally_ask(struct tally *tally, const struct pair *pair, uint32_t interface, uint64_t cookie,
               struct tally_bytes *ret_bytes)
{
    struct diag_socket socket;

    if (interface == 0)
        interface = pair->local.scope;
    if (exact_ask(tally->ask_fd, pair, interface, cookie, &socket) < 0 || !socket.has_bytes)
        return false;
    const uint32_t fin_came =
        DIAG_STATE_BIT(DIAG_CLOSE_WAIT) | DIAG_STATE_BIT(DIAG_LAST_ACK) | DIAG_STATE_BIT(DIAG_CLOSING);
    const uint32_t fin_waits =
        DIAG_STATE_BIT(DIAG_FIN_WAIT_1) | DIAG_STATE_BIT(DIAG_LAST_ACK) | DIAG_STATE_BIT(DIAG_CLOSING);
    uint32_t state = DIAG_STATE_BIT(socket.state & 31);
    *ret_bytes = (struct tally_bytes){
        .cookie = socket.cookie,
        .in = count_read(&socket, (state & fin_came) != 0),
        .out = count_written(&socket, (state & fin_waits) != 0),
    };
    return true;
}
