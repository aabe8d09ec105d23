/* SPDX-License-Identifier: MIT */
#include "demux/live_file.h"

#include "sys/fd.h"
#include "wire/pcapng.h"

#include <errno.h>
#include <stdlib.h>

#define BUFFER_BYTES (256U << 10)

static enum fp_status fail(const struct live_file *file, int errnum, struct fp_error *err)
{
    return error_set(err, error_class(errnum), errnum, "write", "%s", file->path);
}

static enum fp_status flush(struct live_file *file, struct fp_error *err)
{
    size_t length = file->length;

    file->length = 0;
    if (length != 0 && fd_write_all(file->fd, file->buffer, length) < 0)
        return fail(file, errno, err);
    return FP_OK;
}

/* Room for one more block of at most this size. */
static enum fp_status make_room(struct live_file *file, size_t wanted, struct fp_error *err)
{
    if (file->size - file->length >= wanted)
        return FP_OK;
    enum fp_status status = flush(file, err);
    if (status != FP_OK || file->size >= wanted)
        return status;
    char *buffer = realloc(file->buffer, wanted);
    if (buffer == NULL)
        return fail(file, ENOMEM, err);
    file->buffer = buffer;
    file->size = wanted;
    return FP_OK;
}

enum fp_status live_file_open(struct live_file *file, const char *path, const struct capture *capture,
                              const char *interface, struct fp_error *err)
{
    *file = (struct live_file){.fd = -1, .path = path, .size = BUFFER_BYTES};
    enum fp_status status = capture_create(path, NULL, &file->fd, err);
    if (status != FP_OK)
        return status;
    file->buffer = malloc(file->size);
    if (file->buffer == NULL)
        return fail(file, ENOMEM, err);
    file->length = pcapng_section(file->buffer, file->size, "forkport");
    file->length += pcapng_interface(file->buffer + file->length, file->size - file->length,
                                     capture_link(capture), capture_snap_bytes(capture), interface);
    return flush(file, err);
}

enum fp_status live_file_write(struct live_file *file, const struct capture_frame *frame, const char *comment,
                               struct fp_error *err)
{
    struct pcapng_packet packet = {
        .time_ns = frame->time_ns,
        .bytes = frame->bytes,
        .captured = frame->captured,
        .length = frame->length,
        .comment = comment[0] != '\0' ? comment : NULL,
    };

    enum fp_status status = make_room(file, PCAPNG_PACKET_SIZE((size_t)frame->captured), err);
    if (status == FP_OK)
        file->length += pcapng_packet(file->buffer + file->length, file->size - file->length, &packet);
    return status;
}

enum fp_status live_file_close(struct live_file *file, struct fp_error *err)
{
    enum fp_status status = FP_OK;

    if (file->fd < 0)
        return FP_OK;
    if (file->buffer != NULL)
        status = flush(file, err);
    free(file->buffer);
    file->buffer = NULL;
    fd_close(file->fd);
    file->fd = -1;
    return status;
}
