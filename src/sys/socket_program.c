/* SPDX-License-Identifier: MIT */
#include "sys/socket_program.h"

#include "sys/bpf.h"
#include "sys/btf.h"
#include "sys/fd.h"
#include "sys/socket_events.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>

#define KERNEL_THREAD 0x00200000 /* PF_KTHREAD of a task's flags */
#define TOLD_MAX      8          /* processes of one socket that recvmsg, sendmsg and close tell of */
#define PROGRAM_SIZE  128

/* Where things are on the program's stack. */
#define RECORD       (-(int)sizeof(struct socket_event))
#define KEY          (RECORD - 8)
#define VALUE        (RECORD - 16)
#define FIELD(field) (RECORD + (int)offsetof(struct socket_event, field))

/* What a register holds from the prologue on. */
enum { PROCESS = 6, SOCK = 7, COOKIE = 8, STACK = 10 };

enum question {
    SOCK_PROTOCOL,
    SOCK_NET,
    NET_NUMBER,
    NUMBER_IN_NS,
    SOCK_FAMILY,
    SOCK_FOREIGN_PORT,
    SOCK_LOCAL4,
    SOCK_FOREIGN4,
    SOCK_LOCAL6,
    SOCK_FOREIGN6,
    INET_LOCAL_PORT,
    TASK_FLAGS,
    AT_STATE,
    AT_ADJUST,
    REQUIRED_COUNT,
    AT_RECEIVE = REQUIRED_COUNT,
    AT_SEND,
    QUESTION_COUNT
};

static const struct btf_question all_questions[QUESTION_COUNT] = {
    [SOCK_PROTOCOL] = {BTF_KIND_STRUCT, "sock", "sk_protocol", 0},
    [SOCK_NET] = {BTF_KIND_STRUCT, "sock_common", "skc_net", 0},
    [NET_NUMBER] = {BTF_KIND_STRUCT, "net", "ns", 0},
    [NUMBER_IN_NS] = {BTF_KIND_STRUCT, "ns_common", "inum", 0},
    [SOCK_FAMILY] = {BTF_KIND_STRUCT, "sock_common", "skc_family", 0},
    [SOCK_FOREIGN_PORT] = {BTF_KIND_STRUCT, "sock_common", "skc_dport", 0},
    [SOCK_LOCAL4] = {BTF_KIND_STRUCT, "sock_common", "skc_rcv_saddr", 0},
    [SOCK_FOREIGN4] = {BTF_KIND_STRUCT, "sock_common", "skc_daddr", 0},
    [SOCK_LOCAL6] = {BTF_KIND_STRUCT, "sock_common", "skc_v6_rcv_saddr", 0},
    [SOCK_FOREIGN6] = {BTF_KIND_STRUCT, "sock_common", "skc_v6_daddr", 0},
    [INET_LOCAL_PORT] = {BTF_KIND_STRUCT, "inet_sock", "inet_sport", 0},
    [TASK_FLAGS] = {BTF_KIND_STRUCT, "task_struct", "flags", 0},
    [AT_STATE] = {BTF_KIND_TYPEDEF, "btf_trace_inet_sock_set_state", NULL, 0},
    [AT_ADJUST] = {BTF_KIND_TYPEDEF, "btf_trace_tcp_rcv_space_adjust", NULL, 0},
    [AT_RECEIVE] = {BTF_KIND_TYPEDEF, "btf_trace_sock_recv_length", NULL, 0},
    [AT_SEND] = {BTF_KIND_TYPEDEF, "btf_trace_sock_send_length", NULL, 0},
};

/* A program while it is written. */
struct writer {
    struct bpf_insn items[PROGRAM_SIZE];
    int count;
    const struct btf_question *at;
    const struct socket_program_maps *maps;
    int32_t namespace_number;
};

/* A jump to the end, whose distance is not known yet. */
#define TO_END INT16_MAX

static void write_all(struct writer *writer, const struct bpf_insn *items, size_t count)
{
    for (size_t i = 0; i < count && writer->count < PROGRAM_SIZE; i++)
        writer->items[writer->count++] = items[i];
}

#define WRITE(writer, ...)                                             \
    do {                                                               \
        const struct bpf_insn items_[] = {__VA_ARGS__};                \
        write_all(writer, items_, sizeof(items_) / sizeof(items_[0])); \
    } while (0)

#define IF_NOT32(reg, value, skip)  INSTRUCTION(BPF_JMP32 | BPF_JNE | BPF_K, reg, 0, skip, value)
#define IF_SAME(reg, other, skip)   INSTRUCTION(BPF_JMP | BPF_JEQ | BPF_X, reg, other, skip, 0)
#define IF_ANY_BIT(reg, bits, skip) INSTRUCTION(BPF_JMP | BPF_JSET | BPF_K, reg, 0, skip, bits)
#define IF_ABOVE(reg, value, skip)  INSTRUCTION(BPF_JMP | BPF_JGT | BPF_K, reg, 0, skip, value)
#define STORE_VALUE(size, offset, value) \
    INSTRUCTION(BPF_ST | BPF_MEM | (size), STACK, 0, (int16_t)(offset), value)
