/* SPDX-License-Identifier: MIT */
#include "preload/channel.h"

#include "preload/identity.h"
#include "preload/lines.h"
#include "sys/child.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#define FIONREAD_      0x541b
#define EFD_SEMAPHORE_ 1
#define F_SETPIPE_SZ_  1031
#define F_GETPIPE_SZ_  1032
#define PIPE_BYTES     65536 /* where nothing else was asked for */

#define NS_A_SECOND 1000000000
/* What a worker waits for the interrupt of a timer that had run out, should the clock have been set back since. */
#define SET_BACK_NS 100000000

struct event {
    uint64_t count;
    bool is_semaphore;
    bool is_told; /* which of both it is */
};

static void find_event(const char *line, void *data)
{
    struct event *event = data;
    const char *at = line;

    if (lines_skip(&at, "eventfd-count:"))
        event->count = lines_hexadecimal(&at);
    at = line;
    if (lines_skip(&at, "eventfd-semaphore:")) {
        event->is_told = true;
        event->is_semaphore = lines_hexadecimal(&at) != 0;
    }
}

/* By what is added to it, which comes back by ones. */
static bool is_semaphore(int fd, uint64_t count)
{
    uint64_t moved = 2;

    if (child_call(__NR_write, fd, (long)&moved, sizeof(moved), 0) < 0)
        return false;
    child_call(__NR_read, fd, (long)&moved, sizeof(moved), 0);
    bool is_one_less = moved == 1;
    if (is_one_less)
        child_call(__NR_read, fd, (long)&moved, sizeof(moved), 0);
    else if (count > 0)
        child_call(__NR_write, fd, (long)&count, sizeof(count), 0);
    return is_one_less;
}

uint64_t channel_event_note(int fd, int *flags)
{
    struct event event = {0};
    char path[40];

    lines_read(lines_path("/proc/self/fdinfo/", fd, path), find_event, &event);
    /* Before Linux 6.5. One that is nearly full would wait. */
    if (!event.is_told && event.count < UINT32_MAX)
        event.is_semaphore = is_semaphore(fd, event.count);
    if (event.is_semaphore)
        *flags |= EFD_SEMAPHORE_;
    return event.count;
}

long channel_event_open(uint64_t count, int flags)
{
    long fd = child_call(__NR_eventfd2, 0, O_CLOEXEC | (flags & (O_NONBLOCK | EFD_SEMAPHORE_)), 0, 0);

    if (fd >= 0 && count > 0)
        child_call(__NR_write, fd, (long)&count, sizeof(count), 0);
    return fd;
}

static void find_event_id(const char *line, void *data)
{
    if (lines_skip(&line, "eventfd-id:"))
        *(uint64_t *)data = lines_decimal(line) + 1;
}

/* 0: it is none. */
static uint64_t event_id(int fd)
{
    uint64_t id = 0;
    char path[40];

    lines_read(lines_path("/proc/self/fdinfo/", fd, path), find_event_id, &id);
    return id;
}

bool channel_is_one(int fd, int other)
{
    struct identity one = identity_of(fd);
    struct identity two = identity_of(other);
    uint64_t id = 0;

    if (identity_is_same(&one, &two) && one.type == S_IFIFO)
        return channel_pipe_reads(fd) == channel_pipe_reads(other);
    if (identity_is_same(&one, &two) && one.type == S_IFSOCK)
        return true;
    if (identity_is_same(&one, &two))
        id = event_id(fd);
    return id != 0 && id == event_id(other);
}

static void find_timer(const char *line, void *data)
{
    struct channel_timer *timer = data;
    const char *at = line;

    if (lines_skip(&at, "clockid:"))
        timer->clock = (int)lines_hexadecimal(&at);
    at = line;
    if (lines_skip(&at, "ticks:"))
        timer->has_run_out = lines_hexadecimal(&at) != 0;
    at = line;
    if (lines_skip(&at, "settime flags:"))
        timer->set_flags = (int)lines_hexadecimal(&at);
}

struct channel_timer channel_timer_note(int fd)
{
    struct channel_timer timer = {0};
    struct timespec *next = &timer.next.it_value;
    struct timespec now = {0};
    char path[40];

