/* SPDX-License-Identifier: MIT */
#include "spawn/pool.h"

#include "base/check.h"
#include "spawn/fit.h"
#include "sys/fd.h"
#include "sys/memory.h"
#include "sys/passing.h"

#include <errno.h>
#include <stdio.h>

#define MS_NS     INT64_C(1000000)
#define SECOND_NS (1000 * MS_NS)
/* How many are started at once: enough to keep the processors busy, and few enough that those who serve get theirs. */
#define STARTING_MAX 4
/* Room for those that have been called, beside those that wait and start; called ones are known to be gone within a turn or two. */
#define CALLED_MAX 256
/* How often one under way is looked at: at first, and once it takes long. */
#define LOOK_NS      (1 * MS_NS)
#define LOOK_LATE_NS (50 * MS_NS)
#define LATE_NS      (500 * MS_NS)
/* With an order: it has it by then, and after that it is taken for stuck. */
#define ANSWER_NS (1 * MS_NS)
#define STUCK_NS  (3 * SECOND_NS)
/* Whether some were not needed is judged over this time. */
#define JUDGE_NS (10 * SECOND_NS)
/* So many that did not come to their gate, one after the other, are enough. */
#define STILLBORN_MAX 2

static size_t seat_count(const struct pool *pool)
{
    /* As many may be leaving as wait. */
    return 2 * (size_t)pool->plan->pool_max + STARTING_MAX + CALLED_MAX;
}

static void move(struct pool *pool, struct pool_seat *seat, enum pool_state state)
{
    struct pool_queue *from = &pool->queues[seat->state];
    struct pool_queue *to = &pool->queues[state];

    *(seat->previous != NULL ? &seat->previous->next : &from->first) = seat->next;
    *(seat->next != NULL ? &seat->next->previous : &from->last) = seat->previous;
    from->count--;
    seat->state = state;
    seat->next = NULL;
    seat->previous = to->last;
    *(to->last != NULL ? &to->last->next : &to->first) = seat;
    to->last = seat;
    to->count++;
}

static void make_seats(struct pool *pool)
{
    struct pool_queue *free_ones = &pool->queues[POOL_FREE];

    for (size_t i = 0; i < seat_count(pool); i++) {
        struct pool_seat *seat = &pool->seats[i];
        seat->worker = (struct template){.pid = -1, .send_fd = -1, .claim_fd = -1};
        seat->previous = i > 0 ? seat - 1 : NULL;
        seat->next = i + 1 < seat_count(pool) ? seat + 1 : NULL;
    }
    *free_ones = (struct pool_queue){.first = pool->seats,
                                     .last = pool->seats + seat_count(pool) - 1,
                                     .count = (uint32_t)seat_count(pool)};
}

/* For good. Those that wait serve still. */
static void do_without(struct pool *pool, const char *reason)
{
    news_add(&pool->news, SPAWN_NEWS_NOTICE, "engine pool: %s %s: each connection executes it instead",
             pool->plan->path, reason);
    fd_close(fd_take(&pool->library_fd));
}

enum fp_status pool_init(struct pool *pool, const struct spawn_plan *plan, struct fp_error *err)
{
    const char *reason;

    *pool = (struct pool){.plan = plan, .library_fd = -1, .target = plan->pool_min};
    pool->seats = memory_map_private(seat_count(pool) * sizeof(*pool->seats));
    if (pool->seats == NULL)
        return error_set(err, FP_SYSTEM, errno, "make", "room for %u waiting workers", plan->pool_max);
    make_seats(pool);
    pace_init(&pool->pace, 100 * MS_NS, 60 * SECOND_NS);
    pool->library_fd = fit_open_library(plan, &reason);
    if (pool->library_fd < 0)
        do_without(pool, reason);
    return FP_OK;
}

void pool_done(struct pool *pool)
{
    for (int state = POOL_STARTING; state < POOL_STATES; state++) {
        for (struct pool_seat *seat = pool->queues[state].first; seat != NULL; seat = seat->next)
            template_done(&seat->worker);
    }
    fd_close(fd_take(&pool->library_fd));
    memory_unmap(pool->seats, seat_count(pool) * sizeof(*pool->seats));
}

static void let_go(struct pool *pool, struct pool_seat *seat)
{
    seat->worker.pid = -1;
    template_done(&seat->worker);
    move(pool, seat, POOL_FREE);
}

