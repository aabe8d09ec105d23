/* SPDX-License-Identifier: MIT
 *
 * pairs/query.h - a question to the socket-pair table, and its answer.
 *
 * Puts the room's parts together: the rows are gathered, those that the filter's terms about sockets leave are shown,
 * their owners found, and what the terms about processes do not match is hidden again. Where another namespace is
 * asked for, the calling thread is in it while the rows are gathered, and so that their scopes can be named, until
 * query_leave(); processes are always those of /proc. The table is the caller's, also after a failure.
 */
#ifndef PAIRS_QUERY_H
#define PAIRS_QUERY_H

#include "pairs/filter.h"
#include "pairs/pairs.h"

struct query {
    struct filter filter;
    const char *namespace; /* a name, a pid or a path, see sys/netns.h; NULL: the caller's own. Not owned */
    bool with_counts;      /* bytes and round trips too */
};

/* Enters the namespace: a descriptor for query_leave(), or -1 in *ret_home where there is none to enter. */
enum fp_status query_enter(const struct query *query, int *ret_home, struct fp_error *err);
enum fp_status query_leave(int take_home, struct fp_error *err);
/* Fills an empty table with the sockets of the namespace that the thread is in. */
enum fp_status query_run(const struct query *query, struct pairs_table *table, struct fp_error *err);

#endif