#define RIGHT(to, bits)    INSTRUCTION(BPF_ALU64 | BPF_RSH | BPF_K, to, 0, 0, bits)
#define COUNT_UP(to, from) INSTRUCTION(BPF_STX | BPF_ATOMIC | BPF_DW, to, from, 0, BPF_ADD)
#define MAP(to, fd) \
    INSTRUCTION(BPF_LD | BPF_DW | BPF_IMM, to, BPF_PSEUDO_MAP_FD, 0, fd), INSTRUCTION(0, 0, 0, 0, 0)
#define MAP_VALUE(to, fd) \
    INSTRUCTION(BPF_LD | BPF_DW | BPF_IMM, to, BPF_PSEUDO_MAP_VALUE, 0, fd), INSTRUCTION(0, 0, 0, 0, 0)

/* With the socket in its register: is it ours to tell of? And its cookie. */
static void write_check(struct writer *writer)
{
    const struct btf_question *at = writer->at;

    WRITE(writer, IF_IS(SOCK, 0, TO_END), LOAD(BPF_H, 1, SOCK, at[SOCK_PROTOCOL].answer),
          IF_NOT(1, IPPROTO_TCP, TO_END), LOAD(BPF_DW, 1, SOCK, at[SOCK_NET].answer),
          LOAD(BPF_W, 1, 1, at[NET_NUMBER].answer + at[NUMBER_IN_NS].answer),
          IF_NOT32(1, writer->namespace_number, TO_END), MOVE(1, SOCK), CALL(BPF_FUNC_get_socket_cookie),
          MOVE(COOKIE, 0), STORE(BPF_DW, STACK, COOKIE, KEY));
}

/* What the kernel does for itself, in its threads, is of no process: 0. */
static void write_process(struct writer *writer)
{
    WRITE(writer, CALL(BPF_FUNC_get_current_pid_tgid), MOVE(PROCESS, 0), RIGHT(PROCESS, 32),
          CALL(BPF_FUNC_get_current_task_btf), LOAD(BPF_W, 1, 0, writer->at[TASK_FLAGS].answer),
          IF_ANY_BIT(1, KERNEL_THREAD, 1), INSTRUCTION(BPF_JMP | BPF_JA, 0, 0, 1, 0), SET(PROCESS, 0));
}

/* Calls of the process that was told last are of no interest, and end here. */
static void write_only_others(struct writer *writer)
{
    WRITE(writer, MAP(1, writer->maps->last_fd), MOVE(2, STACK), ADD(2, KEY), CALL(BPF_FUNC_map_lookup_elem),
          IF_IS(0, 0, 7), LOAD(BPF_W, 1, 0, 0), IF_SAME(1, PROCESS, TO_END), LOAD(BPF_W, 1, 0, 4),
          IF_ABOVE(1, TOLD_MAX - 1, TO_END), ADD(1, 1), STORE(BPF_W, STACK, 1, VALUE + 4),
          INSTRUCTION(BPF_JMP | BPF_JA, 0, 0, 1, 0), STORE_VALUE(BPF_W, VALUE + 4, 1));
}

static void write_remember(struct writer *writer)
{
    WRITE(writer, STORE(BPF_W, STACK, PROCESS, VALUE), MAP(1, writer->maps->last_fd), MOVE(2, STACK),
          ADD(2, KEY), MOVE(3, STACK), ADD(3, VALUE), SET(4, BPF_ANY), CALL(BPF_FUNC_map_update_elem));
}

static void write_copy(struct writer *writer, int size, enum question from, int more, int to)
{
    WRITE(writer, LOAD(size, 1, SOCK, writer->at[from].answer + more), STORE(size, STACK, 1, to + more));
}

/*
 * The record on the stack, then to the ring, and the end. The kind is there already. A closed socket has its local
 * port in struct inet_sock alone, of which a tracepoint's argument is not known to be.
 */
static void write_record(struct writer *writer)
{
    WRITE(writer, CALL(BPF_FUNC_ktime_get_ns), STORE(BPF_DW, STACK, 0, FIELD(time_ns)),
          STORE(BPF_DW, STACK, COOKIE, FIELD(cookie)), STORE(BPF_W, STACK, PROCESS, FIELD(pid)),
          MOVE(1, STACK), ADD(1, FIELD(name)), SET(2, sizeof(((struct socket_event *)0)->name)),
          CALL(BPF_FUNC_get_current_comm), STORE_VALUE(BPF_H, FIELD(unused), 0), MOVE(1, STACK),
          ADD(1, FIELD(local_port)), SET(2, 2), MOVE(3, SOCK), ADD(3, writer->at[INET_LOCAL_PORT].answer),
          CALL(BPF_FUNC_probe_read_kernel));
    write_copy(writer, BPF_H, SOCK_FAMILY, 0, FIELD(family));
    write_copy(writer, BPF_H, SOCK_FOREIGN_PORT, 0, FIELD(foreign_port));
    write_copy(writer, BPF_W, SOCK_LOCAL4, 0, FIELD(local4));
    write_copy(writer, BPF_W, SOCK_FOREIGN4, 0, FIELD(foreign4));
    for (int i = 0; i < 16; i += 8) {
        write_copy(writer, BPF_DW, SOCK_LOCAL6, i, FIELD(local6));
        write_copy(writer, BPF_DW, SOCK_FOREIGN6, i, FIELD(foreign6));
    }
    WRITE(writer, MAP(1, writer->maps->ring_fd), MOVE(2, STACK), ADD(2, RECORD),
          SET(3, sizeof(struct socket_event)), SET(4, 0), CALL(BPF_FUNC_ringbuf_output), IF_IS(0, 0, 4),
          MAP_VALUE(1, writer->maps->lost_fd), SET(2, 1), COUNT_UP(1, 2), SET(0, 0), EXIT());
}

