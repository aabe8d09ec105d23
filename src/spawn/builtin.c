/* SPDX-License-Identifier: MIT */
#include "spawn/builtin.h"

#include "sys/stream.h"

#include <string.h>
#include <time.h>

/* RFC 862: what comes is sent back. */
static int echo(struct fp_connection *connection, void *data)
{
    char bytes[16384];
    int fd = fp_connection_fd(connection);
    ssize_t length;

    (void)data;
    while ((length = stream_read(fd, bytes, sizeof(bytes))) > 0) {
        if (!stream_write(fd, bytes, (size_t)length))
            return 1;
    }
    return length < 0;
}

/* RFC 863: what comes is thrown away. */
static int discard(struct fp_connection *connection, void *data)
{
    char bytes[16384];
    ssize_t length;

    (void)data;
    while ((length = stream_read(fp_connection_fd(connection), bytes, sizeof(bytes))) > 0)
        ;
    return length < 0;
}

/* RFC 864: lines of 72 printable characters, each beginning one character further, until the client is gone. */
static int chargen(struct fp_connection *connection, void *data)
{
    enum { LINE = 72, PRINTABLE = 95, LINES_A_WRITE = PRINTABLE };
    char bytes[LINES_A_WRITE * (LINE + 2)];
    char *at = bytes;
    int fd = fp_connection_fd(connection);

    (void)data;
    for (int line = 0; line < LINES_A_WRITE; line++) {
        for (int i = 0; i < LINE; i++)
            *at++ = (char)(' ' + (line + i) % PRINTABLE);
        *at++ = '\r';
        *at++ = '\n';
    }
    while (stream_write(fd, bytes, sizeof(bytes)))
        stream_discard_ready(fd);
    return 0;
}

/* RFC 867: the date and time as a line, whatever the client sends. */
static int daytime(struct fp_connection *connection, void *data)
{
    char line[64];
    time_t now = time(NULL);
    struct tm parts;

    (void)data;
    localtime_r(&now, &parts);
    size_t length = strftime(line, sizeof(line), "%A, %B %e, %Y %H:%M:%S-%Z\r\n", &parts);
    return !stream_write(fp_connection_fd(connection), line, length);
}

/* RFC 868: seconds since 1900-01-01 00:00 UTC, 32 bits, most significant byte first; they wrap in 2036. */
static int rfc868_time(struct fp_connection *connection, void *data)
{
    uint32_t seconds = (uint32_t)((uint64_t)time(NULL) + UINT64_C(2208988800));
    unsigned char bytes[4] = {(unsigned char)(seconds >> 24), (unsigned char)(seconds >> 16),
                              (unsigned char)(seconds >> 8), (unsigned char)seconds};

    (void)data;
    return !stream_write(fp_connection_fd(connection), bytes, sizeof(bytes));
}

fp_handler *builtin_find(const char *name)
{
    static const struct {
        const char *name;
        fp_handler *handler;
    } builtins[] = {
        {"echo", echo},       {"discard", discard},  {"chargen", chargen},
        {"daytime", daytime}, {"time", rfc868_time},
    };

    for (size_t i = 0; i < sizeof(builtins) / sizeof(builtins[0]); i++) {
        if (strcmp(builtins[i].name, name) == 0)
            return builtins[i].handler;
    }
    return NULL;
}
