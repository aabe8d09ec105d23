/* SPDX-License-Identifier: MIT */
#include "preload/mapping.h"

#include "preload/lines.h"

#include <stddef.h>
#include <string.h>

struct reading {
    mapping_function *call;
    void *data;
    struct mapping now;
};

/* Those of memory that a program got and asked nothing special for. */
static bool has_ordinary_flags(const char *flags)
{
    static const char ordinary[] = " rd wr mr mw me ac sd nr hg nh ";

    for (; *flags != '\0'; flags += 3) {
        const char word[] = {' ', flags[0], flags[1], ' ', '\0'};
        if (flags[1] == '\0' || flags[2] != ' ' || strstr(ordinary, word) == NULL)
            return false;
    }
    return true;
}

/* "start-end rw-p offset device inode name" */
static struct mapping begin(const char *line)
{
    struct mapping new = {.is_ordinary = true};

    new.start = lines_hexadecimal(&line);
    line += *line == '-';
    new.end = lines_hexadecimal(&line);
    new.is_private_rw = strncmp(line, " rw-p ", 6) == 0;
    new.is_code = strncmp(line, " r-xp ", 6) == 0;
    new.is_private_r = new.is_code || strncmp(line, " r--p ", 6) == 0;
    for (int i = 0; i < 3; i++)
        lines_skip(&line, " ");
    new.device = lines_hexadecimal(&line) << 32;
    lines_skip(&line, ":");
    new.device |= lines_hexadecimal(&line);
    new.inode = lines_decimal(line);
    new.is_named = strchr(line, '/') != NULL || strchr(line, '[') != NULL;
    new.is_stack = strstr(line, "[stack]") != NULL;
    return new;
}

/* A mapping, then what is said of it, its flags last. */
static void take(const char *line, void *data)
{
    struct reading *reading = data;
    struct mapping *now = &reading->now;

    if (line[0] < 'A' || line[0] > 'Z')
        *now = begin(line);
    else if (strncmp(line, "Rss:", 4) == 0)
        now->resident_kib = lines_decimal(line + 4);
    else if (strncmp(line, "Anonymous:", 10) == 0)
        now->own_kib = lines_decimal(line + 10);
    else if (strncmp(line, "Swap:", 5) == 0) {
        uintptr_t swapped_kib = lines_decimal(line + 5);
        now->own_kib += swapped_kib;
        now->is_ordinary = now->is_ordinary && swapped_kib == 0;
    } else if (strncmp(line, "ProtectionKey:", 14) == 0)
        now->is_ordinary = now->is_ordinary && lines_decimal(line + 14) == 0;
    else if (strncmp(line, "VmFlags: ", 9) == 0) {
        now->is_ordinary = now->is_ordinary && has_ordinary_flags(line + 9);
        reading->call(now, reading->data);
    }
}

bool mappings_read(mapping_function *call, void *data)
{
    struct reading reading = {.call = call, .data = data};

    return lines_read("/proc/self/smaps", take, &reading);
}
