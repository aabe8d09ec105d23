/* SPDX-License-Identifier: MIT */
#include "spawn/template.h"

#include "base/check.h"
#include "spawn/report.h"
#include "sys/child.h"
#include "sys/fd.h"
#include "sys/memory.h"
#include "sys/passing.h"
#include "sys/process.h"
#include "sys/procfs.h"
#include "sys/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAD_STACK_BYTES 8192
/* Control socket, board, library, and the socket that stands for the connection. */
#define OWN_FDS 4
#define PRELOAD "LD_PRELOAD="
/* So many that did not come to their gate, one after the other, are enough. */
#define STILLBORN_MAX 2
/* How often one that starts is asked whether it waits for input. */
#define PROBE_NS INT64_C(5000000)
/* For how long it may try to fork, before its connections are given to others. */
#define SHORT_NS INT64_C(60000000000)

/* With our library in it, musl looks for the auxiliary vector behind what keeps room, two words at a time. */
_Static_assert(ENVIRONMENT_CONNECTION_COUNT % 2 == 0, "musl finds the auxiliary vector");

/* What the starting child needs, which runs in our memory. */
struct template_pad {
    volatile int in_use;
    struct child_setup setup;
    const struct spawn_plan *plan;
    volatile struct child_report *report;
    char **envp;
    char room[sizeof(TEMPLATE_ROOM) + TEMPLATE_TEXT_BYTES];
    char marker[sizeof(TEMPLATE_MARKER) + TEMPLATE_MARKER_BYTES];
    char *preload;
    char *own_preload;
    int *keep;
    int fds[OWN_FDS]; /* as in struct template_marker, of the supervisor */
    char **scratch;   /* for the environments of orders */
    char stack[PAD_STACK_BYTES] __attribute__((aligned(16)));
};

enum { FD_CONTROL, FD_BOARD, FD_LIBRARY, FD_PEER };

static void pad_empty(struct template_pad *pad)
{
    free(pad->envp);
    free(pad->scratch);
    free(pad->preload);
    free(pad->own_preload);
    free(pad->keep);
    report_unmap(pad->report, 1);
}

static void pad_free(struct template_pad *pad)
{
    if (pad == NULL)
        return;
    pad_empty(pad);
    memory_unmap(pad, sizeof(*pad));
}

static struct template_pad *pad_new(const struct spawn_plan *plan)
{
    struct template_pad *pad = memory_map_private(sizeof(*pad));

    if (pad == NULL)
        return NULL;
    pad->plan = plan;
    pad->report = report_map(1);
    pad->envp = calloc(environment_size(&plan->environment), sizeof(char *));
    pad->scratch = calloc(environment_size(&plan->environment), sizeof(char *));
    pad->keep = calloc(plan->setup.keep_count + OWN_FDS, sizeof(int));
    if (pad->report != NULL && pad->envp != NULL && pad->scratch != NULL && pad->keep != NULL)
        return pad;
    pad_free(pad);
    errno = ENOMEM;
    return NULL;
}

/* The server's variables; of its LD_PRELOAD, which has another name meanwhile, `ret_own` is what it says, or NULL. */
static bool fill_inherited(struct template_pad *pad, const char **ret_own)
{
    const struct environment *environment = &pad->plan->environment;
    char **own = NULL;

    for (size_t i = 0; i < environment->count; i++) {
        pad->envp[i] = environment->inherited[i];
        if (strncmp(pad->envp[i], PRELOAD, strlen(PRELOAD)) == 0)
            own = &pad->envp[i];
    }
    *ret_own = NULL;
    if (own == NULL)
        return true;
    *ret_own = *own + strlen(PRELOAD);
    if (asprintf(&pad->own_preload, TEMPLATE_OWN_PRELOAD "%s", *ret_own) < 0) {
        pad->own_preload = NULL;
        return false;
    }
    *own = pad->own_preload;
    return true;
}

/*
 * The environment has as many variables as a worker's, so that what the kernel puts behind them lies where it would: the
 * server's, then one for the C library, then some that keep room for the connection's texts, then the two that are for
 * our library.
 */
