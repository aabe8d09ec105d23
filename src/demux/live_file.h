/* SPDX-License-Identifier: MIT
 *
 * demux/live_file.h - the capture file that a live demultiplexer keeps: each frame with what was said of it.
 *
 * A pcapng file of one section and one interface, readable by its owner alone; what was in a file of the name is gone.
 * Frames go to a buffer and from there to the file when it is full and when the file is closed, so that a full disk
 * may be told of late, but is told of. The file is whole, to the last frame that was written, after live_file_close();
 * closing one that is not open does nothing. FP_SYSTEM, FP_NOT_PERMITTED, FP_NO_INPUT: it cannot be made or written.
 */
#ifndef DEMUX_LIVE_FILE_H
#define DEMUX_LIVE_FILE_H

#include "base/error.h"
#include "sys/capture.h"

#include <stddef.h>

struct live_file {
    int fd;           /* -1: closed */
    const char *path; /* not owned */
    char *buffer;
    size_t length;
    size_t size;
};

enum fp_status live_file_open(struct live_file *file, const char *path, const struct capture *capture,
                              const char *interface, struct fp_error *err);
/* The comment is cut at PCAPNG_COMMENT_MAX; "": none. */
enum fp_status live_file_write(struct live_file *file, const struct capture_frame *frame, const char *comment,
                               struct fp_error *err);
enum fp_status live_file_close(struct live_file *file, struct fp_error *err);

#endif
