/* SPDX-License-Identifier: MIT
 *
 * sys/terminal.h - how large a terminal is.
 *
 * Asked anew for each drawing, since its user may change it at any time. What is no terminal has no size, and nothing
 * is cut there. Nothing here fails or changes the terminal.
 */
#ifndef SYS_TERMINAL_H
#define SYS_TERMINAL_H

struct terminal_size {
    unsigned columns; /* 0: no terminal, or unknown */
    unsigned rows;
};

struct terminal_size terminal_size(int fd);

#endif
