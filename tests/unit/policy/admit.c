/* SPDX-License-Identifier: MIT */
#include "policy/admit.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct address address4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    return (struct address){.family = AF_INET, .port = 1500, .bytes = {a, b, c, d}};
}

static void *init(struct admit *admit, const struct admit_limits *limits, uint64_t seed)
{
    void *memory = calloc(1, admit_memory_bytes(limits));

    assert_non_null(memory);
    admit_init(admit, limits, seed, memory);
    return memory;
}

static void test_limits(void **state)
{
    const struct admit_limits limits = {.max = 3,
                                        .max_per_source = 2,
                                        .source_prefix4 = 32,
                                        .source_prefix6 = 64};
    struct address one = address4(192, 0, 2, 1);
    struct address two = address4(192, 0, 2, 2);
    struct admit admit;
    uint32_t source[3];
    uint32_t count = 0;

    (void)state;
    void *memory = init(&admit, &limits, 7);
    assert_int_equal(admit_take(&admit, &one, &source[0], &count), ADMIT_YES);
    assert_int_equal(count, 1);
    assert_int_equal(admit_take(&admit, &one, &source[1], &count), ADMIT_YES);
    assert_int_equal(count, 2);
    assert_int_equal(source[0], source[1]);
    assert_int_equal(admit_take(&admit, &one, &source[2], &count), ADMIT_SOURCE_FULL);
    assert_true(admit_has_room(&admit));
    assert_int_equal(admit_take(&admit, &two, &source[2], &count), ADMIT_YES);
    assert_int_equal(count, 1);
    assert_false(admit_has_room(&admit));
    assert_int_equal(admit_live(&admit), 3);
    /* Full comes first: an attacker learns nothing of the counts of a source while the server is full. */
    assert_int_equal(admit_take(&admit, &one, &source[2], &count), ADMIT_FULL);
    admit_release(&admit, source[0]);
    assert_int_equal(admit_take(&admit, &one, &source[0], &count), ADMIT_YES);
    assert_int_equal(count, 2);
    free(memory);
}

static void test_reasons(void **state)
{
    (void)state;
    assert_string_equal(admit_reason(ADMIT_YES), "admitted");
    assert_string_equal(admit_reason(ADMIT_FULL), "full");
    assert_string_equal(admit_reason(ADMIT_SOURCE_FULL), "source full");
}

/* Do a and b count as one source? Compared bit by bit. */
static bool same_source(const struct admit_limits *limits, const struct address *a, const struct address *b)
{
    if (a->family != b->family)
        return false;
    unsigned bits = a->family == AF_INET ? limits->source_prefix4 : limits->source_prefix6;
    for (unsigned bit = 0; bit < bits; bit++) {
        unsigned shift = 7 - bit % 8;
        if ((a->bytes[bit / 8] >> shift & 1) != (b->bytes[bit / 8] >> shift & 1))
            return false;
    }
    return true;
}

/* The model: a list of the live connections, counted anew each time. */
struct live {
    struct address foreign;
    uint32_t source;
};

static uint32_t count_source(const struct live *lives, uint32_t count, const struct admit_limits *limits,
                             const struct address *foreign)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < count; i++)
        found += same_source(limits, &lives[i].foreign, foreign);
    return found;
}

/* Addresses that differ in few bits, anywhere: prefixes of any length meet and part. */
static struct address any_address(unsigned *seed)
{
    struct address address = {.family = rand_r(seed) % 2 == 0 ? AF_INET : AF_INET6};
    unsigned length = address.family == AF_INET ? 4 : 16;

