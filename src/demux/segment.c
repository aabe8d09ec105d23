/* SPDX-License-Identifier: MIT */
#include "demux/segment.h"

#include <string.h>
#include <strings.h>

static const struct flag {
    const char *name;
    uint16_t bit;
} known[] = {
    {"SYN", SEGMENT_SYN}, {"FIN", SEGMENT_FIN}, {"RST", SEGMENT_RST},
    {"PSH", SEGMENT_PSH}, {"ACK", SEGMENT_ACK},
};
#define FLAG_COUNT (sizeof(known) / sizeof(known[0]))

static uint16_t find(const char *name, size_t length)
{
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        if (strlen(known[i].name) == length && strncasecmp(known[i].name, name, length) == 0)
            return known[i].bit;
    }
    return 0;
}

enum fp_status segment_flags_parse(const char *string, uint16_t *ret_flags, struct fp_error *err)
{
    uint16_t found = 0;

    if (strcasecmp(string, "none") == 0) {
        *ret_flags = 0;
        return FP_OK;
    }
    for (const char *at = string;; at++) {
        size_t length = strcspn(at, ",");
        uint16_t bit = find(at, length);
        if (bit == 0)
            return error_reason(
                err, error_set(err, FP_USAGE, 0, "understand the flags", "%s", string),
                "expected SYN, ACK, FIN, RST or PSH, joined by commas, or none, at column %zu",
                (size_t)(at - string) + 1);
        found |= bit;
        at += length;
        if (*at == '\0')
            break;
    }
    *ret_flags = found;
    return FP_OK;
}

void segment_flags_format(uint16_t flags, struct text *text)
{
    const char *before = "";

    for (size_t i = 0; i < FLAG_COUNT; i++) {
        if ((flags & known[i].bit) == 0)
            continue;
        text_string(text, before);
        text_string(text, known[i].name);
        before = ",";
    }
    if (before[0] == '\0')
        text_string(text, "none");
}
