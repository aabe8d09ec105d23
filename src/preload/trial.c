/* SPDX-License-Identifier: MIT */
#include "preload/trial.h"

#include "preload/handlers.h"
#include "sys/child.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#define FORK_TRIES    100
#define PAUSE_NS      1000000
#define HANGS_AFTER_S 3
/* What the copy ends with: hardly that of a function of the program's. */
enum { TRIED_CAN = 113, TRIED_CANNOT };

/* What is done for a worker and by it, before the program goes on. A filter of system calls may refuse one, or kill for it. */
static bool can_begin(int control)
{
    uint64_t random = 0;
    char byte;

    return child_setsid() >= 0 &&
           child_call5(__NR_recvfrom, control, (long)&byte, 0, MSG_DONTWAIT | MSG_TRUNC, 0) == -EAGAIN &&
           child_call(__NR_getrandom, (long)&random, sizeof(random), 0, 0) == sizeof(random) &&
           child_move(control, 0) == 0 && child_call(__NR_close, control, 0, 0, 0) == 0;
}

static bool can_continue(const struct image_thread *thread)
{
    if (thread_tell_robust_list(&thread->known) != 0)
        return false;
    if (thread->known.cleared != thread->tid &&
        child_call(__NR_set_tid_address, (long)thread->known.cleared, 0, 0, 0) <= 0)
        return false;
    /* The first of a namespace of processes: with its end the namespace ends, and there is no second one. */
    return child_self() != 1;
}

/* Where its user may have this process and no other one, it will be so later, too. */
static bool may_have_two(void)
{
    return child_process_limit() > 1;
}

/* Should it wait for ever for what nobody gives back, it ends by SIGALRM, or else with the template. */
static void end_if_it_hangs(void)
{
    const struct itimerval limit = {.it_value.tv_sec = HANGS_AFTER_S};

    /* A function may block the alarm, or set its own: with the template it ends in any case. */
    child_call(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
    child_default_signal(SIGALRM);
    child_set_mask(0);
    child_call(__NR_setitimer, ITIMER_REAL, (long)&limit, 0, 0);
}

/*
 * What might not return: functions for its forks that want what the program holds at its gate, and the loader's lock, which is
 * its thread's where a library that is being opened has come to the gate, and which no copy could take or release.
 */
static bool can_use_libraries(const struct image_thread *thread)
{
    static const char own = 0;
    Dl_info library;

    *thread->tid = (int)child_self();
    handlers_in_worker();
    return dladdr(&own, &library) != 0;
}

/* A program's function may end it, with whatever status; no core is written of it. */
static void try_as_worker(int control, const struct image_thread *thread)
{
    bool can = child_call(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0) == 0;

    end_if_it_hangs();
    handlers_before();
    can = can && can_begin(control) && can_continue(thread) && can_use_libraries(thread) &&
          child_close_range(0, 2) == 0;
    child_exit(can ? TRIED_CAN : TRIED_CANNOT);
}

static enum template_refusal judge(int status)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);

    if (code == TRIED_CAN)
        return TEMPLATE_REFUSAL_NONE;
    if (code == TRIED_CANNOT || code == -SIGSYS)
        return TEMPLATE_REFUSAL_CALLS;
    return code == -SIGALRM ? TEMPLATE_REFUSAL_HANGS : TEMPLATE_REFUSAL_ENDS;
}

enum template_refusal trial_refusal(int control, const struct image_thread *thread)
{
    const struct timespec a_moment = {.tv_nsec = PAUSE_NS};
    long pid = -EAGAIN;
    int status = 0;

    for (unsigned i = 0; i < FORK_TRIES && child_is_short(pid); i++) {
        if (i > 0)
            child_call(__NR_nanosleep, (long)&a_moment, 0, 0, 0);
        pid = child_call5(__NR_clone, 0, 0, 0, 0, 0);
    }
    if (pid == 0)
        try_as_worker(control, thread);
    while (pid > 0 && child_call(__NR_wait4, pid, (long)&status, __WALL, 0) == -EINTR)
        ;
    if (pid < 0)
        return child_is_short(pid) && may_have_two() ? TEMPLATE_REFUSAL_SHORT : TEMPLATE_REFUSAL_FORK;
    return judge(status);
}