    address.port = (uint16_t)rand_r(seed);
    for (int flips = rand_r(seed) % 3; flips > 0; flips--) {
        unsigned bit = (unsigned)rand_r(seed) % (8 * length);
        address.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    return address;
}

static void step_take(struct admit *admit, struct live *lives, uint32_t *live, unsigned *seed)
{
    struct address foreign = any_address(seed);
    uint32_t before = count_source(lives, *live, &admit->limits, &foreign);
    enum admit_verdict expected = *live == admit->limits.max               ? ADMIT_FULL
                                  : before >= admit->limits.max_per_source ? ADMIT_SOURCE_FULL
                                                                           : ADMIT_YES;
    uint32_t source = 4711;
    uint32_t count = 4711;

    assert_int_equal(admit_take(admit, &foreign, &source, &count), expected);
    if (expected != ADMIT_YES) {
        assert_int_equal(source, 4711);
        assert_int_equal(count, 4711);
        return;
    }
    assert_int_equal(count, before + 1);
    for (uint32_t i = 0; i < *live; i++) {
        bool same = same_source(&admit->limits, &lives[i].foreign, &foreign);
        assert_int_equal(lives[i].source == source, same);
    }
    lives[(*live)++] = (struct live){.foreign = foreign, .source = source};
}

static void run_model(const struct admit_limits *limits, unsigned seed, int steps)
{
    struct live *lives = calloc(limits->max, sizeof(*lives));
    struct admit admit;
    uint32_t live = 0;

    void *memory = init(&admit, limits, seed);
    for (int step = 0; step < steps; step++) {
        if (rand_r(&seed) % 100 < (step / 500 % 2 == 0 ? 65 : 35)) {
            step_take(&admit, lives, &live, &seed);
        } else if (live > 0) {
            uint32_t which = (uint32_t)rand_r(&seed) % live;
            admit_release(&admit, lives[which].source);
            lives[which] = lives[--live];
        }
        assert_int_equal(admit_live(&admit), live);
        assert_int_equal(admit_has_room(&admit), live < limits->max);
    }
    while (live > 0)
        admit_release(&admit, lives[--live].source);
    assert_int_equal(admit_live(&admit), 0);
    assert_int_equal(admit.slots.live, 0);
    free(memory);
    free(lives);
}

static void test_against_a_model(void **state)
{
    unsigned seed = 4711;

    (void)state;
    for (int round = 0; round < 60; round++) {
        struct admit_limits limits = {
            .max = 1 + (uint32_t)rand_r(&seed) % 200,
            .max_per_source = 1 + (uint32_t)rand_r(&seed) % 20,
            .source_prefix4 = (uint8_t)(rand_r(&seed) % 33),
            .source_prefix6 = (uint8_t)(rand_r(&seed) % 129),
        };
        run_model(&limits, seed, 3000);
    }
}

/* The ends of what the options allow. */
static void test_every_prefix(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits <= 128; bits++) {
        struct admit_limits limits = {
            .max = 40,
            .max_per_source = 3,
            .source_prefix4 = (uint8_t)(bits <= 32 ? bits : 32),
            .source_prefix6 = (uint8_t)bits,
        };
        run_model(&limits, bits, 300);
    }
}

static void test_large(void **state)
{
    const struct admit_limits limits = {.max = 300000,
                                        .max_per_source = 1,
                                        .source_prefix4 = 32,
                                        .source_prefix6 = 64};
    struct admit admit;
    uint32_t *sources = calloc(limits.max, sizeof(*sources));
    uint32_t count;

    (void)state;
    void *memory = init(&admit, &limits, 99);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < limits.max; i++) {
            struct address foreign = address4(10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i);
            assert_int_equal(admit_take(&admit, &foreign, &sources[i], &count), ADMIT_YES);
        }
        for (uint32_t i = 0; i < limits.max; i++)
            admit_release(&admit, sources[i]);
        assert_int_equal(admit_live(&admit), 0);
    }
    free(memory);
    free(sources);
}

/* Its prefix is that of every link. */
static void test_link_local(void **state)
{
    struct admit_limits limits = {.max = 3, .max_per_source = 1, .source_prefix6 = 64};
    struct address one = {.family = AF_INET6, .bytes = {0xfe, 0x80, [15] = 1}, .scope = 2};
    struct address two = {.family = AF_INET6, .bytes = {0xfe, 0x80, [15] = 2}, .scope = 2};
    struct address elsewhere = {.family = AF_INET6, .bytes = {0xfe, 0x80, [15] = 1}, .scope = 3};
    struct admit admit;
    uint32_t source;
    uint32_t count;

    (void)state;
    void *memory = init(&admit, &limits, 7);
    assert_int_equal(admit_take(&admit, &one, &source, &count), ADMIT_YES);
    assert_int_equal(admit_take(&admit, &two, &source, &count), ADMIT_SOURCE_FULL);
    assert_int_equal(admit_take(&admit, &elsewhere, &source, &count), ADMIT_YES);
    free(memory);
    /* What is wider than a link is one source. */
    limits.source_prefix6 = 0;
    memory = init(&admit, &limits, 7);
    assert_int_equal(admit_take(&admit, &one, &source, &count), ADMIT_YES);
    assert_int_equal(admit_take(&admit, &elsewhere, &source, &count), ADMIT_SOURCE_FULL);
    free(memory);
}

static void test_a_release_too_many(void **state)
{
    const struct admit_limits limits = {.max = 3,
                                        .max_per_source = 2,
                                        .source_prefix4 = 32,
                                        .source_prefix6 = 64};
    int status;

    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit none = {0, 0};
        struct address one = address4(192, 0, 2, 1);
        struct admit admit;
        uint32_t source;
        uint32_t count;
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        init(&admit, &limits, 7);
        admit_take(&admit, &one, &source, &count);
        admit_release(&admit, source);
        admit_release(&admit, source);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),          cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_against_a_model), cmocka_unit_test(test_every_prefix),
        cmocka_unit_test(test_large),           cmocka_unit_test(test_a_release_too_many),
        cmocka_unit_test(test_link_local),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
