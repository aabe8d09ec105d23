/* SPDX-License-Identifier: MIT */
#include "client/relay.h"

#include "client/connect.h"
#include "sys/connect.h"
#include "sys/ready.h"

#include <errno.h>
#include <stdlib.h>

#define BUFFER_SIZE 65536

/* One direction. It reads while its buffer is empty and writes while it is not. */
struct flow {
    int from;
    int to;
    bool is_down; /* to standard output, not to the socket */
    bool source_ended;
    bool done;
    size_t start;
    size_t end;
    char buffer[BUFFER_SIZE];
};

enum { POLL_INPUT, POLL_SOCKET, POLL_OUTPUT, POLL_COUNT };

static bool wants_read(const struct flow *flow)
{
    return !flow->done && flow->start == flow->end;
}

static bool wants_write(const struct flow *flow)
{
    return !flow->done && flow->start != flow->end;
}

/* Returns false with errno. */
static bool flow_read(struct flow *flow)
{
    ssize_t length = ready_read(flow->from, flow->buffer, sizeof(flow->buffer));

    if (length < 0)
        return errno == EAGAIN;
    flow->start = 0;
    flow->end = (size_t)length;
    flow->source_ended = length == 0;
    return true;
}

static bool flow_write(struct flow *flow)
{
    ssize_t length =
        ready_write(flow->to, flow->is_down, flow->buffer + flow->start, flow->end - flow->start);

    if (length < 0)
        return errno == EAGAIN;
    flow->start += (size_t)length;
    return true;
}

static enum fp_status fail_socket(const struct relay *relay, const char *operation, struct fp_error *err)
{
    char shown[PAIR_TEXT_SIZE];
    struct text text;
    int errnum = errno;

    text_init(&text, shown, sizeof(shown));
    pair_format(relay->pair, &text);
    text_end(&text);
    return error_set(err, connect_error_class(errnum), errnum, operation, "%s", shown);
}

/* After the end of its stream the peer has taken back its will to read, too. */
static enum fp_status fail_reset(const struct relay *relay, struct fp_error *err)
{
    errno = connect_socket_result(relay->socket);
    if (errno == 0)
        errno = ECONNRESET;
    return fail_socket(relay, "send on", err);
}

/* Input to socket. A failure to send ends this direction alone: what was received first is still to be written. */
static enum fp_status turn_up(const struct relay *relay, struct flow *up, const struct pollfd *fds,
                              enum fp_status *sent, struct fp_error *err)
{
    if (wants_read(up) && fds[POLL_INPUT].revents != 0 && !flow_read(up))
        return error_set(err, FP_NO_INPUT, errno, "read", "standard input");
    /* Written at once, without asking: the socket does not wait. */
    if (wants_write(up) && !flow_write(up)) {
        *sent = fail_socket(relay, "send on", err);
        up->done = true;
    } else if (!up->done && up->source_ended) {
        ready_end_sending(up->to);
        up->done = true;
    }
    return FP_OK;
}

static enum fp_status turn_down(const struct relay *relay, struct flow *down, const struct pollfd *fds,
                                struct fp_error *err)
{
    if (wants_read(down) && fds[POLL_SOCKET].revents != 0 && !flow_read(down))
        return fail_socket(relay, "receive on", err);
    if (wants_write(down) && fds[POLL_OUTPUT].revents != 0 && !flow_write(down))
        return error_set(err, error_class(errno), errno, "write", "standard output");
    if (!down->done && down->source_ended) {
        down->done = true;
        if (ready_end_output(down->to) < 0)
            return error_set(err, error_class(errno), errno, "write", "standard output");
    }
    return FP_OK;
}

static void watch(struct pollfd *fds, const struct relay *relay, const struct flow *up,
                  const struct flow *down)
{
    short events = (short)((wants_write(up) ? POLLOUT : 0) | (wants_read(down) ? POLLIN : 0));
    /* With nothing to read any more, it is watched for a reset, which nothing else would show before the next write. */
    bool watched = events != 0 || down->done;

    fds[POLL_INPUT] = (struct pollfd){.fd = wants_read(up) ? relay->input : -1, .events = POLLIN};
    fds[POLL_SOCKET] = (struct pollfd){.fd = watched ? relay->socket : -1, .events = events};
    fds[POLL_OUTPUT] = (struct pollfd){.fd = wants_write(down) ? relay->output : -1, .events = POLLOUT};
}

static enum fp_status relay_flows(const struct relay *relay, struct flow *up, struct flow *down,
                                  struct fp_error *err)
{
    enum fp_status sent = FP_OK;

    while (!down->done || !(up->done || relay->end_with_peer)) {
        struct pollfd fds[POLL_COUNT];
        watch(fds, relay, up, down);
        if (ready_wait(fds, POLL_COUNT, -1) < 0) {
            if (errno == EAGAIN)
                continue;
            return error_set(err, FP_SYSTEM, errno, "wait for", "standard input and the connection");
        }
        enum fp_status status = turn_down(relay, down, fds, err);
        if (status == FP_OK)
            status = turn_up(relay, up, fds, &sent, err);
        if (status != FP_OK)
            return status;
        if (down->done && !up->done && (fds[POLL_SOCKET].revents & (POLLERR | POLLHUP)) != 0)
            return fail_reset(relay, err);
    }
    return sent;
}

enum fp_status relay_run(const struct relay *relay, struct fp_error *err)
{
    /* The stack may be small (RLIMIT_STACK). */
    struct flow *flows = calloc(2, sizeof(*flows));

    if (flows == NULL)
        return error_set(err, FP_SYSTEM, errno, "make", "the buffers of the connection");
    struct flow *up = &flows[0];
    struct flow *down = &flows[1];
    up->from = relay->input;
    up->to = relay->socket;
    down->from = relay->socket;
    down->to = relay->output;
    down->is_down = true;
    enum fp_status status = relay_flows(relay, up, down, err);
    free(flows);
    return status;
}
