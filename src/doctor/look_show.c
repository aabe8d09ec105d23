/* SPDX-License-Identifier: MIT */
#include "doctor/look.h"

#include "sys/bpf.h"
#include "sys/capture.h"
#include "sys/fd.h"
#include "sys/netlink.h"
#include "sys/netns.h"
#include "sys/probe.h"
#include "sys/socket_events.h"
#include "sys/steering.h"
#include "sys/task_files.h"
#include "wire/sock_diag.h"

#include <errno.h>
#include <stdalign.h>

void look_sock_diag(struct doctor_finding *ret_finding)
{
    alignas(uint32_t) char buffer[NETLINK_BUFFER_SIZE];
    char request[DIAG_REQUEST_SIZE];
    struct diag_reader reader;
    struct diag_socket socket;
    ssize_t got = -1;

    FD_AUTO fd = netlink_open();
    size_t length = diag_request_dump(request, DIAG_STATE_BIT(DIAG_LISTEN), 0, 0, false);
    if (fd >= 0 && netlink_send(fd, request, length) == 0)
        got = netlink_receive(fd, buffer, sizeof(buffer));
    if (got < 0) {
        look_failed(ret_finding, errno);
        return;
    }
    diag_reader_init(&reader, buffer, (size_t)got);
    bool refused = diag_reader_next(&reader, &socket) == DIAG_ERROR;
    if (refused)
        look_failed(ret_finding, reader.errnum);
    else
        look_found(ret_finding, DOCTOR_OK, "answers");
}

/* errno in the words of programs of BPF. */
static void look_no_bpf(struct doctor_finding *ret_finding, int errnum)
{
    if (errnum == ENOENT)
        look_found(ret_finding, DOCTOR_MISSING, "the kernel does not describe its types (BTF)");
    else if (errnum == ENOTSUP && !bpf_shares_pids())
        look_found(ret_finding, DOCTOR_MISSING, "this is a PID namespace, and the kernel tells its own pids");
    else if (errnum == ENOTSUP)
        look_found(ret_finding, DOCTOR_MISSING, "the kernel's types lack what is needed");
    else
        look_failed(ret_finding, errnum);
}

static bool stop_at_file(void *data, const struct descriptor *descriptor)
{
    (void)descriptor;
    *(bool *)data = true;
    return false;
}

void look_owners(struct doctor_finding *ret_finding)
{
    bool seen = false;

    if (task_files_read(stop_at_file, &seen) < 0 && !seen)
        look_no_bpf(ret_finding, errno);
    else
        look_found(ret_finding, DOCTOR_OK, "read");
}

static bool stop_at_socket(void *data, const struct steering *steering)
{
    (void)steering;
    *(bool *)data = true;
    return false;
}

void look_steering(struct doctor_finding *ret_finding)
{
    bool seen = false;

    if (steering_read(stop_at_socket, &seen) < 0 && !seen)
        look_no_bpf(ret_finding, errno);
    else
        look_found(ret_finding, DOCTOR_OK, "read");
}

void look_sk_lookup(struct doctor_finding *ret_finding)
{
    int count = steering_programs();

    if (count < 0)
        look_failed(ret_finding, errno);
    else
        look_found(ret_finding, DOCTOR_OK, "%d programs in this network namespace", count);
}

/* Into the own one: that takes the privilege as well, and changes nothing. */
void look_enter(struct doctor_finding *ret_finding)
{
    int home = netns_enter("/proc/thread-self/ns/net");
    bool entered = home >= 0 && netns_leave(home) == 0;

    look_tried(ret_finding, entered, "may be entered");
}

/* An empty file is no capture: the library says so, if it is there and has all that is asked of it. */
void look_captures(struct doctor_finding *ret_finding)
{
    static const char *const libraries[] = {CAPTURE_LIBRARIES, NULL};
    struct capture *capture = NULL;
    struct fp_error err;
    char version[96];

    enum fp_status status = capture_open_file("/dev/null", &capture, &err);
    capture_close(capture);
    if (status != FP_OK && status != FP_DATA) {
        look_found(ret_finding, DOCTOR_MISSING, "%s", err.reason);
        return;
    }
    probe_version(libraries, "pcap_lib_version", version, sizeof(version));
    look_found(ret_finding, DOCTOR_OK, "%s", version[0] != '\0' ? version : "there");
}

/* On all of them: one alone might be down. */
void look_capture_live(struct doctor_finding *ret_finding)
{
    const struct capture_live how = {.interface = "any"};
    struct capture *capture = NULL;
    struct fp_error err;

    enum fp_status status = capture_open_live(&how, &capture, &err);
    capture_close(capture);
    if (status == FP_OK)
        look_found(ret_finding, DOCTOR_OK, "works");
    else
        look_found(ret_finding, status == FP_NOT_PERMITTED ? DOCTOR_NOT_PERMITTED : DOCTOR_MISSING, "%s",
                   err.reason);
}

void look_live_owners(struct doctor_finding *ret_finding)
{
    struct socket_events events;

    if (socket_events_open(&events) < 0) {
        look_no_bpf(ret_finding, errno);
        return;
    }
    socket_events_close(&events);
    look_found(ret_finding, DOCTOR_OK, "attached");
}

void look_namespaces(struct doctor_finding *ret_finding)
{
    if (probe_namespace() == 0)
        look_found(ret_finding, DOCTOR_OK, "can be made");
    else
        look_tried(ret_finding, probe_user_namespace() == 0, "can be made in a user namespace");
}
