/* SPDX-License-Identifier: MIT */
#include "config/options.h"

#include <grp.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void init(struct config *config)
{
    assert_int_equal(config_init(config, NULL), FP_OK);
}

/* The option is refused with this message, and nothing has changed. */
static void refused(struct config *config, const char *name, const char *value, enum fp_status status,
                    const char *message)
{
    struct config before = *config;
    struct fp_error err;
    char shown[1024];

    assert_int_equal(option_set(config, name, value, &err), status);
    assert_int_equal(err.status, status);
    fp_error_format(&err, shown, sizeof(shown));
    assert_string_equal(shown, message);
    assert_memory_equal(config, &before, sizeof(before));
    /* And so without an error to fill in. */
    assert_int_equal(option_set(config, name, value, NULL), status);
    assert_memory_equal(config, &before, sizeof(before));
}

static void taken(struct config *config, const char *name, const char *value)
{
    struct fp_error err = {.status = FP_OK};
    enum fp_status status = option_set(config, name, value, &err);

    if (status != FP_OK)
        fail_msg("--%s %s: %s", name, value != NULL ? value : "", err.reason);
}

/* What forkport does when nobody says otherwise is part of its contract. */
static void test_defaults(void **state)
{
    struct config config;

    (void)state;
    init(&config);
    assert_int_equal(config.addresses.count, 0);
    assert_null(config.name);
    assert_null(config.program);
    assert_null(config.builtin);
    assert_int_equal(config.engine, ENGINE_EXEC);
    assert_int_equal(config.backlog, 4096);
    assert_int_equal(config.ready_fd, -1);
    assert_int_equal(config.limits.max, 1000);
    assert_int_equal(config.limits.max_per_source, 100);
    assert_int_equal(config.limits.source_prefix4, 32);
    assert_int_equal(config.limits.source_prefix6, 64);
    assert_int_equal(config.at_max, AT_MAX_QUEUE);
    assert_null(config.at_max_text);
    assert_int_equal(config.drain_s, 30);
    assert_false(config.identity.user_set);
    assert_false(config.identity.group_set);
    assert_int_equal(config.worker_stderr, STDERR_LOG);
    assert_false(config.resolve);
    assert_int_equal(config.log_format, LOG_TEXT);
    assert_null(config.log_file);
    config_done(&config);
    assert_int_equal(config.ready_fd, -1);
    config_done(&config);
}

/* Each row, by its kind: its names are found, its bounds hold, and the message says what is expected. */
static uint64_t number_at(const struct config *config, const struct option_row *row)
{
    const char *member = (const char *)config + row->offset;
    uint8_t byte;
    uint32_t word;

    memcpy(&byte, member, sizeof(byte));
    memcpy(&word, member, sizeof(word));
    return row->kind == OPTION_KIND_PREFIX ? byte : word;
}

static void refuse_number(struct config *config, const struct option_row *row, const char *value)
{
    char message[512];

    snprintf(message, sizeof(message), "cannot set --%s to %s: a whole number from %llu to %llu is expected",
             row->name, value[0] != '\0' ? value : "an empty text", (unsigned long long)row->least,
             (unsigned long long)row->most);
    refused(config, row->name, value, FP_USAGE, message);
}

static void check_number(struct config *config, const struct option_row *row)
{
    static const char *const never[] = {
        "",
        "-1",
        "+1",
        " 1",
        "1 ",
        "0x10",
        "1e3",
        "1.5",
        "many",
        "1k",
        "18446744073709551616",
        "99999999999999999999999999",
        "4294967296",
        "18446744073709551617",
    };
    const uint64_t good[] = {row->least, row->most, row->least + (row->most - row->least) / 2};
    char value[32];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(value, sizeof(value), "%llu", (unsigned long long)good[i]);
        taken(config, row->name, value);
        assert_int_equal(number_at(config, row), good[i]);
    }
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        refuse_number(config, row, never[i]);
    snprintf(value, sizeof(value), "%llu", (unsigned long long)row->most + 1);
    refuse_number(config, row, value);
    if (row->least > 0) {
        snprintf(value, sizeof(value), "%llu", (unsigned long long)row->least - 1);
        refuse_number(config, row, value);
    }
}

/* Every choice of the placeholder is taken, its halves and the whole are not. */
static void check_choice(struct config *config, const struct option_row *row)
{
    char choices[128];
    char message[512];
    char *rest = choices;

    snprintf(choices, sizeof(choices), "%s", row->placeholder);
    for (int position = 0; rest != NULL; position++) {
        char *choice = strsep(&rest, "|");
        taken(config, row->name, choice);
        if (row->kind == OPTION_KIND_BUILTIN)
            assert_string_equal(config->builtin, choice);
        else
            assert_int_equal(number_at(config, row), position);
        choice[strlen(choice) - 1] = '\0';
        snprintf(message, sizeof(message), "cannot set --%s to %s: %s is expected", row->name, choice,
                 row->placeholder);
        refused(config, row->name, choice, FP_USAGE, message);
    }
    snprintf(message, sizeof(message), "cannot set --%s to an empty text: %s is expected", row->name,
             row->placeholder);
    refused(config, row->name, "", FP_USAGE, message);
    snprintf(message, sizeof(message), "cannot set --%s to |: %s is expected", row->name, row->placeholder);
    refused(config, row->name, "|", FP_USAGE, message);
}

