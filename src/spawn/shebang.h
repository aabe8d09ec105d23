/* SPDX-License-Identifier: MIT
 *
 * spawn/shebang.h - what env(1), named in a script's first line, would execute.
 *
 * A template that is stopped before the main() of env would have each worker execute the interpreter, and at gate read it
 * would not be one at all, since what env executes is not stopped. So for a script that begins with "#!/usr/bin/env NAME", or "-S NAME
 * ARGUMENT...", the interpreter is looked up here, as env would (execvp(3)), and started with the arguments that it would
 * get. What is not as plain as that (variables, quotes, other options) stays env's to do. The command is the caller's until shebang_done().
 */
#ifndef SPAWN_SHEBANG_H
#define SPAWN_SHEBANG_H

#include "base/error.h"

#include <stdbool.h>

/* The kernel reads no more of a script to find its interpreter. */
#define SHEBANG_LINE_BYTES 256
/* Interpreters of interpreters, as many as the kernel follows. */
#define SHEBANG_DEPTH_MAX 5

struct shebang {
    char *path;  /* of the interpreter; NULL: it is no such script */
    char **argv; /* the words are in `text`, or the caller's */
    char *text;
};

/* FP_OK also where it is none; FP_SYSTEM without memory. */
enum fp_status shebang_init(struct shebang *shebang, const char *path, char *const argv[],
                            struct fp_error *err);
void shebang_done(struct shebang *shebang);

/* Whether a script's interpreter, and that one's where it is a script too, can be run. False: errno, and *ret_interpreter says which cannot. */
bool shebang_can_run(const char *path, char ret_interpreter[SHEBANG_LINE_BYTES]);

#endif
