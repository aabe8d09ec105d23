/* SPDX-License-Identifier: MIT */
#include "demux/render.h"

#include "demux/explain.h"
#include "pairs/render.h"

static void format_row(const struct answer *answer, uint32_t row, struct text *text)
{
    const struct pairs_row *at = &answer->table.rows[row];

    pair_format(&at->socket.pair, text);
    text_printf(text, " %s %s", pairs_protocol(&at->socket), diag_state_name(at->socket.state));
    if (at->owner != OWNER_UNKNOWN) {
        text_string(text, ", ");
        render_owner(&answer->table, at, text);
    }
}

static void format_certainty(const struct answer *answer, struct text *text)
{
    text_string(text, explain_certainty(answer->certainty));
    if (answer->certainty == CERTAINTY_GROUP && answer->row != ANSWER_NONE)
        text_string(text, ": this one or another of its rank");
    if (answer->way == WAY_HERE || answer->way == WAY_REMOTE)
        text_string(text,
                    answer->agree ? ", and the kernel says the same" : ", the kernel and the rules differ");
}

static void add_reason(void *data, const char *line)
{
    struct text *text = data;

    text_string(text, "  because   ");
    text_string(text, line);
    text_string(text, "\n");
}

static void format_candidate(const struct answer *answer, const struct model_candidate *candidate,
                             struct text *text)
{
    const struct diag_socket *socket = &answer->table.rows[candidate->row].socket;

    text_printf(text, "%11u ", candidate->rank);
    pair_format(&socket->pair, text);
    text_printf(text, " %s: ", pairs_protocol(socket));
    explain_candidate(answer, candidate, text);
    text_string(text, "\n");
}

void render_answer(const struct answer *answer, struct text *text)
{
    segment_flags_format(answer->segment.flags, text);
    text_string(text, " from ");
    address_format(&answer->segment.pair.foreign, text);
    text_string(text, " to ");
    address_format(&answer->segment.pair.local, text);
    if (answer->segment.interface != 0 && (answer->interface_given || answer->way == WAY_REMOTE)) {
        text_string(text, " by ");
        explain_interface(&answer->segment, text);
    }
    text_string(text, "\n  receiver  ");
    if (answer->row != ANSWER_NONE)
        format_row(answer, answer->row, text);
    else
        text_string(text, "nobody");
    text_string(text, "\n  certainty ");
    format_certainty(answer, text);
    text_string(text, "\n  sender    sees ");
    explain_sender(answer, text);
    text_string(text, "\n");
    explain_reasons(answer, add_reason, text);
    for (size_t i = 0; i < answer->model.count; i++) {
        /* The members of a group differ in nothing that is shown here. */
        if (i == 0 || answer->model.items[i - 1].rank != answer->model.items[i].rank)
            format_candidate(answer, &answer->model.items[i], text);
    }
}
