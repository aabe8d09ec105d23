/* SPDX-License-Identifier: MIT
 *
 * tests/model/demultiplex.c [SEED [SETS [FIRST]]] - is the answer of `forkport demux` what the kernel then does?
 *
 * Random sets of sockets; for each some segments, from the host itself and from another by two wires. For each segment
 * the answer is made, then the connection, and the listening socket that really accepts it is known by its cookie.
 * Every answer called exact must be right; the model must be right by itself, whatever the kernel's query says; where
 * a program chooses, no answer may be called exact. SEED, SETS and FIRST, which default to a seed by the clock, some
 * hundreds (thousands with FORKPORT_SCALE) and 0, repeat a run, or one set of it. Reports in TAP.
 */
#include "demux/answer.h"
#include "demux/judge.h"
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SEGMENTS_PER_SET 8
#define SETS             300
#define SETS_LONG        3000
#define WAIT_MS          1000
#define FAULTS_MAX       20

struct tally {
    unsigned connections;
    unsigned refused;
    unsigned exact;
    unsigned plain; /* without BPF, CPU or device choices */
    unsigned plain_exact;
    unsigned blind; /* asked without privileges */
    unsigned depends;
    unsigned groups;
    unsigned time_waits;
    unsigned skipped;
    unsigned faults;
};

/* One segment, and what became of it. */
struct trial {
    uint64_t seed;
    unsigned number; /* of the set */
    struct random *random;
    struct set *set;
    struct tally *tally;
    struct segment segment;
    bool remote;
    bool crossed; /* it comes in by another interface than its answers would leave by */
    bool given;   /* the interface is told */
    bool blind;
    int client;
    uint64_t actual; /* the cookie of the socket that accepted; 0: refused */
};

static void fault(const struct trial *trial, const char *what)
{
    char pair[PAIR_TEXT_SIZE];
    struct text text;

    if (trial->tally->faults++ >= FAULTS_MAX)
        return;
    text_init(&text, pair, sizeof(pair));
    pair_format(&trial->segment.pair, &text);
    text_end(&text);
    printf("# set %u of seed %llu, %s by %u%s: %s\n", trial->number, (unsigned long long)trial->seed, pair,
           trial->segment.interface, trial->blind ? ", blind" : "", what);
    for (size_t i = 0; i < trial->set->count; i++) {
        const struct member *member = &trial->set->members[i];
        printf("#   %s%llx %s%s%s\n", member->cookie == trial->actual ? "-> " : "   ",
               (unsigned long long)member->cookie, member->text, member->program ? " program" : "",
               member->cpu ? " cpu" : "");
    }
}

static void expect(const struct trial *trial, bool holds, const char *what)
{
    if (!holds)
        fault(trial, what);
}

/* Whether the privileges are in force by which the kernel tells what steers. */
static void set_sight(bool sighted)
{
    static const int capabilities[] = {CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];

    if (syscall(SYS_capget, &header, data) < 0)
        die("capget");
    for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++) {
        unsigned word = (unsigned)capabilities[i] / 32;
        uint32_t bit = 1U << capabilities[i] % 32;
        data[word].effective =
            sighted ? data[word].effective | (bit & data[word].permitted) : data[word].effective & ~bit;
    }
    if (syscall(SYS_capset, &header, data) < 0)
        die("capset");
}

static struct sockaddr_storage sockaddr_of(int family, const char *host, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_storage address = {0};

    inet_pton(family, host, family == AF_INET ? (void *)&in.sin_addr : (void *)&in6.sin6_addr);
    if (family == AF_INET)
        memcpy(&address, &in, sizeof(in));
    else
        memcpy(&address, &in6, sizeof(in6));
    return address;
}

/*
 * The ends of a segment of the host to itself, or its own end of one from outside. A socket that is bound to a device
 * answers by it, so both ends are of one device: else nothing would come back, and nobody could be seen to accept.
 */
static void random_hosts(struct random *random, int family, bool remote, const char **ret_local,
                         const char **ret_foreign)
{
    static const char *const hosts[][3] = {{"10.0.0.1", "10.0.0.2", "10.0.0.1"},
                                           {"10.0.1.1", "10.0.1.1", "10.0.1.1"},
                                           {"127.0.0.1", "127.0.0.2", "127.0.0.3"}};
    static const char *const hosts6[] = {"fd00:0::1", "fd00:1::1", "::1"};
    uint32_t device = random_below(random, remote ? 2 : 3);

    *ret_local = family == AF_INET ? hosts[device][random_below(random, 3)] : hosts6[device];
    *ret_foreign = family == AF_INET ? hosts[device][random_below(random, 3)] : hosts6[device];
}