    /* First: one that runs out in between is seen to have. */
    child_call(__NR_timerfd_gettime, fd, (long)&timer.next, 0, 0);
    lines_read(lines_path("/proc/self/fdinfo/", fd, path), find_timer, &timer);
    if (timer.has_run_out)
        *next = (struct timespec){.tv_nsec = 1};
    bool is_set = next->tv_sec != 0 || next->tv_nsec != 0;
    if (is_set && (timer.set_flags & TFD_TIMER_ABSTIME) != 0) {
        child_call(__NR_clock_gettime, timer.clock, (long)&now, 0, 0);
        next->tv_sec += now.tv_sec + (next->tv_nsec + now.tv_nsec) / NS_A_SECOND;
        next->tv_nsec = (next->tv_nsec + now.tv_nsec) % NS_A_SECOND;
    }
    return timer;
}

bool channel_timer_runs(int fd)
{
    struct itimerspec left = {0};

    child_call(__NR_timerfd_gettime, fd, (long)&left, 0, 0);
    return left.it_value.tv_sec != 0 || left.it_value.tv_nsec != 0;
}

long channel_timer_open(const struct channel_timer *timer, int flags)
{
    const struct timespec at_most = {.tv_nsec = SET_BACK_NS};
    long fd = child_call(__NR_timerfd_create, timer->clock, O_CLOEXEC | (flags & O_NONBLOCK), 0, 0);
    struct pollfd ask = {.fd = (int)fd, .events = POLLIN};

    if (fd >= 0 && child_call(__NR_timerfd_settime, fd, timer->set_flags, (long)&timer->next, 0) == 0 &&
        timer->has_run_out)
        child_call5(__NR_ppoll, (long)&ask, 1, (long)&at_most, 0, 0);
    return fd;
}

bool channel_pipe_reads(int fd)
{
    return (child_call(__NR_fcntl, fd, F_GETFL, 0, 0) & O_ACCMODE) == O_RDONLY;
}

bool channel_pipe_is_ended(int fd)
{
    const struct timespec none = {0};
    struct pollfd ask = {.fd = fd};

    return child_call5(__NR_ppoll, (long)&ask, 1, (long)&none, 0, 0) == 1 && (ask.revents & POLLHUP) != 0;
}

int64_t channel_pipe_size(int fd)
{
    return child_call(__NR_fcntl, fd, F_GETPIPE_SZ_, 0, 0);
}

/* With what is in the old one; from there it is not taken. */
bool channel_pipe_open(const struct channel_pipe *pipe, int *ret_read, int *ret_write)
{
    int unread = 0;
    int ends[2];

    if (child_call(__NR_pipe2, (long)ends, O_CLOEXEC | (pipe->read_flags & O_DIRECT), 0, 0) != 0)
        return false;
    if (pipe->size != PIPE_BYTES)
        child_call(__NR_fcntl, ends[1], F_SETPIPE_SZ_, pipe->size, 0);
    child_call(__NR_ioctl, pipe->from, FIONREAD_, (long)&unread, 0);
    bool is_whole = unread == 0 || child_call(__NR_tee, pipe->from, ends[1], unread, 0) == unread;
    *ret_read = ends[0];
    child_call(__NR_fcntl, ends[0], F_SETFL, pipe->read_flags & (O_NONBLOCK | O_DIRECT), 0);
    if (ret_write) {
        *ret_write = ends[1];
        child_call(__NR_fcntl, ends[1], F_SETFL, pipe->write_flags & (O_NONBLOCK | O_DIRECT), 0);
    } else {
        child_call(__NR_close, ends[1], 0, 0, 0);
    }
    return is_whole;
}

static int option_of(int fd, int name)
{
    int value = -1;
    unsigned length = sizeof(value);

    child_getsockopt(fd, SOL_SOCKET, name, &value, &length);
    return value;
}

