/* SPDX-License-Identifier: MIT */
#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/command_line.h"
#include "figures/claim.h"
#include "figures/drawing.h"
#include "figures/play.h"
#include "figures/report.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define EXIT_CLAIM_FAILED 1
#define OUTPUT_SIZE       (128 << 10)
#define PATH_SIZE         4096

struct arguments {
    const char *svg;
    bool json;
    bool ascii;
    bool loopback;
};

#define OPTION(name, kind, member, least, most, placeholder, help) \
    {#name, COMMAND_##kind, offsetof(struct arguments, member), least, most, placeholder, help},
static const struct command_option options[] = {
#include "cmd/figures.def"
};
#undef OPTION

static const struct command_line command = {
    .name = "figures",
    .doing = "draw the figures with",
    .usage = "usage: forkport figures [OPTION...]\n"
             "\n"
             "Plays section 2.10 of \"UNIX Network Programming\" with real processes and sockets, draws its\n"
             "figures 2.11 to 2.14 as the kernel's table has them, and checks each of its claims.\n",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .program_offset = SIZE_MAX,
};

static bool locale_is_utf8(void)
{
    setlocale(LC_CTYPE, "");
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

static enum fp_status write_file(const char *path, const struct text *text, struct fp_error *err)
{
    FILE *file = fopen(path, "we");

    if (file == NULL)
        return error_set(err, error_class(errno), errno, "write", "%s", path);
    bool written = fwrite(text->start, 1, text_length(text), file) == text_length(text);
    if (fclose(file) == 0 && written)
        return FP_OK;
    return error_set(err, FP_SYSTEM, errno, "write", "%s", path);
}

static enum fp_status write_picture(const struct story *story, enum story_scene scene, const char *folder,
                                    struct text *text, struct fp_error *err)
{
    struct drawing drawing;
    char path[PATH_SIZE];

    drawing_make(story, scene, &drawing);
    draw_svg(&drawing, text);
    if (text_end(text) >= text->size)
        return error_set(err, FP_BUG, ENOSPC, "draw", "figure %s", drawing.number);
    snprintf(path, sizeof(path), "%s/figure-%s.svg", folder,
             drawing.number[0] != '\0' ? drawing.number : "other");
    return write_file(path, text, err);
}

static enum fp_status write_pictures(const struct story *story, const char *folder, char *output,
                                     struct fp_error *err)
{
    static const enum story_scene drawn[] = {SCENE_LISTENING, SCENE_REQUEST, SCENE_CHILD, SCENE_SECOND,
                                             SCENE_OTHER};
    enum fp_status status = FP_OK;

    for (size_t i = 0; i < sizeof(drawn) / sizeof(drawn[0]) && status == FP_OK; i++) {
        struct text text;
        text_init(&text, output, OUTPUT_SIZE);
        status = write_picture(story, drawn[i], folder, &text, err);
    }
    return status;
}

static enum fp_status print_report(const struct story *story, const struct arguments *arguments, char *output,
                                   struct fp_error *err)
{
    struct text text;
    bool done = true;

    text_init(&text, output, OUTPUT_SIZE);
    if (arguments->json)
        done = report_json(story, &text);
    else
        report_text(story, !arguments->ascii && locale_is_utf8(), &text);
    if (!done || text_end(&text) >= OUTPUT_SIZE)
        return error_set(err, FP_SYSTEM, ENOMEM, "print", "the figures");
    fwrite(output, 1, text_length(&text), stdout);
    return FP_OK;
}

static enum fp_status run(const struct arguments *arguments, struct story *story, char *output,
                          struct fp_error *err)
{
    struct stage stage;

    enum fp_status status = stage_open(arguments->loopback, &stage, err);
    if (status != FP_OK)
        return status;
    status = play(&stage, story, err);
    stage_close(&stage);
    if (status == FP_OK)
        status = print_report(story, arguments, output, err);
    if (status == FP_OK && arguments->svg != NULL)
        status = write_pictures(story, arguments->svg, output, err);
    return status;
}

int cmd_figures(int argc, char **argv)
{
    struct arguments arguments = {.svg = NULL};
    struct fp_error err;
    bool help;

    enum fp_status status = command_line_parse(&command, argc, argv, &arguments, &help, &err);
    if (status != FP_OK)
        return cmd_fail(&err);
    if (help)
        return EX_OK;
    struct story *story = calloc(1, sizeof(*story));
    char *output = malloc(OUTPUT_SIZE);
    if (story == NULL || output == NULL)
        status = error_set(&err, FP_SYSTEM, ENOMEM, "print", "the figures");
    else
        status = run(&arguments, story, output, &err);
    bool holds = status == FP_OK && claims_failed(story) == 0;
    free(output);
    free(story);
    if (status != FP_OK)
        return cmd_fail(&err);
    return holds ? EX_OK : EXIT_CLAIM_FAILED;
}
