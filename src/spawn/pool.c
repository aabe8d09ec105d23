/* SPDX-License-Identifier: MIT */
#include "spawn/pool.h"

#include "base/check.h"
#include "base/time.h"
#include "spawn/fit.h"
#include "sys/fd.h"
#include "sys/memory.h"
#include "sys/passing.h"
#include "sys/process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How many are started at once: enough to keep the processors busy, and few enough that those who serve get theirs. */
#define STARTING_MAX 4
#define FORKING_MAX  16
/* Room for those that have been called, beside those that wait and start; they are known to be gone within a turn or two. */
#define CALLED_MAX 256
/* The server's own descriptors, about. */
#define FDS_OWN 20
/* How long after a call it is made good: the one that was called is likely to be done by then. */
#define REFILL_NS (1 * MS_NS)
/* How often one under way is looked at: at first, and once it takes long. */
#define LOOK_NS      (1 * MS_NS)
#define LOOK_LATE_NS (50 * MS_NS)
#define LATE_NS      (500 * MS_NS)
/* With an order: it has it by then, and after that it is taken for stuck. */
#define ANSWER_NS (1 * MS_NS)
#define STUCK_NS  (3 * SECOND_NS)
/* Whether some were not needed is judged over this time. */
#define JUDGE_NS (10 * SECOND_NS)
/* It grows once in this time at most. */
#define GROW_NS (100 * MS_NS)
/* Keys of connections do not have this bit; below it is the number of the seat. */
#define SEAT_KEY (UINT64_C(1) << 63)

static size_t seat_count(const struct pool *pool)
{
    /* As many may be leaving as wait. */
    return 2 * (size_t)pool->most + STARTING_MAX + FORKING_MAX + CALLED_MAX;
}

static uint32_t count(const struct pool *pool, enum pool_state state)
{
    return pool->queues[state].count;
}

static void append(struct pool *pool, struct pool_seat *seat, enum pool_state state)
{
    struct pool_queue *to = &pool->queues[state];

    seat->state = state;
    seat->next = NULL;
    seat->previous = to->last;
    *(to->last != NULL ? &to->last->next : &to->first) = seat;
    to->last = seat;
    to->count++;
}

static void move(struct pool *pool, struct pool_seat *seat, enum pool_state state)
{
    struct pool_queue *from = &pool->queues[seat->state];

    *(seat->previous != NULL ? &seat->previous->next : &from->first) = seat->next;
    *(seat->next != NULL ? &seat->next->previous : &from->last) = seat->previous;
    from->count--;
    append(pool, seat, state);
}

/* For good. Those that wait serve still. */
static void do_without(struct pool *pool, const char *reason)
{
    news_add(&pool->news, SPAWN_NEWS_NOTICE, "engine pool: %s %s: each connection executes it instead",
             pool->plan->path, reason);
    fd_close(fd_take(&pool->library_fd));
}

/* Each takes two descriptors here, and connections are not to find them all taken. */
static void set_limits(struct pool *pool)
{
    const struct spawn_plan *plan = pool->plan;
    size_t limit = fd_limit();
    size_t room = limit > FDS_OWN ? (limit - FDS_OWN) / 4 : 0;

    pool->most = plan->pool_max < room ? plan->pool_max : (uint32_t)room;
    pool->fewest = plan->pool_min < pool->most ? plan->pool_min : pool->most;
    pool->target = pool->fewest;
    if (pool->most < plan->pool_max)
        news_add(&pool->news, SPAWN_NEWS_NOTICE,
                 "engine pool: no more than %u wait, since no more than %zu descriptors may be open",
                 pool->most, limit);
}

enum fp_status pool_init(struct pool *pool, const struct spawn_plan *plan, struct templates *templates,
                         struct fp_error *err)
{
    const char *reason;

