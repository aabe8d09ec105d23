/* SPDX-License-Identifier: MIT
 *
 * addr/notation.h - the one reader of the ADDRESS notation, for the other files of this room.
 *
 * An address is read where it stands: as a stretch of a longer text, a list or a pair, so that every error can name
 * the column of the whole text. notation_split() finds the parts, notation_port() gives one of them a meaning, and
 * notation_address() all of them. Nothing is copied or allocated, no name server is asked; a scope
 * and a service are looked up in the host's own tables (if_nametoindex(3), services(5)). Failures are FP_DATA.
 */
#ifndef ADDR_NOTATION_H
#define ADDR_NOTATION_H

#include "addr/address.h"

#include <stddef.h>

/* A stretch of the text, not terminated. */
struct span {
    const char *start;
    size_t length;
};

struct notation {
    const char *text;      /* the whole text: columns count from here */
    struct span item;      /* the address in it */
    const char *operation; /* for the error: "understand the address" */
};

struct notation_parts {
    struct span host;   /* without brackets, scope included; empty: none */
    struct span device; /* empty: none */
    struct span port;
    bool bracketed;
};

/* The whole of `text` as one address. */
struct notation notation_whole(const char *text);

enum fp_status notation_split(const struct notation *notation, struct notation_parts *ret_parts,
                              struct fp_error *err);
enum fp_status notation_port(const struct notation *notation, struct span port, uint16_t *ret_port,
                             struct fp_error *err);
/* FP_DATA with *ret_is_name true: it has the form of a host's name. */
enum fp_status notation_address(const struct notation *notation, struct address *ret_address,
                                bool *ret_is_name, struct fp_error *err);

/* "cannot OPERATION ITEM: REASON, at column N". Returns FP_DATA. */
enum fp_status notation_fail(const struct notation *notation, const char *at, struct fp_error *err,
                             const char *reason, ...) __attribute__((format(printf, 4, 5)));

/* Where if_nametoindex(3) has failed, with errno: there is no such device, or (FP_SYSTEM) it could not be asked for. */
enum fp_status notation_fail_device(const struct notation *notation, const char *at, const char *name,
                                    struct fp_error *err);

/* A copy of the span in a buffer, as a string; false where it does not fit. */
bool span_copy(struct span span, char *buffer, size_t size);

#endif
