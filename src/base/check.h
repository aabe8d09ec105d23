/* SPDX-License-Identifier: MIT
 *
 * base/check.h - invariants that stay checked in release builds.
 *
 * CHECK(condition) says what must hold whatever the input is. A broken one is a bug of forkport, and the process
 * aborts at the spot: going on with broken counts would be worse. It is never for errors that the system, the user
 * or a client can cause; those are returned. The condition must be cheap and free of side effects.
 */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#define CHECK(condition)                                  \
    do {                                                  \
        if (__builtin_expect(!(condition), 0))            \
            check_failed(#condition, __FILE__, __LINE__); \
    } while (0)

__attribute__((noreturn, cold)) void check_failed(const char *condition, const char *file, int line);

#endif
