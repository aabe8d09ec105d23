/* SPDX-License-Identifier: MIT */
#include "config/options.h"

#include "config/identity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OPTION(name, kind, member, least, most, placeholder, default_text, section, help) \
    {#name,                                                                               \
     OPTION_KIND_##kind,                                                                  \
     offsetof(struct config, member),                                                     \
     least,                                                                               \
     most,                                                                                \
     placeholder,                                                                         \
     default_text,                                                                        \
     section,                                                                             \
     help},
const struct option_row option_rows[] = {
#include "config/options.def"
};
#undef OPTION
const size_t option_row_count = sizeof(option_rows) / sizeof(option_rows[0]);
_Static_assert(sizeof(option_rows) / sizeof(option_rows[0]) <= 64, "a bit each in struct config");

const struct option_row *option_find(const char *name)
{
    for (size_t i = 0; i < option_row_count; i++) {
        if (strcmp(option_rows[i].name, name) == 0)
            return &option_rows[i];
    }
    return NULL;
}

static uint64_t bit_of(const struct option_row *row)
{
    return UINT64_C(1) << (row - option_rows);
}

bool option_is_given(const struct config *config, const char *name)
{
    return (config->given & bit_of(option_find(name))) != 0;
}

/* "cannot set --max to x: ..." */
static enum fp_status bad_value(const struct option_row *row, const char *value, struct fp_error *err)
{
    return error_set(err, FP_USAGE, 0, "set", "--%s to %s", row->name,
                     value[0] != '\0' ? value : "an empty text");
}

static enum fp_status out_of_memory(const struct option_row *row, struct fp_error *err)
{
    return error_set(err, FP_SYSTEM, ENOMEM, "set", "--%s", row->name);
}

static enum fp_status parse_number(const struct option_row *row, const char *value, uint64_t *ret_number,
                                   struct fp_error *err)
{
    if (text_parse_unsigned(value, row->most, ret_number) && *ret_number >= row->least)
        return FP_OK;
    return error_reason(err, bad_value(row, value, err), "a whole number from %llu to %llu is expected",
                        (unsigned long long)row->least, (unsigned long long)row->most);
}

static enum fp_status set_number(const struct option_row *row, void *member, const char *value,
                                 struct fp_error *err)
{
    uint64_t number;
    enum fp_status status = parse_number(row, value, &number, err);

    if (status != FP_OK)
        return status;
    if (row->kind == OPTION_KIND_PREFIX)
        *(uint8_t *)member = (uint8_t)number;
    else if (row->kind == OPTION_KIND_DESCRIPTOR)
        *(int *)member = (int)number;
    else
        *(uint32_t *)member = (uint32_t)number;
    return FP_OK;
}

/* The position of `value` among the choices of the placeholder "a|b|c", or -1. */
static int find_choice(const char *choices, const char *value)
{
    size_t length = strlen(value);

    for (int position = 0; *choices != '\0'; position++) {
        size_t width = strcspn(choices, "|");
        if (width == length && memcmp(choices, value, width) == 0)
            return position;
        choices += width + (choices[width] == '|');
    }
    return -1;
}

static enum fp_status set_choice(const struct option_row *row, int *member, const char *value,
                                 struct fp_error *err)
{
    int position = find_choice(row->placeholder, value);

    if (position < 0)
        return error_reason(err, bad_value(row, value, err), "%s is expected", row->placeholder);
    *member = position;
    return FP_OK;
}

static enum fp_status set_text(const struct option_row *row, char **member, const char *value,
                               struct fp_error *err)
{
    if (value[0] == '\0')
        return error_reason(err, bad_value(row, value, err), "%s is expected", row->placeholder);
    char *copy = strdup(value);
    if (copy == NULL)
        return out_of_memory(row, err);
    free(*member);
    *member = copy;
    return FP_OK;
}

static enum fp_status set_builtin(const struct option_row *row, char **member, const char *value,
                                  struct fp_error *err)
{
    if (find_choice(row->placeholder, value) < 0)
        return error_reason(err, bad_value(row, value, err), "%s is expected", row->placeholder);
    return set_text(row, member, value, err);
}

/* Replaces \r, \n, \t and \\ in place; false where another character follows a backslash. */
static bool unescape(char *string)
{
    static const char from[] = "rnt\\";
    static const char to[] = "\r\n\t\\";
    char *out = string;

    for (const char *in = string; *in != '\0'; in++) {
        if (*in != '\\') {
            *out++ = *in;
            continue;
        }
        in++;
        const char *found = *in != '\0' ? strchr(from, *in) : NULL;
        if (found == NULL)
            return false;
        *out++ = to[found - from];
    }
    *out = '\0';
    return true;
}

static enum fp_status set_at_max(const struct option_row *row, struct config *config, const char *value,
                                 struct fp_error *err)
{
    static const char prefix[] = "message:";
    char *text = NULL;
    int what = AT_MAX_MESSAGE;

    if (strncmp(value, prefix, strlen(prefix)) == 0) {
        text = strdup(value + strlen(prefix));
        if (text == NULL)
            return out_of_memory(row, err);
        if (!unescape(text)) {
            free(text);
            return error_reason(err, bad_value(row, value, err),
                                "only r, n, t or another backslash may follow a backslash");
        }
    } else {
        what = find_choice("queue|refuse", value);
    }
    if (what < 0)
        return error_reason(err, bad_value(row, value, err), "%s is expected", row->placeholder);
    free(config->at_max_text);
    config->at_max_text = text;
    config->at_max = what;
    return FP_OK;
}

static enum fp_status set_flag(const struct option_row *row, bool *member, const char *value,
                               struct fp_error *err)
{
    if (value != NULL)
        return error_reason(err, bad_value(row, value, err), "this option takes no value");
    *member = true;
    return FP_OK;
}

static enum fp_status set_value(const struct option_row *row, struct config *config, const char *value,
                                struct fp_error *err)
{
    void *member = (char *)config + row->offset;

    if (row->kind != OPTION_KIND_FLAG && value == NULL)
        return error_reason(err, error_set(err, FP_USAGE, 0, "set", "--%s", row->name),
                            "%s is expected behind it", row->placeholder);
    switch (row->kind) {
    case OPTION_KIND_NUMBER:
    case OPTION_KIND_PREFIX:
    case OPTION_KIND_DESCRIPTOR:
        return set_number(row, member, value, err);
    case OPTION_KIND_CHOICE:
        return set_choice(row, member, value, err);
    case OPTION_KIND_TEXT:
        return set_text(row, member, value, err);
    case OPTION_KIND_BUILTIN:
        return set_builtin(row, member, value, err);
    case OPTION_KIND_AT_MAX:
        return set_at_max(row, config, value, err);
    case OPTION_KIND_USER:
        return identity_set_user(member, value, err);
    case OPTION_KIND_GROUP:
        return identity_set_groups(member, value, err);
    case OPTION_KIND_FLAG:
        return set_flag(row, member, value, err);
    }
    return error_set(err, FP_BUG, 0, "set", "--%s", row->name);
}

enum fp_status option_set(struct config *config, const char *name, const char *value, struct fp_error *err)
{
    const struct option_row *row = option_find(name);

    if (row == NULL)
        return error_reason(err, error_set(err, FP_USAGE, 0, "set", "--%s", name),
                            "there is no such option (see forkport serve --help)");
    enum fp_status status = set_value(row, config, value, err);
    if (status == FP_OK)
        config->given |= bit_of(row);
    return status;
}
