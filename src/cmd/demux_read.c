/* SPDX-License-Identifier: MIT */
#include "cmd/demux.h"

#include "base/error.h"

enum fp_status demux_read(const struct demux_arguments *arguments, int *ret_code, struct fp_error *err)
{
    (void)arguments;
    (void)ret_code;
    return error_set(err, FP_BUG, 0, "demultiplex", "yet");
}
