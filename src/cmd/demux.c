/* SPDX-License-Identifier: MIT */
#include "cmd/demux.h"

#include "cmd/cmd.h"
#include "cmd/command_line.h"

#include <stddef.h>
#include <sysexits.h>

#define MAX_PAIRS 1000000

#define OPTION(name, kind, member, least, most, placeholder, help) \
    {#name, COMMAND_##kind, offsetof(struct demux_arguments, member), least, most, placeholder, help},
static const struct command_option options[] = {
#include "cmd/demux.def"
};
#undef OPTION

static enum fp_status add_operand(void *data, const char *operand, struct fp_error *err);

static const struct command_line line = {
    .name = "demux",
    .doing = "demultiplex with",
    .usage = "usage: forkport demux FOREIGN LOCAL [OPTION...]\n"
             "       forkport demux --read FILE [OPTION...]\n"
             "       forkport demux --live INTERFACE [OPTION...]\n"
             "\n"
             "Says which endpoint receives a segment, and why: one from FOREIGN to LOCAL, both ADDRESS:PORT, "
             "that\n"
             "came in now; each of a capture; or each that passes an interface.\n",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .program_offset = SIZE_MAX,
    .operand = add_operand,
};

static enum fp_status add_operand(void *data, const char *operand, struct fp_error *err)
{
    struct demux_arguments *arguments = data;

    if (arguments->foreign == NULL)
        arguments->foreign = operand;
    else if (arguments->local == NULL)
        arguments->local = operand;
    else
        return command_line_usage(&line, operand, "two ends are expected, FOREIGN LOCAL", err);
    return FP_OK;
}

/* An option that means nothing in this form is somebody's mistake. */
static enum fp_status check_capture(const struct demux_arguments *arguments, struct fp_error *err)
{
    if (arguments->read != NULL && arguments->live != NULL)
        return command_line_usage(&line, "--live", "--read and --live do not go together", err);
    if (arguments->foreign != NULL)
        return command_line_usage(&line, arguments->foreign, "--read and --live have their segments already",
                                  err);
    if (arguments->flags != NULL || arguments->interface != NULL)
        return command_line_usage(&line, arguments->flags != NULL ? "--flags" : "--interface",
                                  "a capture's segments have their own", err);
    if (arguments->read != NULL && arguments->namespace != NULL)
        return command_line_usage(&line, "--namespace", "a file is read, and no namespace is asked", err);
    if (arguments->read == NULL && arguments->table != NULL)
        return command_line_usage(&line, "--table", "it goes with --read", err);
    return FP_OK;
}

static enum fp_status check_segment(const struct demux_arguments *arguments, struct fp_error *err)
{
    if (arguments->table != NULL || arguments->write != NULL || arguments->summary || arguments->count != 0 ||
        arguments->max_pairs != 0)
        return command_line_usage(&line, "--table, --write, --summary, --count or --max-pairs",
                                  "they go with --read or --live", err);
    if (arguments->local == NULL)
        return command_line_usage(
            &line, arguments->foreign != NULL ? arguments->foreign : "",
            "FOREIGN and LOCAL are expected, as in forkport demux 198.51.100.7:1500 192.0.2.1:21", err);
    return FP_OK;
}

static enum fp_status check(const struct demux_arguments *arguments, struct fp_error *err)
{
    if (arguments->read != NULL || arguments->live != NULL)
        return check_capture(arguments, err);
    return check_segment(arguments, err);
}

static enum fp_status run(const struct demux_arguments *arguments, int *ret_code, struct fp_error *err)
{
    if (arguments->read != NULL)
        return demux_read(arguments, ret_code, err);
    if (arguments->live != NULL)
        return demux_live(arguments, ret_code, err);
    return demux_segment(arguments, ret_code, err);
}

int cmd_demux(int argc, char **argv)
{
    struct demux_arguments arguments = {.max_pairs = 0};
    struct fp_error err;
    int code = EX_OK;
    bool help;

    enum fp_status status = command_line_parse(&line, argc, argv, &arguments, &help, &err);
    if (status == FP_OK && help)
        return EX_OK;
    if (status == FP_OK)
        status = check(&arguments, &err);
    if (arguments.max_pairs == 0)
        arguments.max_pairs = MAX_PAIRS;
    if (status == FP_OK)
        status = run(&arguments, &code, &err);
    return status == FP_OK ? code : cmd_fail(&err);
}
