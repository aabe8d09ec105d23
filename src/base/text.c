/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void text_init(struct text *text, char *buffer, size_t size)
{
    *text = (struct text){.start = buffer, .size = size};
}

void text_bytes(struct text *text, const char *bytes, size_t length)
{
    if (text->length + 1 < text->size) {
        size_t room = text->size - text->length - 1;
        memcpy(text->start + text->length, bytes, length < room ? length : room);
    }
    text->length += length;
}

void text_string(struct text *text, const char *string)
{
    text_bytes(text, string, strlen(string));
}

void text_padded(struct text *text, uint64_t number, unsigned width)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    while (at > 0 && sizeof(digits) - at < width)
        digits[--at] = '0';
    text_bytes(text, digits + at, sizeof(digits) - at);
}

void text_unsigned(struct text *text, uint64_t number)
{
    text_padded(text, number, 1);
}

void text_printf(struct text *text, const char *format, ...)
{
    size_t room = text->length < text->size ? text->size - text->length : 0;
    va_list ap;

    va_start(ap, format);
    int wanted = vsnprintf(room != 0 ? text->start + text->length : NULL, room, format, ap);
    va_end(ap);
    if (wanted > 0)
        text->length += (size_t)wanted;
}

size_t text_utf8_length(const unsigned char *bytes, size_t length)
{
    /* The well-formed byte sequences of the Unicode standard (table 3-7): no overlong forms, no surrogates. */
    static const struct {
        unsigned char first, last; /* of the leading byte */
        unsigned char low, high;   /* of the second one */
        size_t length;
    } rows[] = {
        {0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    size_t row = 0;

    while (row < sizeof(rows) / sizeof(rows[0]) && bytes[0] > rows[row].last)
        row++;
    if (row == sizeof(rows) / sizeof(rows[0]) || bytes[0] < rows[row].first || length < rows[row].length)
        return 0;
    if (rows[row].length > 1 && (bytes[1] < rows[row].low || bytes[1] > rows[row].high))
        return 0;
    for (size_t i = 2; i < rows[row].length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    }
    return rows[row].length;
}

/* Zero width, line and paragraph separators, and what turns the direction of writing: a line could read as another. */
static bool is_unseen(const unsigned char *bytes)
{
    if (bytes[0] == 0xd8)
        return bytes[1] == 0x9c;
    if (bytes[0] == 0xe2 && bytes[1] == 0x80)
        return (bytes[2] >= 0x8b && bytes[2] <= 0x8f) || (bytes[2] >= 0xa8 && bytes[2] <= 0xae);
    if (bytes[0] == 0xe2 && bytes[1] == 0x81)
        return bytes[2] >= 0xa0 && bytes[2] <= 0xa9;
    return bytes[0] == 0xef && bytes[1] == 0xbb && bytes[2] == 0xbf;
}

/* Of a character that is well-formed: is it shown as it stands? C1 controls (U+0080 to U+009F) move terminals too. */
static bool is_plain(const unsigned char *bytes, size_t length)
{
    if (length == 1)
        return bytes[0] >= 0x20 && bytes[0] != 0x7f && bytes[0] != '\\';
    return !is_unseen(bytes) && (bytes[0] != 0xc2 || bytes[1] >= 0xa0);
}

static void escape(struct text *text, const char *bytes, size_t length, bool keeps_backslash)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *at = (const unsigned char *)bytes;
    const unsigned char *end = at + length;

    while (at < end) {
        size_t step = text_utf8_length(at, (size_t)(end - at));
        if (step != 0 && (is_plain(at, step) || (keeps_backslash && *at == '\\'))) {
            text_bytes(text, (const char *)at, step);
            at += step;
            continue;
        }
        size_t bad = step != 0 ? step : 1;
        for (size_t i = 0; i < bad; i++, at++)
            text_bytes(text, (char[]){'\\', 'x', hex[*at >> 4], hex[*at & 15]}, 4);
    }
}

void text_escape(struct text *text, const char *bytes, size_t length)
{
    escape(text, bytes, length, false);
}

void text_escape_again(struct text *text, const char *bytes, size_t length)
{
    escape(text, bytes, length, true);
}

static size_t word_length(const char *words)
{
    size_t length = strcspn(words, " ");

    if (strcspn(words, "{") < length)
        length = strcspn(words, "}");
    return length + strcspn(words + length, " ");
}

void text_words(struct text *text, size_t indent, size_t width, const char *words)
{
    size_t column = indent;

    while (*words != '\0') {
        size_t length = word_length(words);
        if (column > indent && column + 1 + length > width) {
            text_printf(text, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            text_string(text, " ");
            column++;
        }
        text_escape(text, words, length);
        column += length;
        words += length + strspn(words + length, " ");
    }
    text_string(text, "\n");
}

size_t text_length(const struct text *text)
{
    if (text->length < text->size)
        return text->length;
    return text->size != 0 ? text->size - 1 : 0;
}

size_t text_end(struct text *text)
{
    if (text->size != 0)
        text->start[text_length(text)] = '\0';
    return text->length;
}

void text_mark_cut(char *buffer, size_t size, bool is_escaped)
{
    static const char mark[] = "...";
    size_t end = 0;

    if (size < sizeof(mark))
        return;
    for (;;) {
        size_t step = text_utf8_length((const unsigned char *)buffer + end, size - 1 - end);
        if (step == 0)
            step = 1; /* a byte that is no character */
        else if (is_escaped && buffer[end] == '\\')
            step = 4;
        if (end + step > size - sizeof(mark))
            break;
        end += step;
    }
    memcpy(buffer + end, mark, sizeof(mark));
}

bool text_parse_unsigned(const char *string, uint64_t max, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (*string == '\0')
        return false;
    for (; *string != '\0'; string++) {
        if (*string < '0' || *string > '9')
            return false;
        unsigned digit = (unsigned)(*string - '0');
        if (number > (max - digit) / 10 || digit > max)
            return false;
        number = number * 10 + digit;
    }
    *ret_number = number;
    return true;
}
