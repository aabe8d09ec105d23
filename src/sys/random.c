/* SPDX-License-Identifier: MIT */
#include "sys/random.h"

#include "sys/loop.h"

#include <sys/random.h>

uint64_t random_seed(void)
{
    uint64_t seed;

    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
        seed = (uint64_t)clock_monotonic_ns();
    return seed;
}
