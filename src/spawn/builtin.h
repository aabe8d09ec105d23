/* SPDX-License-Identifier: MIT
 *
 * spawn/builtin.h - the small services of RFC 862, 863, 864, 867 and 868, as handlers.
 *
 * They use the library's public interface only, as any user's handler does, and run in a worker's process. Each ends
 * when the client is gone, and returns 0 unless the connection broke, which is 1. builtin_find() knows them by the names
 * of the option "builtin" and returns NULL for any other.
 */
#ifndef SPAWN_BUILTIN_H
#define SPAWN_BUILTIN_H

#include <forkport/connection.h>

fp_handler *builtin_find(const char *name);

#endif
