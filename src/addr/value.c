/* SPDX-License-Identifier: MIT */
#include "addr/value.h"

#include <string.h>

void value_add(json_t *object, const char *key, json_t *take_value)
{
    if (take_value != NULL)
        json_object_set_new_nocheck(object, key, take_value);
}

/* Apart, for its room: what a server writes of its stack is copied for each forked worker. */
__attribute__((noinline)) static json_t *value_escaped(const char *bytes, size_t length)
{
    char room[4 * VALUE_BYTES_MAX + 1];
    struct text escaped;

    text_init(&escaped, room, sizeof(room));
    text_escape(&escaped, bytes, length);
    return json_stringn(room, text_length(&escaped));
}

json_t *value_bytes(const char *bytes, size_t length)
{
    json_t *value = json_stringn(bytes, length);

    return value != NULL ? value : value_escaped(bytes, length);
}

json_t *value_string(const char *string)
{
    return value_bytes(string, strlen(string));
}

static bool is_utf8(const char *bytes, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t step = text_utf8_length((const unsigned char *)bytes + at, length - at);
        if (step == 0)
            return false;
        at += step;
    }
    return true;
}

/* "\xNN" */
static bool parse_escape(const char *shown, char *ret_byte)
{
    static const char digits[] = "0123456789abcdef";

    if (strncmp(shown, "\\x", 2) != 0 || shown[2] == '\0' || shown[3] == '\0')
        return false;
    const char *high = strchr(digits, shown[2]);
    const char *low = strchr(digits, shown[3]);
    if (high == NULL || low == NULL)
        return false;
    *ret_byte = (char)((high - digits) << 4 | (low - digits));
    return *ret_byte != '\0';
}

bool value_unescape(const char *shown, char *ret_string, size_t size)
{
    char string[VALUE_BYTES_MAX + 1];
    size_t length = 0;

    for (; *shown != '\0' && length < sizeof(string) - 1; length++) {
        bool is_escape = *shown == '\\';
        string[length] = *shown;
        if (is_escape && !parse_escape(shown, &string[length]))
            return false;
        shown += is_escape ? 4 : 1;
    }
    if (*shown != '\0' || length >= size || is_utf8(string, length))
        return false;
    memcpy(ret_string, string, length);
    ret_string[length] = '\0';
    return true;
}

json_t *value_address(const struct address *address)
{
    char room[ADDRESS_TEXT_SIZE];
    struct text text;

    text_init(&text, room, sizeof(room));
    address_format(address, &text);
    return json_stringn(room, text_length(&text));
}

json_t *value_pair(const struct pair *pair)
{
    char room[PAIR_TEXT_SIZE];
    struct text text;

    text_init(&text, room, sizeof(room));
    pair_format(pair, &text);
    return json_stringn(room, text_length(&text));
}

json_t *value_cookie(uint64_t cookie)
{
    char room[24];
    struct text text;

    text_init(&text, room, sizeof(room));
    text_printf(&text, "%llx", (unsigned long long)cookie);
    return json_stringn(room, text_length(&text));
}

static int append(const char *bytes, size_t length, void *data)
{
    text_bytes(data, bytes, length);
    return 0;
}

void value_put(json_t *take_value, struct text *text)
{
    json_dump_callback(take_value, append, text, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(take_value);
}
