/* SPDX-License-Identifier: MIT */
#include "spawn/environ.h"

#include "sys/process.h"

#include <string.h>

extern char **environ;

/* With the NULL at the end. */
static size_t size_of(char *const *variables)
{
    size_t size = 1;

    while (variables[size - 1] != NULL)
        size++;
    return size;
}

static void copy(char **to, char *const *variables)
{
    memcpy(to, variables, size_of(variables) * sizeof(*to));
}

size_t environ_size(const struct environment *environment)
{
    /* With the client's name, which the copy looks up itself. */
    size_t of_worker = environment_size(environment) + 1;
    size_t of_server = environ != NULL ? size_of(environ) : ENVIRON_SIZE + 1;
    size_t size = of_worker > of_server ? of_worker : of_server;

    return size <= ENVIRON_SIZE && process_has_one_thread() ? size : 0;
}

void environ_begin(struct environ *of_server, char **array)
{
    of_server->own = environ;
    of_server->array = array;
    copy(array, environ);
    environ = array;
}

void environ_end(struct environ *of_server)
{
    /* What the program has set or unset among them since stands in the array; it has not become longer there. */
    if (of_server->array != NULL && environ == of_server->array) {
        copy(of_server->own, environ);
        environ = of_server->own;
    }
    of_server->array = NULL;
}

char **environ_lend(struct environ *of_server)
{
    if (of_server->array == NULL || environ != of_server->array)
        return NULL;
    copy(of_server->saved, environ);
    return environ;
}

void environ_take_back(struct environ *of_server)
{
    copy(of_server->array, of_server->saved);
}
