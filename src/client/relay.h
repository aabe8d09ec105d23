/* SPDX-License-Identifier: MIT
 *
 * client/relay.h - bytes between a connected socket and two other descriptors, until both directions have ended.
 *
 * Each direction has a buffer of its own and never waits for the other. The end of `input` ends the sending side of
 * the socket, and what the peer sends is still relayed; the end of the peer's stream closes `output`, and input is
 * still relayed, until it ends too, the peer resets the connection, or at once where `end_with_peer` is set. No byte is
 * dropped: where sending fails, what had been received before is still written, then the failure is returned.
 *
 * `input` and `output` may be of any kind and may be shared with other processes: neither is made non-blocking. The
 * socket is. SIGPIPE is left as it is: it ends a client whose output nobody reads any more, as it does every filter.
 */
#ifndef CLIENT_RELAY_H
#define CLIENT_RELAY_H

#include "addr/pair.h"

#include <stdbool.h>

struct relay {
    int socket;
    int input;
    int output;              /* owned: closed at the end of the peer's stream */
    bool end_with_peer;      /* the end of the peer's stream is the end of all */
    const struct pair *pair; /* of the socket, for errors */
};

enum fp_status relay_run(const struct relay *relay, struct fp_error *err);

#endif
