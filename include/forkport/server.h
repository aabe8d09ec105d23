/* SPDX-License-Identifier: MIT
 *
 * forkport/server.h - a concurrent TCP server: a process for every connection.
 *
 *     static int hello(struct fp_connection *connection, void *data)
 *     {
 *         printf("hello, you are %s\n", fp_connection_pair(connection));
 *         return 0;
 *     }
 *
 *     struct fp_error err;
 *     struct fp_server *server = fp_server_new(&err);
 *     fp_server_listen(server, "127.0.0.1:2121", &err);
 *     fp_server_handler(server, hello, NULL);
 *     fp_server_run(server, &err);
 *     fp_server_free(server);
 *
 * A server belongs to the thread that runs it. While fp_server_run() runs, that thread's children are the server's to
 * wait for, and SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE and SIGXFSZ are blocked in it and handled as forkport-serve(1) says;
 * a program with further threads blocks them there. The library does not exit, and writes nothing to standard error.
 *
 * What a server is to do is said before fp_server_open(), or fp_server_run() where that opens it: afterwards
 * fp_server_set(), fp_server_listen(), fp_server_program() and fp_server_keep() return FP_USAGE and change nothing.
 */
#ifndef FORKPORT_SERVER_H
#define FORKPORT_SERVER_H

#include <forkport/connection.h>
#include <forkport/error.h>

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct fp_server;

/**
 * A server with every option at its default and nothing to serve; NULL and *err where memory or descriptors are short.
 * Of the descriptors 0 to 2, those that are closed are opened on /dev/null, lest something else lands there.
 */
struct fp_server *fp_server_new(struct fp_error *err);

/** Closes what the server still has open and releases it. Not while it runs; in a handler's process, the memory alone. NULL is allowed. */
void fp_server_free(struct fp_server *server);

/**
 * Sets an option of forkport-serve(1) by its name without the dashes: fp_server_set(server, "max", "50", &err); `value`
 * is NULL for an option that takes none. FP_USAGE: no such option or not its form; FP_CONFIG: no such user or group;
 * FP_SYSTEM: memory is short, or the users cannot be read.
 */
enum fp_status fp_server_set(struct fp_server *server, const char *option, const char *value,
                             struct fp_error *err);

/**
 * Where to listen, ADDRESS[,ADDRESS...] as in forkport-serve(1): "21", "192.0.2.1:21,[2001:db8::1]:21". Replaces what
 * was said before. Names are looked up at once. FP_DATA: not of that form; FP_NO_HOST: no such name; FP_SYSTEM: memory is short.
 */
enum fp_status fp_server_listen(struct fp_server *server, const char *addresses, struct fp_error *err);

/**
 * Serves each connection by this function in a forked copy of the process. `data` is passed on; it stays the caller's.
 * This and fp_server_log() can report no failure, and hold where they are called before the server runs.
 */
void fp_server_handler(struct fp_server *server, fp_handler *handler, void *data);

/** Serves each connection by this program (searched for in PATH; argv[0] names it); argv is copied. FP_SYSTEM. */
enum fp_status fp_server_program(struct fp_server *server, char *const argv[], struct fp_error *err);

/**
 * Leaves this descriptor (above 2) open in workers, which otherwise have none above 2. It stays the caller's and must
 * stay open while the server runs. With more than 32 there are no templates (engine fork): each connection executes the program.
 * FP_USAGE for a descriptor up to 2; FP_SYSTEM.
 */
enum fp_status fp_server_keep(struct fp_server *server, int fd, struct fp_error *err);

/**
 * Passes every event, as a line in the form of the option "log" with its newline, to `sink`, in the thread that runs
 * the server, which waits for it to return (no exception may leave it). The line is valid for the call only. Without a sink and without "log-file" there is no log.
 */
void fp_server_log(struct fp_server *server, void (*sink)(const char *line, size_t length, void *data),
                   void *data);

/**
 * Opens all the listening sockets, so that clients can connect and wait, and fp_server_pair() tells the ports. Called
 * by fp_server_run() where it has not been. FP_UNAVAILABLE: an address cannot be had, none is open then; FP_NOT_PERMITTED:
 * it may not (a port below 1024, say); FP_USAGE: nothing to listen on, options that contradict each other, or a
 * descriptor to keep or of "ready-fd" is not open (for writing); FP_SYSTEM: descriptors or memory are short.
 */
enum fp_status fp_server_open(struct fp_server *server, struct fp_error *err);

/** The pair of the listening socket `index`, "{127.0.0.1:2121, *:*}"; NULL from their number on, and until it is opened. Valid until free. */
const char *fp_server_pair(const struct fp_server *server, size_t index);

/**
 * Serves until SIGTERM, SIGINT or fp_server_stop(), then lets connections end (option "drain") and returns FP_OK with
 * all workers reaped and all sockets closed. Signals and their mask are then as before. What stdio has buffered is written first,
 * see fp_server(3). As fp_server_open() where it opens; FP_USAGE: nothing to serve; FP_NO_INPUT, FP_NOT_PERMITTED: the program, its user or the log's file
 * cannot be had; FP_SYSTEM: descriptors or memory are short at its start, all listening sockets were lost, a worker does
 * not end by SIGKILL, or the log's file could not be written and lacks events. A server runs once, and one at a time in a
 * process; in a handler's, none that was made before (FP_USAGE).
 */
enum fp_status fp_server_run(struct fp_server *server, struct fp_error *err);

/** Ends fp_server_run() as SIGTERM does; a second call hurries. May be called from any thread and from a signal handler;
 *  in a handler's process it does nothing. */
void fp_server_stop(struct fp_server *server);

#ifdef __cplusplus
}
#endif

#endif
