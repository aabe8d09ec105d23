/* SPDX-License-Identifier: MIT
 *
 * sys/bpf.h - short programs of BPF, written down instruction by instruction.
 *
 * What is asked of the kernel in this way takes a few dozen instructions, for which a compiler of its own at build time
 * would be too much. So they are written with the names below, in the order (to, from) of the kernel's own assembler,
 * and loaded with bpf_load(). Offsets of the kernel's members come from sys/btf.h. A jump counts the instructions that
 * it skips. What the verifier says of a program that it refuses is not kept: the caller has another way to go. A
 * descriptor that is given is the caller's to close; -1 with errno set: EPERM without CAP_BPF and CAP_PERFMON, say.
 */
#ifndef SYS_BPF_H
#define SYS_BPF_H

#include "sys/btf.h"

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INSTRUCTION(op, to, from, offset, value)                                                   \
    {                                                                                              \
        .code = (uint8_t)(op), .dst_reg = (to), .src_reg = (from), .off = (offset), .imm = (value) \
    }
#define LOAD(size, to, from, offset)  INSTRUCTION(BPF_LDX | BPF_MEM | (size), to, from, (int16_t)(offset), 0)
#define STORE(size, to, from, offset) INSTRUCTION(BPF_STX | BPF_MEM | (size), to, from, (int16_t)(offset), 0)
#define MOVE(to, from)                INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0)
#define SET(to, value)                INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value)
#define ADD(to, value)                INSTRUCTION(BPF_ALU64 | BPF_ADD | BPF_K, to, 0, 0, value)
#define IF_IS(reg, value, skip)       INSTRUCTION(BPF_JMP | BPF_JEQ | BPF_K, reg, 0, skip, value)
#define IF_NOT(reg, value, skip)      INSTRUCTION(BPF_JMP | BPF_JNE | BPF_K, reg, 0, skip, value)
#define CALL(function)                INSTRUCTION(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define EXIT()                        INSTRUCTION(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* A program of BPF_PROG_TYPE_TRACING at the function or tracepoint with this number in the kernel's types. */
int bpf_load(const char *name, const struct bpf_insn program[], size_t count, enum bpf_attach_type type,
             int32_t btf_number);
/* What a program of BPF_TRACE_ITER writes, to be read. `load` gives it, by the questions when they are answered. */
int bpf_open_iterator(struct btf_question questions[], size_t count,
                      int (*load)(const struct btf_question *answered));
/* Reads it to its end, or to where `each` gives not 0, which is returned; -1 with errno set. */
int bpf_read_records(int fd, size_t size, int (*each)(void *data, const void *record), void *data);
/* Are pids here those of the kernel? That is in the initial PID namespace. */
bool bpf_shares_pids(void);
/* What is not set must be 0 to its end, which no initializer of a union promises: begin with bpf_clear(). */
int bpf_call(enum bpf_cmd command, union bpf_attr *attributes);
static inline void bpf_clear(union bpf_attr *attributes)
{
    memset(attributes, 0, sizeof(*attributes));
}

#endif
