/* SPDX-License-Identifier: MIT
 *
 * Any text as an ADDRESS: it is refused with a reason and a column of the text, or what is formatted from it is parsed
 * to the same value. Only the family of a wildcard is not in the notation.
 */
#include "addr/address.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_refusal(const struct fp_error *err, size_t length)
{
    check(err->status == FP_DATA && err->reason[0] != '\0');
    check(err->column >= 1 && err->column <= length + 1);
    check(fp_error_format(err, NULL, 0) != 0);
}

static void check_round_trip(const struct address *address)
{
    char notation[ADDRESS_TEXT_SIZE];
    struct address again;
    struct text text;

    text_init(&text, notation, sizeof(notation));
    address_format(address, &text);
    check(text_end(&text) < sizeof(notation));
    check(address_parse(notation, &again, NULL, NULL) == FP_OK);
    if (address_is_wildcard(address))
        again.family = address->family;
    check(address_equal(address, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *string = strndup((const char *)data, size);
    struct address address;
    struct fp_error err;
    bool is_name;

    check(string != NULL);
    if (address_parse(string, &address, &is_name, &err) == FP_OK) {
        check(!is_name);
        check_round_trip(&address);
    } else {
        check_refusal(&err, strlen(string));
    }
    free(string);
    return 0;
}
