/* SPDX-License-Identifier: MIT
 *
 * spawn/report.h - the reports of children, in memory that they share with the supervisor.
 *
 * An array of reports, one a slot. The supervisor clears one before the child is made and reads it after the child was
 * reaped, so no report is written and read at once. Mapping fails with errno set and NULL.
 */
#ifndef SPAWN_REPORT_H
#define SPAWN_REPORT_H

#include "spawn/child.h"

volatile struct child_report *report_map(size_t count);
void report_unmap(volatile struct child_report *reports, size_t count);
void report_clear(volatile struct child_report *report);
/* What a step is called in "cannot ...". A step that a report cannot truly have has a name too. */
const char *child_step_name(int step);

#endif
