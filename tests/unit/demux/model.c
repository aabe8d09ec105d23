/* SPDX-License-Identifier: MIT
 *
 * The demultiplexer against a plain list, by random operations. Addresses, ports and devices come from small sets, so
 * that pairs meet, chains overflow and wildcards matter. FORKPORT_SEED replays a run; the seed is printed.
 */
#include <forkport/demux.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define MOST  6000
#define STEPS 60000

/* What the table is asked to hold, in the order it was added. */
struct row {
    bool is_listening;
    bool is_ipv4;
    uint32_t device;
    uint32_t endpoint;
    struct fp_pair4 pair4;
    struct fp_pair6 pair6;
    struct fp_listening listening;
};

struct model {
    struct fp_demux *demux;
    struct row *rows;
    size_t count;
    uint32_t next;
    uint64_t chance;
};

static uint32_t below(struct model *model, uint32_t limit)
{
    model->chance ^= model->chance << 13;
    model->chance ^= model->chance >> 7;
    model->chance ^= model->chance << 17;
    return (uint32_t)((model->chance >> 32) % limit);
}

static void segment_random(struct model *model, struct row *ret_segment)
{
    struct row segment;

    memset(&segment, 0, sizeof(segment));
    segment.is_ipv4 = below(model, 2) == 0;
    segment.device = below(model, 3);
    segment.pair4.local.s_addr = below(model, 3);
    segment.pair4.foreign.s_addr = below(model, 20);
    segment.pair4.local_port = (in_port_t)below(model, 4);
    segment.pair4.foreign_port = (in_port_t)below(model, 20);
    segment.pair6.local.s6_addr32[3] = below(model, 3);
    segment.pair6.foreign.s6_addr32[below(model, 4)] = below(model, 10);
    segment.pair6.local_port = (in_port_t)below(model, 4);
    segment.pair6.foreign_port = (in_port_t)below(model, 20);
    *ret_segment = segment;
}

static void listening_random(struct model *model, struct row *ret_row)
{
    struct fp_listening listening = {.family = below(model, 2) == 0 ? AF_INET : AF_INET6,
                                     .port = (in_port_t)below(model, 4),
                                     .flags = below(model, 4),
                                     .device = below(model, 3)};
    bool is_mapped = below(model, 3) == 0;

    if (below(model, 2) == 0) {
        listening.address.s6_addr32[3] = below(model, 3);
        if (listening.family == AF_INET || is_mapped)
            listening.address.s6_addr16[5] = 0xffff;
    }
    ret_row->is_listening = true;
    ret_row->listening = listening;
}

static bool same_pair(const struct row *a, const struct row *b)
{
    if (a->is_listening || a->is_ipv4 != b->is_ipv4)
        return false;
    return a->is_ipv4 ? memcmp(&a->pair4, &b->pair4, sizeof(a->pair4)) == 0
                      : memcmp(&a->pair6, &b->pair6, sizeof(a->pair6)) == 0;
}

static uint32_t connected_find(const struct model *model, const struct row *segment, uint32_t device)
{
    for (size_t i = 0; i < model->count; i++) {
        if (same_pair(&model->rows[i], segment) && model->rows[i].device == device)
            return model->rows[i].endpoint;
    }
    return FP_NOBODY;
}

static bool stage_holds4(const struct fp_listening *listening, const struct fp_pair4 *pair, bool wildcard)
{
    bool is_mapped = IN6_IS_ADDR_V4MAPPED(&listening->address);
    bool is_mapped_any = is_mapped && listening->address.s6_addr32[3] == 0;

    if (listening->port != pair->local_port)
        return false;
    if (!wildcard)
        return is_mapped && !is_mapped_any && listening->address.s6_addr32[3] == pair->local.s_addr;
    if (IN6_IS_ADDR_UNSPECIFIED(&listening->address))
        return listening->family == AF_INET || (listening->flags & FP_LISTEN_V6ONLY) == 0;
    return is_mapped_any;
}

static bool stage_holds6(const struct fp_listening *listening, const struct fp_pair6 *pair, bool wildcard)
{
    const struct in6_addr *address = wildcard ? &in6addr_any : &pair->local;

    if (listening->family == AF_INET || IN6_IS_ADDR_V4MAPPED(&listening->address))
        return false;
    return listening->port == pair->local_port && memcmp(&listening->address, address, sizeof(*address)) == 0;
}

/* Does the kernel's stage (this address, or the wildcard) hold this socket for this segment? */
static bool stage_holds(const struct row *row, const struct row *segment, bool wildcard)
{
    if (row->listening.device != 0 && row->listening.device != segment->device)
        return false;
    return segment->is_ipv4 ? stage_holds4(&row->listening, &segment->pair4, wildcard)
                            : stage_holds6(&row->listening, &segment->pair6, wildcard);
}

