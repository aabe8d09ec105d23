/* SPDX-License-Identifier: MIT */
#include "growth.h"

#include "traffic.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define GOAL_NS 100000

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

struct run {
    uint64_t longest_ns;
    uint64_t total_ns;
    size_t above_goal;
    long faults;
    long switches;
};

/* Each addition's time; least_ns[i] becomes the lower of what it was and what it took. */
static void grow(const struct fp_pair4 *pairs, size_t count, bool is_reserved, uint32_t *least_ns,
                 struct run *ret_run)
{
    struct fp_demux *demux = fp_demux_new(NULL);
    struct rusage before;
    struct rusage after;
    struct run run = {0, 0, 0, 0, 0};

    if (is_reserved)
        fp_demux_reserve(demux, count, 0, NULL);
    getrusage(RUSAGE_SELF, &before);
    uint64_t start = now_ns();
    uint64_t last = start;
    for (size_t i = 0; i < count; i++) {
        if (fp_demux_add4(demux, &pairs[i], 0, (uint32_t)i, NULL) != FP_OK)
            errx(70, "cannot add connection %zu", i);
        uint64_t now = now_ns();
        uint64_t took = now - last;
        last = now;
        run.longest_ns = took > run.longest_ns ? took : run.longest_ns;
        run.above_goal += took > GOAL_NS;
        least_ns[i] = took < least_ns[i] ? (uint32_t)took : least_ns[i];
    }
    run.total_ns = last - start;
    getrusage(RUSAGE_SELF, &after);
    run.faults = after.ru_minflt - before.ru_minflt;
    run.switches = after.ru_nivcsw - before.ru_nivcsw;
    fp_demux_free(demux);
    *ret_run = run;
}

static uint32_t *least_begin(size_t count)
{
    uint32_t *least_ns = calloc(count, sizeof(*least_ns));

    for (size_t i = 0; i < count; i++)
        least_ns[i] = UINT32_MAX;
    return least_ns;
}

static void grow_rounds(const struct fp_pair4 *pairs, size_t count, unsigned rounds, bool is_reserved)
{
    const char *name = is_reserved ? "reserved" : "grown";
    uint32_t *least_ns = least_begin(count);
    uint32_t longest_least_ns = 0;
    size_t at = 0;

    for (unsigned round = 0; round < rounds; round++) {
        struct run run;
        grow(pairs, count, is_reserved, least_ns, &run);
        printf(
            "%-8s round %u: mean %.0f ns, longest %.1f us, %zu above 100 us, %ld page faults, %ld switches\n",
            name, round + 1, (double)run.total_ns / (double)count, (double)run.longest_ns / 1e3,
            run.above_goal, run.faults, run.switches);
    }
    for (size_t i = 0; i < count; i++) {
        if (least_ns[i] > longest_least_ns) {
            longest_least_ns = least_ns[i];
            at = i;
        }
    }
    printf("goal: no addition above 100 us, %s, least of %u rounds each: %s %.1f us (addition %zu)\n", name,
           rounds, longest_least_ns <= GOAL_NS ? "PASS" : "short:", longest_least_ns / 1e3, at);
    free(least_ns);
}

int growth_run(size_t connections, unsigned rounds, uint64_t seed)
{
    struct fp_pair4 *pairs = traffic_pairs4(connections, seed);

    printf("\nadding %zu connections, one by one\n\n", connections);
    grow_rounds(pairs, connections, rounds, false);
    grow_rounds(pairs, connections, rounds, true);
    free(pairs);
    return 0;
}
