/* SPDX-License-Identifier: MIT */
#include "config/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORDS_MAX 16

/* argv of "serve" and the words up to NULL. */
static enum fp_status parse(const char *const words[], struct config *ret_config, struct fp_error *err)
{
    char *argv[WORDS_MAX + 2] = {(char *)"serve"};
    int argc = 1;

    assert_int_equal(config_init(ret_config, NULL), FP_OK);
    for (; words[argc - 1] != NULL; argc++)
        argv[argc] = (char *)words[argc - 1];
    return options_parse(ret_config, argc, argv, err);
}

static void good(const char *const words[], struct config *ret_config)
{
    struct fp_error err = {.status = FP_OK};

    if (parse(words, ret_config, &err) != FP_OK)
        fail_msg("cannot %s %s: %s", err.operation, err.what, err.reason);
}
#define GOOD(config, ...) good((const char *const[]){__VA_ARGS__, NULL}, config)

static void test_a_program(void **state)
{
    struct config config;

    (void)state;
    GOOD(&config, "127.0.0.1:2121,[::1]:2121", "--max", "5", "--drain=7", "--resolve", "--", "/bin/cat",
         "--max", "--", "");
    assert_int_equal(config.addresses.count, 2);
    assert_int_equal(config.addresses.items[1].family, AF_INET6);
    assert_int_equal(config.limits.max, 5);
    assert_int_equal(config.drain_s, 7);
    assert_true(config.resolve);
    /* What stands behind the first -- is the program's, as it is. */
    assert_string_equal(config.program[0], "/bin/cat");
    assert_string_equal(config.program[1], "--max");
    assert_string_equal(config.program[2], "--");
    assert_string_equal(config.program[3], "");
    assert_null(config.program[4]);
    config_done(&config);
}

static void test_a_builtin(void **state)
{
    struct config config;

    (void)state;
    GOOD(&config, "--builtin=echo", "--name", "an=echo", "0");
    assert_string_equal(config.builtin, "echo");
    assert_string_equal(config.name, "an=echo");
    assert_null(config.program);
    assert_int_equal(config.addresses.items[0].port, 0);
    config_done(&config);
}

/* The last of two wins; a value may look like an option. */
static void test_twice(void **state)
{
    struct config config;

    (void)state;
    GOOD(&config, "21", "--max=1", "--max", "2", "--log-file", "--max", "--builtin", "time", "--builtin",
         "echo");
    assert_int_equal(config.limits.max, 2);
    assert_string_equal(config.log_file, "--max");
    assert_string_equal(config.builtin, "echo");
    config_done(&config);
}

struct error_row {
    const char *words[WORDS_MAX];
    const char *message;
};

static void bad(const struct error_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct config config;
        struct fp_error err;
        char shown[1024];
        assert_int_equal(parse(rows[i].words, &config, &err), FP_USAGE);
        fp_error_format(&err, shown, sizeof(shown));
        assert_string_equal(shown, rows[i].message);
        config_done(&config);
    }
}

