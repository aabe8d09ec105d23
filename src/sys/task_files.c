/* SPDX-License-Identifier: MIT */
#include "sys/task_files.h"

#include "sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The number that the kernel gives the initial PID namespace's file (PROC_PID_INIT_INO). */
#define INITIAL_PID_NAMESPACE 0xEFFFFFFC

/* What the program writes for each socket. */
struct record {
    uint64_t inode;
    uint32_t pid;
    uint32_t fd;
    char name[PROCFS_NAME_SIZE];
};

/* Where the members are that the program reads. */
enum member {
    SOCKET_SK,
    SOCK_PROTOCOL,
    FILE_INODE,
    INODE_NUMBER,
    TASK_TGID,
    TASK_LEADER,
    TASK_NAME,
    MEMBER_COUNT
};
_Static_assert(sizeof(struct record) == 32, "what the program below writes");

static const struct {
    const char *type;
    const char *member;
} members[MEMBER_COUNT] = {
    [SOCKET_SK] = {"socket", "sk"},        [SOCK_PROTOCOL] = {"sock", "sk_protocol"},
    [FILE_INODE] = {"file", "f_inode"},    [INODE_NUMBER] = {"inode", "i_ino"},
    [TASK_TGID] = {"task_struct", "tgid"}, [TASK_LEADER] = {"task_struct", "group_leader"},
    [TASK_NAME] = {"task_struct", "comm"},
};

struct layout {
    int16_t offset[MEMBER_COUNT];
    uint32_t function; /* the iterator's number */
    unsigned found;    /* bits of enum member */
};

/* The kernel's description of its types, as it gives it: trusted, but not to be of a format that we know. */
struct types {
    const char *at;
    const char *end;
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

static void find_members(const struct types *types, const struct btf_type *type, struct layout *layout)
{
    const struct btf_member *all = (const struct btf_member *)(type + 1);
    const char *name = name_of(types, type->name_off);

    for (unsigned i = 0; i < MEMBER_COUNT; i++) {
        if ((layout->found & 1U << i) != 0 || strcmp(name, members[i].type) != 0)
            continue;
        for (unsigned k = 0; k < BTF_INFO_VLEN(type->info); k++) {
            uint32_t bits = BTF_INFO_KFLAG(type->info) ? BTF_MEMBER_BIT_OFFSET(all[k].offset) : all[k].offset;
            if (strcmp(name_of(types, all[k].name_off), members[i].member) != 0 || bits / 8 > INT16_MAX)
                continue;
            layout->offset[i] = (int16_t)(bits / 8);
            layout->found |= 1U << i;
        }
    }
}

static bool is_complete(const struct layout *layout)
{
    return layout->function != 0 && layout->found == (1U << MEMBER_COUNT) - 1;
}

static bool find_layout(const struct types *types, struct layout *ret_layout)
{
    struct layout layout = {.function = 0};
    uint32_t number = 1;

    for (const char *at = types->at;
         !is_complete(&layout) && types->end - at >= (ptrdiff_t)sizeof(struct btf_type); number++) {
        const struct btf_type *type = (const struct btf_type *)at;
        size_t tail = tail_size(type);
        if (tail > (size_t)(types->end - at) - sizeof(*type))
            return false;
        if (BTF_INFO_KIND(type->info) == BTF_KIND_STRUCT)
            find_members(types, type, &layout);
        else if (BTF_INFO_KIND(type->info) == BTF_KIND_FUNC &&
                 strcmp(name_of(types, type->name_off), "bpf_iter_task_file") == 0)
            layout.function = number;
        at += sizeof(*type) + tail;
    }
    *ret_layout = layout;
    return is_complete(&layout);
}

static bool read_types(const char *bytes, size_t size, struct layout *ret_layout)
{
    struct btf_header header;

    if (size < sizeof(header))
        return false;
    memcpy(&header, bytes, sizeof(header));
    uint64_t types_end = (uint64_t)header.hdr_len + header.type_off + header.type_len;
    uint64_t strings_end = (uint64_t)header.hdr_len + header.str_off + header.str_len;
    if (header.magic != BTF_MAGIC || types_end > size || strings_end > size || header.str_len == 0 ||
        bytes[strings_end - 1] != '\0')
        return false;
    struct types types = {
        .at = bytes + header.hdr_len + header.type_off,
        .end = bytes + types_end,
        .strings = bytes + header.hdr_len + header.str_off,
        .strings_size = header.str_len,
    };
    return find_layout(&types, ret_layout);
}

static int read_layout(struct layout *ret_layout)
{
    struct stat about;

    FD_AUTO fd = open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) < 0)
        return -1;
    size_t size = (size_t)about.st_size;
    char *bytes = malloc(size + 1);
    size_t length = 0;
    for (ssize_t got; bytes != NULL && length < size; length += (size_t)got) {
        got = read(fd, bytes + length, size - length);
        if (got <= 0)
            break;
    }
    bool known = bytes != NULL && read_types(bytes, length, ret_layout);
    free(bytes);
    if (!known)
        errno = ENOTSUP;
    return known ? 0 : -1;
}

