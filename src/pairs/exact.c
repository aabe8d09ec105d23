/* SPDX-License-Identifier: MIT */
#include "pairs/exact.h"

#include "sys/netlink.h"

#include <errno.h>

int exact_ask(int fd, const struct pair *pair, uint32_t interface, uint64_t cookie,
              struct diag_socket *ret_socket)
{
    _Alignas(uint32_t) char answer[NETLINK_BUFFER_SIZE];
    char request[DIAG_REQUEST_SIZE];
    struct diag_reader reader;
    size_t length = diag_request_exact(request, pair, interface, cookie);

    if (netlink_send(fd, request, length) < 0)
        return -1;
    ssize_t received = netlink_receive(fd, answer, sizeof(answer));
    if (received < 0)
        return -1;
    diag_reader_init(&reader, answer, (size_t)received);
    enum diag_item item = diag_reader_next(&reader, ret_socket);
    if (item == DIAG_SOCKET)
        return 0;
    errno = item == DIAG_ERROR ? reader.errnum : EPROTO;
    return -1;
}
