/* SPDX-License-Identifier: MIT */
#include "doctor/doctor.h"

#include "doctor/look.h"
#include "sys/probe.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CHECK(id, group, rank, name, use, without, remedy) \
    {#id, group, DOCTOR_##rank, name, use, without, remedy, look_##id},
const struct doctor_check doctor_checks[] = {
#include "doctor/checks.def"
};
#undef CHECK

const size_t doctor_check_count = sizeof(doctor_checks) / sizeof(doctor_checks[0]);
_Static_assert(sizeof(doctor_checks) / sizeof(doctor_checks[0]) <= DOCTOR_CHECKS_MAX, "room for findings");

const char *doctor_verdict_name(enum doctor_verdict verdict)
{
    static const char *const names[] = {
        [DOCTOR_OK] = "ok",
        [DOCTOR_LOW] = "low",
        [DOCTOR_NOT_PERMITTED] = "not permitted",
        [DOCTOR_MISSING] = "missing",
    };

    return names[verdict];
}

void doctor_look(const struct doctor_check *check, struct doctor_finding *ret_finding)
{
    check->look(ret_finding);
}

bool doctor_serves(const struct doctor_finding findings[])
{
    for (size_t i = 0; i < doctor_check_count; i++) {
        enum doctor_verdict verdict = findings[i].verdict;
        if (doctor_checks[i].rank == DOCTOR_NEEDED && verdict != DOCTOR_OK && verdict != DOCTOR_LOW)
            return false;
    }
    return true;
}

void look_found(struct doctor_finding *ret_finding, enum doctor_verdict verdict, const char *format, ...)
{
    va_list arguments;

    ret_finding->verdict = verdict;
    va_start(arguments, format);
    vsnprintf(ret_finding->found, sizeof(ret_finding->found), format, arguments);
    va_end(arguments);
}

static enum doctor_verdict verdict_of(int errnum)
{
    switch (errnum) {
    case EPERM:
    case EACCES:
        return DOCTOR_NOT_PERMITTED;
    case EAGAIN:
    case EBUSY:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case ENOSPC:
        return DOCTOR_LOW;
    default:
        return DOCTOR_MISSING;
    }
}

void look_failed(struct doctor_finding *ret_finding, int errnum)
{
    look_found(ret_finding, verdict_of(errnum), "%s", strerror(errnum));
}

void look_tried(struct doctor_finding *ret_finding, bool worked, const char *found)
{
    if (worked)
        look_found(ret_finding, DOCTOR_OK, "%s", found);
    else
        look_failed(ret_finding, errno);
}

bool look_number(struct doctor_finding *ret_finding, const char *path, uint64_t *ret_number)
{
    char digits[32];

    if (probe_read(path, digits, sizeof(digits)) < 0) {
        look_found(ret_finding, verdict_of(errno), "%s: %s", path, strerror(errno));
        return false;
    }
    if (text_parse_unsigned(digits, UINT64_MAX, ret_number))
        return true;
    look_found(ret_finding, DOCTOR_MISSING, "%s has no number", path);
    return false;
}