static bool fill_environment(struct template_pad *pad, const struct template_marker *marker)
{
    size_t at = pad->plan->environment.count;
    size_t total = at + ENVIRONMENT_CONNECTION_COUNT;
    const char *own;

    if (!fill_inherited(pad, &own))
        return false;
    snprintf(pad->room, sizeof(pad->room), "%s%*s", TEMPLATE_ROOM, TEMPLATE_TEXT_BYTES, "");
    if (marker->is_tuned)
        pad->envp[at++] = (char *)TEMPLATE_TUNABLES;
    pad->envp[at++] = pad->room;
    while (at < total - 2)
        pad->envp[at++] = (char *)TEMPLATE_ROOM;
    memcpy(pad->marker, TEMPLATE_MARKER, sizeof(TEMPLATE_MARKER));
    template_marker_format(marker, pad->marker + strlen(TEMPLATE_MARKER), TEMPLATE_MARKER_BYTES);
    pad->envp[at++] = pad->marker;
    /* By its descriptor: whoever the worker is to be, it need not be let into the folders above. */
    if (asprintf(&pad->preload, PRELOAD "/proc/self/fd/%u%s%s", marker->library, own != NULL ? ":" : "",
                 own != NULL ? own : "") < 0) {
        pad->preload = NULL;
        return false;
    }
    pad->envp[at++] = pad->preload;
    pad->envp[at] = NULL;
    return true;
}

