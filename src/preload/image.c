/* SPDX-License-Identifier: MIT */
#include "preload/image.h"

#include "preload/lines.h"
#include "sys/child.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

/* Where in the C library's description of a thread its number can stand. */
#define THREAD_BYTES 2048

/* Not in every C library of every age. */
#pragma weak pthread_self
#pragma weak pthread_getcpuclockid

/* Does the clock of this thread, which is made of its number, change with this word? */
static bool is_thread_number(int *word)
{
    clockid_t before;
    clockid_t after;
    int number = *word;

    if (pthread_getcpuclockid(pthread_self(), &before) != 0)
        return false;
    *(volatile int *)word = number ^ 1;
    int result = pthread_getcpuclockid(pthread_self(), &after);
    *(volatile int *)word = number;
    return result == 0 && before != after;
}

static int *search_thread_number(int number)
{
    if (pthread_self == NULL || pthread_getcpuclockid == NULL)
        return NULL;
    char *thread = (char *)pthread_self();
    for (size_t at = 0; at < THREAD_BYTES; at += sizeof(int)) {
        int *word = (int *)(thread + at);
        if (*word == number && is_thread_number(word))
            return word;
    }
    return NULL;
}

void image_thread(struct image_thread *ret_thread)
{
    int number = (int)child_call(__NR_gettid, 0, 0, 0, 0);

    thread_ask(&ret_thread->known);
    int *cleared = ret_thread->known.cleared;
    ret_thread->tid = cleared != NULL && *cleared == number ? cleared : search_thread_number(number);
}

static void note_threads(const char *line, void *data)
{
    static const char name[] = "Threads:\t";

    if (strncmp(line, name, strlen(name)) == 0)
        *(bool *)data = strcmp(line + strlen(name), "1") == 0;
}

bool image_has_child(void)
{
    return child_call5(__NR_waitid, P_ALL, 0, 0, WEXITED | WNOHANG | WNOWAIT | __WALL, 0) != -ECHILD;
}

static void note_timer(const char *line, void *data)
{
    (void)line;
    *(bool *)data = true;
}

static void note_running_timer(const char *line, void *data)
{
    struct itimerspec left = {0};

    if (strncmp(line, "ID: ", 4) != 0)
        return;
    child_call(__NR_timer_gettime, (long)lines_decimal(line + 4), (long)&left, 0, 0);
    *(bool *)data |= left.it_value.tv_sec != 0 || left.it_value.tv_nsec != 0;
}

bool image_timer_runs(void)
{
    bool found = false;

    lines_read("/proc/self/timers", note_running_timer, &found);
    return found;
}

/* That of alarm(2) apart. */
static bool has_timer(void)
{
    bool found = false;
    struct itimerval timer = {0};

    lines_read("/proc/self/timers", note_timer, &found);
    for (int which = ITIMER_VIRTUAL; which <= ITIMER_PROF && !found; which++)
        found = child_call(__NR_getitimer, which, (long)&timer, 0, 0) == 0 &&
                (timer.it_value.tv_sec != 0 || timer.it_value.tv_usec != 0);
    return found;
}

static void find_context(const char *line, void *data)
{
    *(bool *)data |= strstr(line, " /[aio]") != NULL;
}

/* Of io_setup(2), which a copy has the memory of alone. */
static bool has_context(void)
{
    bool found = false;

    lines_read("/proc/self/maps", find_context, &found);
    return found;
}

enum template_refusal image_refusal(void)
{
    bool has_one_thread = false;

    if (!lines_read("/proc/self/status", note_threads, &has_one_thread))
        return TEMPLATE_REFUSAL_PROC;
    if (!has_one_thread)
        return TEMPLATE_REFUSAL_THREADS;
    if (image_has_child())
        return TEMPLATE_REFUSAL_CHILDREN;
    if (has_timer())
        return TEMPLATE_REFUSAL_TIMERS;
    return has_context() ? TEMPLATE_REFUSAL_CONTEXT : TEMPLATE_REFUSAL_NONE;
}
