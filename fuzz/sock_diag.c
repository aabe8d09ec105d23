/* SPDX-License-Identifier: MIT
 *
 * Any bytes as an answer of the kernel about its sockets: the reader comes to an end, reads nothing beyond them, and
 * what it gives can be put in a table, sorted, and shown in every form.
 */
#include "pairs/render.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void show(const struct pairs_table *table)
{
    char line[4096];

    for (int form = RENDER_COLUMNS; form <= RENDER_JSON; form++) {
        struct render render = {.form = (enum render_form)form, .with_counts = true};
        render_measure(&render, table);
        for (size_t i = 0; i < table->count; i++) {
            struct text text;
            text_init(&text, line, sizeof(line));
            render_row(&render, table, &table->rows[i], &text);
            check(text_end(&text) < sizeof(line) && text.length != 0 && strchr(line, '\n') == NULL);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pairs_table table = {.count = 0};
    struct diag_reader reader;
    struct diag_socket socket;
    enum diag_item item;

    /* A copy of its exact size, aligned as the reader asks for, so that a read beyond it is seen. */
    char *bytes = malloc(size + (size == 0));
    check(bytes != NULL);
    memcpy(bytes, data, size);
    diag_reader_init(&reader, bytes, size);
    while ((item = diag_reader_next(&reader, &socket)) == DIAG_SOCKET) {
        check(reader.left >= -3 && diag_state_name(socket.state)[0] != '\0');
        if (table.count < ROWS_MAX)
            check(pairs_append(&table, &socket));
    }
    check(item != DIAG_ERROR || reader.errnum > 0);
    pairs_sort(&table);
    for (size_t i = 0; i < table.count; i++) {
        table.rows[i].shown = true;
        table.rows[i].owner = (uint8_t)(i % (OWNER_UNSEEN + 1));
        check(i == 0 || pairs_compare(&table.rows[i - 1], &table.rows[i]) < 0);
    }
    show(&table);
    pairs_done(&table);
    free(bytes);
    return 0;
}
