/* SPDX-License-Identifier: MIT */
#include "sys/capture.h"

#include "sys/fd.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SNAP_BYTES 262144

/* DLT_LINUX_SLL2 is not in every pcap.h. */
#define LINK_COOKED   113
#define LINK_COOKED_2 276

/* The functions of libpcap that are used here. */
struct library {
    void *handle;
    __typeof__(pcap_open_offline_with_tstamp_precision) *open_offline;
    __typeof__(pcap_create) *create;
    __typeof__(pcap_set_snaplen) *set_snaplen;
    __typeof__(pcap_set_promisc) *set_promisc;
    __typeof__(pcap_set_immediate_mode) *set_immediate_mode;
    __typeof__(pcap_set_buffer_size) *set_buffer_size;
    __typeof__(pcap_set_tstamp_precision) *set_tstamp_precision;
    __typeof__(pcap_get_tstamp_precision) *get_tstamp_precision;
    __typeof__(pcap_activate) *activate;
    __typeof__(pcap_setnonblock) *setnonblock;
    __typeof__(pcap_compile) *compile;
    __typeof__(pcap_setfilter) *setfilter;
    __typeof__(pcap_freecode) *freecode;
    __typeof__(pcap_next_ex) *next_ex;
    __typeof__(pcap_get_selectable_fd) *get_selectable_fd;
    __typeof__(pcap_stats) *stats;
    __typeof__(pcap_datalink) *datalink;
    __typeof__(pcap_set_datalink) *set_datalink;
    __typeof__(pcap_datalink_val_to_description) *datalink_description;
    __typeof__(pcap_snapshot) *snapshot;
    __typeof__(pcap_geterr) *geterr;
    __typeof__(pcap_statustostr) *statustostr;
    __typeof__(pcap_close) *close;
};

struct capture {
    struct library library;
    pcap_t *pcap;
    bool is_live;
    bool has_nanoseconds;
    const char *operation;
    char what[208];
};

static const struct {
    const char *name;
    size_t at;
} symbols[] = {
    {"pcap_open_offline_with_tstamp_precision", offsetof(struct library, open_offline)},
    {"pcap_create", offsetof(struct library, create)},
    {"pcap_set_snaplen", offsetof(struct library, set_snaplen)},
    {"pcap_set_promisc", offsetof(struct library, set_promisc)},
    {"pcap_set_immediate_mode", offsetof(struct library, set_immediate_mode)},
    {"pcap_set_buffer_size", offsetof(struct library, set_buffer_size)},
    {"pcap_set_tstamp_precision", offsetof(struct library, set_tstamp_precision)},
    {"pcap_get_tstamp_precision", offsetof(struct library, get_tstamp_precision)},
    {"pcap_activate", offsetof(struct library, activate)},
    {"pcap_setnonblock", offsetof(struct library, setnonblock)},
    {"pcap_compile", offsetof(struct library, compile)},
    {"pcap_setfilter", offsetof(struct library, setfilter)},
    {"pcap_freecode", offsetof(struct library, freecode)},
    {"pcap_next_ex", offsetof(struct library, next_ex)},
    {"pcap_get_selectable_fd", offsetof(struct library, get_selectable_fd)},
    {"pcap_stats", offsetof(struct library, stats)},
    {"pcap_datalink", offsetof(struct library, datalink)},
    {"pcap_set_datalink", offsetof(struct library, set_datalink)},
    {"pcap_datalink_val_to_description", offsetof(struct library, datalink_description)},
    {"pcap_snapshot", offsetof(struct library, snapshot)},
    {"pcap_geterr", offsetof(struct library, geterr)},
    {"pcap_statustostr", offsetof(struct library, statustostr)},
    {"pcap_close", offsetof(struct library, close)},
};

static void *open_library(void)
{
    static const char *const names[] = {CAPTURE_LIBRARIES};
    void *handle = NULL;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && handle == NULL; i++)
        handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return handle;
}

static enum fp_status load(struct capture *capture, struct fp_error *err)
{
    struct library *library = &capture->library;

    library->handle = open_library();
    if (library->handle == NULL) {
        enum fp_status status =
            error_reason(err, error_set(err, FP_UNAVAILABLE, 0, capture->operation, "%s", capture->what),
                         "%s", dlerror());
        error_hint(err, "captures need libpcap: install the package libpcap0.8, libpcap0.8t64 or libpcap");
        return status;
    }
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        void *symbol = dlsym(library->handle, symbols[i].name);
        if (symbol == NULL)
            return error_reason(err,
                                error_set(err, FP_UNAVAILABLE, 0, capture->operation, "%s", capture->what),
                                "this libpcap is too old: it has no %s", symbols[i].name);
        memcpy((char *)library + symbols[i].at, &symbol, sizeof(symbol));
    }
    return FP_OK;
}

static enum fp_status prepare(const char *operation, const char *what, struct capture **ret_capture,
                              struct fp_error *err)
{
    struct capture *capture = calloc(1, sizeof(*capture));

