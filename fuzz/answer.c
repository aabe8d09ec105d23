/* SPDX-License-Identifier: MIT
 *
 * Any bytes as the kernel's sockets, and a segment: every candidate has one rank, the verdict is of what is there, and the
 * answer can be shown in both forms, in room of any size.
 */
#include "demux/judge.h"
#include "demux/render.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_MAX  64
#define HEAD_SIZE 12

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void read_rows(struct pairs_table *table, const uint8_t *data, size_t size)
{
    struct diag_reader reader;
    struct diag_socket socket;

    char *bytes = malloc(size + (size == 0));
    check(bytes != NULL);
    memcpy(bytes, data, size);
    diag_reader_init(&reader, bytes, size);
    while (table->count < ROWS_MAX && diag_reader_next(&reader, &socket) == DIAG_SOCKET)
        check(pairs_append(table, &socket));
    free(bytes);
}

static void check_ranks(const struct model *model)
{
    for (size_t i = 0; i < model->count; i++) {
        uint32_t before = i != 0 ? model->items[i - 1].rank : 0;
        check(model->items[i].rank == before || model->items[i].rank == before + 1);
        check((model->items[i].rank == 1) == (i < model->best));
        for (size_t k = 0; k < i; k++)
            check(model->items[k].row != model->items[i].row);
    }
}

static void show(const struct answer *answer, size_t room)
{
    char *buffer = malloc(room + 1);
    struct text text;

    check(buffer != NULL);
    text_init(&text, buffer, room);
    render_answer(answer, &text);
    text_end(&text);
    text_init(&text, buffer, room);
    render_answer_json(answer, &text);
    text_end(&text);
    free(buffer);
}

/* The segment is for the first of the sockets, so that something matches. */
static struct segment segment_of(const struct pairs_table *table, const uint8_t *head)
{
    struct segment segment = {.flags = head[0], .interface = head[1] % 4};

    if (table->count != 0)
        segment.pair = table->rows[head[2] % table->count].socket.pair;
    if (segment.pair.local.family == AF_UNSPEC)
        segment.pair.local.family = head[3] % 2 != 0 ? AF_INET : AF_INET6;
    segment.pair.foreign.family = segment.pair.local.family;
    return segment;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct answer answer = {.agree = true};

    if (size < HEAD_SIZE)
        return 0;
    read_rows(&answer.table, data + HEAD_SIZE, size - HEAD_SIZE);
    answer.segment = segment_of(&answer.table, data);
    answer.way = data[4] % (WAY_MARTIAN + 1);
    answer.kernel = data[5] < answer.table.count ? data[5] : ANSWER_NONE;
    answer.agree = data[6] % 2 != 0;
    answer.programs = data[7] % 3 - 1;
    answer.cpus_vary = data[8] % 2 != 0;
    answer.cpus_all = data[9] % 2 != 0;
    check(model_find(&answer.table, &answer.segment, &answer.steering, &answer.model));
    check_ranks(&answer.model);
    judge(&answer);
    check((answer.kind == ANSWER_NOBODY) == (answer.row == ANSWER_NONE));
    show(&answer, 1 << 16);
    show(&answer, data[10]);
    answer_done(&answer);
    return 0;
}
