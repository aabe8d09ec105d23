/* SPDX-License-Identifier: MIT
 *
 * Events by number, written to a log and read back. Included by one file of a test program.
 */
#ifndef TESTS_UNIT_OBSERVE_LOG_LINES_H
#define TESTS_UNIT_OBSERVE_LOG_LINES_H

#include "observe/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#define TIME_NS INT64_C(1795386647123456789)
/* Ends a test that hangs, which is what must not happen. */
#define PATIENCE_S 60

static char padding[1000];

static void log_number(struct log *log, uint64_t number)
{
    struct event event = {.kind = EVENT_NOTICE};

    EVENT_SET(&event, CONNECTION, connection, number);
    EVENT_SET(&event, TEXT, text, ((struct event_bytes){padding, number * 7919 % sizeof(padding)}));
    log_event(log, &event, TIME_NS);
}

/* What came out: whole lines, in order, each number once but those a "lost" stands for. */
struct reading {
    char line[EVENT_LINE_SIZE];
    size_t length;
    uint64_t next; /* number */
    uint64_t lost;
};

static void read_line(struct reading *reading)
{
    unsigned long long number;

    if (sscanf(reading->line, "2026-11-22T22:30:47.123Z lost count %llu", &number) == 1) {
        reading->lost += number;
        reading->next += number;
        return;
    }
    if (sscanf(reading->line, "2026-11-22T22:30:47.123Z notice #%llu ", &number) != 1)
        fail_msg("not a line of ours: %s", reading->line);
    assert_int_equal(number, reading->next);
    assert_int_equal(strlen(strrchr(reading->line, ' ') + 1), number * 7919 % sizeof(padding));
    reading->next++;
}

static void read_bytes(struct reading *reading, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] == '\r')
            continue; /* a terminal's */
        if (bytes[i] != '\n') {
            assert_true(reading->length < sizeof(reading->line) - 1);
            reading->line[reading->length++] = bytes[i];
            continue;
        }
        reading->line[reading->length] = '\0';
        reading->length = 0;
        read_line(reading);
    }
}

static bool read_some(struct reading *reading, int fd)
{
    char bytes[1 << 16];
    ssize_t length = read(fd, bytes, sizeof(bytes));

    if (length > 0)
        read_bytes(reading, bytes, (size_t)length);
    return length > 0;
}

/* Takes in what is there now; false at the end. */

static int make_folder(void **state)
{
    static char folder[] = "/tmp/forkport-log-XXXXXX";

    memset(padding, 'x', sizeof(padding));
    signal(SIGPIPE, SIG_IGN);
    alarm(PATIENCE_S);
    *state = mkdtemp(folder);
    return *state != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    return rmdir(*state);
}

#endif
