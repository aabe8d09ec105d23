/* SPDX-License-Identifier: MIT */
#include "preload/block.h"

#include "preload/lines.h"
#include "sys/child.h"

#include <elf.h>
#include <errno.h>
#include <linux/prctl.h>
#include <string.h>
#include <sys/resource.h>

#define RANDOM_BYTES 16
#define BYTES_MAX    16384
/* A program with a small stack needs what there is of it. */
#define STACK_SHARE 64
/* The fields of /proc/PID/stat by their numbers in proc_pid_stat(5). */
#define FIELD_COMMAND 2
#define FIELDS        51

enum field {
    FIELD_START_CODE = 26,
    FIELD_END_CODE = 27,
    FIELD_START_STACK = 28,
    FIELD_START_DATA = 45,
    FIELD_END_DATA = 46,
    FIELD_START_BRK = 47,
    FIELD_ARG_START = 48,
    FIELD_ARG_END = 49,
    FIELD_ENV_START = 50,
    FIELD_ENV_END = 51,
};

struct span {
    char *from;
    size_t bytes;
    char *to;
};

static struct {
    struct prctl_mm_map map; /* as the kernel has it now */
    struct span vectors;
    struct span random;
    struct span texts;
    size_t auxiliary; /* where in the vectors the auxiliary one is */
} block;

static void *moved(const struct span *span, const char *pointer)
{
    size_t at = (size_t)(pointer - span->from);

    return pointer >= span->from && at < span->bytes ? span->to + at : NULL;
}

void *block_moved(const void *pointer)
{
    const struct span *spans[] = {&block.vectors, &block.random, &block.texts};

    for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
        void *to = moved(spans[i], pointer);
        if (to != NULL)
            return to;
    }
    return (void *)(uintptr_t)pointer;
}

/* "pid (command) state ...": the command may have blanks and brackets. */
static void note_fields(const char *line, void *data)
{
    uint64_t *fields = data;
    const char *at = strrchr(line, ')');

    for (unsigned number = FIELD_COMMAND + 1; at != NULL && number <= FIELDS; number++) {
        at = strchr(at, ' ');
        if (at == NULL)
            return;
        fields[number] = lines_decimal(++at);
    }
}

static bool read_map(void)
{
    uint64_t fields[FIELDS + 1] = {0};

    if (!lines_read("/proc/self/stat", note_fields, fields))
        return false;
    block.map = (struct prctl_mm_map){.start_code = fields[FIELD_START_CODE],
                                      .end_code = fields[FIELD_END_CODE],
                                      .start_data = fields[FIELD_START_DATA],
                                      .end_data = fields[FIELD_END_DATA],
                                      .start_brk = fields[FIELD_START_BRK],
                                      .brk = (uint64_t)child_call(__NR_brk, 0, 0, 0, 0),
                                      .start_stack = fields[FIELD_START_STACK],
                                      .arg_start = fields[FIELD_ARG_START],
                                      .arg_end = fields[FIELD_ARG_END],
                                      .env_start = fields[FIELD_ENV_START],
                                      .env_end = fields[FIELD_ENV_END],
                                      .exe_fd = UINT32_MAX};
    return fields[FIELD_ENV_END] != 0;
}

/* From a vector's first entry; its last, AT_NULL, where it has none of this type. */
static Elf64_auxv_t *find_auxiliary(Elf64_auxv_t *at, uint64_t type)
{
    while (at->a_type != type && at->a_type != AT_NULL)
        at++;
    return at;
}

/* How large the stack may become. */
static uint64_t stack_bytes(void)
{
    struct rlimit limit = {0};

    child_call(__NR_prlimit64, 0, RLIMIT_STACK, 0, (long)&limit);
    return limit.rlim_cur;
}

size_t block_look(int argc, char **argv, char **end)
{
    Elf64_auxv_t *auxiliary = (Elf64_auxv_t *)(end + 1);
    const Elf64_auxv_t *random = find_auxiliary(auxiliary, AT_RANDOM);

    if (argc < 1 || *(long *)(argv - 1) != argc || random->a_type == AT_NULL || !read_map() ||
        block.map.arg_start != (uintptr_t)argv[0])
        return 0;
    block.vectors.from = (char *)(argv - 1);
    block.vectors.bytes = (size_t)((char *)(find_auxiliary(auxiliary, AT_NULL) + 1) - block.vectors.from);
    block.auxiliary = (size_t)((char *)auxiliary - block.vectors.from);
    block.random.from = (char *)random->a_un.a_val; /* NOLINT */
    block.random.bytes = RANDOM_BYTES;
    block.texts.from = argv[0];
    block.texts.bytes = block.map.env_end - block.map.arg_start;
    size_t bytes = block.vectors.bytes + block.random.bytes + block.texts.bytes;
    return bytes <= BYTES_MAX && bytes <= stack_bytes() / STACK_SHARE ? bytes : 0;
}

static void *copy(struct span *span, void *to)
{
    span->to = to;
    memcpy(to, span->from, span->bytes);
    return (char *)to + span->bytes;
}

/* With a title over its arguments a program has another name too. One that has a variable of its own so called keeps it. */
static void move_name(void)
{
    char *name = block_moved(program_invocation_name);
    char *short_name = block_moved(program_invocation_short_name);

    if (name != program_invocation_name)
        program_invocation_name = name;
    if (short_name != program_invocation_short_name)
        program_invocation_short_name = short_name;
}

bool block_move(void *room)
{
    struct prctl_mm_map map = block.map;

    copy(&block.texts, copy(&block.random, copy(&block.vectors, room)));
    Elf64_auxv_t *auxiliary = (Elf64_auxv_t *)(block.vectors.to + block.auxiliary);
    for (char **at = (char **)room + 1; at < (char **)auxiliary; at++)
        *at = block_moved(*at);
    find_auxiliary(auxiliary, AT_RANDOM)->a_un.a_val = (uintptr_t)block.random.to;
    map.arg_start = (uintptr_t)block.texts.to;
    map.arg_end += map.arg_start - block.map.arg_start;
    map.env_start += map.arg_start - block.map.arg_start;
    map.env_end += map.arg_start - block.map.arg_start;
    map.auxv = (void *)auxiliary;
    map.auxv_size = (uint32_t)((char *)block.random.to - (char *)auxiliary);
    if (child_call5(__NR_prctl, PR_SET_MM, PR_SET_MM_MAP, (long)&map, sizeof(map), 0) != 0)
        return false;
    /* The C library asks the old vectors, and so does who has kept them. */
    memcpy(block.vectors.from, block.vectors.to, block.vectors.bytes);
    /* The guard of the stack was made of the old ones, and whoever has kept a pointer shall find some. */
    child_call(__NR_getrandom, (long)block.random.from, RANDOM_BYTES, 0, 0);
    move_name();
    return true;
}
