/* SPDX-License-Identifier: MIT */
#include "pairs/filter.h"

#include "addr/notation.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BIT(state) DIAG_STATE_BIT(DIAG_##state)
#define CONNECTED  (DIAG_STATES_ALL & ~(BIT(LISTEN) | BIT(BOUND) | BIT(CLOSED)))

/* Words that stand alone. */
static const struct word {
    const char *name;
    enum filter_kind kind;
    uint64_t number;
} words[] = {
    {"listening", FILTER_STATES, BIT(LISTEN)},
    {"listen", FILTER_STATES, BIT(LISTEN)},
    {"connected", FILTER_STATES, CONNECTED},
    {"established", FILTER_STATES, BIT(ESTABLISHED)},
    {"syn-sent", FILTER_STATES, BIT(SYN_SENT)},
    {"syn-received", FILTER_STATES, BIT(SYN_RECEIVED) | BIT(NEW_SYN_RECEIVED)},
    {"fin-wait-1", FILTER_STATES, BIT(FIN_WAIT_1)},
    {"fin-wait-2", FILTER_STATES, BIT(FIN_WAIT_2)},
    {"close-wait", FILTER_STATES, BIT(CLOSE_WAIT)},
    {"last-ack", FILTER_STATES, BIT(LAST_ACK)},
    {"closing", FILTER_STATES, BIT(CLOSING)},
    {"time-wait", FILTER_STATES, BIT(TIME_WAIT)},
    {"bound", FILTER_STATES, BIT(BOUND)},
    {"waiting", FILTER_OWNER, OWNER_WAITING},
    {"orphan", FILTER_OWNER, OWNER_NONE},
    {"tcp4", FILTER_PROTOCOL, 4},
    {"tcp6", FILTER_PROTOCOL, 6},
    {"tcp46", FILTER_PROTOCOL, 46},
};

/* KEY:VALUE; base 0: the value is a text. */
static const struct key {
    const char *name;
    enum filter_kind kind;
    int base;
    uint64_t max;
} keys[] = {
    {"pid:", FILTER_PID, 10, INT_MAX},
    {"name:", FILTER_NAME, 0, 0},
    {"service:", FILTER_SERVICE, 0, 0},
    {"connection:", FILTER_CONNECTION, 10, UINT64_MAX - 1},
    {"uid:", FILTER_UID, 10, UINT32_MAX},
    {"device:", FILTER_DEVICE, 0, 0},
    {"cookie:", FILTER_COOKIE, 16, UINT64_MAX - 1},
    {"inode:", FILTER_INODE, 10, UINT32_MAX},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static enum fp_status fail(struct fp_error *err, const char *term, const char *reason)
{
    error_set(err, FP_USAGE, 0, "filter by", "%s", term[0] != '\0' ? term : "an empty text");
    return error_reason(err, FP_USAGE, "%s", reason);
}

static bool parse_number(const char *string, int base, uint64_t max, uint64_t *ret_number)
{
    char *end;

    if (base == 10)
        return text_parse_unsigned(string, max, ret_number);
    if (strspn(string, "0123456789abcdefABCDEF") != strlen(string) || strlen(string) > 16)
        return false;
    *ret_number = strtoull(string, &end, base);
    return end != string;
}

static enum fp_status parse_key(const struct key *key, const char *term, struct filter_term *ret_term,
                                struct fp_error *err)
{
    const char *value = term + strlen(key->name);

    ret_term->kind = key->kind;
    if (key->base != 0) {
        if (!parse_number(value, key->base, key->max, &ret_term->number))
            return fail(err, term,
                        key->base == 10 ? "a number is expected behind ':'"
                                        : "a hexadecimal number is expected behind ':'");
        return FP_OK;
    }
    if (value[0] == '\0')
        return fail(err, term, "a name is expected behind ':'");
    if (strlen(value) >= FILTER_TEXT_SIZE)
        return fail(err, term, "a name of at most 255 bytes is expected behind ':'");
    memcpy(ret_term->text, value, strlen(value) + 1);
    /* The kernel keeps no more of a process's name. */
    if (key->kind == FILTER_NAME && strlen(value) >= PROCFS_NAME_SIZE)
        ret_term->text[PROCFS_NAME_SIZE - 1] = '\0';
    return FP_OK;
}

/* "192.0.2.1" or "2001:db8::1", of which `host` is a copy that can be written to, with "/24" behind it or not. */
static bool parse_prefix(char *host, struct filter_end *end)
{
    char *slash = strchr(host, '/');
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    uint64_t bits;
    uint64_t most = 32;

    if (slash != NULL)
        *slash = '\0';
    if (inet_pton(AF_INET, host, &in.sin_addr) == 1) {
        address_from_sockaddr((struct sockaddr *)&in, &end->address);
    } else if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1) {
        address_from_sockaddr((struct sockaddr *)&in6, &end->address);
        most = 128;
    } else {
        return false;
    }
    bits = most;
    if (slash != NULL && !text_parse_unsigned(slash + 1, most, &bits))
        return false;
    /* An IPv4 address in its mapped form: the bits in front of it are always the same. */
    if (most == 128 && end->address.family == AF_INET)
        bits = bits > 96 ? bits - 96 : 0;
    end->prefix = (uint8_t)bits;
    end->has_address = true;
    return true;
}