    *pool = (struct pool){.plan = plan, .templates = templates, .library_fd = -1};
    set_limits(pool);
    pool->scratch = calloc(environment_size(&plan->environment), sizeof(char *));
    pool->seats = memory_map_private(seat_count(pool) * sizeof(*pool->seats));
    for (size_t i = 0; pool->seats != NULL && i < seat_count(pool); i++) {
        pool->seats[i] = (struct pool_seat){.pid = -1, .send_fd = -1, .claim_fd = -1};
        append(pool, &pool->seats[i], POOL_FREE);
    }
    if (pool->seats == NULL || pool->scratch == NULL) {
        error_set(err, FP_SYSTEM, ENOMEM, "make", "room for %u waiting workers", pool->most);
        pool_end(pool, 0);
        return FP_SYSTEM;
    }
    pace_init(&pool->pace, 100 * MS_NS, 60 * SECOND_NS);
    pool->library_fd = fit_open_library(plan, &reason);
    if (pool->library_fd < 0)
        do_without(pool, reason);
    return FP_OK;
}

/* The process, if there is one still, is nobody's business any more. */
static void let_go(struct pool *pool, struct pool_seat *seat)
{
    seat->pid = -1;
    if (seat->starting.state != TEMPLATE_FREE) {
        seat->starting.pid = -1;
        template_done(&seat->starting);
    }
    fd_close(fd_take(&seat->send_fd));
    fd_close(fd_take(&seat->claim_fd));
    move(pool, seat, POOL_FREE);
}

/* The pid of a forked one is what its template said. False: it is none that could be killed. */
static bool kill_seat(const struct pool_seat *seat)
{
    pid_t pid = seat->starting.state != TEMPLATE_FREE ? seat->starting.pid : seat->pid;

    return pid > 0 && process_kill(pid);
}

void pool_end(struct pool *pool, int64_t end_ns)
{
    size_t count = pool->seats != NULL ? seat_count(pool) : 0;

    /* All at once, since each takes a while to end. */
    for (size_t i = 0; i < count; i++)
        kill_seat(&pool->seats[i]);
    for (size_t i = 0; i < count; i++) {
        struct pool_seat *seat = &pool->seats[i];
        fd_close(fd_take(&seat->send_fd));
        fd_close(fd_take(&seat->claim_fd));
        if (seat->starting.state != TEMPLATE_FREE)
            template_end(&seat->starting, end_ns);
        else if (kill_seat(seat))
            process_wait_until(seat->pid, end_ns);
    }
    fd_close(fd_take(&pool->library_fd));
    free(pool->scratch);
    memory_unmap(pool->seats, count * sizeof(*pool->seats));
    *pool = (struct pool){.library_fd = -1};
}

/* It ends when it sees that nobody is left to send it an order. */
static void retire(struct pool *pool, struct pool_seat *seat)
{
    fd_close(fd_take(&seat->send_fd));
    move(pool, seat, POOL_LEAVING);
}

static void look_at_starting(struct pool *pool, int64_t now_ns)
{
    struct pool_seat *next;
    char reason[80];

    for (struct pool_seat *seat = pool->queues[POOL_STARTING].first; seat != NULL; seat = next) {
        struct template *starting = &seat->starting;
        next = seat->next;
        if (template_is_at_gate(starting, now_ns)) {
            seat->pid = starting->pid;
            seat->send_fd = fd_take(&starting->send_fd);
            seat->claim_fd = fd_take(&starting->claim_fd);
            starting->pid = -1;
            template_done(starting);
            pool->trials.proven = true;
            move(pool, seat, POOL_WAITING);
        } else if (now_ns - seat->since_ns >= pool->plan->template_start_ns) {
            snprintf(reason, sizeof(reason), "did not come to its gate within %lld s",
                     (long long)(pool->plan->template_start_ns / SECOND_NS));
            /* What it has is given up when it was reaped. */
            move(pool, seat, POOL_LEAVING);
            if (!kill_seat(seat))
                let_go(pool, seat);
            if (pool->trials.proven)
                news_add(&pool->news, SPAWN_NEWS_POOL, "%s", reason);
            else if (pool->library_fd >= 0)
                do_without(pool, reason);
        }
    }
}

/* Stopped by a signal, say. Its end gives back what it has. */
static void look_at_called(struct pool *pool, int64_t now_ns)
{
    struct pool_seat *seat = pool->queues[POOL_CALLED].first;

    for (; seat != NULL && now_ns - seat->since_ns >= STUCK_NS; seat = seat->next) {
        if (!kill_seat(seat))
            seat->pid = -1;
    }
}

