/* SPDX-License-Identifier: MIT */
#include "spawn/templates.h"

#include "base/time.h"
#include "spawn/fit.h"
#include "sys/fd.h"
#include "sys/signals.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* How often a template under way is looked at: a third of the time that it has taken so far, within these. */
#define LOOK_NS      (1 * MS_NS)
#define LOOK_LATE_NS (50 * MS_NS)
/* With orders open: an answer is late after this, and after that the template is taken for stuck. */
#define ANSWER_NS (1 * MS_NS)
#define STUCK_NS  (3 * SECOND_NS)

#define FORMATS(text, first) __attribute__((format(printf, text, first)))

FORMATS(3, 4)
static struct spawn_news *tell(struct templates *templates, const struct template *template,
                               const char *format, ...)
{
    char text[sizeof(((struct spawn_news *)NULL)->text)];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    struct spawn_news *news = news_add(&templates->news, SPAWN_NEWS_TEMPLATE, "%s", text);
    news->pid = template->pid;
    return news;
}

/* For good. What is open is answered or given back still. */
static void do_without(struct templates *templates, const char *reason)
{
    bool has_pool = templates->plan->pool_max > 0;

    news_add(&templates->news, SPAWN_NEWS_NOTICE, "engine %s: %s %s: %s", has_pool ? "pool" : "fork",
             templates->plan->path, reason,
             has_pool ? "those that wait are executed, not forked" : "each connection executes it instead");
    fd_close(fd_take(&templates->library_fd));
}

void templates_init(struct templates *templates, const struct spawn_plan *plan)
{
    const char *reason;

    *templates = (struct templates){.plan = plan};
    for (size_t i = 0; i < TEMPLATES_MAX; i++)
        templates->items[i] = (struct template){.pid = -1, .send_fd = -1, .claim_fd = -1};
    demand_init(&templates->demand, plan->template_least, plan->template_most);
    pace_init(&templates->pace, 100 * MS_NS, 60 * SECOND_NS);
    templates->library_fd = fit_open_library(plan, &reason);
    if (templates->library_fd < 0)
        do_without(templates, reason);
}

void templates_end(struct templates *templates, int64_t end_ns)
{
    for (size_t i = 0; i < TEMPLATES_MAX; i++)
        template_end(&templates->items[i], end_ns);
    fd_close(fd_take(&templates->library_fd));
}

static struct template *find_state(struct templates *templates, enum template_state state)
{
    for (size_t i = 0; i < TEMPLATES_MAX; i++) {
        if (templates->items[i].state == state)
            return &templates->items[i];
    }
    return NULL;
}

static bool is_worn(const struct templates *templates, const struct template *template, int64_t now_ns)
{
    const struct spawn_plan *plan = templates->plan;

    return template->sent >= plan->template_connections || template->broken ||
           now_ns - template->started_ns >= plan->template_age_ns;
}

static bool is_fresh(const struct templates *templates, const struct template *template, int64_t now_ns)
{
    return template->state == TEMPLATE_READY && !is_worn(templates, template, now_ns);
}

static unsigned count_fresh(const struct templates *templates, int64_t now_ns)
{
    unsigned count = 0;

    for (size_t i = 0; i < TEMPLATES_MAX; i++)
        count += is_fresh(templates, &templates->items[i], now_ns);
    return count;
}

/* Fresh ones and those on their way. */
static unsigned count_coming(const struct templates *templates, int64_t now_ns)
{
    unsigned count = count_fresh(templates, now_ns);

    for (size_t i = 0; i < TEMPLATES_MAX; i++)
        count += templates->items[i].state == TEMPLATE_UNREADY;
    return count;
}

static void start_missing(struct templates *templates, int64_t now_ns)
{
    struct fp_error err;
    unsigned count = count_coming(templates, now_ns);

    for (; templates->library_fd >= 0 && count < templates->demand.wanted; count++) {
        struct template *template = find_state(templates, TEMPLATE_FREE);
        if (template == NULL || now_ns < templates->start_ns)
            return;
        if (template_start(template, templates->plan, templates->library_fd, false, now_ns, &err) != FP_OK) {
            templates->start_ns = now_ns + pace_failure_ns(&templates->pace, now_ns);
            if (news_begins(&templates->short_ns, now_ns))
                tell(templates, template, "not started: %s", strerror(err.errnum));
        }
    }
}

