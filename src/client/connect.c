/* SPDX-License-Identifier: MIT */
#include "client/connect.h"

#include "listen/holder.h"
#include "sys/connect.h"
#include "sys/fd.h"
#include "sys/loop.h"
#include "sys/ready.h"
#include "sys/socket.h"

#include <errno.h>
#include <stdlib.h>

/* RFC 8305 section 5, the recommended Connection Attempt Delay. */
#define ATTEMPT_DELAY_NS INT64_C(250000000)

/* The servers in the order of trying, and those under way: fds[i] is on its way to flying[i]. */
struct race {
    const struct connect_request *request;
    const struct address **order;
    const struct address **flying;
    struct pollfd *fds;
    size_t next;   /* in `order` */
    size_t active; /* in `flying` */
    int64_t now_ns;
    int64_t next_ns;     /* when the next one is due */
    int64_t deadline_ns; /* INT64_MAX: none */
    struct fp_error best;
    int best_rank;
    struct address
        taken; /* what `best` could not be bound to, in use; port 0: it failed for something else */
};

enum fp_status connect_error_class(int errnum)
{
    switch (errnum) {
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
        return FP_UNAVAILABLE;
    case EAFNOSUPPORT:
    case EINVAL:
        return FP_NO_HOST;
    default:
        return error_class(errnum);
    }
}

/* Above all of error_rank(). */
#define RANK_USAGE 7

/* How far the attempt got: the further, the more its error is worth to the user. */
static int error_rank(int errnum)
{
    switch (errnum) {
    case EAFNOSUPPORT:
    case EADDRNOTAVAIL:
        return 1;
    case ENETUNREACH:
    case ENETDOWN:
        return 2;
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case EINVAL:
        return 3;
    case ETIMEDOUT:
        return 4;
    case ECONNREFUSED:
    case ECONNRESET:
        return 6;
    default: /* not permitted, address in use, no descriptors: what can be changed at this end */
        return 5;
    }
}

static void address_show(const struct address *address, char buffer[ADDRESS_TEXT_SIZE])
{
    struct text text;

    text_init(&text, buffer, ADDRESS_TEXT_SIZE);
    address_format_wanted(address, &text);
    text_end(&text);
}

/* False: what is known already says more. */
static bool keep_error(struct race *race, int errnum, const char *operation, const struct address *what)
{
    char shown[ADDRESS_TEXT_SIZE];

    if (error_rank(errnum) <= race->best_rank)
        return false;
    race->best_rank = error_rank(errnum);
    race->taken.port = 0;
    address_show(what, shown);
    error_set(&race->best, connect_error_class(errnum), errnum, operation, "%s", shown);
    return true;
}

/* What the user has to mend goes before all that became of other addresses. */
static void keep_contradiction(struct race *race, const struct address *server, const struct address *from)
{
    char shown[ADDRESS_TEXT_SIZE];
    char shown_from[ADDRESS_TEXT_SIZE];

    race->best_rank = RANK_USAGE;
    race->taken.port = 0;
    address_show(server, shown);
    if (address_is_wildcard(from) && from->device[0] == '\0') {
        error_set(&race->best, FP_USAGE, 0, "connect to", "%s", shown);
        error_reason(&race->best, FP_USAGE, "its scope and its device are different ones");
        return;
    }
    address_show(from, shown_from);
    error_set(&race->best, FP_USAGE, 0, "connect to", "%s from %s", shown, shown_from);
    error_reason(&race->best, FP_USAGE, "they name different devices");
}

/*
 * Do the ends name two devices? Scopes count as such only where the kernel has refused them: one may be that of a port
 * of the device (VRF).
 */
static bool devices_contradict(const struct address *server, const struct address *from, bool with_scopes)
{
    const uint32_t named[] = {address_interface(server), address_interface(from), server->scope, from->scope};
    uint32_t first = 0;

    for (size_t i = 0; i < (with_scopes ? 4 : 2); i++) {
        if (first != 0 && named[i] != 0 && named[i] != first)
            return true;
        first = first != 0 ? first : named[i];
    }
    return false;
}

/* The resolver's order within a family, the families by turns, beginning with that of its first (RFC 8305, 4). */
static void interleave(const struct address_list *servers, const struct address **order)
{
    size_t at[2] = {0, 0}; /* of the first's family, of the others */

    for (size_t filled = 0; filled < servers->count;) {
        for (int turn = 0; turn < 2; turn++) {
            size_t i = at[turn];
            while (i < servers->count && (servers->items[i].family != servers->items[0].family) != turn)
                i++;
            if (i < servers->count)
                order[filled++] = &servers->items[i++];
            at[turn] = i;
        }
    }
}

