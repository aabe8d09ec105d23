/* SPDX-License-Identifier: MIT
 *
 * addr/value.h - values of JSON: the notation of addresses and pairs as strings, and what every object needs.
 *
 * A value belongs to its caller until it is put into an object. NULL is what there was no memory for; value_add()
 * leaves out a member whose value is NULL, so that nobody else has to look. Bytes that are no UTF-8 cannot stand in
 * JSON and are shown as \xNN, as in text; of those that can, jansson escapes what must be. A cookie is hexadecimal, as
 * a number of 64 bits is more than many readers of JSON can hold.
 */
#ifndef ADDR_VALUE_H
#define ADDR_VALUE_H

#include "addr/pair.h"

#include <jansson.h>

/* Of those that are no UTF-8, as many are shown. */
#define VALUE_BYTES_MAX 1024

/* The key is UTF-8, and not in the object yet or to be replaced. Owns the value from the call on. */
void value_add(json_t *object, const char *key, json_t *take_value);
json_t *value_bytes(const char *bytes, size_t length);
json_t *value_string(const char *string);
/* Is this how value_string() shows a string that is no UTF-8, one that fits? That string; nothing is written where it is not. */
bool value_unescape(const char *shown, char *ret_string, size_t size);
json_t *value_address(const struct address *address);
json_t *value_pair(const struct pair *pair);
json_t *value_cookie(uint64_t cookie);
/* Appends it in one line of ASCII, without a newline, and gives it up. */
void value_put(json_t *take_value, struct text *text);

#endif
