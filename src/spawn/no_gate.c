/* SPDX-License-Identifier: MIT
 *
 * no_gate.c - fp_gate() where there is no gate: in a template its library is found before this one, but for a program that
 * has this one in itself.
 */
#include <forkport/gate.h>

#include <dlfcn.h>
#include <stddef.h>

int fp_gate(void)
{
    int (*gate)(void);

    *(void **)&gate = dlsym(RTLD_NEXT, "fp_gate");
    return gate != NULL ? gate() : 0;
}
