/* SPDX-License-Identifier: MIT
 *
 * forkport/error.h - how a call of the library says what went wrong.
 *
 * Every function that can fail returns an `enum fp_status` and, through its last parameter, a `struct fp_error` that
 * the caller owns and that holds no pointer: it may live on the stack, be copied and be forgotten. It is written only
 * on failure. `err` may be NULL where the caller does not care. The library never prints and never exits.
 *
 * The message for people is "cannot OPERATION WHAT: REASON", with a hint in parentheses where one is known:
 *
 *     cannot listen on 127.0.0.1:21: Address already in use (held by {*:21, *:*} of process 812, vsftpd)
 */
#ifndef FORKPORT_ERROR_H
#define FORKPORT_ERROR_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Classes of failure. Each has an exit code of sysexits.h, see fp_status_exit_code(). */
enum fp_status {
    FP_OK = 0,        /**< done */
    FP_USAGE,         /**< the call or the command line is not of the form it must have (64) */
    FP_DATA,          /**< the data given cannot be understood (65) */
    FP_NO_INPUT,      /**< a file or program that was named is not there or cannot be run (66) */
    FP_NO_HOST,       /**< the host is unknown or cannot be reached (68) */
    FP_UNAVAILABLE,   /**< cannot listen or connect: in use, refused, no such address (69) */
    FP_BUG,           /**< a bug of forkport (70) */
    FP_SYSTEM,        /**< the system lacks something: memory, descriptors, processes (71) */
    FP_TIMED_OUT,     /**< nothing answered in time; later it may (75) */
    FP_NOT_PERMITTED, /**< the process may not do this (77) */
    FP_CONFIG,        /**< the configuration is wrong: no such user, contradicting options (78) */
};

/** What went wrong. The texts are NUL-terminated, end in "..." where they were too long, and may hold any byte passed in. */
struct fp_error {
    enum fp_status status; /**< the class */
    int errnum;            /**< errno(3) of the call that failed, or 0 */
    char operation[48];    /**< what was tried, to follow "cannot": "listen on" */
    char what[208];        /**< on what: "127.0.0.1:21" */
    char reason[208];      /**< why not: "Address already in use" */
    char hint[208];        /**< what may help, or "" */
    char file[96];         /**< the configuration file the fault stands in, or "" */
    unsigned line;         /**< its line, from 1; 0: unknown */
    unsigned column;       /**< its column, from 1; 0: unknown */
};

/**
 * Writes the message of `err` for people to `buffer` (one line, no newline, always terminated where size > 0; control
 * bytes shown as \xNN; "..." at the end where it does not fit). Returns the length it wanted, as snprintf(3) does.
 * Never fails.
 */
size_t fp_error_format(const struct fp_error *err, char *buffer, size_t size);

/** The exit code of sysexits.h for a status: 0 for FP_OK, else 64 to 78. */
int fp_status_exit_code(enum fp_status status);

#ifdef __cplusplus
}
#endif

#endif
