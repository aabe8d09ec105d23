/* SPDX-License-Identifier: MIT */
#include "sys/task_files.h"

#include "sys/bpf.h"
#include "sys/fd.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

/* What the program writes for each socket. */
struct record {
    uint64_t inode;
    uint32_t pid;
    uint32_t fd;
    char name[PROCFS_NAME_SIZE];
};

/* Where the members are that the program reads, and what it is attached to. */
enum question {
    SOCKET_SK,
    SOCK_PROTOCOL,
    FILE_INODE,
    INODE_NUMBER,
    TASK_TGID,
    TASK_LEADER,
    TASK_NAME,
    ITERATOR,
    QUESTION_COUNT
};
_Static_assert(sizeof(struct record) == 32, "what the program below writes");

/* The iterator's arguments stand in the context, eight bytes each: meta, task, fd, file; seq is the first of meta. */
static int load_program(const struct btf_question *at)
{
    const struct bpf_insn program[] = {
        MOVE(6, 1),
        LOAD(BPF_DW, 7, 6, 8),
        IF_IS(7, 0, 28),
        LOAD(BPF_DW, 8, 6, 24),
        IF_IS(8, 0, 26),
        MOVE(1, 8),
        CALL(BPF_FUNC_sock_from_file),
        IF_IS(0, 0, 23),
        LOAD(BPF_DW, 9, 0, at[SOCKET_SK].answer),
        IF_IS(9, 0, 21),
        LOAD(BPF_H, 1, 9, at[SOCK_PROTOCOL].answer),
        IF_IS(1, IPPROTO_TCP, 1),
        IF_NOT(1, IPPROTO_MPTCP, 18),
        LOAD(BPF_DW, 1, 8, at[FILE_INODE].answer),
        LOAD(BPF_DW, 1, 1, at[INODE_NUMBER].answer),
        STORE(BPF_DW, 10, 1, -32),
        LOAD(BPF_W, 1, 7, at[TASK_TGID].answer),
        STORE(BPF_W, 10, 1, -24),
        LOAD(BPF_W, 1, 6, 16),
        STORE(BPF_W, 10, 1, -20),
        LOAD(BPF_DW, 1, 7, at[TASK_LEADER].answer),
        LOAD(BPF_DW, 2, 1, at[TASK_NAME].answer),
        STORE(BPF_DW, 10, 2, -16),
        LOAD(BPF_DW, 2, 1, at[TASK_NAME].answer + 8),
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
    return bpf_load("forkport_pairs", program, sizeof(program) / sizeof(program[0]), BPF_TRACE_ITER,
                    at[ITERATOR].answer);
}

static int open_iterator(void)
{
    struct btf_question questions[QUESTION_COUNT] = {
        [SOCKET_SK] = {BTF_KIND_STRUCT, "socket", "sk", 0},
        [SOCK_PROTOCOL] = {BTF_KIND_STRUCT, "sock", "sk_protocol", 0},
        [FILE_INODE] = {BTF_KIND_STRUCT, "file", "f_inode", 0},
        [INODE_NUMBER] = {BTF_KIND_STRUCT, "inode", "i_ino", 0},
        [TASK_TGID] = {BTF_KIND_STRUCT, "task_struct", "tgid", 0},
        [TASK_LEADER] = {BTF_KIND_STRUCT, "task_struct", "group_leader", 0},
        [TASK_NAME] = {BTF_KIND_STRUCT, "task_struct", "comm", 0},
        [ITERATOR] = {BTF_KIND_FUNC, "bpf_iter_task_file", NULL, 0},
    };

    return bpf_open_iterator(questions, QUESTION_COUNT, load_program);
}

struct reader {
    bool (*each)(void *data, const struct descriptor *descriptor);
    void *data;
};

static int give(void *data, const void *bytes)
{
    const struct reader *reader = data;
    const struct record *record = bytes;
    struct descriptor found = {
        .inode = (uint32_t)record->inode,
        .pid = (pid_t)record->pid,
        .fd = (int)record->fd,
    };

    memcpy(found.name, record->name, sizeof(found.name) - 1);
    return reader->each(reader->data, &found) ? 0 : -1;
}

int task_files_read(bool (*each)(void *data, const struct descriptor *descriptor), void *data)
{
    struct reader reader = {each, data};

    if (!bpf_shares_pids()) {
        errno = ENOTSUP;
        return -1;
    }
    FD_AUTO fd = open_iterator();
    return fd < 0 ? -1 : bpf_read_records(fd, sizeof(struct record), give, &reader);
}