    if (capture == NULL)
        return error_set(err, FP_SYSTEM, ENOMEM, operation, "%s", what);
    capture->operation = operation;
    strncpy(capture->what, what, sizeof(capture->what) - 1);
    enum fp_status status = load(capture, err);
    if (status != FP_OK)
        capture_close(capture);
    else
        *ret_capture = capture;
    return status;
}

void capture_close(struct capture *capture)
{
    if (capture == NULL)
        return;
    if (capture->pcap != NULL)
        capture->library.close(capture->pcap);
    if (capture->library.handle != NULL)
        dlclose(capture->library.handle);
    free(capture);
}

/* libpcap gives errno as words only; it says first which file it is about, which our message says too. */
static enum fp_status fail_reading(const struct capture *capture, const char *reason, struct fp_error *err)
{
    size_t length = strlen(capture->what);

    if (strncmp(reason, capture->what, length) == 0 && strncmp(reason + length, ": ", 2) == 0)
        reason += length + 2;
    enum fp_status status = capture->is_live ? FP_SYSTEM : FP_DATA;
    return error_reason(err, error_set(err, status, 0, capture->operation, "%s", capture->what), "%s",
                        reason);
}

/* Tried by hand first, for an errno that has a class. */
static enum fp_status check_file(const char *path, struct fp_error *err)
{
    struct stat about;

    if (strcmp(path, "-") == 0)
        return FP_OK;
    if (stat(path, &about) < 0)
        return error_set(err, error_class(errno), errno, "read", "%s", path);
    if (S_ISDIR(about.st_mode))
        return error_set(err, FP_DATA, EISDIR, "read", "%s", path);
    return faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0
               ? FP_OK
               : error_set(err, error_class(errno), errno, "read", "%s", path);
}

enum fp_status capture_open_file(const char *path, struct capture **ret_capture, struct fp_error *err)
{
    char reason[PCAP_ERRBUF_SIZE] = "";
    struct capture *capture;

    enum fp_status status = check_file(path, err);
    if (status == FP_OK)
        status = prepare("read", path, &capture, err);
    if (status != FP_OK)
        return status;
    capture->pcap = capture->library.open_offline(path, PCAP_TSTAMP_PRECISION_NANO, reason);
    capture->has_nanoseconds = true;
    if (capture->pcap == NULL) {
        status = fail_reading(capture, reason, err);
        capture_close(capture);
        return status;
    }
    *ret_capture = capture;
    return FP_OK;
}

static enum fp_status fail_live(const struct capture *capture, int code, struct fp_error *err)
{
    const char *reason = capture->library.geterr(capture->pcap);
    enum fp_status status = FP_UNAVAILABLE;

    if (code == PCAP_ERROR_NO_SUCH_DEVICE)
        status = FP_NO_INPUT;
    else if (code == PCAP_ERROR_PERM_DENIED || code == PCAP_ERROR_PROMISC_PERM_DENIED)
        status = FP_NOT_PERMITTED;
    if (reason == NULL || reason[0] == '\0')
        reason = capture->library.statustostr(code);
    error_reason(err, error_set(err, status, 0, capture->operation, "%s", capture->what), "%s", reason);
    if (status == FP_NOT_PERMITTED)
        error_hint(err, "it needs root, or CAP_NET_RAW");
    return status;
}

static enum fp_status set_filter(const struct capture *capture, const char *filter, struct fp_error *err)
{
    const struct library *library = &capture->library;
    struct bpf_program program;

    if (filter == NULL)
        return FP_OK;
    if (library->compile(capture->pcap, &program, filter, 1, PCAP_NETMASK_UNKNOWN) < 0)
        return error_reason(err, error_set(err, FP_USAGE, 0, "filter by", "%s", filter), "%s",
                            library->geterr(capture->pcap));
    int code = library->setfilter(capture->pcap, &program);
    library->freecode(&program);
    return code < 0 ? fail_live(capture, code, err) : FP_OK;
}

static enum fp_status start(struct capture *capture, const struct capture_live *how, struct fp_error *err)
{
    const struct library *library = &capture->library;
    char reason[PCAP_ERRBUF_SIZE] = "";
    pcap_t *pcap = capture->pcap;

    library->set_snaplen(pcap, (int)(how->snap_bytes != 0 ? how->snap_bytes : SNAP_BYTES));
    library->set_promisc(pcap, how->promiscuous);
    library->set_immediate_mode(pcap, 1);
    if (how->buffer_bytes != 0)
        library->set_buffer_size(pcap, (int)how->buffer_bytes);
    library->set_tstamp_precision(pcap, PCAP_TSTAMP_PRECISION_NANO);
    /* Above 0 are warnings: that an interface has no promiscuous mode, such as "any". */
    int code = library->activate(pcap);
    if (code < 0)
        return fail_live(capture, code, err);
    capture->has_nanoseconds = library->get_tstamp_precision(pcap) == PCAP_TSTAMP_PRECISION_NANO;
    if (library->setnonblock(pcap, 1, reason) < 0)
        return fail_live(capture, PCAP_ERROR, err);
    /* The frames of "any" then say their interface; a libpcap before 1.10 has no such kind, and leaves it as it is. */
    if (library->datalink(pcap) == LINK_COOKED)
        library->set_datalink(pcap, LINK_COOKED_2);
    return set_filter(capture, how->filter != NULL ? how->filter(capture_link(capture)) : NULL, err);
}