/* Of those that were never needed half go. */
static void judge(struct pool *pool, int64_t now_ns)
{
    if (now_ns - pool->judged_ns < JUDGE_NS)
        return;
    uint32_t spare = (pool->least + 1) / 2;
    uint32_t above = pool->target > pool->fewest ? pool->target - pool->fewest : 0;
    pool->target -= spare < above ? spare : above;
    pool->judged_ns = now_ns;
    pool->least = count(pool, POOL_WAITING);
}

/* Too many, or older than a program is to be kept: what it was started from may have changed since. */
static void retire_waiting(struct pool *pool, int64_t now_ns)
{
    const struct pool_queue *waiting = &pool->queues[POOL_WAITING];
    uint32_t target = pool->is_closed ? 0 : pool->target;

    while (waiting->count > target ||
           (waiting->first != NULL && now_ns - waiting->first->since_ns >= pool->plan->template_age_ns))
        retire(pool, waiting->first);
}

static bool forks(const struct pool *pool)
{
    return pool->templates != NULL && !templates_are_given_up(pool->templates);
}

/* False: not now. */
static bool order_one(struct pool *pool, struct pool_seat *seat, int64_t now_ns, struct fp_error *err)
{
    struct template *template = templates_choose(pool->templates);
    uint64_t key = SEAT_KEY | (uint64_t)(seat - pool->seats);

    if (passing_open(&seat->send_fd, &seat->claim_fd) < 0) {
        error_set(err, FP_SYSTEM, errno, "start", "%s", pool->plan->path);
        return false;
    }
    if (templates_order_waiting(pool->templates, template, seat->claim_fd, key, now_ns, err) != FP_OK) {
        fd_close(fd_take(&seat->send_fd));
        fd_close(fd_take(&seat->claim_fd));
        return false;
    }
    move(pool, seat, POOL_FORKING);
    return true;
}

static bool start_one(struct pool *pool, struct pool_seat *seat, int64_t now_ns, struct fp_error *err)
{
    seat->since_ns = now_ns;
    seat->is_forked = forks(pool);
    seat->is_unwanted = false;
    if (seat->is_forked)
        return order_one(pool, seat, now_ns, err);
    if (template_start(&seat->starting, pool->plan, pool->library_fd, true, now_ns, err) != FP_OK)
        return false;
    move(pool, seat, POOL_STARTING);
    return true;
}

static uint32_t short_orders(const struct pool *pool)
{
    return pool->templates != NULL ? templates_short_orders(pool->templates) : 0;
}

/* Whether one more shall be started, and can be now. */
static bool can_start(const struct pool *pool)
{
    if (pool->is_closed || short_orders(pool) > 0 || pool->library_fd < 0 ||
        pool->queues[POOL_FREE].first == NULL ||
        count(pool, POOL_WAITING) + count(pool, POOL_STARTING) + count(pool, POOL_FORKING) >= pool->target)
        return false;
    if (forks(pool))
        return count(pool, POOL_FORKING) < FORKING_MAX && templates_choose(pool->templates) != NULL;
    return count(pool, POOL_STARTING) < STARTING_MAX;
}

static void start_missing(struct pool *pool, int64_t now_ns)
{
    struct fp_error err;

    while (now_ns >= pool->start_ns && can_start(pool)) {
        if (start_one(pool, pool->queues[POOL_FREE].first, now_ns, &err))
            continue;
        pool->start_ns = now_ns + pace_failure_ns(&pool->pace, now_ns);
        if (news_begins(&pool->short_ns, now_ns))
            news_add(&pool->news, SPAWN_NEWS_POOL, "none can be started: %s", strerror(err.errnum))->count =
                count(pool, POOL_WAITING);
    }
}

/* What one that waited ends with by itself says why: the program, which has not gone on, has ended with nothing. */
static const char *death_text(const struct process_end *end, char how[PROCESS_END_TEXT_SIZE])
{
    if (!end->signalled && end->code == TEMPLATE_REFUSAL_REOPEN)
        return template_refusal_text(TEMPLATE_REFUSAL_REOPEN);
    return process_end_text(end, how);
}

static void tell(struct pool *pool)
{
    uint32_t waiting = count(pool, POOL_WAITING);
    char how[PROCESS_END_TEXT_SIZE];

    if (waiting >= pool->target)
        pool->short_ns = 0;
    if (pool->died > 0) {
        news_add(&pool->news, SPAWN_NEWS_POOL, "%u that waited ended (the last: %s)", pool->died,
                 death_text(&pool->death, how))
            ->count = waiting;
        pool->died = 0;
    }
    if (!pool->is_filled && waiting >= pool->fewest) {
        news_add(&pool->news, SPAWN_NEWS_POOL, "filled")->count = waiting;
        pool->is_filled = true;
    }
}