static void retire_oldest(struct pool *pool)
{
    struct pool_seat *seat = pool->queues[POOL_WAITING].first;

    template_retire(&seat->worker);
    move(pool, seat, POOL_LEAVING);
}

static void look_at_starting(struct pool *pool, int64_t now_ns)
{
    struct pool_seat *next;
    char reason[80];

    for (struct pool_seat *seat = pool->queues[POOL_STARTING].first; seat != NULL; seat = next) {
        struct template *worker = &seat->worker;
        next = seat->next;
        if (template_is_at_gate(worker, now_ns)) {
            worker->state = TEMPLATE_READY;
            pool->stillborn = 0;
            move(pool, seat, POOL_WAITING);
        } else if (now_ns - worker->started_ns >= pool->plan->template_start_ns) {
            snprintf(reason, sizeof(reason), "did not come to its gate within %lld s",
                     (long long)(pool->plan->template_start_ns / SECOND_NS));
            process_kill(worker->pid);
            move(pool, seat, POOL_LEAVING);
            if (pool->library_fd >= 0)
                do_without(pool, reason);
        }
    }
}

/* Stopped by a signal, say. Its end gives back what it has. */
static void look_at_called(struct pool *pool, int64_t now_ns)
{
    struct pool_seat *seat = pool->queues[POOL_CALLED].first;

    for (; seat != NULL && now_ns - seat->worker.moved_ns >= STUCK_NS; seat = seat->next) {
        if (seat->worker.pid > 0)
            process_kill(seat->worker.pid);
    }
}

/* Of those that were never needed half go. */
static void judge(struct pool *pool, int64_t now_ns)
{
    uint32_t waiting = pool->queues[POOL_WAITING].count;

    if (now_ns - pool->judged_ns < JUDGE_NS)
        return;
    uint32_t spare = (pool->least + 1) / 2;
    if (pool->target > pool->plan->pool_min && spare > 0) {
        uint32_t above = pool->target - pool->plan->pool_min;
        pool->target -= spare < above ? spare : above;
    }
    pool->judged_ns = now_ns;
    pool->least = waiting;
}

/* Too many, or older than a program is to be kept: what it was started from may have changed since. */
static void retire(struct pool *pool, int64_t now_ns)
{
    const struct pool_queue *waiting = &pool->queues[POOL_WAITING];

    while (waiting->count > pool->target ||
           (waiting->first != NULL && pool->library_fd >= 0 &&
            now_ns - waiting->first->worker.started_ns >= pool->plan->template_age_ns))
        retire_oldest(pool);
}

static bool is_missing(const struct pool *pool)
{
    return pool->library_fd >= 0 &&
           pool->queues[POOL_WAITING].count + pool->queues[POOL_STARTING].count < pool->target;
}

static void start_missing(struct pool *pool, int64_t now_ns)
{
    struct fp_error err;

    while (is_missing(pool) && now_ns >= pool->start_ns && pool->queues[POOL_STARTING].count < STARTING_MAX) {
        struct pool_seat *seat = pool->queues[POOL_FREE].first;
        if (seat == NULL)
            return;
        if (template_start(&seat->worker, pool->plan, pool->library_fd, now_ns, &err) != FP_OK)
            pool->start_ns = now_ns + pace_failure_ns(&pool->pace, now_ns);
        else
            move(pool, seat, POOL_STARTING);
    }
}

static void tell(struct pool *pool)
{
    uint32_t waiting = pool->queues[POOL_WAITING].count;

    if (pool->died > 0) {
        news_add(&pool->news, SPAWN_NEWS_POOL, "%u that waited ended (the last: %s %d)", pool->died,
                 pool->death.signalled ? "signal" : "exit", pool->death.code)
            ->count = waiting;
        pool->died = 0;
    }
    if (!pool->is_filled && waiting >= pool->plan->pool_min && waiting > 0) {
        news_add(&pool->news, SPAWN_NEWS_POOL, "filled")->count = waiting;
        pool->is_filled = true;
    }
}

