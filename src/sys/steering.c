/* SPDX-License-Identifier: MIT */
#include "sys/steering.h"

#include "sys/bpf.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <netinet/tcp.h>

/* Behind the four bits of SO_REUSEADDR. */
#define REUSEPORT_BIT 0x10

/* What the program writes for each socket. */
struct record {
    uint64_t cookie;
    uint64_t group;
    int32_t cpu;
    uint8_t state;
    uint8_t reuse;
    uint16_t type;
    uint64_t program;
};
_Static_assert(sizeof(struct record) == 32, "what the program below writes");

enum question {
    COMMON_STATE,
    COMMON_COOKIE,
    COMMON_CPU,
    COMMON_REUSE,
    SOCK_GROUP,
    GROUP_PROGRAM,
    PROGRAM_TYPE,
    ITERATOR,
    QUESTION_COUNT
};

/* The iterator's arguments stand in the context: meta, sk_common, uid. Of what does not listen only the state is told. */
static int load_program(const struct btf_question *at)
{
    const struct bpf_insn program[] = {
        MOVE(6, 1),
        LOAD(BPF_DW, 7, 6, 8),
        IF_IS(7, 0, 31),
        SET(1, 0),
        STORE(BPF_DW, 10, 1, -32),
        STORE(BPF_DW, 10, 1, -24),
        STORE(BPF_DW, 10, 1, -16),
        STORE(BPF_DW, 10, 1, -8),
        LOAD(BPF_B, 8, 7, at[COMMON_STATE].answer),
        STORE(BPF_B, 10, 8, -12),
        IF_NOT(8, TCP_LISTEN, 17),
        LOAD(BPF_DW, 1, 7, at[COMMON_COOKIE].answer),
        STORE(BPF_DW, 10, 1, -32),
        LOAD(BPF_W, 1, 7, at[COMMON_CPU].answer),
        STORE(BPF_W, 10, 1, -16),
        LOAD(BPF_B, 1, 7, at[COMMON_REUSE].answer),
        STORE(BPF_B, 10, 1, -11),
        MOVE(1, 7),
        CALL(BPF_FUNC_skc_to_tcp_sock),
        IF_IS(0, 0, 8),
        LOAD(BPF_DW, 8, 0, at[SOCK_GROUP].answer),
        STORE(BPF_DW, 10, 8, -24),
        IF_IS(8, 0, 5),
        LOAD(BPF_DW, 1, 8, at[GROUP_PROGRAM].answer),
        STORE(BPF_DW, 10, 1, -8),
        IF_IS(1, 0, 2),
        LOAD(BPF_W, 1, 1, at[PROGRAM_TYPE].answer),
        STORE(BPF_H, 10, 1, -10),
        LOAD(BPF_DW, 1, 6, 0),
        LOAD(BPF_DW, 1, 1, 0),
        MOVE(2, 10),
        ADD(2, -32),
        SET(3, sizeof(struct record)),
        CALL(BPF_FUNC_seq_write),
        SET(0, 0),
        EXIT(),
    };

    return bpf_load("forkport_demux", program, sizeof(program) / sizeof(program[0]), BPF_TRACE_ITER,
                    at[ITERATOR].answer);
}

static int open_iterator(void)
{
    struct btf_question questions[QUESTION_COUNT] = {
        [COMMON_STATE] = {BTF_KIND_STRUCT, "sock_common", "skc_state", 0},
        [COMMON_COOKIE] = {BTF_KIND_STRUCT, "sock_common", "skc_cookie", 0},
        [COMMON_CPU] = {BTF_KIND_STRUCT, "sock_common", "skc_incoming_cpu", 0},
        [COMMON_REUSE] = {BTF_KIND_STRUCT, "sock_common", "skc_reuse", 0},
        [SOCK_GROUP] = {BTF_KIND_STRUCT, "sock", "sk_reuseport_cb", 0},
        [GROUP_PROGRAM] = {BTF_KIND_STRUCT, "sock_reuseport", "prog", 0},
        [PROGRAM_TYPE] = {BTF_KIND_STRUCT, "bpf_prog", "type", 0},
        [ITERATOR] = {BTF_KIND_FUNC, "bpf_iter_tcp", NULL, 0},
    };

    return bpf_open_iterator(questions, QUESTION_COUNT, load_program);
}

struct reader {
    bool (*each)(void *data, const struct steering *steering);
    void *data;
};

/* The listening sockets come first: the first that is none is the end, and however many there are, no more is read. */
static int give(void *data, const void *bytes)
{
    const struct reader *reader = data;
    const struct record *record = bytes;
    const struct steering found = {
        .cookie = record->cookie,
        .group = record->group,
        .shared = (record->reuse & REUSEPORT_BIT) != 0,
        .program = record->program != 0,
        .refuses = record->program != 0 && record->type == BPF_PROG_TYPE_SK_REUSEPORT,
        .cpu = record->cpu,
    };

    if (record->state != TCP_LISTEN)
        return 1;
    return reader->each(reader->data, &found) ? 0 : -1;
}

int steering_read(bool (*each)(void *data, const struct steering *steering), void *data)
{
    struct reader reader = {each, data};

    FD_AUTO fd = open_iterator();
    return fd < 0 || bpf_read_records(fd, sizeof(struct record), give, &reader) < 0 ? -1 : 0;
}

int steering_programs(void)
{
    union bpf_attr attributes;

    FD_AUTO namespace = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (namespace < 0)
        return -1;
    bpf_clear(&attributes);
    attributes.query.attach_type = BPF_SK_LOOKUP;
    attributes.query.target_fd = (uint32_t) namespace;
    if (bpf_call(BPF_PROG_QUERY, &attributes) < 0)
        return -1;
    return (int)attributes.query.prog_cnt;
}
