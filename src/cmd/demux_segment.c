/* SPDX-License-Identifier: MIT */
#include "cmd/demux.h"

#include "addr/resolve.h"
#include "base/error.h"
#include "base/line.h"
#include "demux/render.h"
#include "pairs/query.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#define EXIT_NOBODY 1

static enum fp_status find_interface(const char *name, uint32_t *ret_number, struct fp_error *err)
{
    uint32_t number = if_nametoindex(name);

    if (number == 0)
        return error_reason(err, error_set(err, FP_DATA, 0, "find", "the interface %s", name),
                            "there is none of this name");
    *ret_number = number;
    return FP_OK;
}

static enum fp_status print(const struct answer *answer, bool json, bool first, struct fp_error *err)
{
    struct line line = {0};

    do
        (json ? render_answer_json : render_answer)(answer, line_begin(&line));
    while (line_again(&line));
    if (line_text(&line) == NULL) {
        line_done(&line);
        return error_set(err, FP_SYSTEM, ENOMEM, "print", "the answer");
    }
    if (!json && !first)
        putchar('\n');
    fwrite(line_text(&line), 1, line.text.length, stdout);
    if (json)
        putchar('\n');
    line_done(&line);
    return FP_OK;
}

struct question {
    const struct demux_arguments *arguments;
    struct segment segment;
    bool any; /* answered so far */
    bool received;
};

static enum fp_status answer_one(struct question *question, struct fp_error *err)
{
    bool given = question->segment.interface != 0;
    struct answer answer;

    enum fp_status status = answer_make(&question->segment, given, &answer, err);
    if (status != FP_OK)
        return status;
    status = answer_owners(&answer, err);
    if (status == FP_OK)
        status = print(&answer, question->arguments->json, !question->any, err);
    question->any = true;
    question->received = question->received || answer.kind != ANSWER_NOBODY;
    answer_done(&answer);
    return status;
}

/* A name can stand for several addresses: every two of one family are a segment. */
static enum fp_status answer_all(struct question *question, const struct address_list *foreign,
                                 const struct address_list *local, struct fp_error *err)
{
    const struct demux_arguments *arguments = question->arguments;
    enum fp_status status = FP_OK;

    for (size_t i = 0; i < local->count && status == FP_OK; i++) {
        for (size_t k = 0; k < foreign->count && status == FP_OK; k++) {
            struct pair *pair = &question->segment.pair;
            if (local->items[i].family != foreign->items[k].family)
                continue;
            *pair = (struct pair){.local = local->items[i], .foreign = foreign->items[k]};
            question->segment.interface = 0;
            const char *device = pair->local.device[0] != '\0' ? pair->local.device : arguments->interface;
            if (device != NULL)
                status = find_interface(device, &question->segment.interface, err);
            pair->local.device[0] = '\0';
            if (status == FP_OK)
                status = answer_one(question, err);
        }
    }
    if (status == FP_OK && !question->any)
        return error_reason(err,
                            error_set(err, FP_DATA, 0, "demultiplex", "from %s to %s", arguments->foreign,
                                      arguments->local),
                            "one is of IPv4 and the other of IPv6");
    return status;
}

static enum fp_status resolve(struct question *question, struct fp_error *err)
{
    struct address_list foreign = {.count = 0};
    struct address_list local = {.count = 0};

    enum fp_status status = address_list_resolve(question->arguments->foreign, &foreign, err);
    if (status == FP_OK)
        status = address_list_resolve(question->arguments->local, &local, err);
    if (status == FP_OK)
        status = answer_all(question, &foreign, &local, err);
    address_list_done(&foreign);
    address_list_done(&local);
    return status;
}

enum fp_status demux_segment(const struct demux_arguments *arguments, int *ret_code, struct fp_error *err)
{
    struct question question = {.arguments = arguments};
    struct query query = {.namespace = arguments->namespace};
    const char *flags = arguments->flags != NULL ? arguments->flags : "SYN";
    int home;

    enum fp_status status = packet_parse_flags(flags, &question.segment.flags, err);
    if (status == FP_OK)
        status = query_enter(&query, &home, err);
    if (status != FP_OK)
        return status;
    status = resolve(&question, err);
    if (status == FP_OK)
        status = query_leave(home, err);
    *ret_code = question.received ? EX_OK : EXIT_NOBODY;
    return status;
}
