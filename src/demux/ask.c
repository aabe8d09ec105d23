/* SPDX-License-Identifier: MIT */
#include "demux/ask.h"

#include "pairs/exact.h"
#include "sys/affinity.h"
#include "sys/fd.h"
#include "sys/netlink.h"

#include <errno.h>

static enum fp_status fail(struct fp_error *err, int errnum)
{
    return error_set(err, error_class(errnum), errnum, "ask the kernel for", "the receiver of a segment");
}

enum fp_status ask_open(struct ask *ask, struct fp_error *err)
{
    int fd = netlink_open();

    if (fd < 0)
        return fail(err, errno);
    ask->fd = fd;
    return FP_OK;
}

void ask_close(struct ask *ask)
{
    fd_close(ask->fd);
    ask->fd = -1;
}

enum fp_status ask_segment(const struct ask *ask, const struct segment *segment,
                           struct diag_socket *ret_socket, bool *ret_found, struct fp_error *err)
{
    bool found = exact_ask(ask->fd, &segment->pair, segment->interface, 0, ret_socket) == 0;

    if (!found && errno != ENOENT)
        return fail(err, errno);
    *ret_found = found;
    return FP_OK;
}

struct round {
    const struct ask *ask;
    const struct segment *segment;
    uint64_t first; /* the cookie of the answer of the first CPU; 0: nobody */
    bool begun;
    bool varies;
    enum fp_status status;
    struct fp_error *err;
};

static bool ask_here(void *data, unsigned cpu)
{
    struct round *round = data;
    struct diag_socket socket = {.cookie = 0};
    bool found;

    (void)cpu;
    round->status = ask_segment(round->ask, round->segment, &socket, &found, round->err);
    if (round->status != FP_OK)
        return false;
    uint64_t cookie = found ? socket.cookie : 0;
    if (!round->begun)
        round->first = cookie;
    round->varies = round->varies || cookie != round->first;
    round->begun = true;
    return true;
}

enum fp_status ask_cpus(const struct ask *ask, const struct segment *segment, bool *ret_varies, bool *ret_all,
                        struct fp_error *err)
{
    struct round round = {.ask = ask, .segment = segment, .status = FP_OK, .err = err};
    bool all;

    /* A thread that may not be moved has asked nowhere, which is no failure of the question. */
    if (affinity_each(ask_here, &round, &all) < 0)
        all = false;
    if (round.status == FP_OK) {
        *ret_varies = round.varies;
        *ret_all = all && round.begun;
    }
    return round.status;
}
