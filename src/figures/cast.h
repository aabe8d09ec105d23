/* SPDX-License-Identifier: MIT
 *
 * figures/cast.h - what a process of the story does, in that process.
 *
 * The other side of figures/actor.h: cast_serve() and cast_connect() read orders from the channel, do them, report each,
 * and return at the channel's end. They are called in a process of their own, whose memory is a copy of its parent's:
 * nothing of it is freed, and all that they open ends with the process. A failure is a report like any other.
 */
#ifndef FIGURES_CAST_H
#define FIGURES_CAST_H

#include "figures/actor.h"

struct cast_order {
    enum actor_verb verb;
    struct pair pair;
};

void cast_serve(int channel);
void cast_connect(int channel);

#endif
