/* SPDX-License-Identifier: MIT
 *
 * sys/btf.h - the kernel's own description of its types: where members are, and what number a function has.
 *
 * A program of BPF that reads the kernel's structures needs the offsets of their members in the kernel that runs, and
 * the number of the function or tracepoint that it is attached to. Both are in /sys/kernel/btf/vmlinux. The caller
 * fills a table of questions, and btf_find() answers all of them in one pass, which takes some milliseconds, since the
 * description has some megabytes. A member may stand in structures and unions without a name inside the type, as most
 * of struct sock_common do. Nothing is kept open or in memory when the call returns. No privilege is needed. The
 * description is trusted, as the kernel is, but not to be of a form that we know.
 */
#ifndef SYS_BTF_H
#define SYS_BTF_H

#include <linux/btf.h>
#include <stddef.h>
#include <stdint.h>

struct btf_question {
    unsigned kind;    /* BTF_KIND_STRUCT, for a member; BTF_KIND_FUNC; BTF_KIND_TYPEDEF ("btf_trace_NAME") */
    const char *name; /* of the type or function */
    const char *member; /* of the structure; NULL: the number of the type is asked for */
    int32_t answer;     /* the member's offset in bytes, or the number; -1: this kernel has none */
};

/* 0, or -1 with errno set: ENOENT, there is no description; ENOTSUP, it lacks an answer, and the others are given. */
int btf_find(struct btf_question questions[], size_t count);

#endif