/* The local end asked for; NULL: there is none of the server's family. */
static const struct address *choose_from(const struct address_list *from, const struct address *server)
{
    for (size_t i = 0; i < from->count; i++) {
        if (from->items[i].family == server->family || from->items[i].family == AF_UNSPEC)
            return &from->items[i];
    }
    return NULL;
}

/* What the socket is bound to, which either end may name; "": nothing. */
static const char *device_of(const struct race *race, const struct address *server)
{
    const struct address *from = choose_from(race->request->from, server);

    return from != NULL && from->device[0] != '\0' ? from->device : server->device;
}

/* Where connect(2) has one errno for what has other names here. */
static void explain_connect(int errnum, const struct address *server, const struct address *from,
                            struct fp_error *err)
{
    char shown[ADDRESS_TEXT_SIZE];

    /* For a route of type blackhole; what else it has it for was told or refused before. */
    if (errnum == EINVAL)
        error_reason(err, err->status, "the route to it is a black hole");
    /* From any address of IPv6: there may be none that reaches it. */
    if (errnum != EADDRNOTAVAIL || (address_is_wildcard(from) && server->family == AF_INET6))
        return;
    if (from->port == 0) {
        error_reason(err, err->status, "no local port is free for it");
        error_hint(err, "they are those of net.ipv4.ip_local_port_range");
        return;
    }
    address_show(from, shown);
    error_reason(err, err->status, "the socket pair with %s exists already", shown);
}

/* Who is in the way is looked for where no attempt succeeds: it takes its time, in which the next would wait. */
static void explain_bind(struct race *race, int errnum, const struct address *server,
                         const struct address *from)
{
    if (errnum != EADDRINUSE) {
        address_hint_bind(errnum, &race->best);
        return;
    }
    race->taken = *from;
    /* A wildcard is bound in both families where the server has IPv6. */
    if (address_is_wildcard(from))
        race->taken.family = server->family == AF_INET ? AF_INET : AF_UNSPEC;
    address_set_device(&race->taken, device_of(race, server));
}

static void keep_step_error(struct race *race, enum connect_step step, int errnum,
                            const struct address *server, const struct address *from)
{
    switch (step) {
    case CONNECT_STEP_BIND:
        if (keep_error(race, errnum, "connect from", from))
            explain_bind(race, errnum, server, from);
        break;
    case CONNECT_STEP_DEVICE:
        keep_error(race, errnum, "use the device of", from->device[0] != '\0' ? from : server);
        break;
    default:
        if (keep_error(race, errnum, "connect to", server))
            explain_connect(errnum, server, from, &race->best);
        break;
    }
}

static void keep_family_error(struct race *race, const struct address *server)
{
    if (race->best_rank != 0)
        return;
    keep_error(race, EAFNOSUPPORT, "connect to", server);
    race->best.status =
        error_reason(&race->best, FP_DATA, "the address to connect from is of the other family");
}

/* Begins the next attempt; where it fails at once, the one after it is due. */
static void begin_next(struct race *race)
{
    static const struct address anything = {.family = AF_UNSPEC};
    const struct address *server = race->order[race->next++];
    const struct address *from = &anything;
    struct sockaddr_storage to_sa;
    struct sockaddr_storage from_sa;
    enum connect_step step;

    if (race->request->from->count != 0)
        from = choose_from(race->request->from, server);
    if (from == NULL) {
        keep_family_error(race, server);
        return;
    }
    if (devices_contradict(server, from, false)) {
        keep_contradiction(race, server, from);
        return;
    }
    struct address local = *from;
    local.family = server->family;
    struct connect_socket how = {
        .to = (const struct sockaddr *)&to_sa,
        .to_length = address_to_sockaddr(server, &to_sa),
        .from_length = address_to_sockaddr(&local, &from_sa),
        .from_free_port = from->port == 0,
        .device = device_of(race, server),
    };
    if (!address_is_wildcard(from) || from->port != 0)
        how.from = (const struct sockaddr *)&from_sa;
    int fd = connect_socket_begin(&how, &step);
    if (fd < 0) {
        int errnum = errno;
        if (errnum == EINVAL && devices_contradict(server, from, true))
            keep_contradiction(race, server, from);
        else
            keep_step_error(race, step, errnum, server, from);
        return;
    }
    race->fds[race->active] = (struct pollfd){.fd = fd, .events = POLLOUT};
    race->flying[race->active++] = server;
    race->next_ns = race->now_ns + ATTEMPT_DELAY_NS;
}

