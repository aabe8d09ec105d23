/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a captured frame, of any link and cut anywhere: nothing is read beyond what was captured (the bytes are
 * copied to a block of just their size, so that a sanitizer sees it), and what comes out keeps the promises of the header.
 */
#include "wire/packet.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(enum packet_class class, const struct segment *segment, const char *reason, uint32_t length)
{
    char room[PAIR_TEXT_SIZE];
    struct text text;

    CHECK((reason != NULL) == (class == PACKET_SPLIT || class == PACKET_SHORT || class == PACKET_MALFORMED));
    if (class != PACKET_SEGMENT && class != PACKET_FRAGMENT)
        return;
    CHECK(segment->length <= length && (segment->flags & ~0x1ff) == 0);
    CHECK((class == PACKET_FRAGMENT) == (segment->offset != 0));
    CHECK(segment->pair.local.family == segment->pair.foreign.family);
    text_init(&text, room, sizeof(room));
    pair_format(&segment->pair, &text);
    CHECK(text_end(&text) < sizeof(room));
    text_init(&text, room, sizeof(room));
    packet_format_flags(segment->flags, &text);
    CHECK(text_end(&text) < sizeof(room));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int links[] = {0, 1, 12, 14, 101, 108, 113, 228, 229, 276, 147};
    struct segment segment = {.length = 0};
    const char *reason;

    if (size < 3)
        return 0;
    int link = links[data[0] % (sizeof(links) / sizeof(links[0]))];
    uint32_t captured = (uint32_t)size - 3;
    uint32_t length = captured + (uint32_t)(data[1] << 8 | data[2]);
    uint8_t *bytes = malloc(captured + !captured);
    if (bytes == NULL)
        return 0;
    memcpy(bytes, data + 3, captured);
    check(packet_parse(link, bytes, captured, length, &segment, &reason), &segment, reason, length);
    free(bytes);
    return 0;
}
