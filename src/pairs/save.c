/* SPDX-License-Identifier: MIT */
#include "pairs/save.h"

#include "addr/value.h"
#include "base/time.h"
#include "pairs/owner.h"
#include "version.h"

#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TABLE_VERSION 1
#define PID_MAX       (1 << 30)

void save_head(int64_t time_ns, struct text *text)
{
    time_t seconds = (time_t)(time_ns / SECOND_NS);
    char date[64] = "";
    struct tm parts;

    if (gmtime_r(&seconds, &parts) != NULL)
        strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &parts);
    text_printf(text, "{\"forkport\":\"%s\",\"table\":%d,\"time\":\"%s\"}", FORKPORT_VERSION, TABLE_VERSION,
                date);
}

static enum fp_status fail(const struct save_reader *reader, struct fp_error *err, const char *reason)
{
    error_reason(err, error_set(err, FP_DATA, 0, "read the table", "%s", reader->file), "line %u: %s",
                 reader->line, reason);
    if (err != NULL && reader->line <= 1)
        error_hint(err, "a table is made by forkport pairs --save FILE");
    return FP_DATA;
}

static enum fp_status fail_memory(const struct save_reader *reader, struct fp_error *err)
{
    return error_set(err, FP_SYSTEM, ENOMEM, "read the table", "%s", reader->file);
}

static const char *string_of(const json_t *object, const char *key)
{
    const char *string = json_string_value(json_object_get(object, key));

    return string != NULL ? string : "";
}

static bool parse_number(const json_t *value, json_int_t least, json_int_t most, json_int_t *ret_number)
{
    json_int_t number = json_integer_value(value);

    if (!json_is_integer(value) || number < least || number > most)
        return false;
    *ret_number = number;
    return true;
}

/* What is not known is null, or not there, and 0 here. */
static bool parse_known(const json_t *object, const char *key, uint32_t *ret_number)
{
    const json_t *value = json_object_get(object, key);
    json_int_t number = 0;

    if (value != NULL && !json_is_null(value) && !parse_number(value, 0, UINT32_MAX, &number))
        return false;
    *ret_number = (uint32_t)number;
    return true;
}

static bool parse_cookie(const json_t *object, uint64_t *ret_cookie)
{
    const json_t *value = json_object_get(object, "cookie");
    const char *digits = value != NULL ? json_string_value(value) : "0";

    if (digits == NULL || digits[0] == '\0' || strlen(digits) > 16 ||
        strspn(digits, "0123456789abcdefABCDEF") != strlen(digits))
        return false;
    *ret_cookie = strtoull(digits, NULL, 16);
    return true;
}

static bool parse_state(const char *name, uint8_t *ret_state)
{
    for (unsigned state = DIAG_ESTABLISHED; state <= DIAG_BOUND; state++) {
        if (strcmp(diag_state_name((uint8_t)state), name) == 0) {
            *ret_state = (uint8_t)state;
            return true;
        }
    }
    return false;
}

/* The family that the socket has, and whether its wildcard takes IPv4. */
static bool parse_protocol(const char *name, struct diag_socket *socket)
{
    socket->family = strcmp(name, "tcp4") == 0 ? AF_INET : AF_INET6;
    socket->v6only = strcmp(name, "tcp6") == 0;
    return strcmp(name, "tcp4") == 0 || strcmp(name, "tcp6") == 0 || strcmp(name, "tcp46") == 0;
}

/* Where a device stands in a pair, "%NAME:", and how much of it is to be left out; NULL: nowhere. */
static const char *find_device(const char *notation, const char *device, size_t *ret_length)
{
    char shown[4 * IF_NAMESIZE + 2];
    struct text text;

    if (device[0] == '\0' || strlen(device) >= IF_NAMESIZE)
        return NULL;
    text_init(&text, shown, sizeof(shown));
    text_string(&text, "%");
    text_escape(&text, device, strlen(device));
    *ret_length = text.length;
    text_string(&text, ":");
    text_end(&text);
    return strstr(notation, shown);
}

/*
 * An interface's index is of the host that was looked at: a scope is left out, as a capture has none either. A device has a
 * field of its own, since it may have a name that the notation cannot have, nor JSON: which of the two the pair tells.
 */
static bool parse_pair(const char *notation, const char *device, struct diag_socket *socket)
{
    char plain[PAIR_TEXT_SIZE];
    size_t at = 0;
    size_t device_length = 0;
    bool in_brackets = false;
    bool in_scope = false;
    char unescaped[IF_NAMESIZE];
    const char *named = find_device(notation, device, &device_length);

    if (named == NULL && value_unescape(device, unescaped, sizeof(unescaped))) {
        device = unescaped;
        named = find_device(notation, device, &device_length);
    }
    for (; *notation != '\0' && at + 1 < sizeof(plain); notation++) {
        if (notation == named)
            notation += device_length;
        in_brackets = (in_brackets || *notation == '[') && *notation != ']';
        in_scope = in_brackets && (in_scope || *notation == '%');
        if (!in_scope)
            plain[at++] = *notation;
    }
    plain[at] = '\0';
    if (*notation != '\0' || pair_parse(plain, &socket->pair, NULL) != FP_OK)
        return false;
    if (named != NULL)
        memcpy(socket->pair.local.device, device, strlen(device) + 1);
    return true;
}

