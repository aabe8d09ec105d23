/* SPDX-License-Identifier: MIT */
#include "demux/render.h"

#include "demux/explain.h"
#include "demux/judge.h"
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
    if (judge_comes(answer))
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
                             bool with_owner, struct text *text)
{
    const struct pairs_row *row = &answer->table.rows[candidate->row];

    text_printf(text, "%11u ", candidate->rank);
    pair_format(&row->socket.pair, text);
    text_printf(text, " %s: ", pairs_protocol(&row->socket));
    explain_candidate(answer, candidate, text);
    if (with_owner) {
        text_string(text, ": ");
        render_owner(&answer->table, row, text);
    }
    text_string(text, "\n");
}

/* The members of a group differ in nothing but their processes, which are told where one of them is meant. */
static void format_candidates(const struct answer *answer, struct text *text)
{
    const struct model_candidate *items = answer->model.items;

    for (size_t i = 0; i < answer->model.count; i++) {
        bool with_owner = i < answer->model.best && answer->certainty == CERTAINTY_GROUP;
        if (i == 0 || items[i - 1].rank != items[i].rank || with_owner)
            format_candidate(answer, &items[i], with_owner, text);
    }
}

void render_answer(const struct answer *answer, struct text *text)
{
    packet_format_flags(answer->segment.flags, text);
    text_string(text, " from ");
    address_format(&answer->segment.pair.foreign, text);
    text_string(text, " to ");
    address_format(&answer->segment.pair.local, text);
    if (answer->segment.interface != 0 &&
        (answer->interface_given || answer->way == WAY_REMOTE || answer->way == WAY_DOWN)) {
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
    format_candidates(answer, text);
}
