/* SPDX-License-Identifier: MIT */
#include "config/options.h"

#include <string.h>

static enum fp_status usage(struct fp_error *err, const char *what, const char *reason)
{
    enum fp_status status = error_set(err, FP_USAGE, 0, "serve", "%s", what);

    return error_reason(err, status, "%s", reason);
}

/* "--name", "--name=value" or "--name" "value"; *at is the argument's place and is moved to the last one used. */
static enum fp_status parse_option(struct config *config, int argc, char *const argv[], int *at,
                                   struct fp_error *err)
{
    char name[32] = "";
    const char *text = argv[*at] + 2;
    size_t length = strcspn(text, "=");

    if (length < sizeof(name))
        memcpy(name, text, length);
    const struct option_row *row = option_find(name);
    if (row == NULL) {
        enum fp_status status = error_set(err, FP_USAGE, 0, "serve", "with --%.*s", (int)length, text);
        return error_reason(err, status, "there is no such option (see forkport serve --help)");
    }
    const char *value = text[length] == '=' ? text + length + 1 : NULL;
    if (value == NULL && row->kind != OPTION_KIND_FLAG && *at + 1 < argc)
        value = argv[++*at];
    return option_set(config, name, value, err);
}

static enum fp_status parse_argument(struct config *config, const char *argument, struct fp_error *err)
{
    if (argument[0] == '-' && argument[1] != '\0')
        return usage(err, argument, "options have two dashes and a whole name (see forkport serve --help)");
    if (config->addresses.count != 0)
        return usage(err, argument, "one list of addresses is expected, and -- before the program");
    return address_list_parse(argument, &config->addresses, err);
}

enum fp_status options_parse(struct config *config, int argc, char *const argv[], struct fp_error *err)
{
    enum fp_status status = FP_OK;

    for (int at = 1; at < argc && status == FP_OK; at++) {
        if (strcmp(argv[at], "--") == 0) {
            if (at + 1 < argc)
                status = config_set_program(config, argc - at - 1, argv + at + 1, err);
            break;
        }
        if (strncmp(argv[at], "--", 2) == 0)
            status = parse_option(config, argc, argv, &at, err);
        else
            status = parse_argument(config, argv[at], err);
    }
    return status == FP_OK ? options_check(config, false, err) : status;
}

/* That something is to be served, and one thing. */
static enum fp_status check_served(const struct config *config, bool has_handler, struct fp_error *err)
{
    if (config->program != NULL && (config->builtin != NULL || has_handler))
        return usage(err, config->builtin != NULL ? "a program and a builtin" : "a program and a handler",
                     "one of them is expected");
    if (config->builtin != NULL && has_handler)
        return usage(err, "a builtin and a handler", "one of them is expected");
    if (config->program == NULL && config->builtin == NULL && !has_handler)
        return usage(err, "", "a program behind --, or a builtin, is expected");
    if (config->program != NULL && config->program[0][0] == '\0')
        return usage(err, "a program without a name", "its path is expected behind --");
    return FP_OK;
}

static enum fp_status contradiction(struct fp_error *err, const char *served, const char *option,
                                    const char *reason)
{
    enum fp_status status = error_set(err, FP_USAGE, 0, "serve", "%s with %s", served, option);

    return error_reason(err, status, "%s", reason);
}

/* What a builtin or a handler would make nothing of. */
static enum fp_status check_without_program(const struct config *config, struct fp_error *err)
{
    const char *served = config->builtin != NULL ? "a builtin" : "a handler";

    if (config->resolve)
        return contradiction(err, served, "--resolve", "only a program is passed the client's name");
    if (config->engine != ENGINE_EXEC)
        return contradiction(err, served, config->engine == ENGINE_FORK ? "--engine fork" : "--engine pool",
                             "only a program is started ahead");
    if (config->gate != GATE_MAIN)
        return contradiction(err, served, "--gate read", "only a program has a gate");
    if (config->builtin != NULL && config->worker_stderr == STDERR_SOCKET)
        return contradiction(err, served, "--stderr socket", "it writes nothing there");
    return FP_OK;
}

/* An option that an engine makes nothing of is more likely meant for another one than left over. */
static enum fp_status check_engine(const struct config *config, struct fp_error *err)
{
    static const struct {
        const char *name;
        bool of_pool_alone;
    } options[] = {{"templates", false},    {"template-connections", false},
                   {"template-age", false}, {"template-start", false},
                   {"pool-start", true},    {"pool-min", true},
                   {"pool-max", true}};

    if (config->gate == GATE_READ && config->engine == ENGINE_EXEC)
        return usage(err, "with --gate read", "it is for --engine fork or pool");
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (!option_is_given(config, options[i].name) || config->engine == ENGINE_POOL ||
            (config->engine == ENGINE_FORK && !options[i].of_pool_alone))
            continue;
        enum fp_status status = error_set(err, FP_USAGE, 0, "serve", "with --%s", options[i].name);
        return error_reason(err, status, "it is for --engine %s",
                            options[i].of_pool_alone ? "pool" : "fork or pool");
    }
    return FP_OK;
}

enum fp_status options_check(const struct config *config, bool has_handler, struct fp_error *err)
{
    if (config->addresses.count == 0)
        return usage(err, "without an address", "ADDRESS[,ADDRESS...] is expected, as in 127.0.0.1:2121");
    enum fp_status status = check_served(config, has_handler, err);
    if (status == FP_OK && config->program == NULL)
        status = check_without_program(config, err);
    if (status == FP_OK)
        status = check_engine(config, err);
    if (status != FP_OK)
        return status;
    if (config->log_format == LOG_NONE && config->log_file != NULL)
        return usage(err, "with --log none and --log-file", "there would be nothing in the file");
    if (option_is_given(config, "pool-min") && option_is_given(config, "pool-max") &&
        config->pool_min > config->pool_max)
        return usage(err, "with --pool-min above --pool-max", "a minimum up to the maximum is expected");
    return FP_OK;
}
