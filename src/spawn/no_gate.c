/* SPDX-License-Identifier: MIT
 *
 * no_gate.c - fp_gate() where there is no gate: in a template its library is found before this one.
 */
#include <forkport/gate.h>

int fp_gate(void)
{
    return 0;
}
