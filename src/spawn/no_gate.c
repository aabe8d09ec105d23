/* SPDX-License-Identifier: MIT
 *
 * no_gate.c - fp_gate() where there is no gate: in a template its library is found before this one, but for a program that
 * has this one in itself, or asks for it by name (dlsym(3) with a library that it has opened).
 */
#include <forkport/gate.h>

#include <dlfcn.h>
#include <stddef.h>

/* Of fp_gate() here: by its name the template's is found. */
static int no_gate(void) __attribute__((alias("fp_gate")));

int fp_gate(void)
{
    int (*gate)(void);

    *(void **)&gate = dlsym(RTLD_NEXT, "fp_gate");
    if (gate == NULL)
        *(void **)&gate = dlsym(RTLD_DEFAULT, "fp_gate");
    return gate != NULL && gate != no_gate ? gate() : 0;
}
