/* SPDX-License-Identifier: MIT */
#include "spawn/report.h"

#include "sys/memory.h"

static const char *const step_names[] = {
#define STEP(id, text) text,
    CHILD_STEPS(STEP)
#undef STEP
};

volatile struct child_report *report_map(size_t count)
{
    return memory_map_shared(count * sizeof(struct child_report));
}

void report_unmap(volatile struct child_report *reports, size_t count)
{
    memory_unmap((void *)reports, count * sizeof(struct child_report));
}

void report_clear(volatile struct child_report *report)
{
    report->step = CHILD_STEP_NONE;
    report->errnum = 0;
    report->bytes_in = -1;
    report->bytes_out = -1;
}

const char *child_step_name(int step)
{
    return step > CHILD_STEP_NONE && step < CHILD_STEP_COUNT ? step_names[step] : "report what failed";
}
