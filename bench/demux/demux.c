/* SPDX-License-Identifier: MIT
 *
 * Measures the demultiplexer against older and other ways of finding a segment's connection. See README.md.
 */
#include "growth.h"
#include "kernel.h"
#include "more.h"
#include "scheme.h"
#include "traffic.h"

#include <dlfcn.h>
#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ORDER_LENGTH ((size_t)1 << 21)
#define MOST         12
#define MOST_ROUNDS  32

struct options {
    size_t connections;
    double seconds;
    unsigned rounds;
    uint64_t seed;
    const char *dpdk; /* the library of the scheme, or NULL */
    bool lists;
};

struct contestant {
    const struct scheme *scheme;
    void *state;
    unsigned rounds;
    double ns[TRAFFIC_KINDS][MOST_ROUNDS];
    double examined[TRAFFIC_KINDS];
};

struct bench {
    struct options options;
    struct contestant contestants[MOST];
    size_t count;
    struct fp_pair4 *pairs;
    uint32_t *orders[TRAFFIC_KINDS];
    struct fp_pair4 *segments[TRAFFIC_KINDS];
};

/* The processor's time of this program, which others that share it do not add to. */
static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *forkport_fill(struct fp_demux *demux, const struct fp_pair4 *pairs, size_t count)
{
    struct fp_listening listening = {.family = AF_INET};

    for (uint32_t i = 0; i < count; i++)
        if (fp_demux_add4(demux, &pairs[i], 0, i, NULL) != FP_OK)
            errx(70, "cannot add connection %u", i);
    for (uint32_t i = 0; i < 1000; i++) {
        listening.port = htons((uint16_t)(i + 1));
        fp_demux_listen(demux, &listening, (uint32_t)count + i, NULL);
    }
    return demux;
}

static void *forkport_make(const struct fp_pair4 *pairs, size_t count)
{
    struct fp_demux *demux = fp_demux_new(NULL);

    fp_demux_reserve(demux, count, 0, NULL);
    return forkport_fill(demux, pairs, count);
}

static void *forkport_make_grown(const struct fp_pair4 *pairs, size_t count)
{
    return forkport_fill(fp_demux_new(NULL), pairs, count);
}

static void forkport_find(void *state, const struct fp_pair4 *pairs, size_t count, uint32_t *ret_numbers)
{
    fp_demux_find_many4(state, pairs, count, 0, ret_numbers);
}

static void forkport_find_each(void *state, const struct fp_pair4 *pairs, size_t count, uint32_t *ret_numbers)
{
    for (size_t i = 0; i < count; i++)
        ret_numbers[i] = fp_demux_find4(state, &pairs[i], 0);
}

static void forkport_unmake(void *state)
{
    fp_demux_free(state);
}

static const struct scheme forkport_bulk = {"forkport, bulk of 64", 64,   forkport_make,
                                            forkport_find,          NULL, forkport_unmake};
static const struct scheme forkport_long = {
    "forkport, bulk of 1024", 1024, forkport_make, forkport_find, NULL, forkport_unmake};
static const struct scheme forkport_grown = {
    "forkport, grown, of 64", 64, forkport_make_grown, forkport_find, NULL, forkport_unmake};
static const struct scheme forkport_each = {"forkport, one by one", 64,   forkport_make,
                                            forkport_find_each,     NULL, forkport_unmake};

