/* SPDX-License-Identifier: MIT
 *
 * preload/lines.h - files of /proc, line by line, by bare system calls.
 *
 * lines_read() calls for each line that ends, without its newline; of one that is longer than its buffer, nothing. Numbers
 * are taken from the front of a text; one in hexadecimal moves it on, and before a decimal one there may be blanks. False where the file cannot be read to its end.
 */
#ifndef PRELOAD_LINES_H
#define PRELOAD_LINES_H

#include <stdbool.h>
#include <stdint.h>

bool lines_read(const char *path, void (*call)(const char *line, void *data), void *data);
uint64_t lines_hexadecimal(const char **at);
uint64_t lines_decimal(const char *at);
/* Moves on to behind `word` first; false where it is not there. */
bool lines_skip(const char **at, const char *word);
/* "/proc/self/fdinfo/5", of a folder that ends with its slash and a number from 0 on; room for 32. */
const char *lines_path(const char *folder, int number, char *path);

#endif
