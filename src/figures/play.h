/* SPDX-License-Identifier: MIT
 *
 * figures/play.h - the story of section 2.10, played on a stage by real processes.
 *
 * Scene by scene: the passive open; a client's active open; accept and fork; a second client; a line from each; a third
 * client's connection request, which nobody accepts. After each, what the kernel says is written down. Nothing is
 * waited for by time: each step ends when the processes in it have reported. When it returns, the processes have ended and so
 * have their sockets, whether it failed or not. It fails where a step could not be done; what was seen and is not as
 * the section says is no failure.
 */
#ifndef FIGURES_PLAY_H
#define FIGURES_PLAY_H

#include "figures/story.h"

/* The process stays at the server host of the stage. */
enum fp_status play(const struct stage *stage, struct story *ret_story, struct fp_error *err);

#endif
