/* SPDX-License-Identifier: MIT */
#include "preload/gate.h"

#include "preload/backing.h"
#include "preload/caught.h"
#include "preload/code.h"
#include "preload/ending.h"
#include "preload/files.h"
#include "preload/filter.h"
#include "preload/handlers.h"
#include "preload/image.h"
#include "preload/join.h"
#include "preload/learn.h"
#include "preload/standard.h"
#include "preload/touch.h"
#include "preload/trial.h"
#include "preload/variables.h"
#include "sys/child.h"
#include "sys/pinned.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#define RETRY_NS     1000000
#define RETRY_MAX_NS (64 * RETRY_NS)
#define FRAMES_BYTES 512

static struct {
    bool ahead;
    bool is_worker; /* it goes on itself, with the one order that it takes */
    int pid;        /* of the template: what it forks by itself is not one */
    enum template_gate kind;
    int control;
    int peer;
    int pinned; /* negative: no page is */
    uint64_t control_inode;
    uint64_t peer_inode;
    int dumpable;
    struct template_board *board;
    struct image_thread thread;
    struct itimerval alarm; /* what was left of it at the gate */
    uint64_t processes;     /* that its user might have before the program ran */
    unsigned char *random;  /* 16 bytes that the kernel gave the program */
    uintptr_t probe; /* the handler of the probe's signal; 0: there is none, or the program has set its own */
} gate;

bool gate_is_ahead(enum template_gate kind)
{
    return gate.ahead && gate.kind == kind;
}

bool gate_can_fork(void)
{
    return gate.ahead && !gate.is_worker;
}

bool gate_is_behind(void)
{
    return gate.pid != 0 && !gate.ahead;
}

void gate_can_be_probed(uintptr_t handler)
{
    gate.probe = handler;
    __atomic_store_n(&gate.board->stand, TEMPLATE_PROBED, __ATOMIC_RELEASE);
}

static void leave(enum template_refusal refusal)
{
    if (gate.board != NULL) {
        gate.board->refusal = refusal;
        __atomic_store_n(&gate.board->stand, TEMPLATE_REFUSES, __ATOMIC_RELEASE);
    }
    child_exit(0);
}

void gate_give_up(enum template_refusal refusal)
{
    if (gate.ahead && child_self() == gate.pid)
        leave(refusal);
}

