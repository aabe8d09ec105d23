/* SPDX-License-Identifier: MIT
 *
 * sys/capture.h where the headers of libpcap were not there when this was built.
 */
#include "sys/capture.h"

static enum fp_status none(const char *operation, const char *what, struct fp_error *err)
{
    return error_reason(err, error_set(err, FP_UNAVAILABLE, 0, operation, "%s", what),
                        "this forkport was built without libpcap");
}

enum fp_status capture_open_file(const char *path, struct capture **ret_capture, struct fp_error *err)
{
    (void)ret_capture;
    return none("read", path, err);
}

enum fp_status capture_open_live(const struct capture_live *how, struct capture **ret_capture,
                                 struct fp_error *err)
{
    (void)ret_capture;
    return none("capture on", how->interface, err);
}

void capture_close(struct capture *capture)
{
    (void)capture;
}

enum capture_item capture_next(struct capture *capture, struct capture_frame *ret_frame)
{
    (void)capture;
    (void)ret_frame;
    return CAPTURE_BROKEN;
}

enum fp_status capture_fail(const struct capture *capture, struct fp_error *err)
{
    (void)capture;
    return none("read", "a capture", err);
}

int capture_link(const struct capture *capture)
{
    (void)capture;
    return -1;
}

const char *capture_link_name(const struct capture *capture)
{
    (void)capture;
    return "unknown";
}

uint32_t capture_snap_bytes(const struct capture *capture)
{
    (void)capture;
    return 0;
}

int capture_fd(const struct capture *capture)
{
    (void)capture;
    return -1;
}

bool capture_counts(struct capture *capture, struct capture_counts *ret_counts)
{
    (void)capture;
    (void)ret_counts;
    return false;
}

enum fp_status capture_create(const char *path, const char *input, int *ret_fd, struct fp_error *err)
{
    (void)input;
    (void)ret_fd;
    return none("write", path, err);
}
