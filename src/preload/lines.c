/* SPDX-License-Identifier: MIT */
#include "preload/lines.h"

#include "sys/child.h"

#include <fcntl.h>
#include <string.h>

bool lines_read(const char *path, void (*call)(const char *line, void *data), void *data)
{
    char text[4096];
    size_t held = 0;
    long got;
    long fd = child_call(__NR_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0);

    if (fd < 0)
        return false;
    while ((got = child_call(__NR_read, fd, (long)(text + held), (long)(sizeof(text) - held), 0)) > 0) {
        char *start = text;
        char *end;
        held += (size_t)got;
        while ((end = memchr(start, '\n', held)) != NULL) {
            *end = '\0';
            call(start, data);
            held -= (size_t)(end + 1 - start);
            start = end + 1;
        }
        memmove(text, start, held);
        if (held == sizeof(text))
            held = 0;
    }
    child_call(__NR_close, fd, 0, 0, 0);
    return got == 0;
}

uint64_t lines_hexadecimal(const char **at)
{
    uint64_t number = 0;

    for (;; ++*at) {
        char c = **at;
        if (c >= '0' && c <= '9')
            number = number << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            number = number << 4 | (uint64_t)(c - 'a' + 10);
        else
            return number;
    }
}

uint64_t lines_decimal(const char *at)
{
    uint64_t number = 0;

    /* Not by strspn(3): a template comes here when which pages of the C library its workers have is settled. */
    while (*at == ' ' || *at == '\t')
        at++;
    for (; *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    return number;
}

bool lines_skip(const char **at, const char *word)
{
    const char *found = strstr(*at, word);

    if (found == NULL)
        return false;
    *at = found + strlen(word);
    while (**at == ' ' || **at == '\t')
        ++*at;
    return true;
}

const char *lines_path(const char *folder, int number, char *path)
{
    char digits[12];
    size_t length = strlen(folder);
    size_t count = 0;

    memcpy(path, folder, length);
    do
        digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    while (count > 0)
        path[length++] = digits[--count];
    path[length] = '\0';
    return path;
}