/* The notation has one wildcard for all families. */
static void set_wildcard(struct diag_socket *socket)
{
    struct address *local = &socket->pair.local;

    if (local->family != AF_UNSPEC)
        return;
    if (socket->family == AF_INET)
        local->family = AF_INET;
    else if (socket->v6only)
        local->family = AF_INET6;
}

static bool parse_row(const json_t *object, struct diag_socket *ret_socket)
{
    struct diag_socket socket = {.family = AF_UNSPEC};

    if (!parse_protocol(string_of(object, "proto"), &socket) ||
        !parse_state(string_of(object, "state"), &socket.state) ||
        !parse_pair(string_of(object, "pair"), string_of(object, "device"), &socket))
        return false;
    if (!parse_cookie(object, &socket.cookie) || !parse_known(object, "inode", &socket.inode) ||
        !parse_known(object, "uid", &socket.uid))
        return false;
    set_wildcard(&socket);
    *ret_socket = socket;
    return true;
}

static uint8_t owner_of(const json_t *object)
{
    static const struct {
        const char *name;
        uint8_t owner;
    } owners[] = {
        {"held", OWNER_HELD},     {"waiting", OWNER_WAITING},
        {"none", OWNER_NONE},     {"not-permitted", OWNER_NOT_PERMITTED},
        {"unseen", OWNER_UNSEEN},
    };
    const char *name = string_of(object, "owner");

    for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
        if (strcmp(owners[i].name, name) == 0)
            return owners[i].owner;
    }
    return OWNER_UNKNOWN;
}

static bool parse_holder(const json_t *process, struct descriptor *ret_descriptor)
{
    const char *name = string_of(process, "name");
    struct descriptor descriptor = {.inode = 0};
    json_int_t pid;
    json_int_t fd;

    if (!parse_number(json_object_get(process, "pid"), 1, PID_MAX, &pid) ||
        !parse_number(json_object_get(process, "fd"), 0, INT_MAX, &fd))
        return false;
    descriptor.pid = (pid_t)pid;
    descriptor.fd = (int)fd;
    /* One that has a backslash of its own can look like that of another, which JSON does not tell apart. */
    if (!value_unescape(name, descriptor.name, sizeof(descriptor.name)))
        strncpy(descriptor.name, name, sizeof(descriptor.name) - 1);
    *ret_descriptor = descriptor;
    return true;
}

static enum fp_status fail_row(const struct save_reader *reader, struct fp_error *err)
{
    return fail(reader, err, "it is no socket as forkport pairs --json shows one");
}

/*
 * A row's holders stand one after another in the list; those that wait for it are the listening row's. A table that is passed
 * on may have been rid of them: then they are not known.
 */
static enum fp_status append_holders(const struct save_reader *reader, struct pairs_row *row,
                                     const json_t *object, struct fp_error *err)
{
    struct descriptors *descriptors = &reader->table->descriptors;
    const json_t *processes = json_object_get(object, "processes");

    row->descriptor = (uint32_t)descriptors->count;
    if (row->owner != OWNER_HELD)
        return FP_OK;
    if (processes == NULL) {
        row->owner = OWNER_UNKNOWN;
        return FP_OK;
    }
    if (json_array_size(processes) == 0)
        return fail_row(reader, err);
    for (size_t i = 0; i < json_array_size(processes); i++) {
        struct descriptor descriptor;
        if (!parse_holder(json_array_get(processes, i), &descriptor))
            return fail_row(reader, err);
        descriptor.inode = row->socket.inode;
        if (descriptors_append(descriptors, &descriptor) < 0)
            return fail_memory(reader, err);
        row->descriptors++;
    }
    return FP_OK;
}

static enum fp_status take_row(struct save_reader *reader, const json_t *object, struct fp_error *err)
{
    struct pairs_table *table = reader->table;
    struct diag_socket socket;

    if (!parse_row(object, &socket))
        return fail_row(reader, err);
    if (!pairs_append(table, &socket))
        return fail_memory(reader, err);
    struct pairs_row *row = &table->rows[table->count - 1];
    row->shown = true;
    row->owner = owner_of(object);
    return append_holders(reader, row, object, err);
}

static enum fp_status take_head(const struct save_reader *reader, const json_t *object, struct fp_error *err)
{
    json_int_t version = json_integer_value(json_object_get(object, "table"));

    if (version <= 0)
        return fail(reader, err, "it is not the head of a saved table");
    return version == TABLE_VERSION ? FP_OK : fail(reader, err, "the table is of a later forkport");
}

enum fp_status save_line(struct save_reader *reader, const char *line, size_t length, struct fp_error *err)
{
    json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
    enum fp_status status;

    reader->line++;
    if (!json_is_object(object))
        status = fail(reader, err,
                      reader->line == 1 ? "it is not the head of a saved table" : "it is no JSON object");
    else if (reader->line == 1)
        status = take_head(reader, object, err);
    else
        status = take_row(reader, object, err);
    json_decref(object);
    return status;
}

enum fp_status save_end(struct save_reader *reader, struct fp_error *err)
{
    struct pairs_table *table = reader->table;

    if (reader->line == 0) {
        reader->line = 1;
        return fail(reader, err, "the file is empty");
    }
    pairs_sort(table);
    for (size_t i = 0; i < table->count; i++) {
        if (table->rows[i].owner == OWNER_WAITING)
            owner_find_listening(table, &table->rows[i]);
    }
    return pairs_list_processes(table) ? FP_OK : fail_memory(reader, err);
}
