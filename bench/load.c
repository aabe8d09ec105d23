/* SPDX-License-Identifier: MIT
 *
 * The load program: options, limits, report. What a connection does is in load_run.c.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define EXIT_USAGE    64
#define EXIT_SYSTEM   71
#define NS_PER_SECOND 1e9
#define SPARE_FDS     16u

static const char *const outcome_names[LOAD_OUTCOMES] = {
    [LOAD_OK] = "ok",           [LOAD_WRONG] = "wrong", [LOAD_MISSING] = "missing",
    [LOAD_REFUSED] = "refused", [LOAD_RESET] = "reset", [LOAD_TIMED_OUT] = "timed_out",
    [LOAD_LOCAL] = "local",
};

static const char usage[] =
    "usage: load ADDRESS:PORT [options]\n"
    "  --concurrency N   closed loop, N connections at once (8); with --rate or --hold the most\n"
    "                    that may be open, or opening, at once (10000, 256)\n"
    "  --rate R          open loop: R connections a second, timed from when each was due\n"
    "  --count N         start N connections, no more\n"
    "  --seconds S       start none after S seconds (2, without --count)\n"
    "  --burst N         N connections at once, once: --concurrency N --count N\n"
    "  --hold N          open N, keep them, end them together at SIGUSR1 or the end of stdin\n"
    "  --prove           with --hold: each has had its line back while it is held\n"
    "                    (for a server that echoes until the end of the stream)\n"
    "  --half-close      say end-of-stream after the line\n"
    "  --sources N       spread over N source addresses from 127.1.0.1 on (250); 0: do not\n"
    "  --timeout S       the longest a connection may take (10)\n"
    "  --json            one line of JSON instead of text\n";

static bool print_json;

static double cpu_us_of(const struct timeval *time)
{
    return (double)time->tv_sec * 1e6 + (double)time->tv_usec;
}

static void number_fail(const char *option, const char *text)
{
    fprintf(stderr, "load: --%s %s: not a number it can use\n", option, text);
    exit(EXIT_USAGE);
}

static double number_parse(const char *option, const char *text, double lowest, double highest)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (errno || end == text || *end || !(value >= lowest && value <= highest))
        number_fail(option, text);
    return value;
}

static bool address_parse(const char *text, struct load_options *options)
{
    char host[INET6_ADDRSTRLEN];
    const char *colon = strrchr(text, ':');
    if (!colon)
        return false;
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    size_t bytes = (size_t)(colon - text);
    if (end == colon + 1 || *end || port == 0 || port > 65535 || bytes >= sizeof host)
        return false;
    bool bracketed = bytes > 2 && text[0] == '[' && colon[-1] == ']';
    memcpy(host, text + bracketed, bytes);
    host[bytes - (bracketed ? 2 : 0)] = '\0';
    memset(&options->address, 0, sizeof options->address);
    if (bracketed) {
        options->address.in6.sin6_family = AF_INET6;
        options->address.in6.sin6_port = htons((uint16_t)port);
        options->address_bytes = sizeof options->address.in6;
        return inet_pton(AF_INET6, host, &options->address.in6.sin6_addr) == 1;
    }
    options->address.in.sin_family = AF_INET;
    options->address.in.sin_port = htons((uint16_t)port);
    options->address_bytes = sizeof options->address.in;
    return inet_pton(AF_INET, host, &options->address.in.sin_addr) == 1;
}

enum {
    OPT_CONCURRENCY,
    OPT_RATE,
    OPT_COUNT,
    OPT_SECONDS,
    OPT_BURST,
    OPT_HOLD,
    OPT_SOURCES,
    OPT_TIMEOUT,
    OPT_FLAGS
};

static const struct option long_options[] = {
    {"concurrency", required_argument, NULL, OPT_CONCURRENCY},
    {"rate", required_argument, NULL, OPT_RATE},
    {"count", required_argument, NULL, OPT_COUNT},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"burst", required_argument, NULL, OPT_BURST},
    {"hold", required_argument, NULL, OPT_HOLD},
    {"sources", required_argument, NULL, OPT_SOURCES},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"prove", no_argument, NULL, 'p'},
    {"half-close", no_argument, NULL, 'h'},
    {"json", no_argument, NULL, 'j'},
    {0},
};

static void option_take_number(struct load_options *options, int option, double value)
{
    switch (option) {
    case OPT_CONCURRENCY:
        options->concurrency = (unsigned)value;
        break;
    case OPT_RATE:
        options->rate = value;
        break;
    case OPT_COUNT:
        options->count = (uint64_t)value;
        break;
    case OPT_SECONDS:
        options->duration_ns = (uint64_t)(value * NS_PER_SECOND);
        break;
    case OPT_BURST:
        options->concurrency = (unsigned)value;
        options->count = (uint64_t)value;
        break;
    case OPT_HOLD:
        options->hold = (unsigned)value;
        options->count = (uint64_t)value;
        break;
    case OPT_SOURCES:
        options->sources = (unsigned)value;
        break;
    default:
        options->timeout_ns = (uint64_t)(value * NS_PER_SECOND);
    }
}

static void options_default(struct load_options *options)
{
    if (options->concurrency == 0)
        options->concurrency = options->rate > 0 ? 10000 : options->hold ? 256 : 8;
    if (options->count == 0 && options->duration_ns == 0)
        options->duration_ns = (uint64_t)(2 * NS_PER_SECOND);
    if (options->count && options->count < options->concurrency)
        options->concurrency = (unsigned)options->count;
}

static bool options_parse(int argc, char **argv, struct load_options *options)
{
    static const struct {
        double lowest, highest;
    } bounds[OPT_FLAGS] = {
        [OPT_CONCURRENCY] = {1, 1e6}, [OPT_RATE] = {1e-3, 1e7},    [OPT_COUNT] = {1, 1e12},
        [OPT_SECONDS] = {1e-3, 1e6},  [OPT_BURST] = {1, 1e6},      [OPT_HOLD] = {1, 1e6},
        [OPT_SOURCES] = {0, 65000},   [OPT_TIMEOUT] = {1e-3, 1e6},
    };
    int option, index;
    while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (option == 'p')
            options->prove = true;
        else if (option == 'h')
            options->half_close = true;
        else if (option == 'j')
            print_json = true;
        else if (option < OPT_FLAGS)
            option_take_number(options, option,
                               number_parse(long_options[index].name, optarg, bounds[option].lowest,
                                            bounds[option].highest));
        else
            return false;
    }
    if (optind != argc - 1 || (options->prove && !options->hold) || (options->rate > 0 && options->hold))
        return false;
    options_default(options);
    return address_parse(argv[optind], options);
}

/* One fd a connection: a limit that is too low would be seen as failures of the server. */
static bool limit_raise(const struct load_options *options)
{
    struct rlimit limit;
    rlim_t needed = (options->hold ? options->hold : options->concurrency) + SPARE_FDS;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return false;
    if (limit.rlim_max < needed) {
        limit.rlim_max = needed; /* root may */
        limit.rlim_cur = needed;
    } else if (limit.rlim_cur < needed) {
        limit.rlim_cur = needed;
    }
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return true;
    fprintf(stderr, "load: cannot have %ju fds: %s\n", (uintmax_t)needed, strerror(errno));
    return false;
}