/* One step of the kernel's walk: true where it ends with this one. */
static bool better(const struct row *row, const struct row *segment, int *best_score, uint32_t *best)
{
    int score =
        (row->listening.device != 0 ? 2 : 1) + (segment->is_ipv4 && row->listening.family == AF_INET ? 1 : 0);

    if (score <= *best_score)
        return false;
    *best_score = score;
    *best = row->endpoint;
    return (row->listening.flags & FP_LISTEN_REUSEPORT) != 0;
}

static bool goes_last(const struct row *row)
{
    return row->listening.family == AF_INET6 && (row->listening.flags & FP_LISTEN_REUSEPORT) != 0;
}

/* Newest first, then those that went to the end of the chain, oldest first. */
static uint32_t stage_find(const struct model *model, const struct row *segment, bool wildcard)
{
    uint32_t best = FP_NOBODY;
    int best_score = 0;

    for (size_t i = model->count; i-- > 0;) {
        const struct row *row = &model->rows[i];
        if (row->is_listening && !goes_last(row) && stage_holds(row, segment, wildcard) &&
            better(row, segment, &best_score, &best))
            return best;
    }
    for (size_t i = 0; i < model->count; i++) {
        const struct row *row = &model->rows[i];
        if (row->is_listening && goes_last(row) && stage_holds(row, segment, wildcard) &&
            better(row, segment, &best_score, &best))
            return best;
    }
    return best;
}

static uint32_t model_find(const struct model *model, const struct row *segment)
{
    uint32_t found = FP_NOBODY;

    if (segment->device != 0)
        found = connected_find(model, segment, segment->device);
    if (found == FP_NOBODY)
        found = connected_find(model, segment, 0);
    if (found == FP_NOBODY)
        found = stage_find(model, segment, false);
    if (found == FP_NOBODY)
        found = stage_find(model, segment, true);
    return found;
}

static void step_add(struct model *model)
{
    struct row *row = &model->rows[model->count];
    enum fp_status status;

    if (model->count == MOST)
        return;
    segment_random(model, row);
    row->endpoint = model->next;
    if (below(model, 40) == 0) {
        listening_random(model, row);
        assert_int_equal(fp_demux_listen(model->demux, &row->listening, row->endpoint, NULL), FP_OK);
    } else {
        bool is_there = connected_find(model, row, row->device) != FP_NOBODY;
        status = row->is_ipv4 ? fp_demux_add4(model->demux, &row->pair4, row->device, row->endpoint, NULL)
                              : fp_demux_add6(model->demux, &row->pair6, row->device, row->endpoint, NULL);
        assert_int_equal(status, is_there ? FP_UNAVAILABLE : FP_OK);
        if (is_there)
            return;
    }
    model->next++;
    model->count++;
}

static void step_remove(struct model *model)
{
    if (model->count == 0)
        return;
    size_t at = below(model, (uint32_t)model->count);
    struct row row = model->rows[at];
    if (row.is_listening) {
        assert_true(fp_demux_unlisten(model->demux, &row.listening, row.endpoint));
        assert_false(fp_demux_unlisten(model->demux, &row.listening, row.endpoint));
    } else if (row.is_ipv4) {
        assert_int_equal(fp_demux_remove4(model->demux, &row.pair4, row.device), row.endpoint);
        assert_int_equal(fp_demux_remove4(model->demux, &row.pair4, row.device), FP_NOBODY);
    } else {
        assert_int_equal(fp_demux_remove6(model->demux, &row.pair6, row.device), row.endpoint);
        assert_int_equal(fp_demux_remove6(model->demux, &row.pair6, row.device), FP_NOBODY);
    }
    model->count--;
    memmove(&model->rows[at], &model->rows[at + 1], (model->count - at) * sizeof(row));
}

static uint32_t demux_find(const struct model *model, const struct row *segment)
{
    return segment->is_ipv4 ? fp_demux_find4(model->demux, &segment->pair4, segment->device)
                            : fp_demux_find6(model->demux, &segment->pair6, segment->device);
}

static void step_find(struct model *model)
{
    struct row segment;

    segment_random(model, &segment);
    assert_int_equal(demux_find(model, &segment), model_find(model, &segment));
}

/* In bulk, of a random length, and each must be what one alone gives. */
static void step_find_many(struct model *model)
{
    static struct fp_pair4 pairs4[600];
    static struct fp_pair6 pairs6[600];
    static uint32_t found[600];
    size_t count = below(model, 600);
    uint32_t device = below(model, 3);
    struct row segment;

    for (size_t i = 0; i < count; i++) {
        segment_random(model, &segment);
        pairs4[i] = segment.pair4;
        pairs6[i] = segment.pair6;
    }
    fp_demux_find_many4(model->demux, pairs4, count, device, found);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(found[i], fp_demux_find4(model->demux, &pairs4[i], device));
    fp_demux_find_many6(model->demux, pairs6, count, device, found);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(found[i], fp_demux_find6(model->demux, &pairs6[i], device));
}

