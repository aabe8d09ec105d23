/* SPDX-License-Identifier: MIT
 *
 * preload/touch.h - the pages that a worker will come to, had before its connection comes.
 *
 * A forked copy has the template's memory by name only: each page that it writes to first is copied then, each page of a file
 * mapped anew, while its client waits. One that waits for its connection has time for that. So touch_note() looks in the
 * template at what of the program itself, its heap included, is small enough to be had whole, and touch_pages() has the kernel bring it in,
 * in the copy. Libraries are left out: most of theirs is not come to. What a kernel before 5.14 cannot do is left as it is. Bare
 * system calls; errno stays.
 */
#ifndef PRELOAD_TOUCH_H
#define PRELOAD_TOUCH_H

/* `written_end`: that of what is written on the stack, above all that main() is called with. */
void touch_note(const void *written_end);
void touch_pages(void);

#endif
