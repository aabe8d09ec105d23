/* SPDX-License-Identifier: MIT
 *
 * figures/witness.h - what the kernel says of the hosts of the story, written down as it is.
 *
 * witness_scene() reads the socket-pair table of each host and who holds the sockets; witness_look() asks the kernel
 * which socket would receive a segment; witness_segments() takes what the wire has carried since it was last called and
 * asks who received each. All of them go to the host that they ask, and leave the process at the server's. On the
 * loopback device, where both hosts are one, only what belongs to the story's ports is written down. Failures are
 * errors; that nobody receives a segment is none.
 */
#ifndef FIGURES_WITNESS_H
#define FIGURES_WITNESS_H

#include "figures/story.h"

enum fp_status witness_scene(const struct stage *stage, struct story *story, enum story_scene scene,
                             struct fp_error *err);
/* `pair` is that of the receiver; *ret_cookie 0: nobody. */
enum fp_status witness_look(const struct stage *stage, enum stage_host host, const struct pair *pair,
                            uint64_t *ret_cookie, struct fp_error *err);
/*
 * While a connection is being made, until it is accepted: the receiver of its request is the one of `before`, which was
 * asked before it was sent. Else `before` is NULL. Of every other segment it is the socket of its pair now.
 */
enum fp_status witness_segments(const struct stage *stage, struct story *story,
                                const struct story_look_up *before, struct fp_error *err);
/* The same, until everything that was sent has been acknowledged and read; then the scene. */
enum fp_status witness_settled(const struct stage *stage, struct story *story, enum story_scene scene,
                               struct fp_error *err);

#endif
