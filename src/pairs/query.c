/* SPDX-License-Identifier: MIT */
#include "pairs/query.h"

#include "pairs/gather.h"
#include "pairs/owner.h"
#include "pairs/service.h"
#include "sys/netns.h"

#include <errno.h>

enum fp_status query_enter(const struct query *query, int *ret_home, struct fp_error *err)
{
    *ret_home = -1;
    if (query->namespace == NULL)
        return FP_OK;
    *ret_home = netns_enter(query->namespace);
    if (*ret_home >= 0)
        return FP_OK;
    /* What setns(2) says to a file of another kind. */
    if (errno == EINVAL)
        return error_reason(err,
                            error_set(err, FP_NO_INPUT, 0, "enter the network namespace", "%s",
                                      query->namespace),
                            "it is none");
    return error_set(err, error_class(errno), errno, "enter the network namespace", "%s", query->namespace);
}

enum fp_status query_leave(int take_home, struct fp_error *err)
{
    if (take_home < 0 || netns_leave(take_home) == 0)
        return FP_OK;
    return error_set(err, error_class(errno), errno, "go back to", "the network namespace");
}

enum fp_status query_run(const struct query *query, struct pairs_table *table, struct fp_error *err)
{
    const struct filter *filter = &query->filter;

    enum fp_status status = gather_rows(table, filter_states(filter), query->with_counts, err);
    if (status != FP_OK)
        return status;
    for (size_t i = 0; i < table->count; i++)
        table->rows[i].shown = filter_matches_socket(filter, &table->rows[i].socket);
    status = owner_find(table, filter_pid(filter), err);
    if (status == FP_OK && !service_find(table))
        status = error_set(err, FP_SYSTEM, ENOMEM, "read", "the services of processes");
    for (size_t i = 0; i < table->count && status == FP_OK; i++) {
        struct pairs_row *row = &table->rows[i];
        row->shown = row->shown && filter_matches_owner(filter, table, row);
    }
    return status;
}
