/* SPDX-License-Identifier: MIT */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *condition, const char *file, int line)
{
    /* The process is about to end on a bug: this is the one message that may bypass the log, which may be what broke. */
    fprintf(stderr, "forkport: bug: %s does not hold (%s:%d)\n", condition, file, line);
    abort();
}
