/* SPDX-License-Identifier: MIT
 *
 * preload/trial.h - a copy of this process that is thrown away, and does first what each worker will do.
 *
 * It calls the functions for its forks (preload/handlers.h), makes the system calls that begin a worker, and asks the loader
 * something. A filter of system calls, a limit of its user's processes, or a function that ends it or does not return within
 * three seconds, would do the same to each connection. Calls are bare system calls but for these functions.
 */
#ifndef PRELOAD_TRIAL_H
#define PRELOAD_TRIAL_H

#include "preload/image.h"
#include "wire/template_message.h"

/* Whether it can be forked, and why not. `control` is where its orders come, `thread` what the C library keeps of it. */
enum template_refusal trial_refusal(int control, const struct image_thread *thread);

#endif
