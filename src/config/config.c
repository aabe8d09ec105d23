/* SPDX-License-Identifier: MIT */
#include "config/config.h"

#include "config/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum fp_status config_init(struct config *config, struct fp_error *err)
{
    memset(config, 0, sizeof(*config));
    config->ready_fd = -1;
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        if (row->default_text[0] == '\0')
            continue;
        enum fp_status status = option_set(config, row->name, row->default_text, err);
        if (status != FP_OK) {
            config_done(config);
            return status;
        }
    }
    config->given = 0;
    return FP_OK;
}

static void free_words(char **words)
{
    if (words != NULL) {
        for (char **word = words; *word != NULL; word++)
            free(*word);
    }
    free(words);
}

enum fp_status config_set_program(struct config *config, int count, char *const words[], struct fp_error *err)
{
    char **copy = calloc((size_t)count + 1, sizeof(*copy));

    for (int i = 0; copy != NULL && i < count; i++) {
        copy[i] = strdup(words[i]);
        if (copy[i] == NULL) {
            free_words(copy);
            copy = NULL;
        }
    }
    if (copy == NULL)
        return error_set(err, FP_SYSTEM, errno, "serve", "%s", words[0]);
    free_words(config->program);
    config->program = copy;
    return FP_OK;
}

void config_done(struct config *config)
{
    address_list_done(&config->addresses);
    free_words(config->program);
    free(config->name);
    free(config->builtin);
    free(config->at_max_text);
    free(config->identity.groups);
    free(config->log_file);
    memset(config, 0, sizeof(*config));
    config->ready_fd = -1;
}