static void check_text(struct config *config, const struct option_row *row)
{
    char *const *member = (char *const *)(const void *)((const char *)config + row->offset);
    char message[512];

    taken(config, row->name, "one");
    taken(config, row->name, "two\n\x1b[0m");
    assert_string_equal(*member, "two\n\x1b[0m");
    snprintf(message, sizeof(message), "cannot set --%s to an empty text: %s is expected", row->name,
             row->placeholder);
    refused(config, row->name, "", FP_USAGE, message);
}

static void check_flag(struct config *config, const struct option_row *row)
{
    char message[512];

    taken(config, row->name, NULL);
    assert_true(*((const bool *)config + row->offset));
    snprintf(message, sizeof(message), "cannot set --%s to yes: this option takes no value", row->name);
    refused(config, row->name, "yes", FP_USAGE, message);
}

static void check_row(const struct option_row *row)
{
    struct config config;

    init(&config);
    assert_ptr_equal(option_find(row->name), row);
    if (row->kind != OPTION_KIND_FLAG) {
        char message[512];
        snprintf(message, sizeof(message), "cannot set --%s: %s is expected behind it", row->name,
                 row->placeholder);
        refused(&config, row->name, NULL, FP_USAGE, message);
    }
    switch (row->kind) {
    case OPTION_KIND_NUMBER:
    case OPTION_KIND_PREFIX:
    case OPTION_KIND_DESCRIPTOR:
        check_number(&config, row);
        break;
    case OPTION_KIND_CHOICE:
    case OPTION_KIND_BUILTIN:
        check_choice(&config, row);
        break;
    case OPTION_KIND_TEXT:
        check_text(&config, row);
        break;
    case OPTION_KIND_FLAG:
        check_flag(&config, row);
        break;
    case OPTION_KIND_AT_MAX:
    case OPTION_KIND_USER:
    case OPTION_KIND_GROUP:
        break; /* have a test of their own */
    }
    config_done(&config);
}

static void test_every_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < option_row_count; i++)
        check_row(&option_rows[i]);
}

/* The help and the manual are made of the table: a row must say what they need. */
static void test_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        assert_non_null(strchr(row->help, '.'));
        assert_true(row->section[0] != '\0');
        assert_int_equal(row->placeholder[0] == '\0', row->kind == OPTION_KIND_FLAG);
        assert_true(row->least <= row->most);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(option_rows[j].name, row->name);
    }
    assert_null(option_find(""));
    assert_null(option_find("ma"));
    assert_null(option_find("max="));
}

static void test_unknown(void **state)
{
    struct config config;

    (void)state;
    init(&config);
    refused(&config, "maximum", "1", FP_USAGE,
            "cannot set --maximum: there is no such option (see forkport serve --help)");
    refused(&config, "", NULL, FP_USAGE,
            "cannot set --: there is no such option (see forkport serve --help)");
    config_done(&config);
}

static void test_at_max(void **state)
{
    struct config config;

    (void)state;
    init(&config);
    taken(&config, "at-max", "refuse");
    assert_int_equal(config.at_max, AT_MAX_REFUSE);
    taken(&config, "at-max", "message:busy\\r\\n\\ttry \\\\ later");
    assert_int_equal(config.at_max, AT_MAX_MESSAGE);
    assert_string_equal(config.at_max_text, "busy\r\n\ttry \\ later");
    refused(
        &config, "at-max", "message:\\x", FP_USAGE,
        "cannot set --at-max to message:\\x5cx: only r, n, t or another backslash may follow a backslash");
    refused(
        &config, "at-max", "message:end\\", FP_USAGE,
        "cannot set --at-max to message:end\\x5c: only r, n, t or another backslash may follow a backslash");
    refused(&config, "at-max", "message", FP_USAGE,
            "cannot set --at-max to message: queue|refuse|message:TEXT is expected");
    refused(&config, "at-max", "", FP_USAGE,
            "cannot set --at-max to an empty text: queue|refuse|message:TEXT is expected");
    taken(&config, "at-max", "message:");
    assert_string_equal(config.at_max_text, "");
    taken(&config, "at-max", "queue");
    assert_int_equal(config.at_max, AT_MAX_QUEUE);
    assert_null(config.at_max_text);
    config_done(&config);
}

