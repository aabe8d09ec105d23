/* SPDX-License-Identifier: MIT */
#include "demux/tuples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct hash_secret secret = {{0x243f6a8885a308d3, 0x13198a2e03707345, 0xa4093822299f31d1,
                                           0x082efa98ec4e6c89, 0x452821e638d01377, 0xbe5466cf34e90c6d}};

static const unsigned sizes[] = {12, 16, 20, 36, 40};

/* Consecutive numbers in the last word: ports, as they come. */
static void key_make(unsigned char key[TUPLES_KEY_MAX], unsigned size, uint32_t number)
{
    memset(key, 0, TUPLES_KEY_MAX);
    memcpy(key + size - sizeof(number), &number, sizeof(number));
}

static void test_each_shape_grows_and_empties(void **state)
{
    unsigned char key[TUPLES_KEY_MAX];

    (void)state;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct tuples tuples;
        tuples_init(&tuples, sizes[i], &secret);
        for (uint32_t n = 0; n < 20000; n++) {
            key_make(key, sizes[i], n);
            assert_int_equal(tuples_find(&tuples, key), TUPLES_NONE);
            assert_int_equal(tuples_add(&tuples, key, n), TUPLES_ADDED);
            assert_int_equal(tuples_add(&tuples, key, n), TUPLES_EXISTS);
        }
        assert_true(tuples.overflow_live > 0);
        for (uint32_t n = 0; n < 20000; n++) {
            key_make(key, sizes[i], n);
            assert_int_equal(tuples_find(&tuples, key), n);
            assert_int_equal(tuples_remove(&tuples, key), n);
            assert_int_equal(tuples_find(&tuples, key), TUPLES_NONE);
        }
        assert_int_equal(tuples.count, 0);
        assert_int_equal(tuples.overflow_live, 0);
        tuples_done(&tuples);
    }
}

/* A key that stands in memory beyond the end of the array would be seen by the address sanitizer. */
static void test_many_of_every_length(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct tuples tuples;
        tuples_init(&tuples, sizes[i], &secret);
        unsigned char key[TUPLES_KEY_MAX];
        for (uint32_t n = 0; n < 1000; n += 2) {
            key_make(key, sizes[i], n);
            assert_int_equal(tuples_add(&tuples, key, n), TUPLES_ADDED);
        }
        for (size_t count = 1; count < 700; count += 23) {
            unsigned char *keys = malloc(count * sizes[i]);
            uint32_t *found = malloc(count * sizeof(*found));
            assert_non_null(keys);
            assert_non_null(found);
            for (uint32_t n = 0; n < count; n++) {
                key_make(key, sizes[i], n);
                memcpy(keys + n * sizes[i], key, sizes[i]);
            }
            tuples_find_many(&tuples, keys, count, found);
            for (uint32_t n = 0; n < count; n++)
                assert_int_equal(found[n], n % 2 == 0 ? n : TUPLES_NONE);
            free(keys);
            free(found);
        }
        tuples_done(&tuples);
    }
}

/* Growing moves a bounded number of keys with each addition: the buckets never lag behind by more than the pace. */
static void test_growth_is_in_small_steps(void **state)
{
    struct tuples tuples;
    unsigned char key[TUPLES_KEY_MAX];

    (void)state;
    tuples_init(&tuples, 12, &secret);
    for (uint32_t n = 0; n < 100000; n++) {
        uint64_t before = tuples.buckets;
        key_make(key, 12, n);
        assert_int_equal(tuples_add(&tuples, key, n), TUPLES_ADDED);
        assert_true(before == 0 || tuples.buckets - before <= 4);
        assert_true(tuples.count * 8 <= tuples.buckets * 4 * 5);
    }
    tuples_done(&tuples);
}