static bool parse_port(const char *string, uint16_t *ret_port)
{
    struct notation notation = notation_whole(string);

    return notation_port(&notation, notation.item, ret_port, NULL) == FP_OK;
}

/* "21", "ftp", "2000-2999", "*". */
static bool parse_ports(char *string, struct filter_end *end)
{
    char *dash = strchr(string, '-');

    if (strcmp(string, "*") == 0)
        return true;
    if (dash != NULL && string[0] >= '0' && string[0] <= '9') {
        *dash = '\0';
        return parse_port(string, &end->port_low) && parse_port(dash + 1, &end->port_high) &&
               end->port_low != 0 && end->port_low <= end->port_high;
    }
    if (!parse_port(string, &end->port_low) || end->port_low == 0)
        return false;
    end->port_high = end->port_low;
    return true;
}

/* `string` is a copy that can be written to. */
static bool parse_end(char *string, struct filter_end *end)
{
    char *host = string;
    char *port = NULL;
    struct filter_end whole = *end;
    char copy[FILTER_TEXT_SIZE];

    memcpy(copy, string, strlen(string) + 1);
    if (parse_prefix(copy, &whole)) {
        *end = whole;
        return true;
    }
    if (string[0] == '[') {
        host = string + 1;
        char *close = strchr(host, ']');
        if (close == NULL)
            return false;
        port = close[1] == ':' ? close + 2 : NULL;
        if (close[1] != '\0' && port == NULL)
            return false;
        *close = '\0';
        return parse_prefix(host, end) && (port == NULL || parse_ports(port, end));
    }
    char *colon = strrchr(string, ':');
    if (colon == NULL)
        return parse_ports(string, end) && end->port_low != 0;
    *colon = '\0';
    if (host[0] != '\0' && strcmp(host, "*") != 0 && !parse_prefix(host, end))
        return false;
    return parse_ports(colon + 1, end);
}

static enum fp_status parse_side(const char *term, struct filter_term *ret_term, struct fp_error *err)
{
    char copy[FILTER_TEXT_SIZE];
    const char *rest = term;

    ret_term->kind = FILTER_END;
    ret_term->end = (struct filter_end){.sides = SIDE_EITHER};
    if (strncmp(term, "local:", 6) == 0) {
        ret_term->end.sides = SIDE_LOCAL;
        rest = term + 6;
    } else if (strncmp(term, "foreign:", 8) == 0) {
        ret_term->end.sides = SIDE_FOREIGN;
        rest = term + 8;
    }
    if (strlen(rest) < sizeof(copy)) {
        memcpy(copy, rest, strlen(rest) + 1);
        if (parse_end(copy, &ret_term->end))
            return FP_OK;
    }
    fail(err, term, "expected an address, a port of 1 to 65535, a state or KEY:VALUE");
    error_hint(err, "as in :21, 192.0.2.0/24, foreign:1500, listening, pid:812, name:sshd");
    return FP_USAGE;
}

static enum fp_status parse_term(const char *string, struct filter_term *ret_term, struct fp_error *err)
{
    for (size_t i = 0; i < COUNT(words); i++) {
        /* A state is typed as the table shows it, too: LISTEN. */
        if (strcasecmp(string, words[i].name) == 0) {
            ret_term->kind = words[i].kind;
            ret_term->number = words[i].number;
            return FP_OK;
        }
    }
    for (size_t i = 0; i < COUNT(keys); i++) {
        if (strncmp(string, keys[i].name, strlen(keys[i].name)) == 0)
            return parse_key(&keys[i], string, ret_term, err);
    }
    if (string[0] == '{') {
        ret_term->kind = FILTER_PAIR;
        return pair_parse(string, &ret_term->pair, err) == FP_OK ? FP_OK : FP_USAGE;
    }
    return parse_side(string, ret_term, err);
}

enum fp_status filter_add(struct filter *filter, const char *string, struct fp_error *err)
{
    struct filter_term term = {.kind = FILTER_END};

    if (filter->count == FILTER_TERMS_MAX)
        return error_reason(err, error_set(err, FP_USAGE, 0, "filter by", "%s", string),
                            "there are more than %d", FILTER_TERMS_MAX);
    enum fp_status status = parse_term(string, &term, err);
    if (status != FP_OK) {
        if (err != NULL)
            err->status = status;
        return status;
    }
    filter->terms[filter->count++] = term;
    return FP_OK;
}

