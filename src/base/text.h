/* SPDX-License-Identifier: MIT
 *
 * base/text.h - text put together in a buffer of fixed size, and the escaper for terminals and logs.
 *
 * A `struct text` appends to a buffer that its caller owns. What does not fit is cut, never written beyond the end;
 * the length that was wanted is still counted, so text_end() tells a cut as snprintf(3) does. The buffer is NUL
 * terminated by text_end(). There is no allocation, no locale and no kernel in here, and nothing fails.
 *
 * text_escape() is the one way by which bytes of a client or of the system reach a line of text: control bytes and
 * DEL, bytes that are no UTF-8, C1 controls, what is not seen but moves what is, and the backslash come out as \xNN, so that no line
 * can be forged and no terminal moved.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    char *start;
    size_t size;   /* of the buffer */
    size_t length; /* wanted so far, without the NUL; may exceed size */
};

void text_init(struct text *text, char *buffer, size_t size);
void text_string(struct text *text, const char *string);
void text_bytes(struct text *text, const char *bytes, size_t length);
void text_unsigned(struct text *text, uint64_t number);
/* A number with leading zeros up to `width` digits (at most 20). */
void text_padded(struct text *text, uint64_t number, unsigned width);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_escape(struct text *text, const char *bytes, size_t length);
/* For text of which parts may be escaped already: leaves backslashes as they are. */
void text_escape_again(struct text *text, const char *bytes, size_t length);
/*
 * Words, escaped, and a newline behind the last; they go on in a line that begins at `indent`, where they began, rather than
 * come beyond `width` columns. A socket pair is one word. Each byte counts as a column.
 */
void text_words(struct text *text, size_t indent, size_t width, const char *words);
/* Terminates the buffer (where it has any size) and returns the length wanted. */
size_t text_end(struct text *text);
/* The length really there: wanted, or what fits without the NUL. */
size_t text_length(const struct text *text);
/*
 * Ends a text that was cut by dots, behind a whole character, or (`is_escaped`) a whole \xNN where a backslash is always
 * one of these.
 */
void text_mark_cut(char *buffer, size_t size, bool is_escaped);

/* The number of bytes (1 to 4) of the UTF-8 character at the start of `bytes`; 0: none starts here. */
size_t text_utf8_length(const unsigned char *bytes, size_t length);

/* Parses a whole decimal number without sign, space or leading '+', at most `max`. Returns false where it is none. */
bool text_parse_unsigned(const char *string, uint64_t max, uint64_t *ret_number);

#endif
