/* SPDX-License-Identifier: MIT */
#include "cmd/demux.h"

#include "base/error.h"
#include "demux/live.h"
#include "pairs/query.h"

#include <errno.h>
#include <stdio.h>
#include <sysexits.h>

struct output {
    bool failed;
    int errnum;
};

/* What is to come at once can be written with it; else who reads wants to see it now. */
static bool print_line(void *data, const char *line, size_t length, bool more)
{
    struct output *output = data;

    if (fwrite(line, 1, length, stdout) != length || (!more && fflush(stdout) != 0)) {
        output->failed = true;
        output->errnum = errno;
    }
    return !output->failed;
}

static void print_notice(void *data, const char *text)
{
    (void)data;
    fprintf(stderr, "forkport: %s\n", text);
}

enum fp_status demux_live(const struct demux_arguments *arguments, int *ret_code, struct fp_error *err)
{
    struct output output = {.failed = false};
    struct live_sink sink = {.line = print_line, .notice = print_notice, .data = &output};
    struct live_options options = {
        .interface = arguments->live,
        .write = arguments->write,
        .json = arguments->json,
        .summary = arguments->summary,
        .max_pairs = (uint32_t)arguments->max_pairs,
        .count = arguments->count,
    };

    /* It ends with the process, so nobody need go back. */
    struct query query = {.namespace = arguments->namespace};
    int home;
    enum fp_status status = query_enter(&query, &home, err);
    if (status == FP_OK)
        status = live_run(&options, &sink, err);
    if (status == FP_OK && (fflush(stdout) != 0 || output.failed))
        return error_set(err, FP_SYSTEM, output.failed ? output.errnum : errno, "print", "the segments");
    *ret_code = EX_OK;
    return status;
}
