/* SPDX-License-Identifier: MIT
 *
 * preload/variables.h - the environment's variables of a connection, in the program's own environment.
 *
 * A template is started with room for them at the end of its environment: of what stands there (wire/template_message.h) the program sees nothing.
 * For each worker their texts come from the order straight to where the kernel has the environment, so /proc/PID/environ
 * has them too, and its vector points to them. Once the program has changed its environment, and so moved it away,
 * variables_set() does it by setenv(3).
 */
#ifndef PRELOAD_VARIABLES_H
#define PRELOAD_VARIABLES_H

#include "wire/template_message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* The entry of the environment that begins with this, or NULL. */
char **variables_find(const char *name);
/* `room`: the entry of TEMPLATE_ROOM; false where the environment does not lie as the kernel lays it. */
bool variables_begin(char **room, bool is_tuned);
/*
 * For main(), before it: how many bytes of the stack from `top` down the block of preload/block.h takes there, 0 where it
 * stays; and its move to such a room, which gives the arguments as main() shall have them.
 */
size_t variables_block_bytes(int argc, char **argv, const void *top);
char **variables_move_block(char **argv, void *room);
/* At the gate: unsetenv(3) closes the gap in its place, so the environment may end before where it did. */
void variables_follow(void);
/* Where the text of an order is read to. */
char *variables_text(size_t *ret_bytes);
/* More than there is room for are refused. */
bool variables_fit(uint32_t count);
/* The text is there. `used` is how long that of the order before was, and becomes that of this one. */
void variables_point(const struct template_order_head *order, size_t *used);
/* In the worker. */
void variables_set(uint32_t count);
/* Of what is written for a connection, the end: above all that main() is called with; and the two pieces themselves. */
const void *variables_written_end(void);
void variables_written(struct iovec ret_pieces[2]);

#endif