static void welcome(struct templates *templates, struct template *template, int64_t now_ns)
{
    const struct template_board *board = template->board;
    char moved[96] = "";
    char code[48] = "";
    char joined[32] = "";

    template->state = TEMPLATE_READY;
    template->moved_ns = now_ns;
    templates->trials.proven = true;
    templates->short_ns = 0;
    if (board->huge_kib != 0 || board->file_kib != 0)
        snprintf(moved, sizeof(moved), ", %u MiB in files, %u MiB in huge pages, in %u ms",
                 board->file_kib / 1024, board->huge_kib / 1024, board->moved_us / 1000);
    if (board->joined != 0)
        snprintf(joined, sizeof(joined), ", %u joined", board->joined);
    if (board->code_pages != 0)
        snprintf(code, sizeof(code), ", %u pages of code handed down", board->code_pages);
    const char *pinned = board->is_pinned ? ", written pages pinned" : "";
    tell(templates, template, "at its gate with %u mappings%s%s%s%s", board->mappings, joined, code, pinned,
         moved)
        ->duration_ns = now_ns - template->started_ns;
}

static void not_started(struct templates *templates, const struct template *template, const char *reason,
                        bool is_hopeless, int64_t now_ns)
{
    bool is_told = !template_was_short(template) || news_begins(&templates->short_ns, now_ns);

    templates->start_ns = now_ns + pace_failure_ns(&templates->pace, now_ns);
    if (is_hopeless && templates->library_fd >= 0)
        do_without(templates, reason);
    else if (is_told)
        tell(templates, template, "%s", reason);
}

/*
 * It may be long in ending (in a file system that does not answer, say); what it has is given up when it was reaped. Somebody
 * else may have done that, or it was taken for the worker whose number it said is its own.
 */
static void kill_and_retire(struct template *template)
{
    if (template->pid > 0 && !process_kill(template->pid))
        template->pid = -1;
    template_retire(template);
}

static void look_at_unready(struct templates *templates, struct template *template, int64_t now_ns)
{
    if (template_is_at_gate(template, now_ns)) {
        welcome(templates, template, now_ns);
    } else if (now_ns - template->started_ns >= templates->plan->template_start_ns) {
        char reason[80];
        snprintf(reason, sizeof(reason), "did not come to its gate within %lld s",
                 (long long)(templates->plan->template_start_ns / SECOND_NS));
        not_started(templates, template, reason, !templates->trials.proven, now_ns);
        kill_and_retire(template);
    }
}

/* One that is asked for what it does not do: stopped by a signal, say. Its end gives back what it has. */
static void look_at_ready(struct templates *templates, struct template *template, int64_t now_ns)
{
    uint32_t learnt = __atomic_load_n(&template->board->learnt_pages, __ATOMIC_ACQUIRE);

    if (learnt != template->learnt_pages)
        tell(templates, template, "hands down the %u pages of files that workers came to", learnt);
    template->learnt_pages = learnt;
    if (template_is_refused(template, now_ns) && news_begins(&templates->short_ns, now_ns))
        tell(templates, template, "cannot fork: %s; its connections wait",
             strerror(template->board->fork_errnum));
    bool is_stuck = template_open_orders(template) != 0 && now_ns - template->moved_ns >= STUCK_NS;

    if (is_stuck || template->broken) {
        if (template->state == TEMPLATE_READY)
            tell(templates, template, "killed: it %s",
                 template->broken     ? "says what cannot be"
                 : template->is_short ? "could not fork for a while"
                                      : "does not answer");
        kill_and_retire(template);
    }
}

void templates_stop(struct templates *templates, int64_t end_ns)
{
    for (size_t i = 0; i < TEMPLATES_MAX; i++) {
        struct template *template = &templates->items[i];
        if (template->pid > 0 && (!process_kill(template->pid) || process_wait_until(template->pid, end_ns)))
            template->pid = -1;
    }
}

void templates_hurry(struct templates *templates)
{
    for (size_t i = 0; i < TEMPLATES_MAX; i++) {
        struct template *template = &templates->items[i];
        if (template->state != TEMPLATE_FREE && template->is_short && template_open_orders(template) != 0)
            kill_and_retire(template);
    }
}

/* A worn one serves until its successor is there. */
static void retire_worn(struct templates *templates, int64_t now_ns)
{
    if (count_fresh(templates, now_ns) < templates->demand.wanted && templates->library_fd >= 0)
        return;
    for (size_t i = 0; i < TEMPLATES_MAX; i++) {
        struct template *template = &templates->items[i];
        if (template->state == TEMPLATE_READY && is_worn(templates, template, now_ns)) {
            tell(templates, template, "replaced after %u connections", template->sent);
            template_retire(template);
        }
    }
}

