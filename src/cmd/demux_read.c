/* SPDX-License-Identifier: MIT */
#include "cmd/demux.h"

#include "base/line.h"
#include "demux/report.h"
#include "pairs/save.h"
#include "sys/capture.h"
#include "sys/fd.h"
#include "version.h"
#include "wire/pcapng.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OUTPUT_SIZE (64 << 10)

/* A file under way: what is read, what is known, and where the answers go. */
struct reading {
    const struct demux_arguments *arguments;
    struct pairs_table table;
    struct known *known;
    struct capture *capture;
    struct replay *replay;
    struct report report;
    FILE *kept;  /* --write; NULL: none */
    char *block; /* of it, being made */
    size_t block_size;
    bool at_once; /* somebody looks on */
    struct line line;
};

static enum fp_status load_lines(FILE *file, struct save_reader *reader, struct fp_error *err)
{
    enum fp_status status = FP_OK;
    char *line = NULL;
    size_t size = 0;
    ssize_t length;

    while (status == FP_OK && (length = getline(&line, &size, file)) > 0)
        status = save_line(reader, line, (size_t)length, err);
    free(line);
    if (status == FP_OK && ferror(file))
        return error_set(err, FP_SYSTEM, errno, "read the table", "%s", reader->file);
    return status == FP_OK ? save_end(reader, err) : status;
}

static enum fp_status load_table(struct reading *reading, struct fp_error *err)
{
    const char *path = reading->arguments->table;
    struct save_reader reader = {.table = &reading->table, .file = path};

    if (path == NULL)
        return FP_OK;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return error_set(err, error_class(errno), errno, "read the table", "%s", path);
    enum fp_status status = load_lines(file, &reader, err);
    fclose(file);
    return status == FP_OK ? known_new(&reading->table, &reading->known, err) : status;
}

static enum fp_status print_line(const struct reading *reading, struct fp_error *err)
{
    const char *start = line_text(&reading->line);
    size_t length = reading->line.text.length;

    if (start == NULL)
        return error_set(err, FP_SYSTEM, ENOMEM, "print", "the answers");
    if (fwrite(start, 1, length, stdout) == length && (!reading->at_once || fflush(stdout) == 0))
        return FP_OK;
    return error_set(err, FP_SYSTEM, errno, "print", "the answers");
}

static enum fp_status print_stream(struct reading *reading, const struct stream *stream, bool is_given_up,
                                   struct fp_error *err)
{
    do
        report_stream(&reading->report, stream, is_given_up, line_begin(&reading->line));
    while (line_again(&reading->line));
    return print_line(reading, err);
}

static enum fp_status print_end(struct reading *reading, const struct replay_end *end, struct fp_error *err)
{
    do
        report_end(&reading->report, end, line_begin(&reading->line));
    while (line_again(&reading->line));
    return print_line(reading, err);
}

static enum fp_status fail_keeping(const struct reading *reading, struct fp_error *err)
{
    return error_set(err, FP_SYSTEM, errno, "write", "%s", reading->arguments->write);
}

static enum fp_status begin_keeping(struct reading *reading, struct fp_error *err)
{
    const char *path = reading->arguments->write;
    char head[PCAPNG_HEAD_SIZE];
    int fd;

    if (path == NULL)
        return FP_OK;
    enum fp_status status = capture_create(path, reading->arguments->read, &fd, err);
    if (status != FP_OK)
        return status;
    reading->kept = fdopen(fd, "w");
    if (reading->kept == NULL) {
        fd_close(fd);
        return fail_keeping(reading, err);
    }
    size_t length = pcapng_section(head, sizeof(head), "forkport " FORKPORT_VERSION);
    length += pcapng_interface(head + length, sizeof(head) - length, capture_link(reading->capture),
                               capture_snap_bytes(reading->capture), NULL);
    return fwrite(head, 1, length, reading->kept) == length ? FP_OK : fail_keeping(reading, err);
}

