/* SPDX-License-Identifier: MIT
 *
 * doctor/look.h - within the room: a function for each check, and how it says what it found.
 *
 * The functions are in look_serve.c, look_warm.c, look_room.c and look_show.c, by what they are for. Each calls one of those
 * below, once. look_failed() makes a verdict of errno: EPERM and EACCES are "not permitted"; what there is too little of
 * (memory, descriptors, processes) is "low"; everything else is "missing". Nothing is kept, and nothing is allocated
 * beyond the call.
 */
#ifndef DOCTOR_LOOK_H
#define DOCTOR_LOOK_H

#include "doctor/doctor.h"

#include <stdint.h>

#define CHECK(id, group, rank, name, use, without, remedy) void look_##id(struct doctor_finding *ret_finding);
#include "doctor/checks.def"
#undef CHECK

void look_found(struct doctor_finding *ret_finding, enum doctor_verdict verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void look_failed(struct doctor_finding *ret_finding, int errnum);
/* Ok, as found; or what errno says. */
void look_tried(struct doctor_finding *ret_finding, bool worked, const char *found);
/* A number from a file that holds nothing else. False: it has been said what is wrong with it. */
bool look_number(struct doctor_finding *ret_finding, const char *path, uint64_t *ret_number);

#endif
