/* SPDX-License-Identifier: MIT
 *
 * pairs/change.h - what became of the rows of a table since an earlier one.
 *
 * Walks over two sorted tables of the same question at once, in the order of both, and gives each shown row with what
 * happened to it: it is as before, new, gone, or changed in its state, its queues or its owners. A socket is the same
 * where the cookie is, so one that took another's pair is new, and the other gone. One that begins to listen or connects moves to
 * another place of the order, where it is new. The tables stay the caller's.
 */
#ifndef PAIRS_CHANGE_H
#define PAIRS_CHANGE_H

#include "pairs/pairs.h"

enum change { CHANGE_NONE, CHANGE_ADDED, CHANGE_REMOVED, CHANGE_CHANGED };

struct change_walk {
    const struct pairs_table *before;
    const struct pairs_table *now;
    size_t before_at;
    size_t now_at;
};

struct change_row {
    enum change change;
    const struct pairs_table *table; /* the row's */
    const struct pairs_row *row;
};

bool change_next(struct change_walk *walk, struct change_row *ret_row);

#endif