/* The oldest of those that are not needed any more. */
static void retire_extra(struct templates *templates, int64_t now_ns)
{
    struct template *oldest = NULL;

    if (count_fresh(templates, now_ns) <= templates->demand.wanted)
        return;
    for (size_t i = 0; i < TEMPLATES_MAX; i++) {
        struct template *template = &templates->items[i];
        if (is_fresh(templates, template, now_ns) &&
            (oldest == NULL || template->started_ns < oldest->started_ns))
            oldest = template;
    }
    if (oldest == NULL)
        return;
    tell(templates, oldest, "not needed any more, after %u connections", oldest->sent);
    template_retire(oldest);
}

static int64_t look_after_ns(int64_t taken_ns)
{
    if (taken_ns < 3 * LOOK_NS)
        return LOOK_NS;
    return taken_ns / 3 < LOOK_LATE_NS ? taken_ns / 3 : LOOK_LATE_NS;
}

static void set_due(struct templates *templates, int64_t now_ns)
{
    int64_t due_ns = demand_due_ns(&templates->demand);

    for (size_t i = 0; i < TEMPLATES_MAX; i++) {
        const struct template *template = &templates->items[i];
        int64_t at_ns = INT64_MAX;
        if (template->state == TEMPLATE_UNREADY)
            at_ns = now_ns + look_after_ns(now_ns - template->started_ns);
        else if (template->state != TEMPLATE_FREE && template_open_orders(template) != 0)
            at_ns = now_ns + (template->pid > 0 && !template->is_short ? ANSWER_NS : LOOK_LATE_NS);
        else if (is_fresh(templates, template, now_ns))
            at_ns = template->started_ns + templates->plan->template_age_ns;
        if (at_ns < due_ns)
            due_ns = at_ns;
    }
    if (templates->library_fd >= 0 && count_coming(templates, now_ns) < templates->demand.wanted &&
        templates->start_ns < due_ns)
        due_ns = templates->start_ns > now_ns ? templates->start_ns : now_ns + LOOK_NS;
    templates->due_ns = due_ns;
}

void templates_turn(struct templates *templates, int64_t now_ns)
{
    for (size_t i = 0; i < TEMPLATES_MAX; i++) {
        struct template *template = &templates->items[i];
        if (template->state == TEMPLATE_UNREADY)
            look_at_unready(templates, template, now_ns);
        else if (template->state != TEMPLATE_FREE)
            look_at_ready(templates, template, now_ns);
    }
    demand_ease(&templates->demand, now_ns);
    start_missing(templates, now_ns);
    retire_worn(templates, now_ns);
    retire_extra(templates, now_ns);
    set_due(templates, now_ns);
}

int64_t templates_due_ns(const struct templates *templates)
{
    return templates->due_ns;
}

bool templates_are_given_up(const struct templates *templates)
{
    return templates->library_fd < 0 && !templates_are_ready(templates);
}

bool templates_are_ready(const struct templates *templates)
{
    for (size_t i = 0; i < TEMPLATES_MAX; i++) {
        if (templates->items[i].state == TEMPLATE_READY)
            return true;
    }
    return false;
}

bool templates_have_orders(const struct templates *templates)
{
    for (size_t i = 0; i < TEMPLATES_MAX; i++) {
        if (template_open_orders(&templates->items[i]) != 0)
            return true;
    }
    return false;
}

uint32_t templates_short_orders(const struct templates *templates)
{
    uint32_t open = 0;
    bool are_short = false;

    for (size_t i = 0; i < TEMPLATES_MAX; i++) {
        open += template_open_orders(&templates->items[i]);
        are_short |= templates->items[i].is_short;
    }
    return are_short ? open : 0;
}

/* The one with the fewest open orders; they take turns where that is the same. */
struct template *templates_choose(struct templates *templates)
{
    struct template *best = NULL;

    for (uint32_t i = 1; i <= TEMPLATES_MAX; i++) {
        struct template *template = &templates->items[(templates->last + i) % TEMPLATES_MAX];
        if (template_has_room(template) &&
            (best == NULL || template_open_orders(template) < template_open_orders(best)))
            best = template;
    }
    return best;
}

