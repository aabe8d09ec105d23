/* SPDX-License-Identifier: MIT
 *
 * start.c - the way from a program's first instruction to main(), with a gate just before it.
 *
 * Both C libraries are entered by __libc_start_main(), by name, from the program's own start code. Ours is found first, puts a
 * function of ours in the place of main(), and goes on with the library's.
 */
#include "preload/ending.h"
#include "preload/finish.h"
#include "preload/gate.h"
#include "preload/reads.h"
#include "preload/variables.h"
#include "sys/child.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

typedef int main_function(int argc, char **argv, char **envp);
typedef int start_function(main_function *main, int argc, char **argv, void (*init)(void), void (*fini)(void),
                           void (*rtld_fini)(void), void *stack_end);

__attribute__((visibility("default")))
start_function __libc_start_main; /* NOLINT: the name is the C library's */

#pragma weak reads_open

extern char **environ;

static main_function *program_main;

/* glibc runs constructors before it enters the program, musl after: whichever comes first. */
__attribute__((constructor)) static void loaded(void)
{
    static bool was_here;

    if (was_here)
        return;
    was_here = true;
    gate_open();
    /* Not in the library for gate main. */
    if (reads_open != NULL)
        reads_open();
}

static int call_main(int argc, char **argv, char **envp)
{
    int status = program_main(argc, argv, envp);

    ending_come(status);
    return status;
}

static int gated_main(int argc, char **argv, char **envp)
{
    /* Of one that a constructor has moved it may be moved again. */
    bool is_environment = envp == environ;

    gate_pass(true);
    return call_main(argc, argv, is_environment ? environ : envp);
}

int __libc_start_main(main_function *main, int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end) /* NOLINT */
{
    void *symbol = dlsym(RTLD_NEXT, "__libc_start_main");
    start_function *real;

    if (symbol == NULL)
        child_exit(70);
    loaded();
    ending_exit();
    ending_leave();
    memcpy(&real, &symbol, sizeof(real));
    size_t block_bytes = gate_can_fork() ? variables_block_bytes(argc, argv, __builtin_alloca(16)) : 0;
    if (block_bytes != 0)
        argv = variables_move_block(argv, __builtin_alloca(block_bytes));
    program_main = main;
    main = gate_is_ahead(TEMPLATE_GATE_MAIN) ? gated_main : call_main;
    /* A program of before glibc 2.34 brings a function that is to be called at its end. */
    if (gate_can_fork() && fini == NULL)
        rtld_fini = finish_begin(rtld_fini);
    return real(main, argc, argv, init, fini, rtld_fini, stack_end);
}
