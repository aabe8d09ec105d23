/* SPDX-License-Identifier: MIT */
#include "listen/listener.h"

#include "base/time.h"
#include "listen/holder.h"
#include "sys/fd.h"
#include "sys/ready.h"
#include "sys/signals.h"
#include "sys/socket.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

/* A terminal says that it is ready when it has room for less than a line's end. */
#define AGAIN_NS (50 * MS_NS)

static void address_text(const struct address *address, char *buffer, size_t size)
{
    bool is_of_family = address_is_wildcard(address) && address->family != AF_UNSPEC;
    char shown[ADDRESS_TEXT_SIZE];
    struct text text;

    text_init(&text, shown, sizeof(shown));
    address_format_wanted(address, &text);
    text_end(&text);
    text_init(&text, buffer, size);
    /* Of "any" it matters here whether it is that of both families. */
    if (is_of_family)
        text_string(&text, address->family == AF_INET ? "0.0.0.0" : "[::]");
    text_string(&text, is_of_family ? shown + 1 : shown);
    text_end(&text);
}

static enum fp_status open_failed(const struct address *address, enum socket_step step, int errnum,
                                  struct fp_error *err)
{
    static const char *const operations[] = {
        [SOCKET_STEP_SOCKET] = "make a socket for",
        [SOCKET_STEP_OPTION] = "set up the socket for",
        [SOCKET_STEP_DEVICE] = "bind to the device of",
        [SOCKET_STEP_BIND] = "listen on",
        [SOCKET_STEP_LISTEN] = "listen on",
    };
    enum fp_status status = error_class(errnum);
    char shown[ADDRESS_TEXT_SIZE];

    address_text(address, shown, sizeof(shown));
    /* Whatever the reason is, an address that cannot be had is 69, but for what is not the address's fault. */
    if (status != FP_NOT_PERMITTED && !error_is_shortage(errnum))
        status = FP_UNAVAILABLE;
    error_set(err, status, errnum, operations[step], "%s", shown);
    if (errnum == EADDRINUSE && err != NULL)
        holder_hint(address, err);
    else if (step == SOCKET_STEP_BIND)
        address_hint_bind(errnum, err);
    return status;
}

/* The kernel would bind it to the scope's, which is then not what the pair shows. */
static enum fp_status scope_contradicts(const struct address *address, struct fp_error *err)
{
    char shown[ADDRESS_TEXT_SIZE];

    address_text(address, shown, sizeof(shown));
    error_set(err, FP_USAGE, 0, "listen on", "%s", shown);
    return error_reason(err, FP_USAGE, "its scope and its device are different ones");
}

static int try_open(const struct address *address, uint32_t backlog, enum socket_step *ret_step)
{
    struct sockaddr_storage sa;
    socklen_t length = address_to_sockaddr(address, &sa);
    struct socket_listen how = {
        .sa = (struct sockaddr *)&sa,
        .sa_length = length,
        .v6only = address->family == AF_INET6,
        .device = address->device,
        .backlog = (int)backlog,
    };

    return socket_listen(&how, ret_step);
}

static enum fp_status open_one(const struct address *address, uint32_t backlog, struct listener *ret_listener,
                               struct fp_error *err)
{
    struct address wanted = *address;
    struct sockaddr_storage sa;
    enum socket_step step;

    if (address->scope != 0 && address->device[0] != '\0' && address_interface(address) != address->scope)
        return scope_contradicts(address, err);
    FD_AUTO fd = try_open(&wanted, backlog, &step);
    if (fd < 0 && wanted.family == AF_UNSPEC &&
        (errno == EAFNOSUPPORT || (step == SOCKET_STEP_BIND && errno == EADDRNOTAVAIL))) {
        /* No IPv6 on this host, or switched off: "any" is then any IPv4 address. */
        wanted.family = AF_INET;
        fd = try_open(&wanted, backlog, &step);
    }
    if (fd < 0)
        return open_failed(address, step, errno, err);
    if (socket_local(fd, &sa) < 0)
        return open_failed(address, SOCKET_STEP_OPTION, errno, err);
    struct address bound;
    address_from_sockaddr((struct sockaddr *)&sa, &bound);
    wanted.port = bound.port;
    ret_listener->local_is_pair =
        !address_is_wildcard(&wanted) && (wanted.scope != 0 || !address_needs_scope(&wanted));
    ret_listener->proto = wanted.family == AF_UNSPEC ? "tcp46" : wanted.family == AF_INET ? "tcp4" : "tcp6";
    ret_listener->pair = (struct pair){.local = wanted, .foreign = {.family = AF_UNSPEC}};
    ret_listener->interface = address_interface(&wanted);
    ret_listener->fd = fd_take(&fd);
    return FP_OK;
}

