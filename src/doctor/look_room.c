/* SPDX-License-Identifier: MIT */
#include "doctor/look.h"

#include "config/config.h"
#include "doctor/cgroup.h"
#include "sys/probe.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Of the server itself: what listens, the loop's, the log's, and what waits for its process for a moment. */
#define DESCRIPTORS_LEAST 256
/* The kernel's own default is 10, systemd's 512. */
#define DATAGRAMS_LEAST 64
#define MIB             (UINT64_C(1) << 20)

/* What a server is made for unless it is told otherwise. */
static struct config defaults(void)
{
    struct config config;
    struct fp_error err;

    if (config_init(&config, &err) != FP_OK)
        return (struct config){.limits.max = 1};
    struct config copy = {.limits = config.limits, .backlog = config.backlog};
    config_done(&config);
    return copy;
}

static enum doctor_verdict enough(uint64_t there, uint64_t least)
{
    return there >= least ? DOCTOR_OK : DOCTOR_LOW;
}

/* "1024, can be raised to 65536": what a process may have, and what it may have without anybody's help. */
static void look_limit(struct doctor_finding *ret_finding, uint64_t soft, uint64_t hard, uint64_t least)
{
    if (soft == UINT64_MAX)
        look_found(ret_finding, DOCTOR_OK, "no limit");
    else if (hard == UINT64_MAX)
        look_found(ret_finding, enough(soft, least), "%" PRIu64 ", can be raised without limit", soft);
    else if (hard > soft)
        look_found(ret_finding, enough(soft, least), "%" PRIu64 ", can be raised to %" PRIu64, soft, hard);
    else
        look_found(ret_finding, enough(soft, least), "%" PRIu64, soft);
}

void look_descriptors(struct doctor_finding *ret_finding)
{
    uint64_t soft;
    uint64_t hard;

    if (probe_descriptor_limit(&soft, &hard) < 0)
        look_failed(ret_finding, errno);
    else
        look_limit(ret_finding, soft, hard, DESCRIPTORS_LEAST);
}

void look_user_processes(struct doctor_finding *ret_finding)
{
    uint64_t soft;
    uint64_t hard;

    if (probe_process_limit(&soft, &hard) < 0)
        look_failed(ret_finding, errno);
    else
        look_limit(ret_finding, soft, hard, defaults().limits.max);
}

/* Threads of the host: the number behind the slash in "0.00 0.01 0.05 2/213 4711". */
static uint64_t tasks_now(void)
{
    char load[128];
    uint64_t tasks = 0;

    if (probe_read("/proc/loadavg", load, sizeof(load)) < 0)
        return 0;
    char *slash = strchr(load, '/');
    if (slash != NULL) {
        slash[strcspn(slash, " ")] = '\0';
        text_parse_unsigned(slash + 1, UINT32_MAX, &tasks);
    }
    return tasks;
}

/* A limit of the whole host, of which some are taken. */
static void look_host_limit(struct doctor_finding *ret_finding, const char *path)
{
    uint64_t tasks = tasks_now();
    uint64_t limit;

    if (!look_number(ret_finding, path, &limit))
        return;
    uint64_t room = limit > tasks ? limit - tasks : 0;
    look_found(ret_finding, enough(room, defaults().limits.max),
               "%" PRIu64 ", of which %" PRIu64 " are taken", limit, tasks);
}

void look_pids(struct doctor_finding *ret_finding)
{
    look_host_limit(ret_finding, "/proc/sys/kernel/pid_max");
}

void look_threads(struct doctor_finding *ret_finding)
{
    look_host_limit(ret_finding, "/proc/sys/kernel/threads-max");
}

void look_cgroup_processes(struct doctor_finding *ret_finding)
{
    uint64_t room = cgroup_room(CGROUP_PROCESSES);

    if (room == UINT64_MAX)
        look_found(ret_finding, DOCTOR_OK, "no limit");
    else
        look_found(ret_finding, enough(room, defaults().limits.max), "%" PRIu64 " more", room);
}