static bool map_board(int fd)
{
    void *memory = mmap(NULL, sizeof(*gate.board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (memory == MAP_FAILED)
        return false;
    /* A worker neither sees it nor pays for it. */
    madvise(memory, sizeof(*gate.board), MADV_DONTFORK);
    gate.board = memory;
    return true;
}

static int move_up(int fd)
{
    int moved = standard_duplicate(fd);

    child_call(__NR_close, fd, 0, 0, 0);
    return moved;
}

void gate_open(void)
{
    struct template_marker marker;
    char **at = variables_find(TEMPLATE_MARKER);
    char **room = variables_find(TEMPLATE_ROOM);

    if (at == NULL || room == NULL || !template_marker_parse(*at + strlen(TEMPLATE_MARKER), &marker))
        return;
    gate.kind = marker.gate;
    gate.is_worker = marker.is_worker;
    if (!map_board((int)marker.board))
        child_exit(0);
    child_call(__NR_close, (int)marker.board, 0, 0, 0);
    child_call(__NR_close, (int)marker.library, 0, 0, 0);
    gate.control = move_up((int)marker.control);
    gate.peer = move_up((int)marker.peer);
    gate.control_inode = standard_socket(gate.control);
    gate.peer_inode = standard_socket(gate.peer);
    if (!variables_begin(room, marker.is_tuned))
        leave(TEMPLATE_REFUSAL_LAYOUT);
    standard_begin();
    files_begin(gate.board, (const int[]){gate.control, gate.peer});
    filter_begin();
    gate.processes = child_process_limit();
    gate.pid = (int)child_self();
    /* At the gate it sees the end of its server by itself; a program that never comes to it would stay for ever. */
    if (!gate.is_worker)
        child_call(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
    gate.ahead = true;
}

/*
 * The stack canary, and the random bytes that the kernel gave the program, would be the same in all workers: one that is
 * guessed byte by byte from one would hold for the next. So each has its own, which stand nowhere else once the next is made.
 */
static uint64_t renew_random(void)
{
    uint64_t bytes[3] = {0};

    child_call(__NR_getrandom, (long)bytes, sizeof(bytes), 0, 0);
    if (gate.random != NULL)
        memcpy(gate.random, &bytes[1], 16);
    return bytes[0];
}

/* Its first byte is zero, which ends a string. On arm64 the C library keeps it in memory that is read-only by now. */
static inline void set_canary(uint64_t canary)
{
#if defined(__x86_64__)
    __asm__ volatile("movq %0, %%fs:0x28" : : "r"(canary & ~UINT64_C(0xff)));
#else
    (void)canary;
#endif
}

/* The oldest order, which stays in the queue; its descriptors become 0, 1 and 2, which are free. */
static bool look_at_order(struct template_order_head *order)
{
    char fds[CMSG_SPACE(TEMPLATE_ORDER_FDS * sizeof(int))] __attribute__((aligned(sizeof(size_t))));
    struct iovec parts[] = {{.iov_base = order, .iov_len = sizeof(*order)}, {0}};
    struct msghdr message = {.msg_iov = parts,
                             .msg_iovlen = 2,
                             .msg_control = fds,
                             .msg_controllen = sizeof(fds)};
    long result;

    parts[1].iov_base = variables_text(&parts[1].iov_len);
    do
        result = child_call(__NR_recvmsg, gate.control, (long)&message, MSG_PEEK, 0);
    while (result == -EINTR);
    return result >= (long)sizeof(*order) && (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 &&
           message.msg_controllen == sizeof(fds) && variables_fit(order->variables) &&
           template_order_check(order, parts[1].iov_base, (size_t)result);
}

/* An alarm that was set for a client that does not come: in the template it stands still, and goes on in each worker. */
static void stop_alarm(void)
{
    const struct itimerval none = {0};

    child_call(__NR_setitimer, ITIMER_REAL, (long)&none, (long)&gate.alarm, 0);
}

/* The program is what it was before the gate. */
static void set_free(uint32_t variable_count)
{
    standard_forget();
    child_call(__NR_prctl, PR_SET_DUMPABLE, gate.dumpable, 0, 0);
    if (gate.alarm.it_value.tv_sec != 0 || gate.alarm.it_value.tv_usec != 0)
        child_call(__NR_setitimer, ITIMER_REAL, (long)&gate.alarm, 0, 0);
    caught_put_back();
    variables_set(variable_count);
}

static void forget_order(void)
{
    char byte;

    while (child_call5(__NR_recvfrom, gate.control, (long)&byte, 0, MSG_DONTWAIT | MSG_TRUNC, 0) == -EINTR)
        ;
}

/*
 * This process is its worker. The order is in the queue until all that can fail is done: should the process be killed
 * before, the supervisor gives the connection to another one.
 */
static void take_order(void)
{
    struct template_order_head order;
    struct files_anew anew;
    size_t used = 0;

    if (!look_at_order(&order))
        child_exit(0);
    variables_point(&order, &used);
    standard_restore();
    /* It has no board any more to say why. */
    if (!files_open(&anew))
        child_exit(TEMPLATE_REFUSAL_REOPEN);
    files_take(&anew);
    gate.ahead = false;
    if (gate.probe != 0)
        child_default_signal(TEMPLATE_PROBE_SIGNAL);
    set_free(order.variables);
    forget_order();
    child_call(__NR_close, gate.control, 0, 0, 0);
}

/*
 * In the worker. Nothing of the C library is called here, but where there are fork handlers or the program has moved its
 * environment, and little is written: each page that the program would not come to by itself costs as much as several system
 * calls. What can be is done in the template, before.
 */
static void become_worker(const struct template_order_head *order, bool before_main, bool is_learnt_from)
{
    const struct image_thread *thread = &gate.thread;

    child_setsid();
    child_call(__NR_close, gate.control, 0, 0, 0);
    if (gate.pinned >= 0)
        child_call(__NR_close, gate.pinned, 0, 0, 0);
    thread_tell_robust_list(&thread->known);
    if (thread->known.cleared != thread->tid)
        child_call(__NR_set_tid_address, (long)thread->known.cleared, 0, 0, 0);
    handlers_in_worker();
    if (is_learnt_from)
        learn_in_worker(thread->tid);
    if (order->variables == 0) {
        /* Made ahead of its connection. */
        gate.control = move_up(0);
        child_close_range(0, 2);
        if (!is_learnt_from)
            touch_pages();
        take_order();
        return;
    }
    set_free(order->variables);
    /* Before main() nobody asks for the gate again. */
    if (before_main)
        return;
    gate.ahead = false;
    if (gate.probe != 0)
        child_default_signal(TEMPLATE_PROBE_SIGNAL);
}

/*
 * A worker that is the supervisor's own child, as the template is: with the same parent it has the same signal at its end,
 * SIGCHLD. The kernel writes its pid to the board before it runs, and to where the C library has its own.
 */
static long fork_worker(int32_t *answer)
{
    const struct image_thread *thread = &gate.thread;
    unsigned long flags = CLONE_PARENT | CLONE_PARENT_SETTID;

    if (thread->known.cleared == thread->tid)
        flags |= CLONE_CHILD_CLEARTID;
    return thread_fork(flags, answer, thread->tid);
}

/* Later each time, since the kernel copies most of this process before it says so. */
static void wait_to_fork(int errnum, struct timespec *pause)
{
    struct pollfd supervisor = {.fd = gate.control};

    gate.board->fork_errnum = errnum;
    __atomic_fetch_add(&gate.board->failed_forks, 1, __ATOMIC_RELEASE);
    /* The order stays in the queue, also where nobody is left who had sent it. */
    if (child_call5(__NR_ppoll, (long)&supervisor, 1, (long)pause, 0, 0) > 0)
        child_exit(0);
    if (pause->tv_nsec < RETRY_MAX_NS)
        pause->tv_nsec *= 2;
}

/* Waits for the next one. */
static bool look_ahead(struct template_order_head *order)
{
    uint32_t pages = learn_wait(gate.control);

    if (pages != 0)
        __atomic_store_n(&gate.board->learnt_pages, pages, __ATOMIC_RELEASE);
    return look_at_order(order);
}

/*
 * Until the supervisor closes its end. Returns in workers only, with a canary. Where the program has set itself a limit, executed
 * processes would not have it: nobody waits for it.
 */
static uint64_t serve_orders(bool before_main)
{
    struct timespec pause = {.tv_nsec = RETRY_NS};
    struct template_order_head order;
    struct files_anew anew;
    size_t used = 0;

    while (look_ahead(&order)) {
        variables_point(&order, &used);
        anew.count = 0;
        if (order.variables != 0) {
            standard_restore();
            /* The order is given to another one then. */
            if (!files_open(&anew))
                leave(TEMPLATE_REFUSAL_REOPEN);
        }
        uint64_t canary = renew_random();
        handlers_before();
        bool is_learnt_from = learn_before(order.sequence);
        long pid = fork_worker(&gate.board->answers[order.sequence % TEMPLATE_ORDERS]);
        if (pid == 0) {
            files_take(&anew);
            become_worker(&order, before_main, is_learnt_from);
            return canary;
        }
        if (is_learnt_from)
            learn_after(pid);
        files_close(&anew);
        handlers_after();
        child_close_range(0, 2);
        if (pid > 0) {
            forget_order();
            pause.tv_nsec = RETRY_NS;
        } else if (child_is_short(pid) && child_process_limit() == gate.processes) {
            wait_to_fork((int)-pid, &pause);
        } else {
            leave(TEMPLATE_REFUSAL_FORK);
        }
    }
    child_exit(0);
}

/* What the program has open, and whether it has said something already, which would have gone nowhere. */
static enum template_refusal look_at_files(void)
{
    char byte;

    if (standard_socket(gate.control) != gate.control_inode || standard_socket(gate.peer) != gate.peer_inode)
        return TEMPLATE_REFUSAL_CLOSED;
    if (child_call5(__NR_recvfrom, gate.peer, (long)&byte, 1, MSG_PEEK | MSG_DONTWAIT, 0) != -EAGAIN)
        return TEMPLATE_REFUSAL_WROTE;
    return files_note(gate.is_worker);
}

static void shut_in(void)
{
    struct child_sigaction action = {0};

    /* What a program has set for the probe's signal itself stays. */
    if (child_query_signal(TEMPLATE_PROBE_SIGNAL, &action) != 0 || action.handler != gate.probe)
        gate.probe = 0;
    /* Nobody of the same user may look into it or change it: what is done to it is done to all later workers. Nor may it read its pagemap then. */
    gate.dumpable = (int)child_call(__NR_prctl, PR_GET_DUMPABLE, 0, 0, 0);
    child_call(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0);
    child_call(__NR_close, gate.peer, 0, 0, 0);
    if (!standard_keep())
        leave(TEMPLATE_REFUSAL_CALLS);
}

/* What one waits with, and what it says before: the board is not to be in what becomes the worker. */
static void arrive_as_worker(void)
{
    struct template_board *board = gate.board;
    enum template_refusal refusal = look_at_files();

    /* It would have what stands for the connection. */
    if (refusal == TEMPLATE_REFUSAL_NONE && image_has_child())
        refusal = TEMPLATE_REFUSAL_CHILDREN;
    /* It would run out while nobody is there; one of the time that this process uses does not run. */
    if (refusal == TEMPLATE_REFUSAL_NONE && image_timer_runs())
        refusal = TEMPLATE_REFUSAL_TIMERS;
    if (refusal != TEMPLATE_REFUSAL_NONE)
        leave(refusal);
    variables_follow();
    stop_alarm();
    caught_set_aside();
    shut_in();
    gate.board = NULL;
    __atomic_store_n(&board->stand, TEMPLATE_AT_GATE, __ATOMIC_RELEASE);
    child_call(__NR_munmap, (long)board, sizeof(*board), 0, 0);
}

static int64_t now_us(void)
{
    struct timespec now = {0};

    child_call(__NR_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0, 0);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

/* To where forks copy little of it. */
static void move_memory(void)
{
    int64_t started_us = now_us();

    if (!join_variables(&gate.board->joined) || !backing_move(gate.board))
        leave(TEMPLATE_REFUSAL_MEMORY);
    gate.board->moved_us = (uint32_t)(now_us() - started_us);
}

/*
 * What is written by the template for each worker and by the worker before its program goes on: on the stack what is called from
 * here, and at a read what is this library's, which cannot be pinned before Linux 6.5 where it is of a file still.
 */
static void pin_written(const char *frame)
{
    struct iovec written[] = {
        {.iov_base = gate.thread.tid, .iov_len = sizeof(*gate.thread.tid)},
        {.iov_base = (char *)frame - FRAMES_BYTES, .iov_len = FRAMES_BYTES},
        {0},
        {0},
        {.iov_base = &gate, .iov_len = sizeof(gate)},
    };
    /* A filter may kill for it. */
    bool is_filtered = child_is_filtered();
    long fd = -1;

    variables_written(written + 2);
    if (!is_filtered && gate.kind == TEMPLATE_GATE_READ)
        fd = pinned_make(written, 5);
    if (!is_filtered && fd < 0)
        fd = pinned_make(written, 4);
    gate.pinned = fd < 0 ? -1 : move_up((int)fd);
    gate.board->is_pinned = gate.pinned >= 0;
}

static void arrive(void)
{
    variables_follow();
    gate.random = (unsigned char *)getauxval(AT_RANDOM);
    image_thread(&gate.thread);
    if (gate.thread.tid == NULL)
        leave(TEMPLATE_REFUSAL_LIBRARY);
    enum template_refusal refusal = image_refusal();
    if (refusal == TEMPLATE_REFUSAL_NONE && !handlers_are_known())
        refusal = TEMPLATE_REFUSAL_HANDLERS;
    if (refusal == TEMPLATE_REFUSAL_NONE)
        refusal = look_at_files();
    stop_alarm();
    caught_set_aside();
    if (refusal == TEMPLATE_REFUSAL_NONE)
        refusal = trial_refusal(gate.control, &gate.thread);
    if (refusal != TEMPLATE_REFUSAL_NONE)
        leave(refusal);
    ending_note();
    code_note();
    /* Before variables are joined: with those that begin with zeros they may be too large. */
    touch_note(variables_written_end());
    move_memory();
    shut_in();
    pin_written(__builtin_frame_address(0));
    /* Nothing of the C library is called once it is settled which of its pages workers have. */
    bool may_learn = !filter_is_own();
    gate.board->code_pages = code_keep(variables_written_end());
    if (gate.board->code_pages != 0 && may_learn)
        learn_begin(gate.board->mappings);
    __atomic_store_n(&gate.board->stand, TEMPLATE_AT_GATE, __ATOMIC_RELEASE);
}

void gate_pass(bool before_main)
{
    if (!gate.ahead || child_self() != gate.pid)
        return;
    /* What is read now is not the connection, but a file that the program has put in its place for a while. */
    if (!before_main && !standard_stands(0))
        return;
    int saved = errno;
    /* It need not be asked any more, which would be a signal for whatever handler there is. */
    __atomic_store_n(&gate.board->stand, TEMPLATE_STARTS, __ATOMIC_RELEASE);
    if (gate.is_worker) {
        arrive_as_worker();
        take_order();
        errno = saved;
        return;
    }
    arrive();
    uint64_t canary = serve_orders(before_main);
    /* Where functions are on the stack that will return, it must stay what they found. */
    if (before_main)
        set_canary(canary);
    if (errno != saved)
        errno = saved;
}
