/* SPDX-License-Identifier: MIT
 *
 * executes.c - the calls by which a program becomes another one, which at gate read is the end of its template.
 *
 * Without our library what comes then is no template, and reads from what stands for the connection, where nobody ever writes: so it is
 * not let through, and each connection executes the program as it is. In a child, which is not the template, and behind the gate it is.
 */
#include "preload/executes.h"

#include "preload/gate.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

/* NAME, its parameters, its arguments. */
#define EXECUTES(CALL)                                                                                \
    CALL(execve, (const char *path, char *const argv[], char *const envp[]), (path, argv, envp))      \
    CALL(execv, (const char *path, char *const argv[]), (path, argv))                                 \
    CALL(execvp, (const char *file, char *const argv[]), (file, argv))                                \
    CALL(execvpe, (const char *file, char *const argv[], char *const envp[]), (file, argv, envp))     \
    CALL(fexecve, (int fd, char *const argv[], char *const envp[]), (fd, argv, envp))                 \
    CALL(execveat, (int folder, const char *path, char *const argv[], char *const envp[], int flags), \
         (folder, path, argv, envp, flags))

static void find_real(void);

#define CALL(name, parameters, arguments) \
    static int(*real_##name) parameters;  \
    EXPORTED int name parameters;         \
    int name parameters                   \
    {                                     \
        gate_give_up();                   \
        if (real_##name == NULL)          \
            find_real();                  \
        if (real_##name == NULL) {        \
            errno = ENOSYS;               \
            return -1;                    \
        }                                 \
        return real_##name arguments;     \
    }
EXECUTES(CALL)
#undef CALL

static void find_real(void)
{
#define CALL(name, parameters, arguments)            \
    do {                                             \
        void *found = dlsym(RTLD_NEXT, #name);       \
        memcpy(&real_##name, &found, sizeof(found)); \
    } while (0);
    EXECUTES(CALL)
#undef CALL
}

/* Of the arguments after `first`, the terminating null pointer not counted. */
static size_t count_arguments(const char *first, va_list *arguments)
{
    size_t count = 0;

    for (const char *at = first; at != NULL; at = va_arg(*arguments, const char *))
        count++;
    return count;
}

/* `first`, and so many of `arguments`, where there is room for one more. */
static void fill_arguments(char **argv, const char *first, size_t count, va_list *arguments)
{
    for (size_t i = 0; i <= count; i++)
        argv[i] = i == 0 ? (char *)first : va_arg(*arguments, char *);
}

/* Those that take a list, each by the one that takes an array. */
#define OF_A_LIST(name, call, rest)                                  \
    EXPORTED int name(const char *path, const char *first, ...);     \
    int name(const char *path, const char *first, ...)               \
    {                                                                \
        va_list arguments;                                           \
                                                                     \
        va_start(arguments, first);                                  \
        size_t count = count_arguments(first, &arguments);           \
        va_end(arguments);                                           \
        char **argv = __builtin_alloca((count + 1) * sizeof(*argv)); \
        va_start(arguments, first);                                  \
        fill_arguments(argv, first, count, &arguments);              \
        int result = call rest;                                      \
        va_end(arguments);                                           \
        return result;                                               \
    }
OF_A_LIST(execl, execv, (path, argv))
OF_A_LIST(execlp, execvp, (path, argv))
OF_A_LIST(execle, execve, (path, argv, va_arg(arguments, char **)))

void executes_open(void)
{
    find_real();
}
