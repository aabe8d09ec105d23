/* SPDX-License-Identifier: MIT */
#include "sys/loop.h"

#include "base/time.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

/* No turn takes so long by itself. */
#define STOPPED_NS (500 * MS_NS)

int64_t clock_monotonic_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec;
}

int64_t clock_realtime_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec;
}

int loop_init(struct loop *loop)
{
    *loop = (struct loop){.fd = epoll_create1(EPOLL_CLOEXEC), .now_ns = clock_monotonic_ns()};
    return loop->fd < 0 ? -1 : 0;
}

void loop_done(struct loop *loop)
{
    if (loop->fd >= 0)
        close(loop->fd);
    loop->fd = -1;
}

int loop_add(struct loop *loop, struct loop_source *source)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};

    if (source->added)
        return 0;
    if (epoll_ctl(loop->fd, EPOLL_CTL_ADD, source->fd, &event) < 0)
        return -1;
    source->added = true;
    return 0;
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
    if (!source->added)
        return;
    epoll_ctl(loop->fd, EPOLL_CTL_DEL, source->fd, NULL);
    source->added = false;
    /* What this turn still holds for it must not reach an owner that may be gone. */
    for (int i = 0; i < loop->pending_count; i++) {
        if (loop->pending[i].data.ptr == source)
            loop->pending[i].data.ptr = NULL;
    }
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t at_ns)
{
    loop_timer_clear(loop, timer);
    timer->at_ns = at_ns;
    timer->set = true;
    struct loop_timer **link = &loop->timers;
    while (*link != NULL && (*link)->at_ns <= at_ns)
        link = &(*link)->next;
    timer->next = *link;
    *link = timer;
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer)
{
    if (!timer->set)
        return;
    struct loop_timer **link = &loop->timers;
    while (*link != timer)
        link = &(*link)->next;
    *link = timer->next;
    timer->set = false;
}

/* Milliseconds for epoll_wait(2), rounded up: waking early would only mean to wait again. */
static int wait_ms(const struct loop *loop)
{
    if (loop->timers == NULL)
        return -1;
    int64_t left_ns = loop->timers->at_ns - clock_monotonic_ns();
    if (left_ns <= 0)
        return 0;
    int64_t left_ms = (left_ns + MS_NS - 1) / MS_NS;
    return left_ms > 60000 ? 60000 : (int)left_ms;
}

static void run_timers(struct loop *loop)
{
    while (loop->timers != NULL && loop->timers->at_ns <= loop->now_ns) {
        struct loop_timer *timer = loop->timers;
        loop_timer_clear(loop, timer);
        timer->expired(timer->data);
    }
}

/* When the turn that begins is to end at the latest, but for what it does. */
static int64_t due_ns(const struct loop *loop)
{
    int64_t at_ns = loop->timers != NULL ? loop->timers->at_ns : INT64_MAX;

    return at_ns > loop->now_ns ? at_ns : loop->now_ns;
}

int loop_turn(struct loop *loop)
{
    int64_t late_ns = -due_ns(loop);
    int count = epoll_wait(loop->fd, loop->pending, LOOP_EVENTS, wait_ms(loop));

    loop->now_ns = clock_monotonic_ns();
    late_ns += loop->now_ns;
    if (late_ns >= STOPPED_NS)
        loop->stopped_ns += late_ns;
    if (count < 0) {
        if (errno != EINTR)
            return -1;
        count = 0;
    }
    loop->pending_count = count;
    for (int i = 0; i < count; i++) {
        struct loop_source *source = loop->pending[i].data.ptr;
        if (source != NULL)
            source->ready(source->data);
    }
    loop->pending_count = 0;
    run_timers(loop);
    return 0;
}

int64_t loop_now_ns(const struct loop *loop)
{
    return loop->now_ns;
}

int64_t loop_awake_ns(const struct loop *loop)
{
    return loop->now_ns - loop->stopped_ns;
}
