/* SPDX-License-Identifier: MIT */
#include "wire/template_message.h"

#define NUMBERS 7

static char *put_number(char *at, uint32_t number)
{
    char digits[10];
    size_t count = 0;

    do
        digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    while (count > 0)
        *at++ = digits[--count];
    return at;
}

void template_marker_format(const struct template_marker *marker, char *text, size_t size)
{
    const uint32_t numbers[NUMBERS] = {marker->control, marker->board,     marker->library, marker->peer,
                                       marker->gate,    marker->is_worker, marker->is_tuned};

    if (size < NUMBERS * 11)
        return;
    for (size_t i = 0; i < NUMBERS; i++) {
        text = put_number(text, numbers[i]);
        *text++ = i + 1 < NUMBERS ? ',' : '\0';
    }
}

static bool take_number(const char **at, uint32_t *ret_number)
{
    uint32_t number = 0;
    const char *start = *at;

    for (; **at >= '0' && **at <= '9'; ++*at) {
        if (number > 100000000)
            return false;
        number = number * 10 + (uint32_t)(**at - '0');
    }
    *ret_number = number;
    return *at != start;
}

bool template_marker_parse(const char *text, struct template_marker *ret_marker)
{
    uint32_t numbers[NUMBERS];

    for (size_t i = 0; i < NUMBERS; i++) {
        if (!take_number(&text, &numbers[i]) || *text != (i + 1 < NUMBERS ? ',' : '\0'))
            return false;
        text++;
    }
    *ret_marker = (struct template_marker){.control = numbers[0],
                                           .board = numbers[1],
                                           .library = numbers[2],
                                           .peer = numbers[3],
                                           .gate = numbers[4],
                                           .is_worker = numbers[5],
                                           .is_tuned = numbers[6]};
    return numbers[4] <= TEMPLATE_GATE_READ && numbers[5] <= 1 && numbers[6] <= 1;
}

size_t template_order_bytes(const struct template_order_head *head)
{
    return sizeof(*head) + head->text_length;
}

bool template_order_check(const struct template_order_head *head, const char *text, size_t bytes)
{
    uint32_t zeros = 0;

    if (bytes < sizeof(*head) || head->text_length > TEMPLATE_TEXT_BYTES ||
        bytes != template_order_bytes(head))
        return false;
    for (uint32_t i = 0; i < head->text_length; i++)
        zeros += text[i] == '\0';
    return zeros == head->variables && (zeros == 0 || text[head->text_length - 1] == '\0');
}

const char *template_refusal_text(uint32_t refusal)
{
#define REFUSAL(id, text) text,
    static const char *const texts[] = {TEMPLATE_REFUSALS(REFUSAL)};
#undef REFUSAL

    return refusal < TEMPLATE_REFUSAL_COUNT ? texts[refusal] : "it says something unknown";
}
