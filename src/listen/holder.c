/* SPDX-License-Identifier: MIT */
#include "listen/holder.h"

#include "addr/pair.h"
#include "sys/descriptors.h"
#include "sys/fd.h"
#include "sys/netlink.h"
#include "sys/process.h"
#include "wire/sock_diag.h"

#include <net/if.h>
#include <string.h>

/* How many processes a hint names before it counts. */
#define NAMED_MAX 3

/* What an address takes of each family: nothing, one address, or all of them. */
struct extent {
    bool all4;
    bool all6;
    const struct address *one; /* of its family; NULL where it is a wildcard */
};

static struct extent extent_of(const struct address *address)
{
    bool wildcard = address_is_wildcard(address);

    return (struct extent){
        .all4 = wildcard && address->family != AF_INET6,
        .all6 = wildcard && address->family != AF_INET,
        .one = wildcard ? NULL : address,
    };
}

/* Is there an address that both take? */
static bool extents_meet(const struct extent *a, const struct extent *b)
{
    if (a->one != NULL && b->one != NULL)
        return a->one->family == b->one->family && a->one->scope == b->one->scope &&
               memcmp(a->one->bytes, b->one->bytes, a->one->family == AF_INET ? 4 : 16) == 0;
    if (a->one == NULL && b->one == NULL)
        return (a->all4 && b->all4) || (a->all6 && b->all6);
    const struct extent *wide = a->one == NULL ? a : b;
    const struct address *one = a->one == NULL ? b->one : a->one;
    return one->family == AF_INET ? wide->all4 : wide->all6;
}

/* The rules of bind(2): the same port, a common address, and no two different devices (a scope binds to one as well). */
static bool is_in_the_way(const struct diag_socket *socket, const struct address *wanted, uint32_t interface)
{
    struct extent theirs = extent_of(&socket->pair.local);
    struct extent ours = extent_of(wanted);

    if (socket->pair.local.port != wanted->port)
        return false;
    if (socket->interface != 0 && interface != 0 && socket->interface != interface)
        return false;
    return extents_meet(&theirs, &ours);
}

/* What to name first where several are in the way: a listening socket, then one that is only bound, then the others. */
static int rank(const struct diag_socket *socket)
{
    if (socket->state == DIAG_LISTEN)
        return 3;
    return socket->inode != 0 ? 2 : 1;
}

/* Takes in one answer's datagram; false once the dump has ended. */
static bool read_answer(const void *bytes, size_t length, const struct address *wanted, uint32_t interface,
                        struct diag_socket *found)
{
    struct diag_reader reader;
    struct diag_socket socket;
    enum diag_item item;

    diag_reader_init(&reader, bytes, length);
    while ((item = diag_reader_next(&reader, &socket)) == DIAG_SOCKET) {
        if (is_in_the_way(&socket, wanted, interface) && (found->state == 0 || rank(&socket) > rank(found)))
            *found = socket;
    }
    return item == DIAG_NOTHING;
}

/* Leaves the socket in the way in *found, whose state is 0 where there is none. */
static void find(int fd, const struct address *wanted, uint32_t interface, struct diag_socket *found)
{
    _Alignas(uint32_t) char buffer[NETLINK_BUFFER_SIZE];
    char request[DIAG_REQUEST_SIZE];
    size_t length = diag_request_dump(request, DIAG_STATES_ALL, wanted->port, 0, false);

    if (netlink_send(fd, request, length) < 0)
        return;
    for (;;) {
        ssize_t received = netlink_receive(fd, buffer, sizeof(buffer));
        if (received < 0 || !read_answer(buffer, (size_t)received, wanted, interface, found))
            return;
    }
}

static void write_pids(const pid_t *pids, size_t count, struct text *text)
{
    size_t named = count <= NAMED_MAX ? count : NAMED_MAX - 1;

    text_string(text, count == 1 ? " of process " : " of processes ");
    for (size_t i = 0; i < named; i++) {
        bool last = i + 1 == count;
        text_string(text, i == 0 ? "" : last ? " and " : ", ");
        text_unsigned(text, (uint64_t)pids[i]);
    }
    if (count > named)
        text_printf(text, " and %zu more", count - named);
}

static void write_holders(const struct diag_socket *socket, struct text *text)
{
    pid_t pids[NAMED_MAX];
    char name[PROCFS_NAME_SIZE];

    if (socket->inode == 0) {
        text_string(text, ", which no process holds any more");
        return;
    }
    size_t count = descriptors_holders(socket->inode, pids, NAMED_MAX);
    if (count == 0) {
        text_printf(text, " of user %u; its process cannot be seen from here", socket->uid);
        return;
    }
    if (count == 1 && pids[0] == process_self()) {
        text_string(text, " of this server itself");
        return;
    }
    write_pids(pids, count, text);
    procfs_name(pids[0], name);
    text_string(text, name[0] != '\0' ? ", " : "");
    text_string(text, name);
}

static void write_hint(struct diag_socket *socket, struct fp_error *err)
{
    char shown[sizeof(err->hint)];
    struct text text;

    if (socket->interface != 0 && socket->pair.local.scope == 0)
        if_indextoname(socket->interface, socket->pair.local.device);
    text_init(&text, shown, sizeof(shown));
    text_string(&text, "held by ");
    pair_format(&socket->pair, &text);
    if (socket->state != DIAG_LISTEN)
        text_printf(&text, " in %s", diag_state_name(socket->state));
    write_holders(socket, &text);
    text_end(&text);
    error_hint(err, "%s", shown);
}

void holder_hint(const struct address *address, struct fp_error *err)
{
    struct diag_socket found = {.state = 0};
    uint32_t interface = address->device[0] != '\0' ? address_interface(address) : address->scope;

    FD_AUTO fd = netlink_open();
    if (fd < 0)
        return;
    find(fd, address, interface, &found);
    if (found.state != 0)
        write_hint(&found, err);
}