enum fp_status capture_open_live(const struct capture_live *how, struct capture **ret_capture,
                                 struct fp_error *err)
{
    char reason[PCAP_ERRBUF_SIZE] = "";
    struct capture *capture;

    enum fp_status status = prepare("capture on", how->interface, &capture, err);
    if (status != FP_OK)
        return status;
    capture->is_live = true;
    capture->pcap = capture->library.create(how->interface, reason);
    if (capture->pcap == NULL)
        status =
            error_reason(err, error_set(err, FP_SYSTEM, 0, "capture on", "%s", how->interface), "%s", reason);
    else
        status = start(capture, how, err);
    if (status != FP_OK)
        capture_close(capture);
    else
        *ret_capture = capture;
    return status;
}

enum capture_item capture_next(struct capture *capture, struct capture_frame *ret_frame)
{
    struct pcap_pkthdr *header;
    const u_char *bytes;

    switch (capture->library.next_ex(capture->pcap, &header, &bytes)) {
    case 1:
        *ret_frame = (struct capture_frame){
            .bytes = bytes,
            .captured = header->caplen,
            .length = header->len,
            /* A file may say any number of seconds. */
            .time_ns = (int64_t)((uint64_t)header->ts.tv_sec * 1000000000 +
                                 (uint64_t)header->ts.tv_usec * (capture->has_nanoseconds ? 1 : 1000)),
        };
        return CAPTURE_FRAME;
    case 0:
        return CAPTURE_NOTHING;
    case PCAP_ERROR_BREAK:
        return CAPTURE_END;
    default:
        return CAPTURE_BROKEN;
    }
}

enum fp_status capture_fail(const struct capture *capture, struct fp_error *err)
{
    return fail_reading(capture, capture->library.geterr(capture->pcap), err);
}

int capture_link(const struct capture *capture)
{
    return capture->library.datalink(capture->pcap);
}

const char *capture_link_name(const struct capture *capture)
{
    const char *name = capture->library.datalink_description(capture_link(capture));

    return name != NULL ? name : "unknown";
}

uint32_t capture_snap_bytes(const struct capture *capture)
{
    return (uint32_t)capture->library.snapshot(capture->pcap);
}

int capture_fd(const struct capture *capture)
{
    return capture->is_live ? capture->library.get_selectable_fd(capture->pcap) : -1;
}

bool capture_counts(struct capture *capture, struct capture_counts *ret_counts)
{
    struct pcap_stat stats;

    if (!capture->is_live || capture->library.stats(capture->pcap, &stats) < 0)
        return false;
    *ret_counts = (struct capture_counts){stats.ps_recv, stats.ps_drop, stats.ps_ifdrop};
    return true;
}

static bool is_input(const struct stat *about, const char *input)
{
    struct stat other;

    if (input == NULL || (strcmp(input, "-") == 0 ? fstat(STDIN_FILENO, &other) : stat(input, &other)) < 0)
        return false;
    return other.st_dev == about->st_dev && other.st_ino == about->st_ino;
}

static enum fp_status fail_create(const char *path, int errnum, struct fp_error *err)
{
    return error_set(err, error_class(errnum), errnum, "write", "%s", path);
}

/* Of what is no regular file, nothing can be lost and nobody can read it later. */
static enum fp_status make_private(int fd, const char *path, const char *input, struct fp_error *err)
{
    struct stat about;

    if (fstat(fd, &about) < 0)
        return fail_create(path, errno, err);
    if (!S_ISREG(about.st_mode))
        return FP_OK;
    if (is_input(&about, input))
        return error_reason(err, error_set(err, FP_USAGE, 0, "write", "%s", path),
                            "it is the capture that is read");
    if ((about.st_mode & 0777) != 0600 && fchmod(fd, 0600) < 0)
        return error_reason(err, fail_create(path, errno, err),
                            "it cannot be made readable by its owner alone: %s", strerror(errno));
    return ftruncate(fd, 0) < 0 ? fail_create(path, errno, err) : FP_OK;
}

enum fp_status capture_create(const char *path, const char *input, int *ret_fd, struct fp_error *err)
{
    FD_AUTO fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return fail_create(path, errno, err);
    enum fp_status status = make_private(fd, path, input, err);
    if (status == FP_OK)
        *ret_fd = fd_take(&fd);
    return status;
}
