/* SPDX-License-Identifier: MIT */
#include "sys/affinity.h"

#include <sched.h>
#include <unistd.h>

int affinity_each(bool (*each)(void *data, unsigned cpu), void *data, bool *ret_all)
{
    cpu_set_t home;
    long asked = 0;
    int result = 0;

    if (sched_getaffinity(0, sizeof(home), &home) < 0)
        return -1;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        cpu_set_t one;
        if (!CPU_ISSET(cpu, &home))
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        /* One that is off line stays in the set of a thread. */
        if (sched_setaffinity(0, sizeof(one), &one) < 0)
            continue;
        asked++;
        if (!each(data, cpu))
            break;
    }
    if (sched_setaffinity(0, sizeof(home), &home) < 0)
        result = -1;
    *ret_all = asked >= sysconf(_SC_NPROCESSORS_ONLN);
    return result;
}
