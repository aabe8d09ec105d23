/* SPDX-License-Identifier: MIT */
#include "addr/pair.h"

#include "addr/notation.h"

#include <string.h>

bool pair_equal(const struct pair *a, const struct pair *b)
{
    return address_equal(&a->local, &b->local) && address_equal(&a->foreign, &b->foreign);
}

void pair_format(const struct pair *pair, struct text *text)
{
    text_bytes(text, "{", 1);
    address_format(&pair->local, text);
    text_bytes(text, ", ", 2);
    address_format(&pair->foreign, text);
    text_bytes(text, "}", 1);
}

/* One end: stricter than an ADDRESS of the command line, where a part may be left out or be a service. */
static enum fp_status parse_end(const struct notation *notation, struct address *ret_address,
                                struct fp_error *err)
{
    struct notation_parts parts;

    enum fp_status status = notation_split(notation, &parts, err);
    if (status != FP_OK)
        return status;
    if (parts.host.length == 0)
        return notation_fail(notation, notation->item.start, err, "expected ADDRESS:PORT at each end");
    if (parts.port.length != 0 && strchr("*0123456789", parts.port.start[0]) == NULL)
        return notation_fail(notation, parts.port.start, err, "expected a number or '*' as port");
    return notation_address(notation, ret_address, NULL, err);
}

enum fp_status pair_parse(const char *string, struct pair *ret_pair, struct fp_error *err)
{
    struct notation whole = notation_whole(string);
    const char *end = string + whole.item.length;
    struct pair pair;

    whole.operation = "understand the pair";
    const char *comma = strchr(string, ',');
    if (string[0] != '{' || end[-1] != '}' || comma == NULL) {
        notation_fail(&whole, string, err, "expected a socket pair");
        error_hint(err, "as in {192.0.2.1:21, 198.51.100.7:1500} or {*:21, *:*}");
        return FP_DATA;
    }
    const char *foreign = comma + (comma[1] == ' ' ? 2 : 1);
    struct notation one = whole;
    one.item = (struct span){.start = string + 1, .length = (size_t)(comma - string - 1)};
    enum fp_status status = parse_end(&one, &pair.local, err);
    one.item = (struct span){.start = foreign, .length = (size_t)(end - 1 - foreign)};
    if (status == FP_OK)
        status = parse_end(&one, &pair.foreign, err);
    if (status != FP_OK)
        return status;
    if (pair.local.family != pair.foreign.family && !address_is_wildcard(&pair.local) &&
        !address_is_wildcard(&pair.foreign))
        return notation_fail(&whole, foreign, err, "the ends of a pair are of one family");
    *ret_pair = pair;
    return FP_OK;
}
