/* SPDX-License-Identifier: MIT
 *
 * doctor/cgroup.h - how much room the control groups of this process leave it.
 *
 * Within the room. A group's limit holds for all below it, so the least room of the process's own group and of those above it is
 * what counts. Both versions of control groups are read, where they are mounted as usual (/sys/fs/cgroup);
 * in a container its own are the highest that can be seen. What cannot be read is no limit: nothing fails, and nothing is
 * written.
 */
#ifndef DOCTOR_CGROUP_H
#define DOCTOR_CGROUP_H

#include <stdint.h>

enum cgroup_kind { CGROUP_PROCESSES, CGROUP_MEMORY };

/* Processes, or bytes, that are free; UINT64_MAX: no limit. */
uint64_t cgroup_room(enum cgroup_kind kind);

#endif
