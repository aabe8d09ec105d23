/* SPDX-License-Identifier: MIT */
#include "cmd/command_line.h"

#include "base/error.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

#define OPTIONS_MAX 64

enum fp_status command_line_usage(const struct command_line *line, const char *what, const char *reason,
                                  struct fp_error *err)
{
    return error_reason(err, error_set(err, FP_USAGE, 0, line->doing, "%s", what), "%s", reason);
}

static const struct command_option *find_option(const struct command_line *line, const char *name,
                                                size_t length)
{
    for (size_t i = 0; i < line->option_count; i++) {
        const char *known = line->options[i].name;
        if (strlen(known) == length && memcmp(known, name, length) == 0)
            return &line->options[i];
    }
    return NULL;
}

/* As config/options.c has it: "cannot set --timeout to 5x: a whole number from 1 to 86400 is expected" */
static enum fp_status bad_number(const struct command_option *option, const char *value, struct fp_error *err)
{
    enum fp_status status = error_set(err, FP_USAGE, 0, "set", "--%s to %s", option->name, value);

    return error_reason(err, status, "a whole number from %llu to %llu is expected",
                        (unsigned long long)option->least, (unsigned long long)option->most);
}

/*
 * "--name", "--name=value" or "--name" "value"; *at is the argument's place and is moved to the last one used. `given` has the
 * value of each that has had one: of two that differ, one would be lost.
 */
static enum fp_status parse_option(const struct command_line *line, int argc, char **argv, int *at,
                                   void *arguments, const char *given[OPTIONS_MAX], struct fp_error *err)
{
    const char *argument = argv[*at];
    size_t length = strcspn(argument, "=");
    const struct command_option *option = NULL;
    uint64_t number;

    if (strncmp(argument, "--", 2) == 0)
        option = find_option(line, argument + 2, length - 2);
    if (option == NULL) {
        enum fp_status status = error_set(err, FP_USAGE, 0, line->doing, "%s", argument);
        return error_reason(err, status, "there is no such option (see forkport %s --help)", line->name);
    }
    const char *value = argument[length] == '=' ? argument + length + 1 : NULL;
    char *member = (char *)arguments + option->offset;
    if (option->kind == COMMAND_FLAG) {
        if (value != NULL)
            return command_line_usage(line, argument, "this option takes no value", err);
        *(bool *)member = true;
        return FP_OK;
    }
    if (value == NULL && *at + 1 < argc)
        value = argv[++*at];
    if (value == NULL || value[0] == '\0')
        return error_reason(err, error_set(err, FP_USAGE, 0, line->doing, "%s", argument),
                            "%s is expected behind it", option->placeholder);
    const char **before = &given[option - line->options];
    if (*before != NULL && strcmp(*before, value) != 0)
        return command_line_usage(line, argument, "it is there twice", err);
    *before = value;
    if (option->kind == COMMAND_TEXT) {
        *(const char **)(void *)member = value;
        return FP_OK;
    }
    if (!text_parse_unsigned(value, option->most, &number) || number < option->least)
        return bad_number(option, value, err);
    *(uint64_t *)(void *)member = number;
    return FP_OK;
}

void command_line_print_option(const char *name, const char *placeholder, const char *default_text,
                               const char *help)
{
    enum { INDENT = 6, WIDTH = 79 };
    size_t column = WIDTH;

    printf("  --%s%s%s", name, placeholder[0] != '\0' ? " " : "", placeholder);
    if (default_text[0] != '\0')
        printf(" (%s)", default_text);
    while (*help != '\0') {
        size_t length = strcspn(help, " ");
        if (column + 1 + length > WIDTH)
            column = (size_t)printf("\n%*s", INDENT, "") - 1;
        else
            column += (size_t)printf(" ");
        column += length;
        for (; length > 0; length--, help++) {
            if (*help != '*')
                putchar(*help);
        }
        help += *help == ' ';
    }
    putchar('\n');
}

static void print_help(const struct command_line *line)
{
    puts(line->usage);
    for (size_t i = 0; i < line->option_count; i++) {
        const struct command_option *option = &line->options[i];
        command_line_print_option(option->name, option->placeholder, "", option->help);
    }
    command_line_print_option("help", "", "", "Print this.");
}

bool command_line_wants_help(int argc, char **argv)
{
    for (int at = 1; at < argc && strcmp(argv[at], "--") != 0; at++) {
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0)
            return true;
    }
    return false;
}

static enum fp_status give_operand(const struct command_line *line, void *arguments, const char *operand,
                                   struct fp_error *err)
{
    if (line->operand == NULL)
        return command_line_usage(line, operand, "only options are expected", err);
    return line->operand(arguments, operand, err);
}

static enum fp_status parse_rest(const struct command_line *line, char **rest, void *arguments,
                                 struct fp_error *err)
{
    enum fp_status status = FP_OK;

    if (line->program_offset != SIZE_MAX) {
        if (rest[0] == NULL)
            return command_line_usage(line, "--", "a program is expected behind it", err);
        if (rest[0][0] == '\0')
            return error_reason(err, error_set(err, FP_USAGE, 0, "run", "a program without a name"),
                                "its path is expected behind --");
        *(char ***)(void *)((char *)arguments + line->program_offset) = rest;
        return FP_OK;
    }
    for (; *rest != NULL && status == FP_OK; rest++)
        status = give_operand(line, arguments, *rest, err);
    return status;
}

enum fp_status command_line_parse(const struct command_line *line, int argc, char **argv, void *arguments,
                                  bool *ret_help, struct fp_error *err)
{
    enum fp_status status = FP_OK;
    const char *given[OPTIONS_MAX] = {NULL};

    *ret_help = command_line_wants_help(argc, argv);
    if (*ret_help) {
        print_help(line);
        return FP_OK;
    }
    for (int at = 1; at < argc && status == FP_OK; at++) {
        if (strcmp(argv[at], "--") == 0)
            return parse_rest(line, argv + at + 1, arguments, err);
        if (argv[at][0] == '-' && argv[at][1] != '\0')
            status = parse_option(line, argc, argv, &at, arguments, given, err);
        else
            status = give_operand(line, arguments, argv[at], err);
    }
    return status;
}