static void test_errors(void **state)
{
    static const struct error_row rows[] = {
        {{"--builtin", "echo"},
         "cannot serve without an address: ADDRESS[,ADDRESS...] is expected, as in 127.0.0.1:2121"},
        {{NULL}, "cannot serve without an address: ADDRESS[,ADDRESS...] is expected, as in 127.0.0.1:2121"},
        {{"21", "22"}, "cannot serve 22: one list of addresses is expected, and -- before the program"},
        {{"21", "/bin/cat"},
         "cannot serve /bin/cat: one list of addresses is expected, and -- before the program"},
        {{"21", "-max", "5"},
         "cannot serve -max: options have two dashes and a whole name (see forkport serve --help)"},
        {{"21", "--maximum", "5"},
         "cannot serve with --maximum: there is no such option (see forkport serve --help)"},
        {{"21", "--maximum=5"},
         "cannot serve with --maximum: there is no such option (see forkport serve --help)"},
        {{"21", "--ma"}, "cannot serve with --ma: there is no such option (see forkport serve --help)"},
        {{"21", "--=5"}, "cannot serve with --: there is no such option (see forkport serve --help)"},
        {{"21", "--max"}, "cannot set --max: N is expected behind it"},
        {{"21", "--max="}, "cannot set --max to an empty text: a whole number from 1 to 4000000 is expected"},
        {{"21", "--max", "--", "/bin/cat"},
         "cannot set --max to --: a whole number from 1 to 4000000 is expected"},
        {{"21", "--resolve=no", "--", "/bin/cat"}, "cannot set --resolve to no: this option takes no value"},
        {{"21", "--max\n", "1"},
         "cannot serve with --max\\x0a: there is no such option (see forkport serve --help)"},
        {{"21", "--builtin", "echo", "--", "/bin/cat"},
         "cannot serve a program and a builtin: one of them is expected"},
        {{"21", "--", ""}, "cannot serve a program without a name: its path is expected behind --"},
        {{"21", "--builtin", "echo", "--resolve"},
         "cannot serve a builtin with --resolve: only a program is passed the client's name"},
        {{"21", "--a-name-longer-than-any-option-there-ever-will-be"},
         "cannot serve with --a-name-longer-than-any-option-there-ever-will-be: there is no such option (see "
         "forkport "
         "serve --help)"},
    };

    (void)state;
    bad(rows, sizeof(rows) / sizeof(rows[0]));
}

static void test_contradictions(void **state)
{
    static const struct error_row rows[] = {
        {{"21"}, "cannot serve: a program behind --, or a builtin, is expected"},
        {{"21", "--resolve"}, "cannot serve: a program behind --, or a builtin, is expected"},
        {{"21", "--builtin", "echo", "--engine", "fork"},
         "cannot serve a builtin with --engine fork: only a program is started ahead"},
        {{"21", "--builtin", "echo", "--engine", "pool"},
         "cannot serve a builtin with --engine pool: only a program is started ahead"},
        {{"21", "--builtin", "echo", "--gate", "read"},
         "cannot serve a builtin with --gate read: only a program has a gate"},
        {{"21", "--builtin", "echo", "--stderr", "socket"},
         "cannot serve a builtin with --stderr socket: it writes nothing there"},
        {{"21", "--gate", "read", "--", "/bin/cat"},
         "cannot serve with --gate read: it is for --engine fork or pool"},
        {{"21", "--log", "none", "--log-file", "log", "--", "/bin/cat"},
         "cannot serve with --log none and --log-file: there would be nothing in the file"},
        {{"21", "--templates", "1", "--", "/bin/cat"},
         "cannot serve with --templates: it is for --engine fork or pool"},
        {{"21", "--template-connections", "9", "--engine", "exec", "--", "/bin/cat"},
         "cannot serve with --template-connections: it is for --engine fork or pool"},
        {{"21", "--template-age", "9", "--", "/bin/cat"},
         "cannot serve with --template-age: it is for --engine fork or pool"},
        {{"21", "--template-start", "9", "--", "/bin/cat"},
         "cannot serve with --template-start: it is for --engine fork or pool"},
        {{"21", "--pool-start", "exec", "--engine", "fork", "--", "/bin/cat"},
         "cannot serve with --pool-start: it is for --engine pool"},
        {{"21", "--pool-min", "5", "--", "/bin/cat"},
         "cannot serve with --pool-min: it is for --engine pool"},
        {{"21", "--engine", "fork", "--pool-max", "5", "--", "/bin/cat"},
         "cannot serve with --pool-max: it is for --engine pool"},
        {{"21", "--builtin", "echo", "--pool-max", "5"},
         "cannot serve with --pool-max: it is for --engine pool"},
        {{"21", "--engine", "pool", "--pool-min", "5", "--pool-max", "4", "--", "/bin/cat"},
         "cannot serve with --pool-min above --pool-max: a minimum up to the maximum is expected"},
    };

    (void)state;
    bad(rows, sizeof(rows) / sizeof(rows[0]));
}

