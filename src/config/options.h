/* SPDX-License-Identifier: MIT
 *
 * config/options.h - the options table: a name and a text become a value in a struct config.
 *
 * The table is config/options.def; all who know options read it through here. option_set() takes one option as text,
 * whoever asks: the command line, the library. On failure the config is unchanged and the error says which option,
 * what was given and what is expected. Nothing is printed.
 */
#ifndef CONFIG_OPTIONS_H
#define CONFIG_OPTIONS_H

#include "config/config.h"

#include <stddef.h>

enum option_kind {
    OPTION_KIND_NUMBER,
    OPTION_KIND_PREFIX,
    OPTION_KIND_DESCRIPTOR,
    OPTION_KIND_CHOICE,
    OPTION_KIND_TEXT,
    OPTION_KIND_FLAG,
    OPTION_KIND_AT_MAX,
    OPTION_KIND_USER,
    OPTION_KIND_GROUP,
    OPTION_KIND_BUILTIN,
};

struct option_row {
    const char *name;
    enum option_kind kind;
    size_t offset; /* in struct config */
    uint64_t least;
    uint64_t most;
    const char *placeholder; /* "" for a flag */
    const char *default_text;
    const char *section;
    const char *help;
};

extern const struct option_row option_rows[];
extern const size_t option_row_count;

/* The row of "max-per-source"; NULL: there is none. */
const struct option_row *option_find(const char *name);
/* Was it set, be it to its default? */
bool option_is_given(const struct config *config, const char *name);
/*
 * Sets one option. `value` is NULL for a flag. FP_USAGE: unknown, or not of the form; FP_CONFIG: no such user or group;
 * FP_SYSTEM: memory is short, or the users cannot be read.
 */
enum fp_status option_set(struct config *config, const char *name, const char *value, struct fp_error *err);

/*
 * Reads the arguments of `forkport serve`: ADDRESS[,ADDRESS...], options in any place ("--max 5", "--max=5"), then "--"
 * and the program with its arguments. argv[0] is skipped. Checks that what was given goes together.
 */
enum fp_status options_parse(struct config *config, int argc, char *const argv[], struct fp_error *err);
/*
 * That there is one thing to serve, and that no option contradicts it or another one: what options_parse() ends with,
 * for the library, which may have a handler to serve.
 */
enum fp_status options_check(const struct config *config, bool has_handler, struct fp_error *err);

#endif
