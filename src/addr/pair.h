/* SPDX-License-Identifier: MIT
 *
 * addr/pair.h - a socket pair, local end first, and its notation: {192.0.2.1:21, 198.51.100.7:1500}.
 *
 * A plain value without pointers. A listening socket has the foreign end *:*. Both ends of a connected socket have
 * the same family. Parsing takes exactly the notation (space after the comma optional) and nothing else; formatting
 * never fails.
 */
#ifndef ADDR_PAIR_H
#define ADDR_PAIR_H

#include "addr/address.h"

/* Room for any pair in notation, with the NUL. */
#define PAIR_TEXT_SIZE (2 * ADDRESS_TEXT_SIZE + 8)

struct pair {
    struct address local;
    struct address foreign;
};

bool pair_equal(const struct pair *a, const struct pair *b);
void pair_format(const struct pair *pair, struct text *text);
enum fp_status pair_parse(const char *string, struct pair *ret_pair, struct fp_error *err);

#endif
