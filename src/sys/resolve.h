/* SPDX-License-Identifier: MIT
 *
 * sys/resolve.h - the name of a client, by the host's resolver.
 *
 * Waits for name servers, so it is for a worker's process, never for the supervisor. A name counts only where it leads
 * back to the address it was found for (anybody can claim any name for his own address); then true is returned, and it
 * holds nothing but letters, digits, dots, hyphens and underscores.
 */
#ifndef SYS_RESOLVE_H
#define SYS_RESOLVE_H

#include <stdbool.h>
#include <sys/socket.h>

#define RESOLVE_NAME_SIZE 256

bool resolve_name(const struct sockaddr *address, socklen_t length, char ret_name[RESOLVE_NAME_SIZE]);

#endif
