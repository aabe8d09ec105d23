/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

__attribute__((format(printf, 3, 0))) static void write_text(char *buffer, size_t size, const char *format,
                                                             va_list ap)
{
    int wanted = vsnprintf(buffer, size, format, ap);

    if (wanted > 0 && (size_t)wanted >= size)
        text_mark_cut(buffer, size, false);
}

enum fp_status error_set(struct fp_error *err, enum fp_status status, int errnum, const char *operation,
                         const char *what, ...)
{
    int saved = errno;

    if (err == NULL)
        return status;
    /* `what` may be made of a text that stands in *err already, so it is formatted before anything is cleared. */
    char text[sizeof(err->what)];
    va_list ap;
    va_start(ap, what);
    write_text(text, sizeof(text), what, ap);
    va_end(ap);
    memset(err, 0, sizeof(*err));
    err->status = status;
    err->errnum = errnum;
    snprintf(err->operation, sizeof(err->operation), "%s", operation);
    memcpy(err->what, text, sizeof(text));
    if (errnum != 0)
        snprintf(err->reason, sizeof(err->reason), "%s", strerror(errnum));
    errno = saved;
    return status;
}

enum fp_status error_reason(struct fp_error *err, enum fp_status status, const char *reason, ...)
{
    if (err == NULL)
        return status;
    int saved = errno;
    va_list ap;
    va_start(ap, reason);
    write_text(err->reason, sizeof(err->reason), reason, ap);
    va_end(ap);
    errno = saved;
    return status;
}

void error_hint(struct fp_error *err, const char *hint, ...)
{
    if (err == NULL)
        return;
    int saved = errno;
    va_list ap;
    va_start(ap, hint);
    write_text(err->hint, sizeof(err->hint), hint, ap);
    va_end(ap);
    errno = saved;
}

enum fp_status error_class(int errnum)
{
    switch (errnum) {
    case EACCES:
    case EPERM:
    case EROFS:
        return FP_NOT_PERMITTED;
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case ENOEXEC:
    case ELOOP:
    case ELIBBAD:
        return FP_NO_INPUT;
    case EADDRINUSE:
    case EADDRNOTAVAIL:
    case ECONNREFUSED:
    case ENODEV:
    case ENXIO:
        return FP_UNAVAILABLE;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
        return FP_NO_HOST;
    case ETIMEDOUT:
        return FP_TIMED_OUT;
    default:
        return FP_SYSTEM;
    }
}

bool error_is_shortage(int errnum)
{
    return errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM || errnum == ENOBUFS;
}

size_t fp_error_format(const struct fp_error *err, char *buffer, size_t size)
{
    struct text text;

    text_init(&text, buffer, size);
    if (err->file[0] != '\0') {
        text_escape(&text, err->file, strlen(err->file));
        text_printf(&text, ":%u:%u: ", err->line, err->column);
    }
    text_printf(&text, "cannot %s", err->operation);
    if (err->what[0] != '\0') {
        text_string(&text, " ");
        text_escape(&text, err->what, strlen(err->what));
    }
    if (err->reason[0] != '\0') {
        text_string(&text, ": ");
        text_escape(&text, err->reason, strlen(err->reason));
    }
    if (err->hint[0] != '\0') {
        text_string(&text, " (");
        text_escape(&text, err->hint, strlen(err->hint));
        text_string(&text, ")");
    }
    size_t wanted = text_end(&text);
    if (wanted >= size)
        text_mark_cut(buffer, size, true);
    return wanted;
}

int fp_status_exit_code(enum fp_status status)
{
    static const int codes[] = {
        [FP_OK] = EX_OK,
        [FP_USAGE] = EX_USAGE,
        [FP_DATA] = EX_DATAERR,
        [FP_NO_INPUT] = EX_NOINPUT,
        [FP_NO_HOST] = EX_NOHOST,
        [FP_UNAVAILABLE] = EX_UNAVAILABLE,
        [FP_BUG] = EX_SOFTWARE,
        [FP_SYSTEM] = EX_OSERR,
        [FP_TIMED_OUT] = EX_TEMPFAIL,
        [FP_NOT_PERMITTED] = EX_NOPERM,
        [FP_CONFIG] = EX_CONFIG,
    };

    if ((size_t)status >= sizeof(codes) / sizeof(codes[0]))
        return EX_SOFTWARE;
    return codes[status];
}
