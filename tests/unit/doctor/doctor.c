/* SPDX-License-Identifier: MIT */
#include "doctor/doctor.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char output[64 << 10];

/* All ok, but one check. */
static void fill(struct doctor_finding findings[], const char *id, enum doctor_verdict verdict,
                 const char *found)
{
    for (size_t i = 0; i < doctor_check_count; i++) {
        bool is_it = strcmp(doctor_checks[i].id, id) == 0;
        findings[i].verdict = is_it ? verdict : DOCTOR_OK;
        snprintf(findings[i].found, sizeof(findings[i].found), "%s", is_it ? found : "there");
    }
}

static void render(const struct doctor_finding findings[])
{
    struct text text;

    text_init(&text, output, sizeof(output));
    doctor_text(findings, &text);
    assert_true(text_end(&text) < sizeof(output));
}

static void test_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < doctor_check_count; i++) {
        const struct doctor_check *check = &doctor_checks[i];
        assert_non_null(check->look);
        assert_true(check->name[0] != '\0' && check->use[0] != '\0');
        assert_true(check->without[0] != '\0' && check->remedy[0] != '\0');
        /* What is shown as a column, and what ends a sentence in the manual. */
        assert_true(strlen(check->name) <= 22);
        assert_int_not_equal(check->remedy[strlen(check->remedy) - 1], '.');
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(doctor_checks[k].id, check->id);
        for (size_t k = 0; i > 0 && k < i - 1; k++) {
            /* A group stands together. */
            if (strcmp(doctor_checks[k].group, check->group) == 0)
                assert_string_equal(doctor_checks[i - 1].group, check->group);
        }
    }
}

static void test_what_serve_needs(void **state)
{
    struct doctor_finding findings[DOCTOR_CHECKS_MAX];

    (void)state;
    for (size_t i = 0; i < doctor_check_count; i++) {
        const struct doctor_check *check = &doctor_checks[i];
        for (enum doctor_verdict verdict = DOCTOR_OK; verdict <= DOCTOR_MISSING; verdict++) {
            bool lacks = check->rank == DOCTOR_NEEDED && verdict >= DOCTOR_NOT_PERMITTED;
            fill(findings, check->id, verdict, "");
            assert_int_equal(doctor_serves(findings), !lacks);
            render(findings);
            assert_int_equal(strstr(output, "; forkport serve cannot run\n") != NULL, lacks);
        }
    }
}

static void test_text(void **state)
{
    struct doctor_finding findings[DOCTOR_CHECKS_MAX];
    char last[128];

    (void)state;
    fill(findings, "low_ports", DOCTOR_NOT_PERMITTED, "ports below 1024");
    render(findings);
    assert_non_null(strstr(output, "\n  low ports              not permitted ports below 1024\n"
                                   "      for      ports that are kept for the privileged (21, 80)\n"
                                   "      without  such a port cannot be listened on\n"
                                   "      remedy   start it as root or with CAP_NET_BIND_SERVICE, or lower\n"
                                   "               net.ipv4.ip_unprivileged_port_start\n"
                                   "  users                  ok            there\n"));
    /* Of what is there, nothing but that is said. */
    assert_null(strstr(strstr(output, "      for ") + 1, "      for "));
    assert_memory_equal(output, "serve\n  kernel ", strlen("serve\n  kernel "));
    snprintf(last, sizeof(last),
             "\n%zu ok, 0 low, 1 not permitted, 0 missing; forkport serve has what it needs\n",
             doctor_check_count - 1);
    assert_string_equal(output + strlen(output) - strlen(last), last);
}

static void test_lines_fit_and_bytes_are_escaped(void **state)
{
    struct doctor_finding findings[DOCTOR_CHECKS_MAX];

    (void)state;
    fill(findings, "preload", DOCTOR_MISSING,
         "/home/\xff\x1b[2J/libforkport-preload.so cannot be loaded: it is a text");
    for (size_t i = 0; i < doctor_check_count; i++)
        findings[i].verdict = DOCTOR_MISSING;
    render(findings);
    assert_non_null(strstr(output, "/home/\\xff\\x1b[2J/"));
    for (char *line = strtok(output, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        assert_true(strlen(line) <= 79);
        assert_int_not_equal(line[strlen(line) - 1], ' ');
    }
}

static void test_json(void **state)
{
    struct doctor_finding findings[DOCTOR_CHECKS_MAX];
    struct text text;
    size_t lines = 0;

    (void)state;
    fill(findings, "preload", DOCTOR_MISSING, "\xff\"\n");
    text_init(&text, output, sizeof(output));
    assert_true(doctor_json(findings, &text));
    assert_true(text_end(&text) < sizeof(output));
    for (char *line = strtok(output, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        const struct doctor_check *check = &doctor_checks[lines];
        json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        bool is_it = strcmp(check->id, "preload") == 0;
        assert_non_null(object);
        assert_int_equal(json_object_size(object), 9);
        assert_string_equal(json_string_value(json_object_get(object, "check")), check->id);
        assert_string_equal(json_string_value(json_object_get(object, "verdict")), is_it ? "missing" : "ok");
        assert_string_equal(json_string_value(json_object_get(object, "found")),
                            is_it ? "\\xff\"\\x0a" : "there");
        assert_string_equal(json_string_value(json_object_get(object, "needed_by")),
                            check->rank == DOCTOR_NEEDED         ? "serve"
                            : check->rank == DOCTOR_NEEDED_THERE ? "group"
                                                                 : "nothing");
        json_decref(object);
        lines++;
    }
    assert_int_equal(lines, doctor_check_count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table), cmocka_unit_test(test_what_serve_needs),
        cmocka_unit_test(test_text),      cmocka_unit_test(test_lines_fit_and_bytes_are_escaped),
        cmocka_unit_test(test_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