enum fp_status listeners_open(const struct address_list *addresses, uint32_t backlog,
                              struct listeners *ret_listeners, struct fp_error *err)
{
    struct listeners opened = {.items = calloc(addresses->count, sizeof(*opened.items))};

    if (opened.items == NULL)
        return error_set(err, FP_SYSTEM, ENOMEM, "listen on", "%zu addresses", addresses->count);
    for (size_t i = 0; i < addresses->count; i++) {
        enum fp_status status = open_one(&addresses->items[i], backlog, &opened.items[i], err);
        if (status != FP_OK) {
            listeners_done(&opened);
            return status;
        }
        opened.count++;
    }
    *ret_listeners = opened;
    return FP_OK;
}

void listeners_close(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++)
        fd_close(fd_take(&listeners->items[i].fd));
}

void listeners_done(struct listeners *listeners)
{
    listeners_close(listeners);
    listeners_free(listeners);
}

void listeners_free(struct listeners *listeners)
{
    free(listeners->items);
    *listeners = (struct listeners){0};
}

/* What there is room for; 0: none now, and *is_full where it was said that there is. */
static ssize_t write_some(struct pollfd *fds, int64_t wait_ns, const char *bytes, size_t length,
                          bool *is_full)
{
    ssize_t written = 0;

    fds[0].events = *is_full ? 0 : POLLOUT;
    if (ready_wait(fds, 3, wait_ns) > 0 && fds[0].revents != 0)
        written = ready_write(fds[0].fd, false, bytes, length);
    *is_full = written < 0 && errno == EAGAIN;
    return *is_full ? 0 : written;
}

/*
 * Without waiting in a write, since the signals that end the server are blocked: nothing would end that. They have a descriptor
 * where there is something to wait for; a server that has just enough descriptors to serve has none left here.
 */
static int write_pairs(int fd, int stop_fd, const char *lines, size_t length)
{
    FD_AUTO signal_fd = -1;
    struct pollfd fds[] = {{.fd = fd}, {.fd = stop_fd, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    bool is_full = false;

    for (size_t done = 0; done < length;) {
        int64_t wait_ns = is_full ? AGAIN_NS : -1;
        ssize_t written = write_some(fds, signal_fd < 0 ? 0 : wait_ns, lines + done, length - done, &is_full);
        /* Who waits for no more than that it is ready (s6) closes the pipe when the first line has come. */
        if (written < 0)
            return errno == EPIPE && done > 0 ? 0 : -1;
        done += (size_t)written;
        if (written == 0 && signal_fd < 0) {
            signal_fd = signals_watch(SIGTERM, SIGINT);
            fds[2].fd = signal_fd;
            if (signal_fd < 0)
                return -1;
        } else if (written == 0 && (fds[1].revents != 0 || fds[2].revents != 0)) {
            return 0;
        }
    }
    return 0;
}

enum fp_status listeners_announce(const struct listeners *listeners, int fd, int stop_fd,
                                  struct fp_error *err)
{
    size_t size = listeners->count * (PAIR_TEXT_SIZE + 1);
    char *lines = malloc(size);
    /* A terminal that has room for one byte would have a write wait for the others. */
    FD_AUTO own = fd_is_file(fd) ? -1 : fd_reopen_nonblocking(fd);
    struct text text;

    if (lines == NULL)
        return error_set(err, FP_SYSTEM, ENOMEM, "write the pairs to", "descriptor %d of --ready-fd", fd);
    text_init(&text, lines, size);
    for (size_t i = 0; i < listeners->count; i++) {
        pair_format(&listeners->items[i].pair, &text);
        text_string(&text, "\n");
    }
    enum fp_status status = FP_OK;
    if (write_pairs(own >= 0 ? own : fd, stop_fd, lines, text_length(&text)) < 0)
        status = error_set(err, FP_SYSTEM, errno, "write the pairs to", "descriptor %d of --ready-fd", fd);
    free(lines);
    return status;
}
