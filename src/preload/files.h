/* SPDX-License-Identifier: MIT
 *
 * preload/files.h - open descriptors that workers must not share, and what is done about each.
 *
 * A forked copy has the same open file descriptions: of a file, the place that is read next (shells read their scripts
 * on); of an epoll instance, the set itself. So at the gate they are noted, and before each fork the template replaces its own
 * by fresh ones, opened anew and put to the same place, or filled with the same descriptors, of which 0 is the connection by then. What it
 * cannot open anew stays shared. What cannot be told apart at all (io_uring) makes it unfit. Bare system calls; errno stays.
 */
#ifndef PRELOAD_FILES_H
#define PRELOAD_FILES_H

#include "wire/template_message.h"

#include <stdbool.h>

/* While the stand-in for the connection is still open. */
enum template_refusal files_note(void);
void files_renew(void);
/* Is descriptor 0 in this epoll instance? */
bool files_epoll_has_input(int fd);

#endif