static int finish(struct writer *writer, enum question where)
{
    int end = writer->count - 2;

    for (int i = 0; i < end; i++) {
        unsigned class = BPF_CLASS(writer->items[i].code);
        if ((class == BPF_JMP || class == BPF_JMP32) && writer->items[i].off == TO_END)
            writer->items[i].off = (int16_t)(end - i - 1);
    }
    FD_AUTO program = bpf_load("forkport_live", writer->items, (size_t)writer->count, BPF_TRACE_RAW_TP,
                               writer->at[where].answer);
    if (program < 0)
        return -1;
    union bpf_attr attributes;
    bpf_clear(&attributes);
    attributes.raw_tracepoint.prog_fd = (uint32_t)program;
    return bpf_call(BPF_RAW_TRACEPOINT_OPEN, &attributes);
}

/* The arguments are the socket, its old and its new state. Which process runs means something for the first two. */
static int attach_state(struct writer writer)
{
    WRITE(&writer, LOAD(BPF_DW, SOCK, 1, 0), LOAD(BPF_DW, 3, 1, 16),
          STORE_VALUE(BPF_W, FIELD(kind), SOCKET_LISTENS), IF_IS(3, TCP_LISTEN, 6),
          STORE_VALUE(BPF_W, FIELD(kind), SOCKET_CONNECTS), IF_IS(3, TCP_SYN_SENT, 4),
          STORE_VALUE(BPF_W, FIELD(kind), SOCKET_ENDED), IF_IS(3, TCP_CLOSE, 2),
          STORE_VALUE(BPF_W, FIELD(kind), SOCKET_ESTABLISHED), IF_NOT(3, TCP_ESTABLISHED, TO_END));
    write_check(&writer);
    write_process(&writer);
    write_record(&writer);
    return finish(&writer, AT_STATE);
}

/* Only a process that closes or shuts down leads to these states. */
static int attach_close(struct writer writer)
{
    WRITE(&writer, LOAD(BPF_DW, SOCK, 1, 0), LOAD(BPF_DW, 3, 1, 16), IF_IS(3, TCP_FIN_WAIT1, 1),
          IF_NOT(3, TCP_LAST_ACK, TO_END), STORE_VALUE(BPF_W, FIELD(kind), SOCKET_CLOSES));
    write_check(&writer);
    write_process(&writer);
    write_only_others(&writer);
    write_remember(&writer);
    write_record(&writer);
    return finish(&writer, AT_STATE);
}

/* The first argument is the socket. */
static int attach_use(struct writer writer, enum question where)
{
    WRITE(&writer, LOAD(BPF_DW, SOCK, 1, 0), STORE_VALUE(BPF_W, FIELD(kind), SOCKET_USED));
    write_check(&writer);
    write_process(&writer);
    write_only_others(&writer);
    write_remember(&writer);
    write_record(&writer);
    return finish(&writer, where);
}

static bool ask(struct btf_question questions[QUESTION_COUNT])
{
    memcpy(questions, all_questions, sizeof(all_questions));
    if (btf_find(questions, QUESTION_COUNT) < 0 && errno != ENOTSUP)
        return false;
    for (int i = 0; i < REQUIRED_COUNT; i++) {
        if (questions[i].answer < 0)
            return false;
    }
    return true;
}

int socket_program_attach(const struct socket_program_maps *maps, int ret_attached[SOCKET_EVENTS_PROGRAMS])
{
    struct btf_question questions[QUESTION_COUNT];
    struct stat about;

    if (stat("/proc/thread-self/ns/net", &about) < 0 || !ask(questions))
        return -1;
    bool is_new = questions[AT_RECEIVE].answer >= 0 && questions[AT_SEND].answer >= 0;
    struct writer writer = {.at = questions, .maps = maps, .namespace_number = (int32_t)about.st_ino};
    int attached[SOCKET_EVENTS_PROGRAMS] = {
        attach_state(writer),
        attach_close(writer),
        attach_use(writer, is_new ? AT_RECEIVE : AT_ADJUST),
        is_new ? attach_use(writer, AT_SEND) : -1,
    };
    if (attached[0] < 0 || attached[1] < 0 || attached[2] < 0) {
        for (int i = 0; i < SOCKET_EVENTS_PROGRAMS; i++)
            fd_close(attached[i]);
        return -1;
    }
    memcpy(ret_attached, attached, sizeof(attached));
    return 0;
}
