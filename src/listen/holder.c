/* SPDX-License-Identifier: MIT */
#include "listen/holder.h"

void holder_hint(const struct address *address, struct fp_error *err)
{
    (void)address;
    (void)err;
}
