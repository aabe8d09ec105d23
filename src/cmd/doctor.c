/* SPDX-License-Identifier: MIT */
#include "doctor/doctor.h"

#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/command_line.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sysexits.h>

#define EXIT_LACKING 1
#define OUTPUT_SIZE  (64 << 10)

struct arguments {
    bool json;
};

#define OPTION(name, kind, member, least, most, placeholder, help) \
    {#name, COMMAND_##kind, offsetof(struct arguments, member), least, most, placeholder, help},
static const struct command_option options[] = {
#include "cmd/doctor.def"
};
#undef OPTION

static const struct command_line line = {
    .name = "doctor",
    .doing = "examine this host with",
    .usage = "usage: forkport doctor [OPTION...]\n"
             "\n"
             "Says what this build and this host have of what forkport uses, what follows from what they\n"
             "lack, and what can be done about it. Exits 1 where forkport serve cannot run.\n",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .program_offset = SIZE_MAX,
};

static enum fp_status print_findings(const struct doctor_finding findings[], bool json, struct fp_error *err)
{
    static char output[OUTPUT_SIZE];
    struct text text;
    bool done = true;

    text_init(&text, output, sizeof(output));
    if (json)
        done = doctor_json(findings, &text);
    else
        doctor_text(findings, &text);
    if (!done || text_end(&text) >= sizeof(output))
        return error_set(err, FP_SYSTEM, ENOMEM, "print", "what was found");
    fwrite(output, 1, text_length(&text), stdout);
    return FP_OK;
}

int cmd_doctor(int argc, char **argv)
{
    struct doctor_finding findings[DOCTOR_CHECKS_MAX];
    struct arguments arguments = {.json = false};
    struct fp_error err;
    bool help;

    enum fp_status status = command_line_parse(&line, argc, argv, &arguments, &help, &err);
    if (status != FP_OK)
        return cmd_fail(&err);
    if (help)
        return EX_OK;
    for (size_t i = 0; i < doctor_check_count; i++)
        doctor_look(&doctor_checks[i], &findings[i]);
    status = print_findings(findings, arguments.json, &err);
    if (status != FP_OK)
        return cmd_fail(&err);
    return doctor_serves(findings) ? EX_OK : EXIT_LACKING;
}