uint32_t filter_states(const struct filter *filter)
{
    uint32_t states = DIAG_STATES_ALL;

    for (size_t i = 0; i < filter->count; i++) {
        if (filter->terms[i].kind == FILTER_STATES)
            states &= (uint32_t)filter->terms[i].number;
    }
    /* The kernel knows both states by the one bit, depending on its age. */
    if ((states & BIT(BOUND)) != 0)
        states |= BIT(CLOSED);
    return states | BIT(LISTEN);
}

pid_t filter_pid(const struct filter *filter)
{
    pid_t pid = 0;

    for (size_t i = 0; i < filter->count; i++) {
        const struct filter_term *term = &filter->terms[i];
        if (term->kind != FILTER_PID && term->kind != FILTER_NAME)
            continue;
        if (pid != 0 || term->kind == FILTER_NAME)
            return 0;
        pid = (pid_t)term->number;
    }
    return pid;
}

static bool prefix_matches(const struct address *prefix, unsigned bits, const struct address *address)
{
    if (address->family != prefix->family || address_is_wildcard(address))
        return false;
    if (memcmp(prefix->bytes, address->bytes, bits / 8) != 0)
        return false;
    return bits % 8 == 0 || ((prefix->bytes[bits / 8] ^ address->bytes[bits / 8]) >> (8 - bits % 8)) == 0;
}

static bool end_matches(const struct filter_end *end, const struct address *address)
{
    if (end->port_low != 0 && (address->port < end->port_low || address->port > end->port_high))
        return false;
    return !end->has_address || prefix_matches(&end->address, end->prefix, address);
}

static bool either_matches(const struct filter_end *end, const struct pair *pair)
{
    return ((end->sides & SIDE_LOCAL) != 0 && end_matches(end, &pair->local)) ||
           ((end->sides & SIDE_FOREIGN) != 0 && end_matches(end, &pair->foreign));
}

/* The wildcards of all families are written alike, so they are one here. */
static bool addresses_alike(const struct address *a, const struct address *b)
{
    if (!address_is_wildcard(a) || !address_is_wildcard(b))
        return address_equal(a, b);
    return a->port == b->port && strcmp(a->device, b->device) == 0;
}

static bool protocol_matches(uint64_t protocol, const struct diag_socket *socket)
{
    const char *name = pairs_protocol(socket);

    return protocol == (name[4] != '\0' ? 46 : (uint64_t)(name[3] - '0'));
}

static bool socket_term_matches(const struct filter_term *term, const struct diag_socket *socket)
{
    switch (term->kind) {
    case FILTER_END:
        return either_matches(&term->end, &socket->pair);
    case FILTER_PAIR:
        return addresses_alike(&term->pair.local, &socket->pair.local) &&
               addresses_alike(&term->pair.foreign, &socket->pair.foreign);
    case FILTER_STATES:
        return (term->number & DIAG_STATE_BIT(socket->state & 31)) != 0;
    case FILTER_PROTOCOL:
        return protocol_matches(term->number, socket);
    case FILTER_UID:
        return socket->inode != 0 && socket->uid == term->number;
    case FILTER_DEVICE:
        return strcmp(socket->pair.local.device, term->text) == 0;
    case FILTER_COOKIE:
        return socket->cookie == term->number;
    case FILTER_INODE:
        return socket->inode == term->number;
    default:
        return true;
    }
}

bool filter_matches_socket(const struct filter *filter, const struct diag_socket *socket)
{
    for (size_t i = 0; i < filter->count; i++) {
        if (!socket_term_matches(&filter->terms[i], socket))
            return false;
    }
    return true;
}

static bool holder_matches(const struct filter_term *term, const struct pairs_table *table,
                           const struct pairs_row *row)
{
    struct pairs_cursor cursor = {.row = row};

    for (const struct descriptor *holder; (holder = pairs_next_holder(table, &cursor)) != NULL;) {
        const struct pairs_process *process = pairs_process(table, holder->pid);
        if (term->kind == FILTER_PID && holder->pid == (pid_t)term->number)
            return true;
        if (term->kind == FILTER_NAME && process != NULL && strcmp(process->name, term->text) == 0)
            return true;
    }
    return false;
}

bool filter_matches_owner(const struct filter *filter, const struct pairs_table *table,
                          const struct pairs_row *row)
{
    for (size_t i = 0; i < filter->count; i++) {
        const struct filter_term *term = &filter->terms[i];
        bool matches = true;
        if (term->kind == FILTER_PID || term->kind == FILTER_NAME)
            matches = holder_matches(term, table, row);
        else if (term->kind == FILTER_SERVICE)
            matches = row->service != NULL && strcmp(row->service, term->text) == 0;
        else if (term->kind == FILTER_CONNECTION)
            matches = row->connection != 0 && row->connection == term->number;
        else if (term->kind == FILTER_OWNER)
            matches = row->owner == term->number;
        if (!matches)
            return false;
    }
    return true;
}
