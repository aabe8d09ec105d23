/* SPDX-License-Identifier: MIT */
#include "sys/terminal.h"

#include <sys/ioctl.h>

struct terminal_size terminal_size(int fd)
{
    struct winsize size;

    if (ioctl(fd, TIOCGWINSZ, &size) < 0)
        return (struct terminal_size){.columns = 0};
    return (struct terminal_size){.columns = size.ws_col, .rows = size.ws_row};
}