static void model_begin(struct model *model)
{
    const char *seed = getenv("FORKPORT_SEED");

    *model = (struct model){.chance = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL)};
    print_message("# FORKPORT_SEED=%llu\n", (unsigned long long)model->chance);
    model->chance = model->chance * 0x9e3779b97f4a7c15 | 1;
    model->rows = calloc(MOST + 1, sizeof(*model->rows));
    model->demux = fp_demux_new(NULL);
    assert_non_null(model->rows);
    assert_non_null(model->demux);
}

static void model_end(struct model *model)
{
    struct fp_demux_usage usage;

    while (model->count > 0)
        step_remove(model);
    fp_demux_usage(model->demux, &usage);
    assert_int_equal(usage.connected, 0);
    assert_int_equal(usage.listening, 0);
    fp_demux_free(model->demux);
    free(model->rows);
}

/* It grows to thousands, shrinks to few, and grows again. */
static void test_random_operations(void **state)
{
    struct model model;

    (void)state;
    model_begin(&model);
    for (unsigned i = 0; i < STEPS; i++) {
        bool is_growing = i / 15000 % 2 == 0;
        if (below(&model, 10) < (is_growing ? 7U : 3U))
            step_add(&model);
        else
            step_remove(&model);
        if (i % 8 == 0)
            step_find(&model);
        if (i % 512 == 0)
            step_find_many(&model);
        if (i == 20000)
            assert_int_equal(fp_demux_reserve(model.demux, 4000, 4000, NULL), FP_OK);
    }
    for (size_t i = 0; i < model.count; i++)
        if (!model.rows[i].is_listening)
            assert_int_equal(demux_find(&model, &model.rows[i]), model.rows[i].endpoint);
    model_end(&model);
}

/* Few connections and many listening sockets, so that the fall-back decides. */
static void test_random_listening(void **state)
{
    struct model model;

    (void)state;
    model_begin(&model);
    for (unsigned i = 0; i < STEPS / 2; i++) {
        struct row *row = &model.rows[model.count];
        if (model.count < 40 && below(&model, 2) == 0) {
            memset(row, 0, sizeof(*row));
            row->endpoint = model.next++;
            listening_random(&model, row);
            assert_int_equal(fp_demux_listen(model.demux, &row->listening, row->endpoint, NULL), FP_OK);
            model.count++;
        } else {
            step_remove(&model);
        }
        for (unsigned j = 0; j < 4; j++)
            step_find(&model);
    }
    model_end(&model);
}

static void test_refusals_change_nothing(void **state)
{
    struct fp_demux *demux = fp_demux_new(NULL);
    struct fp_pair4 pair = {.local_port = htons(21), .foreign_port = htons(1500)};
    struct fp_pair6 pair6 = {.local_port = htons(21), .foreign_port = htons(1500)};
    struct fp_listening unix_end = {.family = AF_UNIX, .port = htons(21)};
    struct fp_listening other_family = {.family = AF_INET, .address = IN6ADDR_LOOPBACK_INIT};
    struct fp_demux_usage usage;
    struct fp_error err;

    (void)state;
    assert_int_equal(fp_demux_add4(demux, &pair, 0, FP_ENDPOINT_MAX + 1, &err), FP_USAGE);
    assert_int_equal(fp_demux_add6(demux, &pair6, 0, FP_NOBODY, &err), FP_USAGE);
    assert_int_equal(fp_demux_listen(demux, &unix_end, 0, &err), FP_USAGE);
    assert_int_equal(fp_demux_listen(demux, &other_family, 0, &err), FP_USAGE);
    assert_int_equal(fp_demux_reserve(demux, SIZE_MAX, 1, &err), FP_SYSTEM);
    assert_non_null(strstr(err.what, " connections of IPv4 and 1 of IPv6"));
    assert_int_equal(fp_demux_reserve(demux, 0, SIZE_MAX / 8 + 1, &err), FP_SYSTEM);
    fp_demux_usage(demux, &usage);
    assert_int_equal(usage.connected + usage.listening, 0);
    assert_int_equal(fp_demux_add6(demux, &pair6, 0, FP_ENDPOINT_MAX, &err), FP_OK);
    assert_int_equal(fp_demux_add6(demux, &pair6, 0, 1, &err), FP_UNAVAILABLE);
    assert_string_equal(err.what, "{*:21, *:1500}");
    assert_int_equal(fp_demux_add6(demux, &pair6, 2, 1, &err), FP_OK);
    assert_int_equal(fp_demux_find6(demux, &pair6, 2), 1);
    assert_int_equal(fp_demux_find6(demux, &pair6, 3), FP_ENDPOINT_MAX);
    assert_int_equal(fp_demux_find4(demux, &pair, 0), FP_NOBODY);
    fp_demux_free(demux);
    fp_demux_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_random_listening),
        cmocka_unit_test(test_refusals_change_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