static int compare_numbers(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void fill_setup(struct template_pad *pad, int socket_fd)
{
    const struct child_setup *setup = &pad->plan->setup;
    const struct spawn_request none = {.fd = socket_fd};

    plan_setup(pad->plan, &none, &pad->setup);
    if (setup->keep_count > 0)
        memcpy(pad->keep, setup->keep, setup->keep_count * sizeof(int));
    memcpy(pad->keep + setup->keep_count, pad->fds, sizeof(pad->fds));
    pad->setup.keep_count = setup->keep_count + OWN_FDS;
    qsort(pad->keep, pad->setup.keep_count, sizeof(int), compare_numbers);
    pad->setup.keep = pad->keep;
}

/* In the child. */
CHILD_NO_RETURN static int launch(void *data)
{
    struct template_pad *pad = data;

    child_execute(&pad->setup, plan_template_path(pad->plan), plan_template_argv(pad->plan), pad->envp,
                  pad->report);
}

static pid_t clone_child(struct template_pad *pad)
{
    sigset_t old;

    report_clear(pad->report);
    pad->in_use = 1;
    /* A handler of the embedding program must not run in the child, on our stack, before it is set back. */
    signals_block_all(&old);
    pid_t pid = process_clone_vm(launch, pad, pad->stack, sizeof(pad->stack), &pad->in_use);
    int errnum = errno;
    signals_set_mask(&old, NULL);
    errno = errnum;
    return pid;
}

static int start_process(struct template *template, const struct spawn_plan *plan, int library_fd,
                         bool is_worker)
{
    FD_AUTO board_fd = -1;
    FD_AUTO stand_in = -1;
    FD_AUTO peer = -1;

    template->pad = pad_new(plan);
    template->board = memory_map_common(sizeof(*template->board), &board_fd);
    if (template->pad == NULL || template->board == NULL ||
        passing_open(&template->send_fd, &template->claim_fd) < 0 ||
        passing_open_stream(&stand_in, &peer) < 0)
        return -1;
    struct template_pad *pad = template->pad;
    pad->fds[FD_CONTROL] = template->claim_fd;
    pad->fds[FD_BOARD] = board_fd;
    pad->fds[FD_LIBRARY] = library_fd;
    pad->fds[FD_PEER] = peer;
    struct template_marker marker = {.control = (uint32_t) template->claim_fd,
                                     .board = (uint32_t)board_fd,
                                     .library = (uint32_t)library_fd,
                                     .peer = (uint32_t)peer,
                                     .gate = (uint32_t)plan->gate,
                                     .is_worker = is_worker,
                                     .is_tuned = !is_worker &&
                                                 !environment_has(&plan->environment, "GLIBC_TUNABLES")};
    if (!fill_environment(pad, &marker))
        return -1;
    template->board->kept_count = (uint32_t)plan->setup.keep_count;
    for (size_t i = 0; i < plan->setup.keep_count; i++)
        template->board->kept[i] = plan->setup.keep[i];
    fill_setup(pad, stand_in);
    template->pid = clone_child(pad);
    /* The child has descriptors of its own from the clone on: these need not wait for it. */
    return template->pid < 0 ? -1 : 0;
}

enum fp_status template_start(struct template *template, const struct spawn_plan *plan, int library_fd,
                              bool is_worker, int64_t now_ns, struct fp_error *err)
{
    *template = (struct template){.pid = -1, .send_fd = -1, .claim_fd = -1};
    if (start_process(template, plan, library_fd, is_worker) < 0) {
        enum fp_status status = error_set(err, FP_SYSTEM, errno, "start", "a template of %s", plan->path);
        template_done(template);
        return status;
    }
    template->state = TEMPLATE_UNREADY;
    template->own_pid = template->pid;
    template->started_ns = now_ns;
    template->moved_ns = now_ns;
    return FP_OK;
}

/*
 * Does it wait in a read of descriptor 0 that our library did not see? The signal is for those alone: it would cut short what
 * else a program sleeps in. Where the kernel does not tell, it is asked anyway.
 */
static bool may_wait_for_input(pid_t pid)
{
    char text[160];
    char *end;

    if (procfs_read(pid, "syscall", text, sizeof(text)) == 0)
        return true;
    long call = strtol(text, &end, 10);
    return end != text && strncmp(end, " 0x0 ", 5) == 0 && child_call_reads(call);
}

bool template_is_at_gate(struct template *template, int64_t now_ns)
{
    uint32_t stand = __atomic_load_n(&template->board->stand, __ATOMIC_ACQUIRE);

    if (stand == TEMPLATE_PROBED && now_ns - template->moved_ns >= PROBE_NS) {
        template->moved_ns = now_ns;
        if (may_wait_for_input(template->pid))
            process_signal_one(template->pid, TEMPLATE_PROBE_SIGNAL);
    }
    return stand == TEMPLATE_AT_GATE;
}

uint32_t template_open_orders(const struct template *template)
{
    return template->sent - template->answered;
}

bool template_has_room(const struct template *template)
{
    return template->state == TEMPLATE_READY && !template->broken &&
           template_open_orders(template) < TEMPLATE_ORDERS;
}

/* What becomes 2 of the worker; *ret_own is what the caller closes then. */
static int open_stderr(const struct child_setup *setup, int *ret_own)
{
    *ret_own = -1;
    if (!setup->to_log)
        return setup->stderr_fd >= 0 ? setup->stderr_fd : 2;
    long fd = log_socket_make(&setup->log);
    if (fd < 0) {
        errno = (int)-fd;
        return -1;
    }
    *ret_own = (int)fd;
    return (int)fd;
}

static void fill_order(struct template_order *order, const struct environment *environment,
                       const struct spawn_request *request, char **scratch)
{
    environment_fill(environment, request, scratch, order->text);
    const char *last = scratch[environment->count + ENVIRONMENT_CONNECTION_COUNT - 1];
    order->head.variables = ENVIRONMENT_CONNECTION_COUNT;
    order->head.text_length = (uint32_t)(last + strlen(last) + 1 - order->text);
}

enum fp_status template_send(const struct spawn_plan *plan, int send_fd, uint32_t sequence,
                             const struct spawn_request *request, char **scratch, struct fp_error *err)
{
    struct template_order order;
    struct child_setup setup;
    FD_AUTO own = -1;

    plan_setup(plan, request, &setup);
    int stderr_fd = open_stderr(&setup, &own);
    if (stderr_fd < 0)
        return error_set(err, FP_SYSTEM, errno, "make", "a standard error");
    fill_order(&order, &plan->environment, request, scratch);
    order.head.sequence = sequence;
    const int fds[TEMPLATE_ORDER_FDS] = {request->fd, request->fd, stderr_fd};
    if (passing_send(send_fd, &order, template_order_bytes(&order.head), fds, TEMPLATE_ORDER_FDS) < 0)
        return error_set(err, FP_SYSTEM, errno, "reach", "a template of %s", plan->path);
    return FP_OK;
}

static void note_order(struct template *template, uint64_t key, int64_t now_ns)
{
    if (template_open_orders(template) == 0)
        template->moved_ns = now_ns;
    template->keys[template->sent++ % TEMPLATE_ORDERS] = key;
}

static void clear_answer(struct template *template)
{
    CHECK(template_has_room(template));
    __atomic_store_n(&template->board->answers[template->sent % TEMPLATE_ORDERS], 0, __ATOMIC_RELEASE);
}

enum fp_status template_order(struct template *template, const struct spawn_plan *plan,
                              const struct spawn_request *request, int64_t now_ns, struct fp_error *err)
{
    clear_answer(template);
    enum fp_status status =
        template_send(plan, template->send_fd, template->sent, request, template->pad->scratch, err);
    if (status == FP_OK)
        note_order(template, request->key, now_ns);
    return status;
}

enum fp_status template_order_waiting(struct template *template, int control_fd, uint64_t key, int64_t now_ns,
                                      struct fp_error *err)
{
    const struct template_order_head head = {.sequence = template->sent};
    const int fds[TEMPLATE_ORDER_FDS] = {control_fd, control_fd, control_fd};

    clear_answer(template);
    if (passing_send(template->send_fd, &head, sizeof(head), fds, TEMPLATE_ORDER_FDS) < 0)
        return error_set(err, FP_SYSTEM, errno, "reach", "a template of %s", template->pad->plan->path);
    note_order(template, key, now_ns);
    return FP_OK;
}

bool template_is_behind(const struct template *template)
{
    uint32_t last = template->sent - 1;

    return template_open_orders(template) != 0 &&
           __atomic_load_n(&template->board->answers[last % TEMPLATE_ORDERS], __ATOMIC_RELAXED) == 0;
}

bool template_is_refused(struct template *template, int64_t now_ns)
{
    uint32_t failed = __atomic_load_n(&template->board->failed_forks, __ATOMIC_ACQUIRE);

    if (template_open_orders(template) == 0 || failed == template->failed_forks)
        return false;
    template->failed_forks = failed;
    if (!template->is_short)
        template->short_ns = now_ns;
    template->is_short = true;
    if (now_ns - template->short_ns < SHORT_NS)
        template->moved_ns = now_ns;
    return true;
}

bool template_answer(struct template *template, int64_t now_ns, uint64_t *ret_key, pid_t *ret_pid)
{
    uint32_t at = template->answered % TEMPLATE_ORDERS;

    if (template->board == NULL || template_open_orders(template) == 0)
        return false;
    pid_t pid = __atomic_load_n(&template->board->answers[at], __ATOMIC_ACQUIRE);
    if (pid == 0)
        return false;
    if (pid < 0 || pid == template->own_pid) {
        template->broken = true;
        return false;
    }
    template->answered++;
    template->is_short = false;
    template->moved_ns = now_ns;
    *ret_key = template->keys[at];
    *ret_pid = pid;
    return true;
}

int template_take_back(struct template *template, uint64_t *ret_key, int *ret_fd)
{
    struct template_order order;
    int fds[PASSING_FDS_MAX];

    for (;;) {
        ssize_t got = passing_receive(template->claim_fd, &order, sizeof(order), fds);
        if (got <= 0)
            return got < 0 && errno != EAGAIN ? -1 : 0;
        for (size_t i = 1; i < PASSING_FDS_MAX; i++)
            fd_close(fds[i]);
        /* Order N of those that are open: one before them has its worker, and was only not taken out of the queue yet. */
        if (template_order_check(&order.head, order.text, (size_t)got) && fds[0] >= 0 &&
            order.head.sequence - template->answered < template_open_orders(template)) {
            uint64_t *key = &template->keys[order.head.sequence % TEMPLATE_ORDERS];
            *ret_key = *key;
            /* Should one before it be lost, that one is open still, in its place. */
            *key = template->keys[template->answered % TEMPLATE_ORDERS];
            *ret_fd = fds[0];
            return 1;
        }
        fd_close(fds[0]);
    }
}

void template_retire(struct template *template)
{
    template->state = TEMPLATE_RETIRED;
    fd_close(fd_take(&template->send_fd));
}

void template_end(struct template *template, int64_t end_ns)
{
    /* Where it has not ended the kernel may still write to its pad, which is then left to it. */
    if (template->pid > 0 && process_kill(template->pid) && !process_wait_until(template->pid, end_ns)) {
        pad_empty(template->pad);
        template->pad = NULL;
    }
    template->pid = -1;
    template_done(template);
}

void template_done(struct template *template)
{
    CHECK(template->pid <= 0);
    fd_close(fd_take(&template->send_fd));
    fd_close(fd_take(&template->claim_fd));
    memory_unmap(template->board, sizeof(*template->board));
    pad_free(template->pad);
    *template = (struct template){.pid = -1, .send_fd = -1, .claim_fd = -1};
}

bool template_was_short(const struct template *template)
{
    const volatile struct child_report *report = template->pad->report;

    if (report->step != CHILD_STEP_NONE)
        return (report->errnum == EAGAIN || report->errnum == ENOMEM) && child_process_limit() > 1;
    return template->board->stand == TEMPLATE_REFUSES && template->board->refusal == TEMPLATE_REFUSAL_SHORT;
}

/* A machine that stands still has what its copies do take long, too: that counts where none has come to its gate before. */
static bool is_proven(const struct template *template, const struct template_trials *trials)
{
    const struct template_board *board = template->board;

    return trials->proven && (board->stand != TEMPLATE_REFUSES || board->refusal == TEMPLATE_REFUSAL_HANGS);
}

bool template_is_hopeless(const struct template *template, const struct process_end *end,
                          struct template_trials *trials)
{
    if (template_was_short(template) || is_proven(template, trials))
        return false;
    if (!end->signalled)
        return true;
    return end->code != SIGKILL && ++trials->stillborn >= STILLBORN_MAX;
}

void template_why_ended(const struct template *template, const struct process_end *end, char *text,
                        size_t size)
{
    const volatile struct child_report *report = template->pad->report;
    char how[PROCESS_END_TEXT_SIZE];

    if (report->step != CHILD_STEP_NONE)
        snprintf(text, size, "cannot wait at a gate: cannot %s: %s", child_step_name(report->step),
                 strerror(report->errnum));
    else if (template->board->stand == TEMPLATE_REFUSES)
        snprintf(text, size, "cannot wait at a gate: %s", template_refusal_text(template->board->refusal));
    else
        snprintf(text, size, "ended before its gate (%s)", process_end_text(end, how));
}
