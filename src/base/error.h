/* SPDX-License-Identifier: MIT
 *
 * base/error.h - filling in a struct fp_error.
 *
 * Every room reports failures with these, so that all messages read "cannot OPERATION WHAT: REASON". The functions
 * take a NULL `err` (the caller does not want the text) and return the status, so that a failing function ends with
 *
 *     return error_set(err, FP_UNAVAILABLE, errno, "listen on", "%s", text);
 *
 * They never fail, allocate, log or change errno. What a text says is cut where it does not fit,
 * and ends in "..." then.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <forkport/error.h>

#include <stdbool.h>

/* Sets all of *err: `errnum` (if not 0) gives the reason by strerror(3); `what` is a printf format. Returns status. */
enum fp_status error_set(struct fp_error *err, enum fp_status status, int errnum, const char *operation,
                         const char *what, ...) __attribute__((format(printf, 5, 6)));

/*
 * Replaces the reason, for failures that have no errno or need a better word than it. Returns `status`, so that one
 * statement does both: return error_reason(err, error_set(err, FP_DATA, 0, "parse", "%s", text), "no port");
 */
enum fp_status error_reason(struct fp_error *err, enum fp_status status, const char *reason, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets the hint shown in parentheses behind the reason. */
void error_hint(struct fp_error *err, const char *hint, ...) __attribute__((format(printf, 2, 3)));

/* The class of a failed system call: EACCES and EPERM are FP_NOT_PERMITTED, ENOENT FP_NO_INPUT, ..., else FP_SYSTEM. */
enum fp_status error_class(int errnum);

/* Was it memory or descriptors that were short, and so not what was asked for that is wrong? */
bool error_is_shortage(int errnum);

#endif
