/* SPDX-License-Identifier: MIT
 *
 * preload/image.h - what a forked copy of this process would share or lack, looked at before it waits.
 *
 * image_refusal() finds what makes a program unfit to be a template in its threads (descriptors are preload/files.h's). image_thread()
 * finds where the C library keeps the number of its thread, which the kernel is then told to write anew in each copy: glibc
 * has it where the kernel clears it at a thread's end; for others the library itself is asked, by changing the word that
 * might be it and looking whether the thread's clock changes. Calls are bare system calls; errno stays.
 */
#ifndef PRELOAD_IMAGE_H
#define PRELOAD_IMAGE_H

#include "sys/thread.h"
#include "wire/template_message.h"

#include <stdbool.h>

struct image_thread {
    struct thread_known known;
    int *tid; /* in the C library's memory; NULL: not found */
};

void image_thread(struct image_thread *ret_thread);
enum template_refusal image_refusal(void);
/* One that runs, or has ended and was not waited for. */
bool image_has_child(void);
/* One of timer_create(2). */
bool image_timer_runs(void);

#endif
