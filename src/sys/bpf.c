/* SPDX-License-Identifier: MIT */
#include "sys/bpf.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The number that the kernel gives the initial PID namespace's file (PROC_PID_INIT_INO). */
#define INITIAL_PID_NAMESPACE 0xEFFFFFFC

bool bpf_shares_pids(void)
{
    struct stat about;

    return stat("/proc/self/ns/pid", &about) == 0 && about.st_ino == INITIAL_PID_NAMESPACE;
}

int bpf_call(enum bpf_cmd command, union bpf_attr *attributes)
{
    return (int)syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

int bpf_load(const char *name, const struct bpf_insn program[], size_t count, enum bpf_attach_type type,
             int32_t btf_number)
{
    union bpf_attr attributes = {
        .prog_type = BPF_PROG_TYPE_TRACING,
        .expected_attach_type = type,
        .insns = (uintptr_t)program,
        .insn_cnt = (uint32_t)count,
        .license = (uintptr_t) "Dual MIT/GPL",
        .attach_btf_id = (uint32_t)btf_number,
    };

    strncpy(attributes.prog_name, name, sizeof(attributes.prog_name) - 1);
    return bpf_call(BPF_PROG_LOAD, &attributes);
}