/* Where the segment of this trial comes from and goes to, and by which wire. */
static void choose_ends(struct trial *trial, int family, unsigned *ret_wire, const char **ret_host,
                        const char **ret_from)
{
    static const char *const remote_hosts[2][WIRES] = {{"10.0.0.9", "10.0.1.9"}, {"fd00:0::9", "fd00:1::9"}};

    *ret_wire = random_below(trial->random, WIRES);
    trial->remote = random_percent(trial->random, 40);
    trial->given = trial->remote && random_percent(trial->random, 50);
    trial->crossed = trial->remote && family == AF_INET && random_percent(trial->random, 30);
    random_hosts(trial->random, family, trial->remote, ret_host, ret_from);
    if (trial->remote)
        *ret_from = remote_hosts[family == AF_INET6][*ret_wire];
    if (!trial->crossed)
        return;
    *ret_wire = 0;
    *ret_host = WORLD_CROSSED;
    *ret_from = WORLD_CROSSING;
}

/* The client, bound to an address and a port of its own; false: that was not to be had. */
static bool make_client(struct trial *trial)
{
    int family = random_percent(trial->random, 65) ? AF_INET : AF_INET6;
    struct timeval limit = {.tv_sec = WAIT_MS / 1000};
    struct sockaddr_storage source;
    const char *host;
    const char *from;
    unsigned wire;

    choose_ends(trial, family, &wire, &host, &from);
    trial->client = trial->remote ? world_client_socket(family, trial->crossed ? WORLD_ANY_WIRE : wire)
                                  : socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_storage local = sockaddr_of(family, host, trial->set->port);
    source = sockaddr_of(family, from, (uint16_t)(20000 + random_below(trial->random, 40000)));
    setsockopt(trial->client, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (bind(trial->client, (struct sockaddr *)&source, sizeof(source)) < 0)
        return false;
    address_from_sockaddr((struct sockaddr *)&source, &trial->segment.pair.foreign);
    address_from_sockaddr((struct sockaddr *)&local, &trial->segment.pair.local);
    trial->segment.flags = SEGMENT_SYN;
    trial->segment.interface = trial->given ? world_device(wire == 0 ? "wire0" : "wire1") : 0;
    return true;
}

/* Which of the set has a connection to accept, and that connection; -1: none has within the time. */
static int take(const struct trial *trial, uint64_t *ret_cookie)
{
    struct pollfd polls[SET_MAX];
    const struct set *set = trial->set;

    for (size_t i = 0; i < set->count; i++)
        polls[i] = (struct pollfd){.fd = set->members[i].fate == FATE_LISTENS ? set->members[i].fd : -1,
                                   .events = POLLIN};
    if (poll(polls, set->count, WAIT_MS) <= 0)
        return -1;
    for (size_t i = 0; i < set->count; i++) {
        int fd = (polls[i].revents & POLLIN) != 0 ? accept4(polls[i].fd, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (fd < 0)
            continue;
        *ret_cookie = set->members[i].cookie;
        return fd;
    }
    return -1;
}

static bool is_best(const struct answer *answer, uint64_t cookie)
{
    for (size_t i = 0; i < answer->model.best; i++) {
        if (answer->table.rows[answer->model.items[i].row].socket.cookie == cookie)
            return true;
    }
    return cookie == 0 && answer->model.count == 0;
}

static bool best_has_program(const struct trial *trial, const struct answer *answer)
{
    for (size_t i = 0; i < answer->model.best; i++) {
        uint64_t cookie = answer->table.rows[answer->model.items[i].row].socket.cookie;
        const struct member *member = set_find(trial->set, cookie);
        if (member != NULL && member->program)
            return true;
    }
    return false;
}

/* All of rank 1 are one group, and it is the group of the one that accepted. */
static bool best_is_group(const struct trial *trial, const struct answer *answer)
{
    const struct member *actual = set_find(trial->set, trial->actual);

    for (size_t i = 0; i < answer->model.best; i++) {
        uint64_t cookie = answer->table.rows[answer->model.items[i].row].socket.cookie;
        const struct member *member = set_find(trial->set, cookie);
        if (member == NULL || actual == NULL || strcmp(member->key, actual->key) != 0)
            return false;
    }
    return true;
}

static void count(const struct trial *trial, const struct answer *answer)
{
    const struct set *set = trial->set;
    bool exact = answer->certainty == CERTAINTY_EXACT;
    /* Without privileges a group is one whose program may not be seen. */
    bool plain = !set->has_programs && !set->has_cpus && answer->certainty != CERTAINTY_DEPENDS &&
                 (answer->steering.known || answer->model.best <= 1);

    trial->tally->connections++;
    trial->tally->refused += trial->actual == 0;
    trial->tally->exact += exact;
    trial->tally->plain += plain;
    trial->tally->plain_exact += plain && exact;
    trial->tally->blind += trial->blind;
    trial->tally->depends += answer->certainty == CERTAINTY_DEPENDS;
    trial->tally->groups += answer->certainty == CERTAINTY_GROUP;
}

static void compare_exact(const struct trial *trial, const struct answer *answer)
{
    uint64_t told = answer->row != ANSWER_NONE ? answer->table.rows[answer->row].socket.cookie : 0;
    bool accepted = trial->actual != 0;

    expect(trial, told == trial->actual, "the answer is called exact and is wrong");
    expect(trial, answer->kind == (accepted ? ANSWER_LISTENING : ANSWER_NOBODY),
           "the kind of the answer is wrong");
    expect(trial, answer->reply == (accepted ? REPLY_SYN_ACK : REPLY_RESET),
           "the sender sees something else");
}

/* By itself, whatever the kernel's query says. */
static void compare_model(const struct trial *trial, const struct answer *answer)
{
    expect(trial, is_best(answer, trial->actual), "the model is wrong");
    expect(trial, answer->model.best <= 1 || best_is_group(trial, answer), "the group is none");
}

static void compare(const struct trial *trial, const struct answer *answer)
{
    /* Who has taken SO_REUSEPORT back cannot be told from who has it, by those who may not look. */
    bool foretellable = !trial->set->is_odd || (answer->steering.known && !trial->set->has_cpus);
    bool guessed = trial->crossed && !trial->given;

    count(trial, answer);
    if (answer->certainty == CERTAINTY_EXACT)
        compare_exact(trial, answer);
    if (foretellable)
        expect(trial, answer->agree, "model and kernel differ");
    if (foretellable && !guessed)
        compare_model(trial, answer);
    if (answer->model.best > 1 && best_has_program(trial, answer))
        expect(trial, answer->certainty != CERTAINTY_EXACT,
               "a program chooses, and the answer is called exact");
}

static bool ask(struct trial *trial, uint16_t flags, struct answer *ret_answer)
{
    struct segment segment = trial->segment;
    struct fp_error err;
    char message[512];

    segment.flags = flags;
    if (trial->blind)
        set_sight(false);
    enum fp_status status = answer_make(&segment, trial->given, ret_answer, &err);
    if (trial->blind)
        set_sight(true);
    if (status == FP_OK)
        return true;
    fp_error_format(&err, message, sizeof(message));
    fault(trial, message);
    return false;
}

/* The connection that is there now, by any segment of it. */
static void check_connected(struct trial *trial, int accepted)
{
    struct answer answer;

    if (!ask(trial, random_percent(trial->random, 50) ? SEGMENT_ACK : SEGMENT_SYN, &answer))
        return;
    /* One that is bound to its wire is not found by another. */
    expect(trial,
           answer.kind == ANSWER_CONNECTED &&
               (answer.certainty == CERTAINTY_EXACT || (answer.interface_count != 0 && !trial->given)),
           "a connection is there, and the answer is not exact");
    expect(trial,
           answer.row != ANSWER_NONE &&
               answer.table.rows[answer.row].socket.cookie == socket_cookie(accepted),
           "a connection is there, and the answer is another");
    expect(trial, answer.agree && answer.model.best == 1, "a connection is there, and the model differs");
    answer_done(&answer);
}

/* The client connects from where it was: the old connection's last state is in the way. */
static void check_again(struct trial *trial, const struct answer *answer)
{
    struct sockaddr_storage source;
    struct sockaddr_storage local;
    socklen_t length = address_to_sockaddr(&trial->segment.pair.foreign, &source);
    int yes = 1;

    int client = socket(source.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(client, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    address_to_sockaddr(&trial->segment.pair.local, &local);
    const struct model_candidate *listening = judge_listening(answer);
    if (bind(client, (struct sockaddr *)&source, length) == 0 && listening != NULL &&
        connect(client, (struct sockaddr *)&local, length) == 0) {
        uint64_t cookie = 0;
        bool found = false;
        int accepted = take(trial, &cookie);
        for (size_t i = 0; i < answer->model.count; i++)
            found = found || (answer->model.items[i].rank == listening->rank &&
                              answer->table.rows[answer->model.items[i].row].socket.cookie == cookie);
        expect(trial, found || trial->set->is_odd,
               "after TIME-WAIT another accepts than the first that listens");
        close(accepted);
    }
    close(client);
}

/* The server closes first, and has the connection in TIME-WAIT. */
static void check_time_wait(struct trial *trial, int accepted)
{
    struct answer answer;
    char byte;

    shutdown(accepted, SHUT_WR);
    if (recv(trial->client, &byte, 1, 0) != 0)
        return;
    shutdown(trial->client, SHUT_WR);
    if (recv(accepted, &byte, 1, 0) != 0)
        return;
    close(trial->client);
    trial->client = -1;
    close(accepted);
    if (!ask(trial, SEGMENT_SYN, &answer))
        return;
    trial->tally->time_waits++;
    expect(trial, answer.kind == ANSWER_TIME_WAIT && answer.reply == REPLY_ACK, "a TIME-WAIT is not seen");
    expect(trial, (answer.certainty == CERTAINTY_DEPENDS) == (judge_listening(&answer) != NULL),
           "a SYN for a TIME-WAIT depends, where somebody listens");
    check_again(trial, &answer);
    answer_done(&answer);
}

/* Nothing of a connection is left, but where a TIME-WAIT is wanted. */
static void finish(struct trial *trial, int accepted)
{
    struct linger reset = {.l_onoff = 1};

    if (random_percent(trial->random, 30) && (trial->given || !trial->crossed))
        check_connected(trial, accepted);
    if (!trial->remote && random_percent(trial->random, 10)) {
        check_time_wait(trial, accepted);
        return;
    }
    setsockopt(accepted, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(accepted);
}

static void try_segment(struct trial *trial)
{
    struct sockaddr_storage local;
    struct answer answer;
    int accepted = -1;

    if (!make_client(trial) || !ask(trial, SEGMENT_SYN, &answer)) {
        trial->tally->skipped++;
        close(trial->client);
        return;
    }
    socklen_t length = address_to_sockaddr(&trial->segment.pair.local, &local);
    int result = connect(trial->client, (struct sockaddr *)&local, length);
    if (result == 0)
        accepted = take(trial, &trial->actual);
    if (result == 0 ? accepted < 0 : errno != ECONNREFUSED)
        fault(trial, result == 0 ? "nobody accepts it" : strerror(errno));
    else
        compare(trial, &answer);
    answer_done(&answer);
    if (accepted >= 0)
        finish(trial, accepted);
    if (trial->client >= 0)
        close(trial->client);
}

static void try_set(uint64_t seed, unsigned number, struct tally *tally)
{
    struct random random = {.state = seed + number * UINT64_C(0x2545f4914f6cdd1d)};
    struct set set;

    set_make(&random, (uint16_t)(2000 + number % 15000), &set);
    for (unsigned i = 0; i < SEGMENTS_PER_SET; i++) {
        struct trial trial = {
            .seed = seed, .number = number, .random = &random, .set = &set, .tally = tally, .client = -1};
        trial.blind = random_percent(&random, 25);
        try_segment(&trial);
    }
    set_done(&set);
}

static void report(const struct tally *tally, uint64_t seed, unsigned sets)
{
    unsigned percent = tally->plain != 0 ? tally->plain_exact * 100 / tally->plain : 0;
    bool enough = tally->plain != 0 && tally->plain_exact * 20 >= tally->plain * 19;

    printf("# seed %llu: %u sets, %u connections (%u refused, %u asked without privileges, %u left out)\n",
           (unsigned long long)seed, sets, tally->connections, tally->refused, tally->blind, tally->skipped);
    printf("# %u exact, %u group, %u depends; %u TIME-WAITs\n", tally->exact, tally->groups, tally->depends,
           tally->time_waits);
    printf("1..2\n%s 1 - every exact answer and every model is right, %u faults\n",
           tally->faults == 0 ? "ok" : "not ok", tally->faults);
    printf("%s 2 - %u %% of %u answers without BPF, CPU or device choices are exact\n",
           enough ? "ok" : "not ok", percent, tally->plain);
}

int main(int argc, char **argv)
{
    struct tally tally = {0};
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)now.tv_nsec / 1000;
    unsigned sets = getenv("FORKPORT_SCALE") != NULL ? SETS_LONG : SETS;
    if (argc > 2)
        sets = (unsigned)strtoul(argv[2], NULL, 10);
    unsigned first = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    const char *reason = world_make();
    if (reason != NULL) {
        printf("%s\n1..1\nok 1 - demultiplex # SKIP\n", reason); /* see tools/tap */
        return EXIT_SUCCESS;
    }
    for (unsigned i = first; i < first + sets; i++)
        try_set(seed, i, &tally);
    report(&tally, seed, sets);
    return tally.faults == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
