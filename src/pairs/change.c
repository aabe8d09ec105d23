/* SPDX-License-Identifier: MIT */
#include "pairs/change.h"

static const struct pairs_row *shown_from(const struct pairs_table *table, size_t *at)
{
    while (*at < table->count && !table->rows[*at].shown)
        (*at)++;
    return *at < table->count ? &table->rows[*at] : NULL;
}

/* Descriptors that were passed on or closed count, even where as many hold the socket as before. */
static bool same_holders(const struct pairs_table *before, const struct pairs_row *a,
                         const struct pairs_table *now, const struct pairs_row *b)
{
    struct pairs_cursor a_cursor = {.row = a};
    struct pairs_cursor b_cursor = {.row = b};

    for (;;) {
        const struct descriptor *x = pairs_next_holder(before, &a_cursor);
        const struct descriptor *y = pairs_next_holder(now, &b_cursor);
        if (x == NULL || y == NULL)
            return x == y;
        if (x->pid != y->pid || x->fd != y->fd)
            return false;
    }
}

static bool is_same(const struct change_walk *walk, const struct pairs_row *a, const struct pairs_row *b)
{
    const struct diag_socket *x = &a->socket;
    const struct diag_socket *y = &b->socket;

    return x->state == y->state && x->receive_queue == y->receive_queue && x->send_queue == y->send_queue &&
           a->owner == b->owner && same_holders(walk->before, a, walk->now, b);
}

bool change_next(struct change_walk *walk, struct change_row *ret_row)
{
    const struct pairs_row *before = shown_from(walk->before, &walk->before_at);
    const struct pairs_row *now = shown_from(walk->now, &walk->now_at);
    int order;

    if (before == NULL && now == NULL)
        return false;
    if (before == NULL || now == NULL)
        order = before == NULL ? 1 : -1;
    else
        order = pairs_compare(before, now);
    if (order < 0) {
        walk->before_at++;
        *ret_row = (struct change_row){CHANGE_REMOVED, walk->before, before};
        return true;
    }
    walk->now_at++;
    walk->before_at += order == 0;
    *ret_row = (struct change_row){CHANGE_ADDED, walk->now, now};
    if (order == 0)
        ret_row->change = is_same(walk, before, now) ? CHANGE_NONE : CHANGE_CHANGED;
    return true;
}