static void sooner(struct pool *pool, int64_t at_ns)
{
    if (at_ns < pool->due_ns)
        pool->due_ns = at_ns;
}

static void set_due(struct pool *pool, int64_t now_ns)
{
    const struct pool_seat *starting = pool->queues[POOL_STARTING].first;
    const struct pool_seat *waiting = pool->queues[POOL_WAITING].first;
    const struct pool_seat *called = pool->queues[POOL_CALLED].first;

    pool->due_ns = INT64_MAX;
    if (pool->target > pool->fewest)
        sooner(pool, pool->judged_ns + JUDGE_NS);
    if (waiting != NULL)
        sooner(pool, waiting->since_ns + pool->plan->template_age_ns);
    if (can_start(pool))
        sooner(pool, pool->start_ns > now_ns ? pool->start_ns : now_ns + LOOK_NS);
    if (starting != NULL)
        sooner(pool, now_ns + (now_ns - starting->since_ns < LATE_NS ? LOOK_NS : LOOK_LATE_NS));
    /* One that has no process has its order still, which could not be had back. */
    if (called != NULL)
        sooner(pool, now_ns + (called->pid > 0 ? ANSWER_NS : LOOK_LATE_NS));
}

/* Connections are with a template, behind those that are to wait: theirs are the processes that there can be. */
static void give_way(struct pool *pool)
{
    while (pool_has_waiting(pool))
        retire(pool, pool->queues[POOL_WAITING].first);
    for (struct pool_seat *seat = pool->queues[POOL_FORKING].first; seat != NULL; seat = seat->next)
        seat->is_unwanted = true;
}