/* Bursts until the time is over; every answer is compared. */
static void measure(struct bench *bench, struct contestant *contestant, enum traffic kind)
{
    const struct scheme *scheme = contestant->scheme;
    static uint32_t numbers[1024];
    size_t at = 0;
    size_t found = 0;
    size_t clock_every = bench->options.connections > 10000 && scheme->burst == 1 ? 1 : 64;
    double start = now_s();
    double end = start;

    for (size_t bursts = 1; end - start < bench->options.seconds; bursts++) {
        scheme->find(contestant->state, bench->segments[kind] + at, scheme->burst, numbers);
        if (memcmp(numbers, bench->orders[kind] + at, scheme->burst * sizeof(numbers[0])) != 0)
            errx(70, "%s: a wrong answer", scheme->name);
        found += scheme->burst;
        at = (at + scheme->burst) % ORDER_LENGTH;
        if (bursts % clock_every == 0)
            end = now_s();
    }
    contestant->ns[kind][contestant->rounds] = (end - start) * 1e9 / (double)found;
    if (scheme->examined != NULL)
        contestant->examined[kind] = scheme->examined(contestant->state);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(const double *values, unsigned count)
{
    double sorted[MOST_ROUNDS];

    memcpy(sorted, values, count * sizeof(sorted[0]));
    qsort(sorted, count, sizeof(sorted[0]), by_value);
    return count % 2 != 0 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

static void add(struct bench *bench, const struct scheme *scheme)
{
    struct contestant *contestant = &bench->contestants[bench->count];

    *contestant = (struct contestant){.scheme = scheme,
                                      .state = scheme->make(bench->pairs, bench->options.connections)};
    if (contestant->state != NULL)
        bench->count++;
}

static void add_all(struct bench *bench)
{
    add(bench, &forkport_bulk);
    add(bench, &forkport_long);
    add(bench, &forkport_grown);
    add(bench, &forkport_each);
    if (bench->options.dpdk != NULL) {
        void *library = dlopen(bench->options.dpdk, RTLD_NOW);
        const struct scheme *scheme = library != NULL ? dlsym(library, "scheme_dpdk") : NULL;
        if (scheme == NULL)
            fprintf(stderr, "missing: DPDK: %s\n", dlerror());
        else
            add(bench, scheme);
    }
    add(bench, &scheme_chains);
    add(bench, &scheme_sequent);
    if (bench->options.lists) {
        add(bench, &scheme_mtf);
        add(bench, &scheme_bsd);
    }
}

static void report(const struct bench *bench)
{
    printf("\n%zu connections, median of %u rounds of %g s, seed %llu\n\n%-24s", bench->options.connections,
           bench->options.rounds, bench->options.seconds, (unsigned long long)bench->options.seed, "");
    for (unsigned kind = 0; kind < TRAFFIC_KINDS; kind++)
        printf(" | %-30s", traffic_names[kind]);
    printf("\n%-24s", "");
    for (unsigned kind = 0; kind < TRAFFIC_KINDS; kind++)
        printf(" | %10s %9s %9s", "M/s", "ns", "examined");
    printf("\n");
    for (size_t i = 0; i < bench->count; i++) {
        const struct contestant *contestant = &bench->contestants[i];
        printf("%-24s", contestant->scheme->name);
        for (unsigned kind = 0; kind < TRAFFIC_KINDS; kind++) {
            double ns = median(contestant->ns[kind], contestant->rounds);
            printf(" | %10.4g %9.4g", 1e3 / ns, ns);
            if (contestant->scheme->examined != NULL)
                printf(" %9.4g", contestant->examined[kind]);
            else
                printf(" %9s", "");
        }
        printf("\n");
    }
}

/* The goal is a ratio within each round, so that what disturbs a round disturbs both. */
static void goal_report(const struct bench *bench)
{
    const struct contestant *ours = &bench->contestants[0];
    double goal = bench->options.connections >= 100000 ? 2.0 : 0.9;

    for (size_t i = 1; i < bench->count; i++) {
        const struct contestant *other = &bench->contestants[i];
        if (strncmp(other->scheme->name, "DPDK", 4) != 0)
            continue;
        for (unsigned kind = 0; kind < TRAFFIC_KINDS; kind++) {
            double ratios[MOST_ROUNDS];
            for (unsigned round = 0; round < ours->rounds; round++)
                ratios[round] = other->ns[kind][round] / ours->ns[kind][round];
            double ratio = median(ratios, ours->rounds);
            printf("goal: %.2f of DPDK's rate, %s, %zu connections: %s %.2f\n", goal, traffic_names[kind],
                   bench->options.connections, ratio >= goal ? "PASS" : "short:", ratio);
        }
    }
}

/* What the paper of 1992 gives for 2,000 users of TPC/A (and 1 + (N/H - H/N)/2 for the chains). */
static void paper_report(const struct bench *bench)
{
    static const struct {
        const struct scheme *scheme;
        double examined;
    } paper[] = {{&scheme_bsd, 1001}, {&scheme_mtf, 549}, {&scheme_sequent, 53}};

    for (size_t i = 0; i < bench->count && bench->options.connections == 2000; i++) {
        for (size_t j = 0; j < sizeof(paper) / sizeof(paper[0]); j++) {
            double ratio = bench->contestants[i].examined[TRAFFIC_TPCA] / paper[j].examined;
            if (bench->contestants[i].scheme == paper[j].scheme)
                printf("check: %s, TPC/A, 2000 connections: %.1f examined, %.0f in 1992: %s\n",
                       paper[j].scheme->name, bench->contestants[i].examined[TRAFFIC_TPCA], paper[j].examined,
                       ratio > 0.97 && ratio < 1.03 ? "PASS" : "not the same");
        }
    }
}

static void bench_run(struct bench *bench)
{
    const struct options *options = &bench->options;

    bench->pairs = traffic_pairs4(options->connections, options->seed);
    for (unsigned kind = 0; kind < TRAFFIC_KINDS; kind++) {
        bench->orders[kind] = traffic_order(kind, options->connections, ORDER_LENGTH, options->seed + kind);
        bench->segments[kind] = calloc(ORDER_LENGTH, sizeof(struct fp_pair4));
        for (size_t i = 0; i < ORDER_LENGTH; i++)
            bench->segments[kind][i] = bench->pairs[bench->orders[kind][i]];
    }
    add_all(bench);
    for (unsigned round = 0; round < options->rounds; round++) {
        for (unsigned kind = 0; kind < TRAFFIC_KINDS; kind++)
            for (size_t i = 0; i < bench->count; i++)
                measure(bench, &bench->contestants[i], kind);
        for (size_t i = 0; i < bench->count; i++)
            bench->contestants[i].rounds++;
    }
    report(bench);
    printf("\n");
    more_report(options->connections, options->seconds, options->seed);
    goal_report(bench);
    paper_report(bench);
}

static void options_parse(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {{"connections", required_argument, NULL, 'n'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"rounds", required_argument, NULL, 'r'},
                                          {"seed", required_argument, NULL, 'e'},
                                          {"dpdk", required_argument, NULL, 'd'},
                                          {"no-lists", no_argument, NULL, 'l'},
                                          {"growth", no_argument, NULL, 'g'},
                                          {"kernel", no_argument, NULL, 'k'},
                                          {NULL, 0, NULL, 0}};
    struct kernel_result kernel;
    int option;

    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'n')
            options->connections = strtoul(optarg, NULL, 10);
        else if (option == 's')
            options->seconds = strtod(optarg, NULL);
        else if (option == 'r')
            options->rounds = (unsigned)strtoul(optarg, NULL, 10);
        else if (option == 'e')
            options->seed = strtoull(optarg, NULL, 10);
        else if (option == 'd')
            options->dpdk = optarg;
        else if (option == 'l')
            options->lists = false;
        else if (option == 'g')
            exit(growth_run(options->connections, options->rounds, options->seed));
        else if (option == 'k' && kernel_measure(10000, options->seconds, &kernel))
            exit(printf("kernel's exact query     | %zu connections: %.4g M/s, %.0f ns a query\n",
                        kernel.connections, kernel.queries_per_s / 1e6, 1e9 / kernel.queries_per_s) < 0);
        else
            exit(option == 'k' ? 69 : 64);
    }
    if (options->connections == 0 || options->rounds == 0 || options->rounds > MOST_ROUNDS)
        errx(64, "--connections is at least 1, --rounds 1 to %d", MOST_ROUNDS);
}

int main(int argc, char **argv)
{
    static struct bench bench = {.options = {1000000, 0.1, 5, 1, NULL, true}};

    options_parse(argc, argv, &bench.options);
    bench_run(&bench);
    return 0;
}