static void test_reserve_keeps_what_is_there(void **state)
{
    struct tuples tuples;
    unsigned char key[TUPLES_KEY_MAX];

    (void)state;
    tuples_init(&tuples, 36, &secret);
    for (uint32_t n = 0; n < 5000; n++) {
        key_make(key, 36, n);
        assert_int_equal(tuples_add(&tuples, key, n), TUPLES_ADDED);
        if (n == 1000)
            assert_true(tuples_reserve(&tuples, 60000));
    }
    uint64_t buckets = tuples.buckets;
    for (uint32_t n = 5000; n < 60000; n++) {
        key_make(key, 36, n);
        assert_int_equal(tuples_add(&tuples, key, n), TUPLES_ADDED);
    }
    assert_int_equal(tuples.buckets, buckets);
    for (uint32_t n = 0; n < 60000; n++) {
        key_make(key, 36, n);
        assert_int_equal(tuples_find(&tuples, key), n);
    }
    tuples_done(&tuples);
}

/* Room for fewer than there are is no reason to stop growing. */
static void test_a_small_reserve_does_not_end_growth(void **state)
{
    struct tuples tuples;
    unsigned char key[TUPLES_KEY_MAX];

    (void)state;
    tuples_init(&tuples, 12, &secret);
    for (uint32_t n = 0; n < 20000; n++) {
        key_make(key, 12, n);
        assert_int_equal(tuples_add(&tuples, key, n), TUPLES_ADDED);
        if (n == 2000)
            assert_true(tuples_reserve(&tuples, 1));
        assert_true(tuples.count * 8 <= tuples.buckets * 4 * 5);
    }
    tuples_done(&tuples);
}

/*
 * Keys that differ in few bits, as pairs do and as who attacks would choose: consecutive ports, multiples of powers of
 * two, one network's addresses. The sum over buckets of (keys choose 2) is what look-ups pay, and stays near chance.
 */
static double pairs_meeting(unsigned key_bytes, unsigned word, unsigned shift)
{
    static uint32_t counts[1 << 14];
    unsigned char key[TUPLES_KEY_MAX] = {0};
    double meeting = 0;

    memset(counts, 0, sizeof(counts));
    for (uint32_t n = 0; n < 1 << 14; n++) {
        uint32_t value = n << shift | (shift == 0 ? 0 : n >> (32 - shift));
        memcpy(key + 4 * (size_t)word, &value, sizeof(value));
        uint64_t hash = key_bytes == 12   ? hash_12(&secret, key)
                        : key_bytes == 36 ? hash_36(&secret, key)
                                          : hash_bytes(&secret, key, key_bytes);
        meeting += counts[hash & ((1 << 14) - 1)]++;
    }
    return meeting / (1 << 13); /* one, by chance */
}

static void test_hash_spreads_chosen_keys(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (unsigned word = 0; word < sizes[i] / 4; word++) {
            for (unsigned shift = 0; shift < 32; shift++) {
                double meeting = pairs_meeting(sizes[i], word, shift);
                if (meeting < 0.9 || meeting > 1.1)
                    fail_msg("%u bytes, word %u, shift %u: %.3f", sizes[i], word, shift, meeting);
            }
        }
    }
}

/* So many that the buckets for them cannot be counted. */
static void test_what_cannot_be_reserved_is_refused(void **state)
{
    static const uint64_t counts[] = {UINT64_MAX, UINT64_C(1) << 63, UINT64_C(1) << 62, UINT64_C(1) << 61,
                                      UINT64_C(1) << 32};

    (void)state;
    for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct tuples tuples;
        tuples_init(&tuples, 12, &secret);
        assert_false(tuples_reserve(&tuples, counts[i]));
        assert_int_equal(tuples_bytes(&tuples), 0);
        tuples_done(&tuples);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_shape_grows_and_empties),
        cmocka_unit_test(test_many_of_every_length),
        cmocka_unit_test(test_growth_is_in_small_steps),
        cmocka_unit_test(test_reserve_keeps_what_is_there),
        cmocka_unit_test(test_a_small_reserve_does_not_end_growth),
        cmocka_unit_test(test_what_cannot_be_reserved_is_refused),
        cmocka_unit_test(test_hash_spreads_chosen_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
