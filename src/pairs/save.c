/* SPDX-License-Identifier: MIT */
#include "pairs/save.h"

#include "pairs/owner.h"

#include "version.h"

#include <errno.h>
#include <jansson.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TABLE_VERSION 1
#define PID_MAX       (1 << 30)

void save_head(int64_t time_ns, struct text *text)
{
    time_t seconds = (time_t)(time_ns / 1000000000);
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

static uint64_t number_of(const json_t *object, const char *key, uint64_t most)
{
    json_int_t number = json_integer_value(json_object_get(object, key));

    return number > 0 && (uint64_t)number <= most ? (uint64_t)number : 0;
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
 * field of its own, since it may have a name that the notation cannot have.
 */
static bool parse_pair(const char *notation, const char *device, struct diag_socket *socket)
{
    char plain[PAIR_TEXT_SIZE];
    size_t at = 0;
    size_t device_length = 0;
    bool in_brackets = false;
    bool in_scope = false;
    const char *named = find_device(notation, device, &device_length);

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
    set_wildcard(&socket);
    socket.cookie = strtoull(string_of(object, "cookie"), NULL, 16);
    socket.inode = (uint32_t)number_of(object, "inode", UINT32_MAX);
    socket.uid = (uint32_t)number_of(object, "uid", UINT32_MAX);
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

/* A row's holders stand one after another in the list; those that wait for it are the listening row's. */
static bool append_holders(struct pairs_table *table, struct pairs_row *row, const json_t *object)
{
    const json_t *processes = json_object_get(object, "processes");

    row->descriptor = (uint32_t)table->descriptors.count;
    for (size_t i = 0; i < json_array_size(processes) && row->owner == OWNER_HELD; i++) {
        const json_t *process = json_array_get(processes, i);
        struct descriptor descriptor = {
            .inode = row->socket.inode,
            .pid = (pid_t)number_of(process, "pid", PID_MAX),
            .fd = (int)number_of(process, "fd", PID_MAX),
        };
        strncpy(descriptor.name, string_of(process, "name"), sizeof(descriptor.name) - 1);
        if (descriptors_append(&table->descriptors, &descriptor) < 0)
            return false;
        row->descriptors++;
    }
    return true;
}

static enum fp_status take_row(struct save_reader *reader, const json_t *object, struct fp_error *err)
{
    struct pairs_table *table = reader->table;
    struct diag_socket socket;

    if (!parse_row(object, &socket))
        return fail(reader, err, "it is no socket as forkport pairs --json shows one");
    if (!pairs_append(table, &socket))
        return fail_memory(reader, err);
    struct pairs_row *row = &table->rows[table->count - 1];
    row->shown = true;
    row->owner = owner_of(object);
    return append_holders(table, row, object) ? FP_OK : fail_memory(reader, err);
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
