/* SPDX-License-Identifier: MIT
 *
 * Any text as a filter: it is refused with a reason and leaves the filter as it was, or it can be asked whether a
 * socket matches it, of any family, without reading beyond anything.
 */
#include "pairs/filter.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6};
    char *string = strndup((const char *)data, size);
    struct filter filter = {.count = 0};
    struct fp_error err;

    check(string != NULL);
    if (filter_add(&filter, string, &err) != FP_OK) {
        check(err.status == FP_USAGE && err.reason[0] != '\0' && filter.count == 0);
        free(string);
        return 0;
    }
    check(filter.count == 1 && (filter_states(&filter) & DIAG_STATE_BIT(DIAG_LISTEN)) != 0);
    for (size_t i = 0; i < 9; i++) {
        struct pairs_table table = {.count = 0};
        struct pairs_row row = {.owner = OWNER_NONE};
        row.socket = (struct diag_socket){
            .pair.local = {.family = families[i % 3], .port = 21, .bytes = {192, 0, 2, 1}},
            .pair.foreign = {.family = families[i / 3], .port = 1500, .bytes = {198, 51, 100, 7}},
            .family = families[i % 2 + 1],
            .state = (uint8_t)(i * 31),
        };
        filter_matches_socket(&filter, &row.socket);
        filter_matches_owner(&filter, &table, &row);
    }
    free(string);
    return 0;
}
