/* SPDX-License-Identifier: MIT */
#include "sys/bpf.h"

#include "sys/fd.h"
#include "sys/read.h"

#include <errno.h>
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
    union bpf_attr attributes;

    bpf_clear(&attributes);
    attributes.prog_type = BPF_PROG_TYPE_TRACING;
    attributes.expected_attach_type = type;
    attributes.insns = (uintptr_t)program;
    attributes.insn_cnt = (uint32_t)count;
    attributes.license = (uintptr_t) "Dual MIT/GPL";
    attributes.attach_btf_id = (uint32_t)btf_number;
    strncpy(attributes.prog_name, name, sizeof(attributes.prog_name) - 1);
    return bpf_call(BPF_PROG_LOAD, &attributes);
}

int bpf_open_iterator(struct btf_question questions[], size_t count,
                      int (*load)(const struct btf_question *answered))
{
    union bpf_attr attributes;

    if (btf_find(questions, count) < 0)
        return -1;
    FD_AUTO program = load(questions);
    if (program < 0)
        return -1;
    bpf_clear(&attributes);
    attributes.link_create.prog_fd = (uint32_t)program;
    attributes.link_create.attach_type = BPF_TRACE_ITER;
    FD_AUTO link = bpf_call(BPF_LINK_CREATE, &attributes);
    if (link < 0)
        return -1;
    bpf_clear(&attributes);
    attributes.iter_create.link_fd = (uint32_t)link;
    return bpf_call(BPF_ITER_CREATE, &attributes);
}

int bpf_read_records(int fd, size_t size, int (*each)(void *data, const void *record), void *data)
{
    _Alignas(uint64_t) char records[32768];
    size_t kept = 0;

    for (;;) {
        /* A record may be cut by the end of what one read(2) gives. */
        ssize_t got = read_some(fd, records + kept, sizeof(records) - kept);
        if (got < 0 && errno == EAGAIN)
            continue;
        if (got <= 0)
            return (int)got;
        size_t length = kept + (size_t)got;
        for (size_t at = 0; at + size <= length; at += size) {
            int end = each(data, records + at);
            if (end != 0)
                return end;
        }
        kept = length % size;
        memmove(records, records + length - kept, kept);
    }
}