static int call_bpf(enum bpf_cmd command, union bpf_attr *attributes)
{
    return (int)syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

#define INSTRUCTION(op, to, from, offset, value)                                          \
    {                                                                                     \
        .code = (op), .dst_reg = (to), .src_reg = (from), .off = (offset), .imm = (value) \
    }
#define LOAD(size, to, from, offset)  INSTRUCTION(BPF_LDX | BPF_MEM | (size), to, from, offset, 0)
#define STORE(size, to, from, offset) INSTRUCTION(BPF_STX | BPF_MEM | (size), to, from, offset, 0)
#define MOVE(to, from)                INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0)
#define SET(to, value)                INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value)
#define ADD(to, value)                INSTRUCTION(BPF_ALU64 | BPF_ADD | BPF_K, to, 0, 0, value)
#define IF_IS(reg, value, skip)       INSTRUCTION(BPF_JMP | BPF_JEQ | BPF_K, reg, 0, skip, value)
#define IF_NOT(reg, value, skip)      INSTRUCTION(BPF_JMP | BPF_JNE | BPF_K, reg, 0, skip, value)
#define CALL(function)                INSTRUCTION(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define EXIT()                        INSTRUCTION(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* The iterator's arguments stand in the context, eight bytes each: meta, task, fd, file; seq is the first of meta. */
static int load_program(const struct layout *layout)
{
    const int16_t *offset = layout->offset;
    const struct bpf_insn program[] = {
        MOVE(6, 1),
        LOAD(BPF_DW, 7, 6, 8),
        IF_IS(7, 0, 27),
        LOAD(BPF_DW, 8, 6, 24),
        IF_IS(8, 0, 25),
        MOVE(1, 8),
        CALL(BPF_FUNC_sock_from_file),
        IF_IS(0, 0, 22),
        LOAD(BPF_DW, 9, 0, offset[SOCKET_SK]),
        IF_IS(9, 0, 20),
        LOAD(BPF_H, 1, 9, offset[SOCK_PROTOCOL]),
        IF_NOT(1, IPPROTO_TCP, 18),
        LOAD(BPF_DW, 1, 8, offset[FILE_INODE]),
        LOAD(BPF_DW, 1, 1, offset[INODE_NUMBER]),
        STORE(BPF_DW, 10, 1, -32),
        LOAD(BPF_W, 1, 7, offset[TASK_TGID]),
        STORE(BPF_W, 10, 1, -24),
        LOAD(BPF_W, 1, 6, 16),
        STORE(BPF_W, 10, 1, -20),
        LOAD(BPF_DW, 1, 7, offset[TASK_LEADER]),
        LOAD(BPF_DW, 2, 1, offset[TASK_NAME]),
        STORE(BPF_DW, 10, 2, -16),
        LOAD(BPF_DW, 2, 1, (int16_t)(offset[TASK_NAME] + 8)),
        STORE(BPF_DW, 10, 2, -8),
        LOAD(BPF_DW, 1, 6, 0),
        LOAD(BPF_DW, 1, 1, 0),
        MOVE(2, 10),
        ADD(2, -32),
        SET(3, sizeof(struct record)),
        CALL(BPF_FUNC_seq_write),
        SET(0, 0),
        EXIT(),
    };
    union bpf_attr attributes = {
        .prog_type = BPF_PROG_TYPE_TRACING,
        .expected_attach_type = BPF_TRACE_ITER,
        .insns = (uintptr_t)program,
        .insn_cnt = sizeof(program) / sizeof(program[0]),
        .license = (uintptr_t) "Dual MIT/GPL",
        .attach_btf_id = layout->function,
        .prog_name = "forkport_pairs",
    };

    return call_bpf(BPF_PROG_LOAD, &attributes);
}

static int open_iterator(const struct layout *layout)
{
    FD_AUTO program = load_program(layout);
    if (program < 0)
        return -1;
    union bpf_attr link = {.link_create = {.prog_fd = (uint32_t)program, .attach_type = BPF_TRACE_ITER}};
    FD_AUTO link_fd = call_bpf(BPF_LINK_CREATE, &link);
    if (link_fd < 0)
        return -1;
    union bpf_attr iterator = {.iter_create = {.link_fd = (uint32_t)link_fd}};
    return call_bpf(BPF_ITER_CREATE, &iterator);
}

static bool in_initial_namespace(void)
{
    struct stat about;

    return stat("/proc/self/ns/pid", &about) == 0 && about.st_ino == INITIAL_PID_NAMESPACE;
}

int task_files_read(bool (*each)(void *data, const struct descriptor *descriptor), void *data)
{
    struct record records[1024];
    struct layout layout;
    size_t kept = 0;

    if (!in_initial_namespace()) {
        errno = ENOTSUP;
        return -1;
    }
    if (read_layout(&layout) < 0)
        return -1;
    FD_AUTO fd = open_iterator(&layout);
    if (fd < 0)
        return -1;
    for (;;) {
        /* A record may be cut by the end of what one read(2) gives. */
        ssize_t got = read(fd, (char *)records + kept, sizeof(records) - kept);
        if (got < 0 && errno == EAGAIN)
            continue;
        if (got <= 0)
            return (int)got;
        size_t length = kept + (size_t)got;
        size_t count = length / sizeof(records[0]);
        for (size_t i = 0; i < count; i++) {
            struct descriptor found = {
                .inode = (uint32_t)records[i].inode,
                .pid = (pid_t)records[i].pid,
                .fd = (int)records[i].fd,
            };
            memcpy(found.name, records[i].name, sizeof(found.name) - 1);
            if (!each(data, &found))
                return -1;
        }
        kept = length % sizeof(records[0]);
        memmove(records, (char *)records + length - kept, kept);
    }
}
