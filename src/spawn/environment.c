/* SPDX-License-Identifier: MIT */
#include "spawn/environment.h"

#include "base/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Those of a connection, and those that say what is unknown to us and so must be unset. */
static const char *const connection_names[] = {
    "PROTO",         "TCPLOCALIP",          "TCPLOCALPORT",  "TCPREMOTEIP",
    "TCPREMOTEPORT", "TCPCONNNUM",          "REMOTE_ADDR",   "REMOTE_PORT",
    "FORKPORT_PAIR", "FORKPORT_CONNECTION", "TCPREMOTEHOST", "TCPREMOTEINFO",
    "TCPLOCALHOST",  "FORKPORT_TEMPLATE",   "FORKPORT_ROOM", "FORKPORT_P",
};

static bool is_named(const char *variable, const char *name)
{
    size_t length = strlen(name);

    return strncmp(variable, name, length) == 0 && variable[length] == '=';
}

static bool is_of_connection(const char *variable)
{
    for (size_t i = 0; i < sizeof(connection_names) / sizeof(connection_names[0]); i++) {
        if (is_named(variable, connection_names[i]))
            return true;
    }
    return false;
}

enum fp_status environment_init(struct environment *environment, char *const inherited[],
                                struct fp_error *err)
{
    size_t total = 0;
    size_t bytes = 0;

    /* clearenv(3) leaves none. */
    for (; inherited != NULL && inherited[total] != NULL; total++)
        bytes += strlen(inherited[total]) + 1;
    *environment = (struct environment){.inherited = malloc((total + 1) * sizeof(char *) + bytes)};
    if (environment->inherited == NULL)
        return error_set(err, FP_SYSTEM, ENOMEM, "prepare", "the environment of workers");
    char *text = (char *)(environment->inherited + total + 1);
    for (size_t i = 0; i < total; i++) {
        if (is_of_connection(inherited[i]))
            continue;
        environment->inherited[environment->count++] = text;
        text = stpcpy(text, inherited[i]) + 1;
    }
    return FP_OK;
}

void environment_done(struct environment *environment)
{
    free(environment->inherited);
    *environment = (struct environment){0};
}

bool environment_has(const struct environment *environment, const char *name)
{
    for (size_t i = 0; i < environment->count; i++) {
        if (is_named(environment->inherited[i], name))
            return true;
    }
    return false;
}

size_t environment_size(const struct environment *environment)
{
    return environment->count + ENVIRONMENT_CONNECTION_COUNT + 1;
}

struct filling {
    char **next;
    struct text text;
};

/* Starts "NAME=" and makes the next entry point to it; end_variable() terminates it. */
static struct text *begin_variable(struct filling *filling, const char *name)
{
    *filling->next++ = filling->text.start + filling->text.length;
    text_string(&filling->text, name);
    return &filling->text;
}

static void end_variable(struct filling *filling)
{
    text_bytes(&filling->text, "", 1);
}

static void add_host(struct filling *filling, const char *name, const struct address *address)
{
    address_format_host(address, begin_variable(filling, name));
    end_variable(filling);
}

static void add_number(struct filling *filling, const char *name, uint64_t number)
{
    text_unsigned(begin_variable(filling, name), number);
    end_variable(filling);
}

size_t environment_fill(const struct environment *environment, const struct spawn_request *request,
                        char **envp, char texts[ENVIRONMENT_TEXT_SIZE])
{
    struct filling filling = {.next = envp + environment->count};
    const struct address *local = &request->pair->local;
    const struct address *foreign = &request->pair->foreign;

    memcpy(envp, environment->inherited, environment->count * sizeof(*envp));
    text_init(&filling.text, texts, ENVIRONMENT_TEXT_SIZE);
    begin_variable(&filling, "PROTO=TCP");
    end_variable(&filling);
    add_host(&filling, "TCPLOCALIP=", local);
    add_number(&filling, "TCPLOCALPORT=", local->port);
    add_host(&filling, "TCPREMOTEIP=", foreign);
    add_number(&filling, "TCPREMOTEPORT=", foreign->port);
    add_number(&filling, "TCPCONNNUM=", request->of_source);
    add_host(&filling, "REMOTE_ADDR=", foreign);
    add_number(&filling, "REMOTE_PORT=", foreign->port);
    pair_format(request->pair, begin_variable(&filling, "FORKPORT_PAIR="));
    end_variable(&filling);
    add_number(&filling, "FORKPORT_CONNECTION=", request->connection);
    *filling.next = NULL;
    CHECK(filling.text.length < ENVIRONMENT_TEXT_SIZE);
    return filling.text.length;
}

void environment_moved(const struct environment *environment, char **envp, const char *from, char *to)
{
    for (char **at = envp + environment->count; *at != NULL; at++)
        *at = to + (*at - from);
}

const char *environment_pair(const struct environment *environment, char *const *envp)
{
    /* The last but one of the connection's variables. */
    const char *variable = envp[environment->count + ENVIRONMENT_CONNECTION_COUNT - 2];

    return variable + strlen("FORKPORT_PAIR=");
}
