/* SPDX-License-Identifier: MIT */
#include "sys/btf.h"

#include "sys/fd.h"
#include "sys/read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Structures without a name inside each other, at most. */
#define DEPTH_MAX 8

/* No answer yet; neither offset nor number. */
#define UNKNOWN (-1)

struct types {
    const struct btf_type **items; /* by number; [0] is void */
    size_t count;
    const char *strings;
    size_t strings_size;
};

static const char *name_of(const struct types *types, uint32_t offset)
{
    return offset < types->strings_size ? types->strings + offset : "";
}

/* How many bytes follow the head of a type; SIZE_MAX: a kind that we do not know. */
static size_t tail_size(const struct btf_type *type)
{
    size_t count = BTF_INFO_VLEN(type->info);

    switch (BTF_INFO_KIND(type->info)) {
    case BTF_KIND_INT:
    case BTF_KIND_VAR:
    case 17: /* a declaration's tag */
        return 4;
    case BTF_KIND_ARRAY:
        return sizeof(struct btf_array);
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION:
    case BTF_KIND_DATASEC:
    case 19: /* an enumeration of 64 bits */
        return count * 12;
    case BTF_KIND_ENUM:
    case BTF_KIND_FUNC_PROTO:
        return count * 8;
    default:
        return BTF_INFO_KIND(type->info) <= 18 ? 0 : SIZE_MAX;
    }
}

/* The offset of the member in bits; UNKNOWN: it is not in this type, nor in those without a name inside it. */
static int64_t find_member(const struct types *types, const struct btf_type *type, const char *member,
                           unsigned depth)
{
    const struct btf_member *all = (const struct btf_member *)(type + 1);
    unsigned kind = BTF_INFO_KIND(type->info);

    if (depth == 0 || (kind != BTF_KIND_STRUCT && kind != BTF_KIND_UNION))
        return UNKNOWN;
    for (unsigned i = 0; i < BTF_INFO_VLEN(type->info); i++) {
        uint32_t bits = BTF_INFO_KFLAG(type->info) ? BTF_MEMBER_BIT_OFFSET(all[i].offset) : all[i].offset;
        const char *name = name_of(types, all[i].name_off);
        if (strcmp(name, member) == 0)
            return bits;
        if (name[0] != '\0' || all[i].type >= types->count)
            continue;
        int64_t inside = find_member(types, types->items[all[i].type], member, depth - 1);
        if (inside != UNKNOWN)
            return bits + inside;
    }
    return UNKNOWN;
}

static void answer(const struct types *types, uint32_t number, struct btf_question *question)
{
    const struct btf_type *type = types->items[number];

    if (BTF_INFO_KIND(type->info) != question->kind ||
        strcmp(name_of(types, type->name_off), question->name) != 0)
        return;
    if (question->member == NULL) {
        question->answer = (int32_t)number;
        return;
    }
    int64_t bits = find_member(types, type, question->member, DEPTH_MAX);
    /* An instruction of BPF has 16 bits for an offset. */
    if (bits != UNKNOWN && bits % 8 == 0 && bits / 8 <= INT16_MAX)
        question->answer = (int32_t)(bits / 8);
}

static int answer_all(const struct types *types, struct btf_question questions[], size_t count)
{
    size_t unknown = count;

    for (size_t i = 0; i < count; i++)
        questions[i].answer = UNKNOWN;
    for (uint32_t number = 1; number < types->count && unknown != 0; number++) {
        for (size_t i = 0; i < count; i++) {
            if (questions[i].answer != UNKNOWN)
                continue;
            answer(types, number, &questions[i]);
            unknown -= questions[i].answer != UNKNOWN;
        }
    }
    errno = ENOTSUP;
    return unknown == 0 ? 0 : -1;
}

/* A type begins where the one before it ends. */
static bool index_types(struct types *types, const char *at, const char *end)
{
    static const struct btf_type nothing;
    size_t most = (size_t)(end - at) / sizeof(struct btf_type) + 1;

    types->items = reallocarray(NULL, most, sizeof(*types->items));
    if (types->items == NULL)
        return false;
    types->items[0] = &nothing;
    types->count = 1;
    while (end - at >= (ptrdiff_t)sizeof(struct btf_type)) {
        const struct btf_type *type = (const struct btf_type *)at;
        size_t tail = tail_size(type);
        if (tail > (size_t)(end - at) - sizeof(*type))
            break;
        types->items[types->count++] = type;
        at += sizeof(*type) + tail;
    }
    return true;
}

static int find(const char *bytes, size_t size, struct btf_question questions[], size_t count)
{
    struct btf_header header;

    errno = ENOTSUP;
    if (size < sizeof(header))
        return -1;
    memcpy(&header, bytes, sizeof(header));
    uint64_t types_end = (uint64_t)header.hdr_len + header.type_off + header.type_len;
    uint64_t strings_end = (uint64_t)header.hdr_len + header.str_off + header.str_len;
    if (header.magic != BTF_MAGIC || types_end > size || strings_end > size || header.str_len == 0 ||
        header.type_off % 4 != 0 || header.hdr_len % 4 != 0 || bytes[strings_end - 1] != '\0')
        return -1;
    struct types types = {
        .strings = bytes + header.hdr_len + header.str_off,
        .strings_size = header.str_len,
    };
    int result = -1;
    if (index_types(&types, bytes + header.hdr_len + header.type_off, bytes + types_end))
        result = answer_all(&types, questions, count);
    free(types.items);
    return result;
}

/* Before Linux 6.16 it cannot be mapped. */
static int read_and_find(int fd, size_t size, struct btf_question questions[], size_t count)
{
    char *bytes = malloc(size);

    if (bytes == NULL)
        return -1;
    ssize_t length = read_all(fd, bytes, size);
    int result = length < 0 ? -1 : find(bytes, (size_t)length, questions, count);
    free(bytes);
    return result;
}

int btf_find(struct btf_question questions[], size_t count)
{
    struct stat about;

    FD_AUTO fd = open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) < 0)
        return -1;
    size_t size = (size_t)about.st_size;
    void *mapped = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (mapped == MAP_FAILED)
        return read_and_find(fd, size, questions, count);
    int result = find(mapped, size, questions, count);
    int errnum = errno;
    munmap(mapped, size);
    errno = errnum;
    return result;
}
