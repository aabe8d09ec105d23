/* SPDX-License-Identifier: MIT
 *
 * cmd/cmd.h - the subcommands of the program: a function and a file each.
 *
 * A subcommand takes its own arguments, argv[0] being its name, and returns the exit code of the process
 * (forkport(1), sysexits.h). This is the only room that prints to the user and decides how the process ends; it has no
 * logic of its own. cmd_fail() prints the one line of an error.
 */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include <forkport/error.h>

int cmd_serve(int argc, char **argv);
int cmd_connect(int argc, char **argv);
int cmd_pairs(int argc, char **argv);
int cmd_demux(int argc, char **argv);
int cmd_figures(int argc, char **argv);
int cmd_doctor(int argc, char **argv);

/* Prints "forkport: cannot ..." to standard error and returns the exit code. */
int cmd_fail(const struct fp_error *err);

#endif