static void set_due(struct pool *pool, int64_t now_ns)
{
    const struct pool_seat *starting = pool->queues[POOL_STARTING].first;
    const struct pool_seat *waiting = pool->queues[POOL_WAITING].first;
    int64_t due_ns = INT64_MAX;

    if (pool->target > pool->plan->pool_min)
        due_ns = pool->judged_ns + JUDGE_NS;
    if (waiting != NULL && waiting->worker.started_ns + pool->plan->template_age_ns < due_ns)
        due_ns = waiting->worker.started_ns + pool->plan->template_age_ns;
    if (is_missing(pool) && pool->queues[POOL_STARTING].count < STARTING_MAX && pool->start_ns < due_ns)
        due_ns = pool->start_ns > now_ns ? pool->start_ns : now_ns + LOOK_NS;
    if (starting != NULL && now_ns + LOOK_NS < due_ns)
        due_ns = now_ns + (now_ns - starting->worker.started_ns < LATE_NS ? LOOK_NS : LOOK_LATE_NS);
    if (pool->queues[POOL_CALLED].first != NULL && now_ns + ANSWER_NS < due_ns)
        due_ns = now_ns + ANSWER_NS;
    pool->due_ns = due_ns;
}

void pool_turn(struct pool *pool, int64_t now_ns)
{
    look_at_starting(pool, now_ns);
    look_at_called(pool, now_ns);
    judge(pool, now_ns);
    retire(pool, now_ns);
    start_missing(pool, now_ns);
    tell(pool);
    set_due(pool, now_ns);
}

int64_t pool_due_ns(const struct pool *pool)
{
    return pool->due_ns;
}

bool pool_has_waiting(const struct pool *pool)
{
    return pool->queues[POOL_WAITING].first != NULL;
}

/* A connection took the last one: the next burst is to find more. */
static void grow(struct pool *pool)
{
    uint32_t twice = pool->target > 0 ? 2 * pool->target : 1;

    pool->target = twice < pool->plan->pool_max ? twice : pool->plan->pool_max;
}

enum fp_status pool_order(struct pool *pool, const struct spawn_request *request, int64_t now_ns,
                          struct fp_error *err)
{
    struct pool_seat *seat = pool->queues[POOL_WAITING].first;

    CHECK(seat != NULL);
    enum fp_status status = template_order(&seat->worker, pool->plan, request, now_ns, err);
    if (status != FP_OK)
        return status;
    move(pool, seat, POOL_CALLED);
    uint32_t waiting = pool->queues[POOL_WAITING].count;
    if (waiting < pool->least)
        pool->least = waiting;
    if (waiting == 0)
        grow(pool);
    pool->due_ns = now_ns;
    return FP_OK;
}

bool pool_outcome(struct pool *pool, struct spawn_outcome *ret_outcome)
{
    for (struct pool_seat *seat = pool->queues[POOL_CALLED].first; seat != NULL; seat = seat->next) {
        struct template *worker = &seat->worker;
        bool has_it = passing_is_received(worker->send_fd);
        if (!has_it && worker->pid > 0)
            continue;
        *ret_outcome = (struct spawn_outcome){.key = worker->keys[0], .pid = -1, .fd = -1};
        if (has_it)
            ret_outcome->pid = worker->pid;
        else
            template_take_back(worker, &ret_outcome->key, &ret_outcome->fd);
        let_go(pool, seat);
        return true;
    }
    return false;
}

static void note_end(struct pool *pool, const struct pool_seat *seat, const struct process_end *end,
                     int64_t now_ns)
{
    char reason[120];

    if (seat->state == POOL_LEAVING)
        return;
    pool->start_ns = now_ns + pace_failure_ns(&pool->pace, now_ns);
    pool->due_ns = now_ns;
    if (seat->state != POOL_STARTING) {
        pool->died++;
        pool->death = *end;
        return;
    }
    bool is_final = !end->signalled || ++pool->stillborn >= STILLBORN_MAX;
    if (is_final && pool->library_fd >= 0) {
        template_why_ended(&seat->worker, end, reason, sizeof(reason));
        do_without(pool, reason);
    }
}

bool pool_ended(struct pool *pool, const struct process_end *end, int64_t now_ns)
{
    for (int state = POOL_STARTING; state < POOL_STATES; state++) {
        for (struct pool_seat *seat = pool->queues[state].first; seat != NULL; seat = seat->next) {
            if (seat->worker.pid != end->pid)
                continue;
            note_end(pool, seat, end, now_ns);
            if (state == POOL_CALLED)
                /* Its order is in its queue still. */
                seat->worker.pid = -1;
            else
                let_go(pool, seat);
            return true;
        }
    }
    return false;
}

void pool_close(struct pool *pool)
{
    fd_close(fd_take(&pool->library_fd));
    while (pool_has_waiting(pool))
        retire_oldest(pool);
}
