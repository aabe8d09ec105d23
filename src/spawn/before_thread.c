/* SPDX-License-Identifier: MIT
 *
 * before_thread.c - room in front of what the C library keeps of the first thread.
 *
 * With it that begins at a page, near enough, where glibc from 2.35 to 2.40 is a shared library: its number, and what the
 * kernel notes there at each switch (rseq(2)), are then on one page, of which a forked copy has its own, and not on two. Not in a program
 * that is linked statically, where they are on one page already.
 */
#include <features.h>

#if defined(__x86_64__) && defined(__GLIBC__) && __GLIBC_PREREQ(2, 35) && !__GLIBC_PREREQ(2, 41)
#define ROOM_BYTES 2240
#else
#define ROOM_BYTES 1
#endif

__attribute__((used)) static __thread char before_thread[ROOM_BYTES];