static enum fp_status keep(struct reading *reading, const struct capture_frame *frame,
                           const struct replay_result *result, struct fp_error *err)
{
    char comment[PCAPNG_COMMENT_MAX];
    struct text text;
    struct pcapng_packet packet = {
        .time_ns = frame->time_ns,
        .bytes = frame->bytes,
        .captured = frame->captured,
        .length = frame->length,
    };

    text_init(&text, comment, sizeof(comment));
    report_comment(&reading->report, result, &text);
    size_t wanted = text_end(&text);
    if (wanted >= sizeof(comment))
        text_mark_cut(comment, sizeof(comment), true);
    if (wanted > 0)
        packet.comment = comment;
    size_t size = PCAPNG_PACKET_SIZE((size_t)frame->captured);
    if (size > reading->block_size) {
        char *block = realloc(reading->block, size);
        if (block == NULL)
            return fail_keeping(reading, err);
        reading->block = block;
        reading->block_size = size;
    }
    size_t length = pcapng_packet(reading->block, reading->block_size, &packet);
    return fwrite(reading->block, 1, length, reading->kept) == length ? FP_OK : fail_keeping(reading, err);
}

static enum fp_status end_keeping(struct reading *reading, struct fp_error *err)
{
    FILE *kept = reading->kept;

    reading->kept = NULL;
    if (kept == NULL || fclose(kept) == 0)
        return FP_OK;
    return fail_keeping(reading, err);
}

static enum fp_status take_frame(struct reading *reading, const struct capture_frame *frame,
                                 struct fp_error *err)
{
    struct replay_result result;

    enum fp_status status = replay_frame(reading->replay, capture_link(reading->capture), frame->bytes,
                                         frame->captured, frame->length, frame->time_ns, &result, err);
    if (status == FP_OK && reading->kept != NULL)
        status = keep(reading, frame, &result, err);
    if (status != FP_OK)
        return status;
    if (!reading->arguments->summary) {
        do
            report_frame(&reading->report, frame->time_ns, &result, line_begin(&reading->line));
        while (line_again(&reading->line));
        return print_line(reading, err);
    }
    if (result.has_ended)
        status = print_stream(reading, &result.ended, result.is_given_up, err);
    if (result.has_dropped && status == FP_OK)
        status = print_end(reading, &result.dropped, err);
    return status;
}

/* The frame that cannot be read is the one behind those that were. */
static enum fp_status fail_frame(const struct reading *reading, struct fp_error *err)
{
    struct fp_error cause;
    unsigned long long frame = replay_counts(reading->replay)->frames + 1;
    enum fp_status status = capture_fail(reading->capture, &cause);

    error_reason(err, error_set(err, status, 0, "read", "%s", reading->arguments->read), "packet %llu: %s",
                 frame, cause.reason);
    error_hint(err, "the %llu before it were read", frame - 1);
    return status;
}

static enum fp_status take_frames(struct reading *reading, struct fp_error *err)
{
    const struct replay_counts *counts = replay_counts(reading->replay);
    uint64_t most = reading->arguments->count != 0 ? reading->arguments->count : UINT64_MAX;
    enum fp_status status = FP_OK;
    struct capture_frame frame;

    while (status == FP_OK && counts->segments < most) {
        enum capture_item item = capture_next(reading->capture, &frame);
        if (item == CAPTURE_END)
            break;
        if (item == CAPTURE_BROKEN)
            return fail_frame(reading, err);
        if (item == CAPTURE_FRAME)
            status = take_frame(reading, &frame, err);
    }
    return status;
}

static int compare_streams(const void *left, const void *right)
{
    uint32_t a = (*(const struct stream *const *)left)->head.number;
    uint32_t b = (*(const struct stream *const *)right)->head.number;

    return a < b ? -1 : a > b;
}

/* In the order in which they began, where there is the memory to sort them. */
static enum fp_status summarize_streams(struct reading *reading, struct fp_error *err)
{
    enum fp_status status = FP_OK;
    const struct stream *stream;
    uint32_t count = 0;

    while (replay_stream(reading->replay, count) != NULL)
        count++;
    const struct stream **streams = calloc(count + 1U, sizeof(const struct stream *));
    for (uint32_t i = 0; i < count && streams != NULL; i++)
        streams[i] = replay_stream(reading->replay, i);
    if (streams != NULL)
        qsort(streams, count, sizeof(const struct stream *), compare_streams);
    for (uint32_t i = 0; i < count && status == FP_OK; i++) {
        stream = streams != NULL ? streams[i] : replay_stream(reading->replay, i);
        status = print_stream(reading, stream, false, err);
    }
    free(streams);
    return status;
}

