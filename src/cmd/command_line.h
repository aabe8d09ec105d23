/* SPDX-License-Identifier: MIT
 *
 * cmd/command_line.h - the options of a subcommand from one table: its parser and its help.
 *
 * Each subcommand but serve, whose options are config/options.def, has a table CMD/NAME.def with a line for each
 * option, from which its parser, its --help and the completions of the shells (tools/options.c) are made:
 *
 *     OPTION(name, kind, member, least, most, placeholder, help)
 *
 * Options stand anywhere before "--", as "--name VALUE" or "--name=VALUE"; what does not begin with a dash is an operand, and what
 * stands behind "--" is a program where the subcommand takes one, and operands where it does not. A value is given once. An error says which option
 * or operand, what was given and what is expected (FP_USAGE). Values are pointers into argv; nothing is allocated.
 */
#ifndef CMD_COMMAND_LINE_H
#define CMD_COMMAND_LINE_H

#include <forkport/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum command_option_kind {
    COMMAND_FLAG,   /* a bool */
    COMMAND_TEXT,   /* a const char * */
    COMMAND_NUMBER, /* a uint64_t, from least to most */
};

struct command_option {
    const char *name; /* without its dashes */
    enum command_option_kind kind;
    size_t offset; /* in the subcommand's arguments */
    uint64_t least;
    uint64_t most;
    const char *placeholder; /* "" for a flag */
    const char *help;
};

struct command_line {
    const char *name;  /* of the subcommand */
    const char *doing; /* what an error says that cannot be done: "show pairs with" */
    const char *usage; /* what its help begins with */
    const struct command_option *options;
    size_t option_count;
    size_t
        program_offset; /* of the arguments' char **, the program and its arguments; SIZE_MAX: it takes none */
    enum fp_status (*operand)(void *arguments, const char *operand,
                              struct fp_error *err); /* NULL: it takes none */
};

/* *ret_help: --help or -h was there, and has been answered. */
enum fp_status command_line_parse(const struct command_line *line, int argc, char **argv, void *arguments,
                                  bool *ret_help, struct fp_error *err);
/* --help or -h, before a "--". */
bool command_line_wants_help(int argc, char **argv);
/* "cannot show pairs with WHAT: REASON" */
enum fp_status command_line_usage(const struct command_line *line, const char *what, const char *reason,
                                  struct fp_error *err);
/* An option as it stands in a help, which is broken into lines; *WORD* is bold in the manual, and plain here. */
void command_line_print_option(const char *name, const char *placeholder, const char *default_text,
                               const char *help);

#endif
