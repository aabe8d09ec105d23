/* SPDX-License-Identifier: MIT
 *
 * Any text as a socket pair: it is refused with a reason and a column of the text, or what is formatted from it is
 * parsed to the same pair, and formatted to the same text again.
 */
#include "addr/pair.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void format(const struct pair *pair, char notation[PAIR_TEXT_SIZE])
{
    struct text text;

    text_init(&text, notation, PAIR_TEXT_SIZE);
    pair_format(pair, &text);
    check(text_end(&text) < PAIR_TEXT_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *string = strndup((const char *)data, size);
    char notation[PAIR_TEXT_SIZE];
    char notation_again[PAIR_TEXT_SIZE];
    struct fp_error err;
    struct pair pair;
    struct pair again;

    check(string != NULL);
    if (pair_parse(string, &pair, &err) == FP_OK) {
        format(&pair, notation);
        check(pair_parse(notation, &again, NULL) == FP_OK);
        format(&again, notation_again);
        check(strcmp(notation, notation_again) == 0);
    } else {
        check(err.status == FP_DATA && err.reason[0] != '\0');
        check(err.column >= 1 && err.column <= strlen(string) + 1);
    }
    free(string);
    return 0;
}
