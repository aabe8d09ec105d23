/* SPDX-License-Identifier: MIT
 *
 * pairs/save.h - a socket-pair table as a file: to be kept, and read again on another day or another host.
 *
 * The file has a head line, {"forkport":"0.1.0","table":1,"time":"..."}, and then a line for each socket as `forkport
 * pairs --json` prints it. Lines are taken one by one, by whoever reads the file, in order; fields that are not known
 * are passed over, so that a later forkport may add some. What a row needs to be found and shown is taken over: protocol, state, both
 * ends, device, cookie, inode, and the processes, as they were when it was saved. After the last line the table has to
 * be sorted with save_end(), which gives each row its holders. Errors are FP_DATA and name the line.
 */
#ifndef PAIRS_SAVE_H
#define PAIRS_SAVE_H

#include "base/error.h"
#include "pairs/pairs.h"

/* The head line, without its newline. */
void save_head(int64_t time_ns, struct text *text);

struct save_reader {
    struct pairs_table *table; /* empty at first; the caller's, also after a failure */
    const char *file;          /* its name, for errors */
    unsigned line;
};

enum fp_status save_line(struct save_reader *reader, const char *line, size_t length, struct fp_error *err);
enum fp_status save_end(struct save_reader *reader, struct fp_error *err);

#endif
