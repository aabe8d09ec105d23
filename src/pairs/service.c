/* SPDX-License-Identifier: MIT */
#include "pairs/service.h"

#include <stdlib.h>
#include <string.h>

#define SERVER_NAME "forkport"
/* For a command line, which may have a list of many addresses, or an environment, in which a connection's variables come last. */
#define STRINGS_SIZE (256 << 10)

/* The next of the strings between `at` and the end, or NULL. */
static const char *next_string(const char *at, const char *end)
{
    const char *nul = at < end ? memchr(at, '\0', (size_t)(end - at)) : NULL;

    return nul != NULL && nul + 1 < end ? nul + 1 : NULL;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* "--name=VALUE" or "--name" "VALUE"; NULL: it is neither. */
static const char *value_of(const char *argument, const char *option, const char *end)
{
    size_t length = strlen(option);

    if (strncmp(argument, option, length) != 0)
        return NULL;
    if (argument[length] == '=')
        return argument + length + 1;
    return argument[length] == '\0' ? next_string(argument, end) : NULL;
}

char *service_of_arguments(const char *arguments, size_t length)
{
    const char *end = arguments + length;
    const char *service = SERVER_NAME;
    const char *name = NULL;

    for (const char *at = arguments; at != NULL; at = next_string(at, end)) {
        const char *value = value_of(at, "--name", end);
        if (value != NULL)
            name = value;
        if ((value = value_of(at, "--builtin", end)) != NULL)
            service = value;
        if (strcmp(at, "--") != 0)
            continue;
        const char *program = next_string(at, end);
        if (program != NULL)
            service = base_name(program);
        break;
    }
    return strdup(name != NULL ? name : service);
}

uint64_t service_connection(const char *environment, size_t length, const struct pair *pair)
{
    static const char pair_name[] = "FORKPORT_PAIR=";
    static const char number_name[] = "FORKPORT_CONNECTION=";
    const char *end = environment + length;
    char shown[PAIR_TEXT_SIZE];
    bool same = false;
    uint64_t number = 0;
    struct text text;

    text_init(&text, shown, sizeof(shown));
    pair_format(pair, &text);
    text_end(&text);
    for (const char *at = environment; at != NULL && at < end; at = next_string(at, end)) {
        if (strncmp(at, pair_name, sizeof(pair_name) - 1) == 0)
            same = strcmp(at + sizeof(pair_name) - 1, shown) == 0;
        else if (strncmp(at, number_name, sizeof(number_name) - 1) == 0)
            text_parse_unsigned(at + sizeof(number_name) - 1, UINT64_MAX, &number);
    }
    return same ? number : 0;
}

static struct pairs_process *process_of(const struct pairs_table *table, pid_t pid)
{
    return (struct pairs_process *)pairs_process(table, pid);
}

static char *read_service(pid_t server, char *strings)
{
    return service_of_arguments(strings, procfs_read(server, "cmdline", strings, STRINGS_SIZE));
}

/* The first of the processes that listen here which is a server. */
static bool find_listening(struct pairs_table *table, struct pairs_row *row, char *strings)
{
    struct pairs_cursor cursor = {.row = row};

    for (const struct descriptor *holder; (holder = pairs_next_holder(table, &cursor)) != NULL;) {
        struct pairs_process *process = process_of(table, holder->pid);
        if (process == NULL || strcmp(process->name, SERVER_NAME) != 0)
            continue;
        if (process->service == NULL)
            process->service = read_service(holder->pid, strings);
        row->service = process->service;
        return process->service != NULL;
    }
    return true;
}

/* The service at this port, if any. */
static const char *service_at(const struct pairs_table *table, uint16_t port)
{
    for (size_t i = pairs_find_port(table, port); i < table->count; i++) {
        const struct diag_socket *socket = &table->rows[i].socket;
        if (socket->pair.local.port != port || socket->state != DIAG_LISTEN)
            break;
        if (table->rows[i].service != NULL)
            return table->rows[i].service;
    }
    return NULL;
}

/*
 * Of whom the process is: of itself, where it listens, or else of its parent, who need not listen any more. Each is asked
 * once.
 */
static const char *service_of(const struct pairs_table *table, struct pairs_process *process, char *strings)
{
    char name[PROCFS_NAME_SIZE] = "";

    if (process->service != NULL || process->is_asked)
        return process->service;
    process->is_asked = true;
    pid_t parent = procfs_parent(process->pid);
    const struct pairs_process *server = pairs_process(table, parent);
    if (server != NULL && server->service != NULL) {
        process->service = strdup(server->service);
        return process->service;
    }
    procfs_name(parent, name);
    if (strcmp(name, SERVER_NAME) == 0)
        process->service = read_service(parent, strings);
    return process->service;
}

/* A server that ends has closed its listening sockets, and another one may listen at its port. */
static void find_connection(const struct pairs_table *table, struct pairs_row *row, char *strings)
{
    const char *here = service_at(table, row->socket.pair.local.port);
    struct pairs_cursor cursor = {.row = row};

    for (const struct descriptor *holder; (holder = pairs_next_holder(table, &cursor)) != NULL;) {
        struct pairs_process *process = process_of(table, holder->pid);
        const char *service = process != NULL ? service_of(table, process, strings) : NULL;
        if (service == NULL && here == NULL)
            continue;
        size_t length = procfs_read(holder->pid, "environ", strings, STRINGS_SIZE);
        row->connection = service_connection(strings, length, &row->socket.pair);
        if (row->connection != 0) {
            row->service = service != NULL ? service : here;
            return;
        }
        if (service != NULL && here != NULL)
            row->service = service;
    }
}

static bool find_all(struct pairs_table *table, char *strings)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->rows[i].socket.state == DIAG_LISTEN && !find_listening(table, &table->rows[i], strings))
            return false;
    }
    for (size_t i = 0; i < table->count; i++) {
        struct pairs_row *row = &table->rows[i];
        if (!row->shown || row->socket.state == DIAG_LISTEN)
            continue;
        if (row->owner == OWNER_WAITING && row->listening_count != 0)
            row->service = table->rows[row->listening].service;
        if (row->owner == OWNER_HELD)
            find_connection(table, row, strings);
    }
    return true;
}

bool service_find(struct pairs_table *table)
{
    char *strings = malloc(STRINGS_SIZE);
    bool found = strings != NULL && find_all(table, strings);

    free(strings);
    return found;
}
