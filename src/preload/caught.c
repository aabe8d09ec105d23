/* SPDX-License-Identifier: MIT */
#include "preload/caught.h"

#include "sys/child.h"

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

/* Those that are sent by hand. */
static struct {
    int number;
    struct child_sigaction action; /* handler 0: nothing was set aside */
} caught[] = {{.number = SIGHUP},  {.number = SIGINT},  {.number = SIGQUIT},
              {.number = SIGTERM}, {.number = SIGUSR1}, {.number = SIGUSR2}};

#define COUNT (sizeof(caught) / sizeof(caught[0]))

void caught_set_aside(void)
{
    for (size_t i = 0; i < COUNT; i++) {
        struct child_sigaction action = {0};

        if (child_query_signal(caught[i].number, &action) == 0 && action.handler != 0 &&
            child_default_signal(caught[i].number) == 0)
            caught[i].action = action;
    }
}

void caught_put_back(void)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (caught[i].action.handler != 0)
            child_call(__NR_rt_sigaction, caught[i].number, (long)&caught[i].action, 0, sizeof(uint64_t));
    }
}