void pool_turn(struct pool *pool, int64_t now_ns)
{
    look_at_starting(pool, now_ns);
    look_at_called(pool, now_ns);
    if (short_orders(pool) > count(pool, POOL_FORKING))
        give_way(pool);
    judge(pool, now_ns);
    retire_waiting(pool, now_ns);
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

bool pool_has_orders(const struct pool *pool)
{
    return pool->queues[POOL_CALLED].first != NULL;
}

void pool_missed(struct pool *pool, int64_t now_ns)
{
    /* Many connections at once find none: that is one burst. */
    if (now_ns < pool->grown_ns + GROW_NS)
        return;
    pool->grown_ns = now_ns;
    uint32_t twice = pool->target > 0 ? 2 * pool->target : 1;
    pool->target = twice < pool->most ? twice : pool->most;
    pool->due_ns = now_ns;
}

enum fp_status pool_order(struct pool *pool, const struct spawn_request *request, int64_t now_ns,
                          struct fp_error *err)
{
    struct pool_seat *seat = pool->queues[POOL_WAITING].first;

    CHECK(seat != NULL);
    enum fp_status status = template_send(pool->plan, seat->send_fd, 0, request, pool->scratch, err);
    if (status != FP_OK)
        return status;
    seat->key = request->key;
    seat->since_ns = now_ns;
    seat->looked_ns = 0;
    move(pool, seat, POOL_CALLED);
    uint32_t waiting = count(pool, POOL_WAITING);
    if (waiting < pool->least)
        pool->least = waiting;
    sooner(pool, waiting < pool->target / 2 ? now_ns : now_ns + REFILL_NS);
    return FP_OK;
}

/* The connected socket of an order that nobody took; -1: there is none. False: not now, for want of a descriptor, say. */
static bool take_back(int claim_fd, int *ret_fd)
{
    char bytes[sizeof(struct template_order)];
    int fds[PASSING_FDS_MAX];

    *ret_fd = -1;
    if (passing_receive(claim_fd, bytes, sizeof(bytes), fds) < 0)
        return errno == EAGAIN;
    for (size_t i = 1; i < PASSING_FDS_MAX; i++)
        fd_close(fds[i]);
    *ret_fd = fds[0];
    return true;
}

void pool_look_again(struct pool *pool, pid_t pid, uint64_t key)
{
    for (struct pool_seat *seat = pool->queues[POOL_CALLED].first; seat != NULL; seat = seat->next) {
        if (seat->pid == pid || seat->key == key)
            seat->looked_ns = 0;
    }
}

bool pool_outcome(struct pool *pool, int64_t now_ns, struct spawn_outcome *ret_outcome)
{
    for (struct pool_seat *seat = pool->queues[POOL_CALLED].first; seat != NULL; seat = seat->next) {
        if (seat->pid > 0 && seat->looked_ns == now_ns)
            continue;
        seat->looked_ns = now_ns;
        bool has_it = passing_is_received(seat->send_fd);
        if (!has_it && seat->pid > 0)
            continue;
        *ret_outcome = (struct spawn_outcome){.key = seat->key, .pid = seat->pid, .fd = -1};
        if (!has_it && !take_back(seat->claim_fd, &ret_outcome->fd))
            continue;
        let_go(pool, seat);
        return true;
    }
    return false;
}

bool pool_forked(struct pool *pool, const struct spawn_outcome *take_outcome, int64_t now_ns)
{
    if ((take_outcome->key & SEAT_KEY) == 0)
        return false;
    struct pool_seat *seat = &pool->seats[take_outcome->key & ~SEAT_KEY];
    CHECK(seat->state == POOL_FORKING);
    fd_close(take_outcome->fd);
    if (take_outcome->pid > 0) {
        seat->pid = take_outcome->pid;
        move(pool, seat, POOL_WAITING);
        if (seat->is_unwanted)
            retire(pool, seat);
    } else {
        let_go(pool, seat);
    }
    if (count(pool, POOL_FORKING) == 0)
        sooner(pool, now_ns);
    return true;
}

/* Also where it came to its gate and that was not seen yet. */
static bool was_at_gate(const struct pool_seat *seat)
{
    return seat->state != POOL_STARTING ||
           __atomic_load_n(&seat->starting.board->stand, __ATOMIC_ACQUIRE) == TEMPLATE_AT_GATE;
}

static void note_end(struct pool *pool, const struct pool_seat *seat, const struct process_end *end,
                     int64_t now_ns)
{
    char reason[120];

    pool->start_ns = now_ns + pace_failure_ns(&pool->pace, now_ns);
    pool->due_ns = now_ns;
    if (was_at_gate(seat)) {
        pool->trials.proven = true;
        pool->died++;
        pool->death = *end;
        return;
    }
    template_why_ended(&seat->starting, end, reason, sizeof(reason));
    bool is_hopeless = template_is_hopeless(&seat->starting, end, &pool->trials);
    if (is_hopeless && pool->library_fd >= 0)
        do_without(pool, reason);
    else if (pool->trials.proven || !template_was_short(&seat->starting))
        news_add(&pool->news, SPAWN_NEWS_POOL, "%s", reason);
}

static struct pool_seat *find(struct pool *pool, pid_t pid)
{
    for (int state = POOL_STARTING; state < POOL_STATES; state++) {
        for (struct pool_seat *seat = pool->queues[state].first; seat != NULL; seat = seat->next) {
            if (pid == (seat->starting.state != TEMPLATE_FREE ? seat->starting.pid : seat->pid))
                return seat;
        }
    }
    return NULL;
}

void pool_ended(struct pool *pool, const struct process_end *end, int64_t now_ns)
{
    struct pool_seat *seat = find(pool, end->pid);

    if (seat == NULL)
        return;
    if (seat->state != POOL_LEAVING)
        note_end(pool, seat, end, now_ns);
    if (seat->state == POOL_CALLED)
        /* Its order is in its queue still. */
        seat->pid = -1;
    else
        let_go(pool, seat);
}

void pool_distrust(struct pool *pool)
{
    struct pool_seat *next;

    for (struct pool_seat *seat = pool->queues[POOL_WAITING].first; seat != NULL; seat = next) {
        next = seat->next;
        if (seat->is_forked)
            retire(pool, seat);
    }
    /* Their template has the orders already, and forks them still. */
    for (struct pool_seat *seat = pool->queues[POOL_FORKING].first; seat != NULL; seat = seat->next)
        seat->is_unwanted = true;
}

void pool_close(struct pool *pool)
{
    pool->is_closed = true;
    while (pool_has_waiting(pool))
        retire(pool, pool->queues[POOL_WAITING].first);
}