static void pair_of(int fd, const struct address *server, struct pair *ret_pair)
{
    struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};

    socket_local(fd, &sa);
    address_from_sockaddr((const struct sockaddr *)&sa, &ret_pair->local);
    ret_pair->foreign = *server;
    ret_pair->foreign.device[0] = '\0';
    /* Bound to a device it is found without one; both ends are on the same link. */
    if (ret_pair->foreign.scope == 0 && address_needs_scope(&ret_pair->foreign))
        ret_pair->foreign.scope = ret_pair->local.scope;
}

/*
 * A port of the ephemeral range on this host may be the very one the kernel chose for this end: then the SYN meets its
 * own socket, and TCP connects it with itself. Nobody listens there, so it is refused; asked for by --from, it is not.
 */
static bool is_own_reflection(const struct race *race, const struct pair *pair)
{
    const struct address *from = choose_from(race->request->from, &pair->foreign);

    return address_equal(&pair->local, &pair->foreign) && (from == NULL || from->port == 0);
}

/* Looks at those that were decided. True: *ret_fd is connected. */
static bool collect(struct race *race, int *ret_fd, struct pair *ret_pair)
{
    for (size_t i = race->active; i-- > 0;) {
        const struct address *server = race->flying[i];
        int fd = race->fds[i].fd;
        struct pair pair;
        if (race->fds[i].revents == 0)
            continue;
        race->fds[i] = race->fds[--race->active];
        race->flying[i] = race->flying[race->active];
        int errnum = connect_socket_result(fd);
        if (errnum == 0) {
            pair_of(fd, server, &pair);
            if (!is_own_reflection(race, &pair)) {
                address_set_device(&pair.local, device_of(race, server));
                *ret_fd = fd;
                *ret_pair = pair;
                return true;
            }
            errnum = ECONNREFUSED;
        }
        fd_close(fd);
        keep_error(race, errnum, "connect to", server);
        race->next_ns = race->now_ns;
    }
    return false;
}

/* Of one that is still on its way; where all have failed by now, what they failed for is told. */
static void keep_timeout(struct race *race)
{
    if (race->active > 0)
        keep_error(race, ETIMEDOUT, "connect to", race->flying[0]);
    else if (race->next < race->request->servers->count)
        keep_error(race, ETIMEDOUT, "connect to", race->order[race->next]);
}

static enum fp_status race_fail(const struct race *race, struct fp_error *err)
{
    if (err == NULL)
        return race->best.status;
    *err = race->best;
    if (race->taken.port != 0)
        holder_hint(&race->taken, err);
    if (race->request->servers->count > 1 && err->hint[0] == '\0')
        error_hint(err, "the server has %zu addresses, this one got furthest", race->request->servers->count);
    return err->status;
}

static enum fp_status race_run(struct race *race, int *ret_fd, struct pair *ret_pair, struct fp_error *err)
{
    size_t count = race->request->servers->count;

    for (;;) {
        race->now_ns = clock_monotonic_ns();
        if (race->now_ns >= race->deadline_ns) {
            keep_timeout(race);
            return race_fail(race, err);
        }
        if (race->next < count && (race->active == 0 || race->now_ns >= race->next_ns)) {
            begin_next(race);
            continue;
        }
        if (race->active == 0)
            return race_fail(race, err);
        int64_t until_ns = race->deadline_ns;
        if (race->next < count && race->next_ns < until_ns)
            until_ns = race->next_ns;
        int ready = ready_wait(race->fds, race->active, until_ns == INT64_MAX ? -1 : until_ns - race->now_ns);
        if (ready < 0 && errno != EAGAIN)
            return error_set(err, FP_SYSTEM, errno, "wait for", "%zu connections", race->active);
        if (ready > 0 && collect(race, ret_fd, ret_pair))
            return FP_OK;
    }
}

enum fp_status connect_open(const struct connect_request *request, int *ret_fd, struct pair *ret_pair,
                            struct fp_error *err)
{
    size_t count = request->servers->count;
    enum fp_status status;
    struct race race = {
        .request = request,
        .order = calloc(count, sizeof(*race.order)),
        .flying = calloc(count, sizeof(*race.flying)),
        .fds = calloc(count, sizeof(*race.fds)),
        .deadline_ns = request->timeout_ns != 0 ? clock_monotonic_ns() + request->timeout_ns : INT64_MAX,
    };

    if (race.order == NULL || race.flying == NULL || race.fds == NULL) {
        status = error_set(err, FP_SYSTEM, ENOMEM, "connect to", "%zu addresses", count);
    } else {
        interleave(request->servers, race.order);
        status = race_run(&race, ret_fd, ret_pair, err);
    }
    for (size_t i = 0; i < race.active; i++)
        fd_close(race.fds[i].fd);
    free(race.order);
    free(race.flying);
    free(race.fds);
    return status;
}
