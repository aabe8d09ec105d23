/* SPDX-License-Identifier: MIT
 *
 * spawn/request.h - an admitted connection, as an engine takes it.
 *
 * Plain values on the way from serve to an engine. Everything pointed to stays the caller's; the request need not outlive
 * the call that starts the worker, but for the report, which must stay until the child has been reaped.
 */
#ifndef SPAWN_REQUEST_H
#define SPAWN_REQUEST_H

#include "addr/pair.h"
#include "spawn/child.h"

struct spawn_request {
    int fd; /* the connected socket */
    const struct pair *pair;
    uint64_t connection; /* its number */
    uint64_t key;        /* by which the supervisor knows it: what its standard error is marked with */
    uint32_t of_source;  /* connections of its source now, this one included */
    volatile struct child_report *report; /* cleared (report_clear()); shared with forked children */
};

#endif
