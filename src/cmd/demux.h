/* SPDX-License-Identifier: MIT
 *
 * cmd/demux.h - the three forms of `forkport demux`, a file each, behind one command line.
 *
 *     forkport demux FOREIGN LOCAL     who would receive this segment now       cmd/demux_segment.c
 *     forkport demux --read FILE       who receives each segment of a capture   cmd/demux_read.c
 *     forkport demux --live INTERFACE  the same, of what passes now             cmd/demux_live.c
 *
 * cmd/demux.c parses the arguments and sees to it that they go together; then exactly one of these is called. Each prints to
 * standard output, leaves the exit code in *ret_code where nothing failed, and else says in *err what did.
 */
#ifndef CMD_DEMUX_H
#define CMD_DEMUX_H

#include <forkport/error.h>

#include <stdbool.h>
#include <stdint.h>

struct demux_arguments {
    const char *foreign; /* as they were typed; NULL with --read and --live */
    const char *local;
    const char *flags;     /* NULL: SYN */
    const char *interface; /* NULL: any */
    const char *namespace; /* NULL: the caller's */
    const char *read;
    const char *live;
    const char *table;
    const char *write;
    bool summary;
    bool json;
    uint64_t max_pairs; /* 0: not given; never for who is called */
    uint64_t count;     /* 0: all */
};

enum fp_status demux_segment(const struct demux_arguments *arguments, int *ret_code, struct fp_error *err);
enum fp_status demux_read(const struct demux_arguments *arguments, int *ret_code, struct fp_error *err);
enum fp_status demux_live(const struct demux_arguments *arguments, int *ret_code, struct fp_error *err);

#endif
