/* SPDX-License-Identifier: MIT */
#include "wire/pcapng.h"

#include <string.h>

#define BLOCK_SECTION   0x0a0d0d0a
#define BLOCK_INTERFACE 1
#define BLOCK_PACKET    6
#define BYTE_ORDER_MARK 0x1a2b3c4d

#define OPTION_COMMENT     1
#define OPTION_APPLICATION 4
#define OPTION_NAME        2
#define OPTION_RESOLUTION  9

/* A raw link has one number in libpcap and another in files. */
#define LINK_RAW       12
#define LINK_RAW_OTHER 14
#define LINK_RAW_FILE  101

/* A block being put together; what does not fit is counted and not written. */
struct block {
    unsigned char *start;
    size_t size;
    size_t length;
};

static void put(struct block *block, const void *bytes, size_t length)
{
    if (length > 0 && block->length + length <= block->size)
        memcpy(block->start + block->length, bytes, length);
    block->length += length;
}

static void put16(struct block *block, uint16_t number)
{
    put(block, &number, sizeof(number));
}

static void put32(struct block *block, uint32_t number)
{
    put(block, &number, sizeof(number));
}

static void pad(struct block *block)
{
    static const unsigned char zeros[4];

    put(block, zeros, -block->length & 3);
}

static struct block begin(void *buffer, size_t size, uint32_t type)
{
    struct block block = {buffer, size, 0};

    put32(&block, type);
    put32(&block, 0); /* the length, see end() */
    return block;
}

static size_t end(struct block *block)
{
    uint32_t length = (uint32_t)block->length + 4;

    put32(block, length);
    if (block->length <= block->size)
        memcpy(block->start + 4, &length, sizeof(length));
    return block->length;
}

static void put_option(struct block *block, uint16_t code, const void *bytes, size_t length)
{
    put16(block, code);
    put16(block, (uint16_t)length);
    put(block, bytes, length);
    pad(block);
}

static void put_string(struct block *block, uint16_t code, const char *string)
{
    if (string != NULL)
        put_option(block, code, string, strnlen(string, PCAPNG_COMMENT_MAX));
}

size_t pcapng_section(void *buffer, size_t size, const char *application)
{
    static const uint64_t unknown_length = UINT64_MAX;
    struct block block = begin(buffer, size, BLOCK_SECTION);

    put32(&block, BYTE_ORDER_MARK);
    put16(&block, 1);
    put16(&block, 0);
    put(&block, &unknown_length, sizeof(unknown_length));
    put_string(&block, OPTION_APPLICATION, application);
    put32(&block, 0);
    return end(&block);
}

size_t pcapng_interface(void *buffer, size_t size, int link, uint32_t snap_bytes, const char *name)
{
    static const unsigned char nanoseconds = 9;
    struct block block = begin(buffer, size, BLOCK_INTERFACE);

    put16(&block, (uint16_t)(link == LINK_RAW || link == LINK_RAW_OTHER ? LINK_RAW_FILE : link));
    put16(&block, 0);
    put32(&block, snap_bytes);
    put_string(&block, OPTION_NAME, name);
    put_option(&block, OPTION_RESOLUTION, &nanoseconds, 1);
    put32(&block, 0);
    return end(&block);
}

size_t pcapng_packet(void *buffer, size_t size, const struct pcapng_packet *packet)
{
    struct block block = begin(buffer, size, BLOCK_PACKET);

    put32(&block, packet->interface);
    put32(&block, (uint32_t)((uint64_t)packet->time_ns >> 32));
    put32(&block, (uint32_t)packet->time_ns);
    put32(&block, packet->captured);
    put32(&block, packet->length);
    put(&block, packet->bytes, packet->captured);
    pad(&block);
    if (packet->comment != NULL) {
        put_string(&block, OPTION_COMMENT, packet->comment);
        put32(&block, 0);
    }
    return end(&block);
}
