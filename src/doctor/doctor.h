/* SPDX-License-Identifier: MIT
 *
 * doctor/doctor.h - what this build and this host lack, and what that means for each part of forkport.
 *
 * One table of checks (doctor/checks.def). Each is looked at by trying the thing itself or by reading the kernel's own figure,
 * never by concluding from a version, unless the version is the question. doctor_look() gives a finding: a verdict, and
 * what was found in words. It does not fail: what could not be looked at is a verdict as well. What is not there is told
 * apart from what this user may not have.
 *
 * Looking takes children that end at once, sockets on the loopback device and programs of BPF that are gone
 * when the call returns; no setting is changed. Sizes are held against the defaults of `forkport serve`. All of it
 * takes some tens of milliseconds. For cmd/doctor.c; nothing in here prints.
 */
#ifndef DOCTOR_DOCTOR_H
#define DOCTOR_DOCTOR_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

#define DOCTOR_CHECKS_MAX 64

enum doctor_verdict {
    DOCTOR_OK,
    DOCTOR_LOW,           /* it is there, and not enough for the defaults */
    DOCTOR_NOT_PERMITTED, /* it is there, and not for this user */
    DOCTOR_MISSING
};

enum doctor_rank {
    DOCTOR_USEFUL,
    DOCTOR_NEEDED_THERE, /* by the commands of its group */
    DOCTOR_NEEDED        /* by `forkport serve` */
};

struct doctor_finding {
    enum doctor_verdict verdict;
    char found[192];
};

struct doctor_check {
    const char *id;
    const char *group; /* the command, or part of one */
    enum doctor_rank rank;
    const char *name; /* for people */
    const char *use;
    const char *without;
    const char *remedy;
    void (*look)(struct doctor_finding *ret_finding);
};

extern const struct doctor_check doctor_checks[];
extern const size_t doctor_check_count;

const char *doctor_verdict_name(enum doctor_verdict verdict);
void doctor_look(const struct doctor_check *check, struct doctor_finding *ret_finding);
/* Is all there that `forkport serve` needs? By the findings of all checks, in the table's order. */
bool doctor_serves(const struct doctor_finding findings[]);

/* Columns, a heading for each group; of what is not ok also what follows from that, and what can be done. */
void doctor_text(const struct doctor_finding findings[], struct text *text);
/* An object and a line for each check; false: out of memory. */
bool doctor_json(const struct doctor_finding findings[], struct text *text);

#endif
