/* SPDX-License-Identifier: MIT */
#include "wire/template_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static void test_marker(void **state)
{
    const struct template_marker marker = {.control = 5,
                                           .board = 4294967,
                                           .library = 0,
                                           .peer = 12,
                                           .gate = TEMPLATE_GATE_READ,
                                           .is_worker = 1,
                                           .is_tuned = 1};
    struct template_marker back = {0};
    char text[TEMPLATE_MARKER_BYTES];

    (void)state;
    template_marker_format(&marker, text, sizeof(text));
    assert_true(template_marker_parse(text, &back));
    assert_memory_equal(&back, &marker, sizeof(back));
}

static void test_marker_refused(void **state)
{
    static const char *const wrong[] = {"",
                                        "1",
                                        "1,2,3,4,1,0",
                                        "1,2,3,4,1,0,",
                                        "1,2,3,4,2,0,0",
                                        "1,2,3,4,9,0,0",
                                        "1,2,3,4,1,2,0",
                                        "1,2,3,4,1,0,2",
                                        "1,2,3,4,1,0,0,",
                                        "1,2,,4,1,0,0",
                                        "1,-2,3,4,1,0,0",
                                        "1,2,3,4,1,0,0x",
                                        "99999999999,2,3,4,1,0,0"};
    struct template_marker marker;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(template_marker_parse(wrong[i], &marker));
}

static void test_order(void **state)
{
    struct template_order order = {.head = {.sequence = 7, .variables = 2, .text_length = 8},
                                   .text = "A=1\0B=2"};
    size_t bytes = template_order_bytes(&order.head);

    (void)state;
    assert_int_equal(bytes, sizeof(order.head) + 8);
    assert_true(template_order_check(&order.head, order.text, bytes));
    assert_false(template_order_check(&order.head, order.text, bytes - 1));
    assert_false(template_order_check(&order.head, order.text, bytes + 1));
    assert_false(template_order_check(&order.head, order.text, 3));
    order.head.variables = 3;
    assert_false(template_order_check(&order.head, order.text, bytes));
    order.head = (struct template_order_head){.variables = 1, .text_length = 7};
    assert_false(template_order_check(&order.head, order.text, sizeof(order.head) + 7));
    /* As much text as there is room for, and one byte more. */
    memset(order.text, 'x', TEMPLATE_TEXT_BYTES - 1);
    order.text[TEMPLATE_TEXT_BYTES - 1] = '\0';
    order.head.text_length = TEMPLATE_TEXT_BYTES;
    assert_true(template_order_check(&order.head, order.text, sizeof(order)));
    order.head.text_length = TEMPLATE_TEXT_BYTES + 1;
    assert_false(template_order_check(&order.head, order.text, sizeof(order.head) + TEMPLATE_TEXT_BYTES + 1));
}

static void test_refusals_have_texts(void **state)
{
    (void)state;
    for (uint32_t i = 1; i < TEMPLATE_REFUSAL_COUNT + 2; i++)
        assert_true(strlen(template_refusal_text(i)) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marker),
        cmocka_unit_test(test_marker_refused),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_refusals_have_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