static void note_order(struct templates *templates, const struct template *template, int64_t now_ns)
{
    templates->last = (uint32_t)(template - templates->items);
    if (templates->due_ns > now_ns + ANSWER_NS)
        templates->due_ns = now_ns + ANSWER_NS;
    /* Its successor is to be there when it is worn out. */
    if (template->sent == templates->plan->template_connections)
        templates->due_ns = now_ns;
}

enum fp_status templates_order(struct templates *templates, struct template *template,
                               const struct spawn_request *request, int64_t now_ns, struct fp_error *err)
{
    if (demand_note(&templates->demand, template_is_behind(template), now_ns))
        templates->due_ns = now_ns;
    enum fp_status status = template_order(template, templates->plan, request, now_ns, err);
    if (status == FP_OK)
        note_order(templates, template, now_ns);
    return status;
}

enum fp_status templates_order_waiting(struct templates *templates, struct template *template, int control_fd,
                                       uint64_t key, int64_t now_ns, struct fp_error *err)
{
    enum fp_status status = template_order_waiting(template, control_fd, key, now_ns, err);

    if (status == FP_OK)
        note_order(templates, template, now_ns);
    return status;
}

static bool take_back(struct templates *templates, struct template *template,
                      struct spawn_outcome *ret_outcome)
{
    if (template->pid >= 0 || template->claim_fd < 0)
        return false;
    ret_outcome->pid = -1;
    int taken = template_take_back(template, &ret_outcome->key, &ret_outcome->fd);
    if (taken > 0)
        template->answered++;
    if (taken != 0)
        return taken > 0;
    if (template_open_orders(template) != 0) {
        /* It took an order and left neither worker nor order, which ours does not do. */
        ret_outcome->key = template->keys[template->answered++ % TEMPLATE_ORDERS];
        return true;
    }
    template_done(template);
    templates->due_ns = 0;
    return false;
}

bool templates_outcome(struct templates *templates, int64_t now_ns, struct spawn_outcome *ret_outcome)
{
    for (size_t i = 0; i < TEMPLATES_MAX; i++) {
        struct template *template = &templates->items[i];
        if (template->state == TEMPLATE_FREE)
            continue;
        ret_outcome->fd = -1;
        if (template_answer(template, now_ns, &ret_outcome->key, &ret_outcome->pid) ||
            take_back(templates, template, ret_outcome))
            return true;
    }
    return false;
}

static void note_end(struct templates *templates, const struct template *template,
                     const struct process_end *end, int64_t now_ns)
{
    char reason[120];

    if (template->state == TEMPLATE_RETIRED)
        return;
    if (template->state == TEMPLATE_UNREADY) {
        template_why_ended(template, end, reason, sizeof(reason));
        not_started(templates, template, reason, template_is_hopeless(template, end, &templates->trials),
                    now_ns);
        return;
    }
    if (template->board->stand == TEMPLATE_REFUSES) {
        template_why_ended(template, end, reason, sizeof(reason));
        tell(templates, template, "%s", reason);
    } else {
        tell(templates, template, "ended (%s)", process_end_text(end, reason));
    }
    templates->start_ns = now_ns + pace_failure_ns(&templates->pace, now_ns);
}

bool templates_ended(struct templates *templates, const struct process_end *end, int64_t now_ns,
                     bool *ret_was_ready)
{
    for (size_t i = 0; i < TEMPLATES_MAX; i++) {
        struct template *template = &templates->items[i];
        if (template->state == TEMPLATE_FREE || template->pid != end->pid)
            continue;
        *ret_was_ready = template->state == TEMPLATE_READY;
        note_end(templates, template, end, now_ns);
        /* Its answers stand on the board still, and open orders in its queue. */
        template->pid = -1;
        template_retire(template);
        templates->due_ns = now_ns;
        return true;
    }
    return false;
}

bool templates_distrust(struct templates *templates, int number, int64_t now_ns)
{
    bool is_fault = number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE ||
                    number == SIGABRT || number == SIGTRAP || number == SIGSYS;

    char name[16];

    for (size_t i = 0; is_fault && i < TEMPLATES_MAX; i++) {
        struct template *template = &templates->items[i];
        if (template->state != TEMPLATE_READY)
            continue;
        tell(templates, template, "replaced: a worker ended by signal %s",
             signal_name(number, name, sizeof(name)));
        template_retire(template);
        templates->due_ns = now_ns;
    }
    return is_fault;
}