/* The number of a line "Name:   1234 kB"; UINT64_MAX: there is none. */
static uint64_t kib_of(const char *lines, const char *name)
{
    char digits[24];
    const char *at = strstr(lines, name);

    if (at == NULL)
        return UINT64_MAX;
    at += strlen(name);
    at += strspn(at, " ");
    size_t length = strspn(at, "0123456789");
    uint64_t kib;
    if (length >= sizeof(digits))
        return UINT64_MAX;
    memcpy(digits, at, length);
    digits[length] = '\0';
    return text_parse_unsigned(digits, UINT64_MAX / 1024, &kib) ? kib : UINT64_MAX;
}

/* Where the kernel promises no more than it has (vm.overcommit_memory=2), what it has not promised yet counts too. */
static uint64_t free_bytes(const char *lines)
{
    uint64_t kib = kib_of(lines, "MemAvailable:");
    uint64_t limit = kib_of(lines, "CommitLimit:");
    uint64_t promised = kib_of(lines, "Committed_AS:");
    char strict[8];

    if (probe_read("/proc/sys/vm/overcommit_memory", strict, sizeof(strict)) > 0 &&
        strcmp(strict, "2") == 0) {
        uint64_t left = limit > promised ? limit - promised : 0;
        kib = left < kib ? left : kib;
    }
    return kib == UINT64_MAX ? kib : kib * 1024;
}

void look_memory(struct doctor_finding *ret_finding)
{
    char lines[4096];

    if (probe_read("/proc/meminfo", lines, sizeof(lines)) < 0) {
        look_failed(ret_finding, errno);
        return;
    }
    uint64_t bytes = free_bytes(lines);
    uint64_t room = cgroup_room(CGROUP_MEMORY);
    bool by_cgroup = room < bytes;
    uint64_t mib = (by_cgroup ? room : bytes) / MIB;
    look_found(ret_finding, enough(mib, defaults().limits.max), "%" PRIu64 " MiB available%s", mib,
               by_cgroup ? " in the cgroup" : "");
}

void look_backlog(struct doctor_finding *ret_finding)
{
    uint64_t wanted = defaults().backlog;
    uint64_t most;

    if (look_number(ret_finding, "/proc/sys/net/core/somaxconn", &most))
        look_found(ret_finding, enough(most, wanted), "at most %" PRIu64 "; --backlog is %" PRIu64, most,
                   wanted);
}

/* With SYN cookies the kernel looks at the listening socket's backlog alone. */
void look_syn_backlog(struct doctor_finding *ret_finding)
{
    uint64_t cookies = 0;
    uint64_t most;

    if (!look_number(ret_finding, "/proc/sys/net/ipv4/tcp_syncookies", &cookies) ||
        !look_number(ret_finding, "/proc/sys/net/ipv4/tcp_max_syn_backlog", &most))
        return;
    look_found(ret_finding, cookies != 0 ? DOCTOR_OK : enough(most, defaults().backlog),
               "%" PRIu64 ", SYN cookies %s", most, cookies != 0 ? "on: what counts is the backlog" : "off");
}

void look_datagrams(struct doctor_finding *ret_finding)
{
    uint64_t length;

    if (look_number(ret_finding, "/proc/sys/net/unix/max_dgram_qlen", &length))
        look_found(ret_finding, enough(length, DATAGRAMS_LEAST), "%" PRIu64, length);
}

/* Either is right: it is memory against speed. The host's own network namespace alone shows it, from Linux 5.14 on. */
void look_send_buffers(struct doctor_finding *ret_finding)
{
    char setting[8];

    if (probe_read("/proc/sys/net/core/high_order_alloc_disable", setting, sizeof(setting)) < 0)
        look_found(ret_finding, DOCTOR_OK,
                   "a process that has answered keeps 32 KiB, unless the host has it otherwise");
    else
        look_found(ret_finding, DOCTOR_OK, "a process that has answered keeps %s KiB",
                   strcmp(setting, "0") == 0 ? "32" : "4");
}

/* A kernel without it costs nothing, so that it is not there is not a lack. */
void look_autogroup(struct doctor_finding *ret_finding)
{
    char setting[8];

    if (probe_read("/proc/sys/kernel/sched_autogroup_enabled", setting, sizeof(setting)) < 0)
        look_found(ret_finding, DOCTOR_OK, "the kernel has none");
    else if (strcmp(setting, "0") == 0)
        look_found(ret_finding, DOCTOR_OK, "off");
    else
        look_found(ret_finding, DOCTOR_OK, "on: a scheduling group is made for each worker");
}
