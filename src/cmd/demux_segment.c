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

static enum fp_status fail(const struct question *question, enum fp_status status, struct fp_error *err)
{
    return error_set(err, status, 0, "demultiplex", "from %s to %s", question->arguments->foreign,
                     question->arguments->local);
}

/* What names the interface, in whatever place, has to name the same one. */
static enum fp_status check_interfaces(const struct question *question, uint32_t option, uint32_t device,
                                       struct fp_error *err)
{
    const struct pair *pair = &question->segment.pair;
    const struct naming {
        const char *place;
        uint32_t interface; /* 0: it names none */
    } namings[] = {
        {"--interface", option},
        {"the device behind LOCAL", device},
        {"the scope of LOCAL", pair->local.scope},
        {"the scope of FOREIGN", pair->foreign.scope},
    };
    const struct naming *first = NULL;

    for (size_t i = 0; i < sizeof(namings) / sizeof(namings[0]); i++) {
        const struct naming *naming = &namings[i];
        if (naming->interface == 0)
            continue;
        if (first != NULL && naming->interface != first->interface)
            return error_reason(err, fail(question, FP_USAGE, err), "%s and %s name different interfaces",
                                first->place, naming->place);
        first = first != NULL ? first : naming;
    }
    return FP_OK;
}

static enum fp_status find_way(struct question *question, struct fp_error *err)
{
    const char *name = question->arguments->interface;
    struct pair *pair = &question->segment.pair;
    uint32_t option = 0;
    uint32_t device = 0;
    enum fp_status status = FP_OK;

    if (pair->foreign.device[0] != '\0')
        return error_reason(err, fail(question, FP_USAGE, err),
                            "a device is that by which the segment comes in, and stands behind LOCAL");
    if (name != NULL)
        status = find_interface(name, &option, err);
    if (status == FP_OK && pair->local.device[0] != '\0')
        status = find_interface(pair->local.device, &device, err);
    if (status == FP_OK)
        status = check_interfaces(question, option, device, err);
    question->segment.interface = option != 0 ? option : device;
    pair->local.device[0] = '\0';
    return status;
}

/* A name can stand for several addresses: every two of one family are a segment. */
static enum fp_status answer_all(struct question *question, const struct address_list *foreign,
                                 const struct address_list *local, struct fp_error *err)
{
    enum fp_status status = FP_OK;

    for (size_t i = 0; i < local->count && status == FP_OK; i++) {
        for (size_t k = 0; k < foreign->count && status == FP_OK; k++) {
            if (local->items[i].family != foreign->items[k].family)
                continue;
            question->segment.pair = (struct pair){.local = local->items[i], .foreign = foreign->items[k]};
            status = find_way(question, err);
            if (status == FP_OK)
                status = answer_one(question, err);
        }
    }
    if (status == FP_OK && !question->any)
        return error_reason(err, fail(question, FP_DATA, err), "one is of IPv4 and the other of IPv6");
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
