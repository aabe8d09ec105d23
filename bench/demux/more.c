/* SPDX-License-Identifier: MIT */
#include "more.h"

#include "demux/tuples.h"
#include "traffic.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LENGTH    ((size_t)1 << 20)
#define BURST     64
#define LISTENING 1000

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void line(const char *what, size_t found, double seconds)
{
    printf("forkport, %-40s %8.4g M/s, %.4g ns\n", what, (double)found / seconds / 1e6,
           seconds * 1e9 / (double)found);
}

static void ipv6(size_t connections, double seconds, uint64_t seed)
{
    struct fp_pair6 *pairs = traffic_pairs6(connections, seed);
    uint32_t *order = traffic_order(TRAFFIC_UNIFORM, connections, LENGTH, seed);
    struct fp_pair6 *segments = calloc(LENGTH, sizeof(*segments));
    struct fp_demux *demux = fp_demux_new(NULL);
    uint32_t numbers[BURST];
    size_t found = 0;

    fp_demux_reserve(demux, 0, connections, NULL);
    for (uint32_t i = 0; i < connections; i++)
        if (fp_demux_add6(demux, &pairs[i], 0, i, NULL) != FP_OK)
            errx(70, "cannot add connection %u", i);
    for (size_t i = 0; i < LENGTH; i++)
        segments[i] = pairs[order[i]];
    double start = now_s();
    for (; found < LENGTH || now_s() - start < seconds; found += BURST) {
        fp_demux_find_many6(demux, segments + found % LENGTH, BURST, 0, numbers);
        if (numbers[found % BURST] != order[found % LENGTH])
            errx(70, "IPv6: a wrong answer");
    }
    line("IPv6, uniform, bulk of 64", found, now_s() - start);
    fp_demux_free(demux);
    free(segments);
    free(order);
    free(pairs);
}

static void fall_back(size_t connections, double seconds, uint64_t seed)
{
    struct fp_pair4 *pairs = traffic_pairs4(connections, seed);
    uint32_t *order = traffic_order(TRAFFIC_UNIFORM, LISTENING, LENGTH, seed);
    struct fp_pair4 *segments = calloc(LENGTH, sizeof(*segments));
    struct fp_demux *demux = fp_demux_new(NULL);
    uint32_t numbers[BURST];
    size_t found = 0;

    fp_demux_reserve(demux, connections, 0, NULL);
    for (uint32_t i = 0; i < connections; i++)
        fp_demux_add4(demux, &pairs[i], 0, i, NULL);
    for (uint32_t i = 0; i < LISTENING; i++) {
        struct fp_listening listening = {.family = AF_INET, .port = htons((uint16_t)(i + 1))};
        fp_demux_listen(demux, &listening, i, NULL);
    }
    for (size_t i = 0; i < LENGTH; i++) {
        segments[i] = pairs[i % connections];
        segments[i].foreign_port = htons((uint16_t)(i % 32768)); /* no connection has these */
        segments[i].local_port = htons((uint16_t)(order[i] + 1));
    }
    double start = now_s();
    for (; found < LENGTH || now_s() - start < seconds; found += BURST) {
        fp_demux_find_many4(demux, segments + found % LENGTH, BURST, 0, numbers);
        if (numbers[found % BURST] != order[found % LENGTH])
            errx(70, "falling back: a wrong answer");
    }
    line("new connections to 1000 listening sockets", found, now_s() - start);
    fp_demux_free(demux);
    free(segments);
    free(order);
    free(pairs);
}

static void examined(size_t connections, uint64_t seed)
{
    static const struct hash_secret secret = {{11, 13, 0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 17, 19}};
    struct fp_pair4 *pairs = traffic_pairs4(connections, seed);
    struct tuples tuples;
    double buckets = 0;
    double keys = 0;

    tuples_init(&tuples, sizeof(*pairs), &secret);
    for (uint32_t i = 0; i < connections; i++)
        tuples_add(&tuples, &pairs[i], i);
    for (uint32_t i = 0; i < connections; i++) {
        struct tuples_probe probe = tuples_probe(&tuples, &pairs[i]);
        buckets += probe.buckets;
        keys += probe.keys;
    }
    printf("forkport examines %.3f cache lines a look-up, and there %.3f connections up to the one found\n",
           buckets / (double)connections, keys / (double)connections);
    tuples_done(&tuples);
    free(pairs);
}

void more_report(size_t connections, double seconds, uint64_t seed)
{
    ipv6(connections, seconds, seed);
    fall_back(connections, seconds, seed);
    examined(connections, seed);
}