static void held_print(unsigned held, uint64_t took_ns)
{
    if (print_json)
        printf("{\"held\":%u,\"opened_seconds\":%.6f}\n", held, (double)took_ns / NS_PER_SECOND);
    else
        printf("holding %u connections, opened in %.3f s\n", held, (double)took_ns / NS_PER_SECOND);
    fflush(stdout);
}

static const struct {
    const char *name;
    double share;
} quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};

#define QUANTILES (sizeof quantiles / sizeof quantiles[0])

static double quantile_us(const struct histogram *histogram, size_t i)
{
    return (double)histogram_quantile_ns(histogram, quantiles[i].share) / 1e3;
}

static void histogram_print_text(const char *name, const struct histogram *histogram)
{
    printf("%-8s  mean %.0f us", name, histogram_mean_ns(histogram) / 1e3);
    for (size_t i = 0; i < QUANTILES; i++)
        printf(", %s %.0f", quantiles[i].name, quantile_us(histogram, i));
    putchar('\n');
}

static void histogram_print_json(const char *name, const struct histogram *histogram)
{
    printf(",\"%s_us\":{\"mean\":%.1f", name, histogram_mean_ns(histogram) / 1e3);
    for (size_t i = 0; i < QUANTILES; i++)
        printf(",\"%s\":%.1f", quantiles[i].name, quantile_us(histogram, i));
    putchar('}');
}

/* What is printed of a result beside the histograms. */
struct summary {
    double seconds, rate, user_us, system_us;
};

static struct summary summary_of(const struct load_result *result)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double seconds = (double)result->elapsed_ns / NS_PER_SECOND;
    return (struct summary){
        .seconds = seconds,
        .rate = seconds > 0 ? (double)result->outcomes[LOAD_OK] / seconds : 0,
        .user_us = cpu_us_of(&used.ru_utime),
        .system_us = cpu_us_of(&used.ru_stime),
    };
}

static void result_print_text(const struct load_result *result)
{
    struct summary summary = summary_of(result);
    printf("started   %" PRIu64 " in %.3f s, %.0f answered a second%s\n", result->started, summary.seconds,
           summary.rate, result->gave_up ? " (gave up: nothing but failures)" : "");
    printf("outcomes ");
    for (int i = 0; i < LOAD_OUTCOMES; i++)
        printf(" %s %" PRIu64, outcome_names[i], result->outcomes[i]);
    printf("; late %" PRIu64 ", lost early %" PRIu64 "\n", result->late, result->lost_early);
    histogram_print_text("answered", &result->answered);
    histogram_print_text("ended", &result->ended);
    printf("own CPU   user %.0f us, system %.0f us\n", summary.user_us, summary.system_us);
}

static void result_print_json(const struct load_result *result)
{
    struct summary summary = summary_of(result);
    printf("{\"started\":%" PRIu64 ",\"seconds\":%.6f,\"rate\":%.1f", result->started, summary.seconds,
           summary.rate);
    for (int i = 0; i < LOAD_OUTCOMES; i++)
        printf(",\"%s\":%" PRIu64, outcome_names[i], result->outcomes[i]);
    printf(",\"late\":%" PRIu64 ",\"lost_early\":%" PRIu64 ",\"gave_up\":%s", result->late,
           result->lost_early, result->gave_up ? "true" : "false");
    histogram_print_json("answered", &result->answered);
    histogram_print_json("ended", &result->ended);
    printf(",\"client_cpu_user_us\":%.0f,\"client_cpu_system_us\":%.0f}\n", summary.user_us,
           summary.system_us);
}

int main(int argc, char **argv)
{
    static struct load_result result;
    struct load_options options = {.sources = 250,
                                   .timeout_ns = (uint64_t)(10 * NS_PER_SECOND),
                                   .held = held_print};

    if (!options_parse(argc, argv, &options)) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (!limit_raise(&options) || !load_run(&options, &result))
        return EXIT_SYSTEM;
    if (print_json)
        result_print_json(&result);
    else
        result_print_text(&result);
    return result.outcomes[LOAD_OK] == result.started && !result.lost_early ? 0 : 1;
}