/* Of the kernel's answer about a socket. */
static uint64_t peer_in(const char *answer, long length)
{
    const struct nlmsghdr *header = (const struct nlmsghdr *)(const void *)answer;

    if (length < (long)NLMSG_SPACE(sizeof(struct unix_diag_msg)) || header->nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return 0;
    const struct rtattr *attribute =
        (const struct rtattr *)(const void *)(answer + NLMSG_SPACE(sizeof(struct unix_diag_msg)));
    for (long left = length - NLMSG_SPACE(sizeof(struct unix_diag_msg)); RTA_OK(attribute, left);
         attribute = RTA_NEXT(attribute, left)) {
        if (attribute->rta_type == UNIX_DIAG_PEER && attribute->rta_len >= RTA_LENGTH(sizeof(uint32_t)))
            return *(const uint32_t *)RTA_DATA(attribute);
    }
    return 0;
}

/* Has it been told nothing that another one would not know, which is as it was made? */
static bool is_as_made(int fd, int other)
{
    static const int names[] = {SO_RCVTIMEO, SO_SNDTIMEO, SO_RCVBUF, SO_SNDBUF, SO_PASSCRED};
    bool is_same = true;

    for (unsigned i = 0; i < sizeof(names) / sizeof(*names) && is_same; i++) {
        struct timeval values[2] = {0};
        unsigned length = sizeof(*values);
        child_getsockopt(fd, SOL_SOCKET, names[i], &values[0], &length);
        length = sizeof(*values);
        child_getsockopt(other, SOL_SOCKET, names[i], &values[1], &length);
        is_same = values[0].tv_sec == values[1].tv_sec && values[0].tv_usec == values[1].tv_usec;
    }
    return is_same;
}

uint64_t channel_pair_peer(int fd)
{
    const struct timespec none = {0};
    struct pollfd ask = {.fd = fd, .events = POLLIN | POLLRDHUP};
    struct {
        struct nlmsghdr header;
        struct unix_diag_req body;
    } request = {{.nlmsg_len = sizeof(request),
                  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                  .nlmsg_flags = NLM_F_REQUEST},
                 {.sdiag_family = AF_UNIX,
                  .udiag_states = UINT32_MAX,
                  .udiag_ino = (uint32_t)identity_of(fd).inode,
                  .udiag_show = UDIAG_SHOW_PEER,
                  .udiag_cookie = {UINT32_MAX, UINT32_MAX}}};
    char answer[256] __attribute__((aligned(8)));

    if (option_of(fd, SO_DOMAIN) != AF_UNIX || child_call5(__NR_ppoll, (long)&ask, 1, (long)&none, 0, 0) != 0)
        return 0;
    long kernel = child_call(__NR_socket, AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG, 0);
    if (kernel < 0)
        return 0;
    long length = 0;
    if (is_as_made(fd, (int)kernel))
        length = child_call6(__NR_sendto, kernel, (long)&request, sizeof(request), 0, 0, 0);
    if (length > 0)
        length = child_call6(__NR_recvfrom, kernel, (long)answer, sizeof(answer), MSG_DONTWAIT, 0, 0);
    child_call(__NR_close, kernel, 0, 0, 0);
    return peer_in(answer, length);
}

/* Of its state, the first byte. Others than TCP know no such option. */
static bool is_connecting(int fd)
{
    uint8_t state = 0;
    unsigned length = sizeof(state);

    return child_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &length) == 0 && state == TCP_SYN_SENT;
}

bool channel_is_connected(int fd)
{
    int type = option_of(fd, SO_TYPE);
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);

    return (type == SOCK_STREAM || type == SOCK_SEQPACKET) &&
           (child_call(__NR_getpeername, fd, (long)&address, (long)&length, 0) == 0 || is_connecting(fd));
}

bool channel_pair_open(int fd, int flags, int other_flags, int *ret_end, int *ret_other)
{
    int ends[2];

    if (child_call(__NR_socketpair, AF_UNIX, option_of(fd, SO_TYPE) | SOCK_CLOEXEC, 0, (long)ends) != 0)
        return false;
    child_call(__NR_fcntl, ends[0], F_SETFL, flags & O_NONBLOCK, 0);
    child_call(__NR_fcntl, ends[1], F_SETFL, other_flags & O_NONBLOCK, 0);
    *ret_end = ends[0];
    *ret_other = ends[1];
    return true;
}