static enum fp_status summarize(struct reading *reading, struct fp_error *err)
{
    enum fp_status status = FP_OK;
    const struct replay_end *end;

    for (uint32_t i = 0; status == FP_OK && (end = replay_end(reading->replay, i)) != NULL; i++)
        status = print_end(reading, end, err);
    if (status == FP_OK)
        status = summarize_streams(reading, err);
    if (status != FP_OK)
        return status;
    do
        report_counts(&reading->report, line_begin(&reading->line));
    while (line_again(&reading->line));
    return print_line(reading, err);
}

/* Where each segment had its line, the whole is worth one only if it is not as it should be. */
static void note(struct reading *reading)
{
    const struct replay_counts *counts = replay_counts(reading->replay);
    char line[REPORT_LINE_SIZE];
    struct text text;

    if (counts->segments != 0 &&
        counts->strays + counts->cut + counts->malformed + counts->split + counts->given_up == 0)
        return;
    text_init(&text, line, sizeof(line));
    report_counts(&(struct report){.counts = counts}, &text);
    text_end(&text);
    fprintf(stderr, "forkport: %s", line);
}

/* Whatever came of it: what was read is still said. */
static enum fp_status finish(struct reading *reading, enum fp_status status, struct fp_error *err)
{
    struct fp_error later;
    enum fp_status other = FP_OK;

    if (reading->arguments->summary)
        other = summarize(reading, &later);
    if (other == FP_OK && fflush(stdout) != 0)
        other = error_set(&later, FP_SYSTEM, errno, "print", "the answers");
    if (!reading->arguments->summary && status == FP_OK)
        note(reading);
    if (other == FP_OK)
        other = end_keeping(reading, &later);
    if (status == FP_OK && other != FP_OK)
        *err = later;
    return status == FP_OK ? other : status;
}

static enum fp_status check_link(const struct reading *reading, struct fp_error *err)
{
    int link = capture_link(reading->capture);

    if (packet_link_known(link))
        return FP_OK;
    return error_reason(err, error_set(err, FP_DATA, 0, "read", "%s", reading->arguments->read),
                        "its frames are of a link that is not known here: %s (%d)",
                        capture_link_name(reading->capture), link);
}

static enum fp_status begin(struct reading *reading, struct fp_error *err)
{
    const struct demux_arguments *arguments = reading->arguments;

    enum fp_status status = load_table(reading, err);
    if (status == FP_OK)
        status = capture_open_file(arguments->read, &reading->capture, err);
    if (status == FP_OK)
        status = check_link(reading, err);
    if (status == FP_OK)
        status = replay_new((uint32_t)arguments->max_pairs, reading->known, &reading->replay, err);
    if (status == FP_OK)
        status = begin_keeping(reading, err);
    if (status != FP_OK)
        return status;
    reading->report = (struct report){arguments->json, reading->known, replay_counts(reading->replay)};
    reading->at_once = fd_is_terminal(STDOUT_FILENO);
    /* It is stdout's until the end. */
    setvbuf(stdout, malloc(OUTPUT_SIZE), _IOFBF, OUTPUT_SIZE);
    if (!arguments->summary)
        return FP_OK;
    do
        report_heading(&reading->report, line_begin(&reading->line));
    while (line_again(&reading->line));
    return print_line(reading, err);
}

enum fp_status demux_read(const struct demux_arguments *arguments, int *ret_code, struct fp_error *err)
{
    struct reading *reading = calloc(1, sizeof(*reading));

    (void)ret_code;
    if (reading == NULL)
        return error_set(err, FP_SYSTEM, ENOMEM, "read", "%s", arguments->read);
    reading->arguments = arguments;
    enum fp_status status = begin(reading, err);
    if (status == FP_OK)
        status = finish(reading, take_frames(reading, err), err);
    if (reading->kept != NULL)
        fclose(reading->kept);
    free(reading->block);
    line_done(&reading->line);
    replay_free(reading->replay);
    capture_close(reading->capture);
    known_free(reading->known);
    pairs_done(&reading->table);
    free(reading);
    return status;
}