static void test_user(void **state)
{
    const struct config_identity *identity;
    const struct passwd *entry = getpwuid(1);
    struct config config;

    (void)state;
    init(&config);
    identity = &config.identity;
    if (entry == NULL) {
        print_message("there is no user 1 in the host's database\n");
        skip();
    }
    char *name = strdup(entry->pw_name);
    taken(&config, "user", name);
    assert_true(identity->user_set);
    assert_false(identity->group_set);
    assert_int_equal(identity->uid, 1);
    assert_int_equal(identity->gid, entry->pw_gid);
    assert_true(identity->group_count >= 1);
    assert_int_equal(identity->groups[0], entry->pw_gid);
    taken(&config, "user", "1");
    assert_int_equal(identity->uid, 1);
    assert_int_equal(identity->gid, entry->pw_gid);
    refused(&config, "user", "no such user", FP_CONFIG,
            "cannot use the user no such user: there is no such name in the host's database, and it is no "
            "number");
    refused(
        &config, "user", "", FP_USAGE,
        "cannot set --user to an empty text: a user is expected, by name or by a number up to 4294967294");
    /* (uid_t)-1 would leave the id as it is. */
    refused(&config, "user", "4294967295", FP_USAGE,
            "cannot set --user to 4294967295: a user is expected, by name or by a number up to 4294967294");
    free(name);
    config_done(&config);
}

/* A number without an entry has nobody's groups, whatever user was set before. */
static void test_user_without_entry(void **state)
{
    struct config config;

    (void)state;
    init(&config);
    if (getpwuid(3999999) != NULL) {
        print_message("the host's database has a user 3999999\n");
        skip();
    }
    taken(&config, "user", "root");
    taken(&config, "user", "3999999");
    assert_int_equal(config.identity.uid, 3999999);
    assert_int_equal(config.identity.gid, 3999999);
    assert_int_equal(config.identity.group_count, 0);
    config_done(&config);
}

/* What the program has asked the host's database itself stays as it is. */
static void test_the_programs_entries(void **state)
{
    const struct passwd *user = getpwnam("root");
    const struct group *group = getgrnam("root");
    struct config config;

    (void)state;
    init(&config);
    if (user == NULL || group == NULL || getpwuid(1) == NULL || getgrgid(1) == NULL) {
        print_message("there is no user or group root, or 1, in the host's database\n");
        skip();
    }
    char *other_user = strdup(getpwuid(1)->pw_name);
    char *other_group = strdup(getgrgid(1)->gr_name);
    taken(&config, "user", other_user);
    taken(&config, "group", other_group);
    assert_string_equal(user->pw_name, "root");
    assert_string_equal(group->gr_name, "root");
    free(other_user);
    free(other_group);
    config_done(&config);
}

static void test_group(void **state)
{
    const struct config_identity *identity;
    const struct group *entry = getgrgid(1);
    struct config config;
    char list[256];

    (void)state;
    init(&config);
    identity = &config.identity;
    if (entry == NULL) {
        print_message("there is no group 1 in the host's database\n");
        skip();
    }
    snprintf(list, sizeof(list), "7,%s,4294967294", entry->gr_name);
    taken(&config, "group", list);
    assert_true(identity->group_set);
    assert_int_equal(identity->gid, 7);
    assert_int_equal(identity->group_count, 2);
    assert_int_equal(identity->groups[0], 1);
    assert_int_equal(identity->groups[1], 4294967294);
    /* In either order, --group decides about groups. */
    taken(&config, "user", "root");
    assert_int_equal(identity->uid, 0);
    assert_int_equal(identity->gid, 7);
    assert_int_equal(identity->group_count, 2);
    taken(&config, "group", "9");
    assert_int_equal(identity->gid, 9);
    assert_int_equal(identity->group_count, 0);
    refused(&config, "group", "9,no such group", FP_CONFIG,
            "cannot use the group no such group: there is no such name in the host's database, and it is no "
            "number");
    refused(
        &config, "group", "", FP_USAGE,
        "cannot set --group to an empty text: a group is expected, by name or by a number up to 4294967294");
    static const char *const lists[] = {"9,", ",9", "no such group,,9", ","};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        snprintf(
            list, sizeof(list),
            "cannot set --group to %s: a group on each side of a comma is expected, by name or by a number "
            "up to 4294967294",
            lists[i]);
        refused(&config, "group", lists[i], FP_USAGE, list);
    }
    refused(&config, "group", "9,4294967295", FP_USAGE,
            "cannot set --group to 4294967295: a group is expected, by name or by a number up to 4294967294");
    config_done(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_row),
        cmocka_unit_test(test_the_table),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_at_max),
        cmocka_unit_test(test_user),
        cmocka_unit_test(test_user_without_entry),
        cmocka_unit_test(test_group),
        cmocka_unit_test(test_the_programs_entries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