/* What is left at its default contradicts nothing, nor what is given as it is by default. */
static void test_what_goes_together(void **state)
{
    struct config config;

    (void)state;
    GOOD(&config, "21", "--builtin", "echo", "--engine", "exec", "--gate", "main", "--stderr", "inherit");
    config_done(&config);
    GOOD(&config, "21", "--engine", "pool", "--gate", "read", "--stderr", "socket", "--", "/bin/cat");
    config_done(&config);
    GOOD(&config, "21", "--engine", "fork", "--templates", "2", "--template-connections", "9",
         "--template-age", "9", "--template-start", "9", "--", "/bin/cat");
    config_done(&config);
    GOOD(&config, "21", "--engine", "pool", "--templates", "2", "--pool-start", "exec", "--", "/bin/cat");
    config_done(&config);
    GOOD(&config, "21", "--engine", "pool", "--pool-min", "100", "--", "/bin/cat");
    assert_true(option_is_given(&config, "pool-min"));
    assert_false(option_is_given(&config, "pool-max"));
    config_done(&config);
    GOOD(&config, "21", "--pool-max", "4", "--engine", "pool", "--", "/bin/cat");
    config_done(&config);
    GOOD(&config, "21", "--engine", "pool", "--pool-max", "4", "--pool-min", "4", "--log", "none", "--",
         "/bin/cat");
    assert_true(option_is_given(&config, "pool-max"));
    config_done(&config);
    /* A handler, which only the library has. */
    GOOD(&config, "21", "--stderr", "socket", "--", "/bin/cat");
    free(config.program[0]);
    free(config.program);
    config.program = NULL;
    assert_int_equal(options_check(&config, true, NULL), FP_OK);
    assert_int_equal(options_check(&config, false, NULL), FP_USAGE);
    config_done(&config);
}

/* The rest of an address's errors are addr's own; that they come through with their class is ours. */
static void test_a_bad_address(void **state)
{
    struct config config;
    struct fp_error err;
    const char *const words[] = {"127.0.0.1:65536", "--builtin", "echo", NULL};

    (void)state;
    assert_int_equal(parse(words, &config, &err), FP_DATA);
    assert_non_null(strstr(err.what, "65536"));
    config_done(&config);
}

/* Words of any kind, in any order: an answer, with a reason where it is an error. */
static void test_any_words(void **state)
{
    static const char *const any[] = {
        "21",         "*:21",     "--", "--max",       "--max=1",  "5",          "--resolve",  "--builtin",
        "echo",       "/bin/cat", "",   "-",           "--at-max", "message:\\", "message:no", "--=",
        "--log=json", "--user",   "0",  "--group=0,0", "---",      "--max=-1",   "=",
    };
    unsigned seed = 5;
    int parsed = 0;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        const char *words[WORDS_MAX + 1] = {NULL};
        struct config config;
        struct fp_error err = {.status = FP_OK};
        int count = rand_r(&seed) % WORDS_MAX;
        for (int i = 0; i < count; i++)
            words[i] = any[(size_t)rand_r(&seed) % (sizeof(any) / sizeof(any[0]))];
        enum fp_status status = parse(words, &config, &err);
        assert_int_equal(status, err.status);
        if (status != FP_OK)
            assert_true(err.operation[0] != '\0' && err.reason[0] != '\0');
        else
            parsed++;
        config_done(&config);
    }
    assert_true(parsed > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_program),
        cmocka_unit_test(test_a_builtin),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_a_bad_address),
        cmocka_unit_test(test_any_words),
        cmocka_unit_test(test_what_goes_together),
        cmocka_unit_test(test_contradictions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
