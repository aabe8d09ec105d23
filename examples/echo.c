/* SPDX-License-Identifier: MIT
 *
 * echo.c - the echo service of RFC 862, with what a real server wants besides: options, errors in words, a log.
 *
 *     cc -o echo echo.c $(pkg-config --cflags --libs forkport)
 *     ./echo 127.0.0.1:2121,[::1]:2121 max=50 user=nobody
 *
 * It prints the pair of each listening socket when clients can connect, and events on standard error until SIGTERM.
 */
#include <forkport/server.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int write_all(int fd, const char *bytes, ssize_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, bytes, (size_t)length);
        if (written < 0 && errno != EINTR)
            return -1;
        if (written > 0) {
            bytes += written;
            length -= written;
        }
    }
    return 0;
}

/* In a process of its own: it may block, leak and crash without anybody else's noticing. */
static int echo(struct fp_connection *connection, void *data)
{
    int fd = fp_connection_fd(connection);
    char bytes[65536];
    ssize_t length;

    (void)data;
    while ((length = read(fd, bytes, sizeof(bytes))) != 0) {
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0 || write_all(fd, bytes, length) < 0) {
            fprintf(stderr, "gone: %s\n", strerror(errno));
            return 1;
        }
    }
    return 0;
}

static void print_event(const char *line, size_t length, void *data)
{
    fwrite(line, 1, length, data);
}

/* "max=50" is the option --max 50 of forkport-serve(1). */
static enum fp_status set(struct fp_server *server, char *setting, struct fp_error *err)
{
    char *value = strchr(setting, '=');

    if (value != NULL)
        *value++ = '\0';
    return fp_server_set(server, setting, value, err);
}

static enum fp_status run(struct fp_server *server, char **arguments, struct fp_error *err)
{
    enum fp_status status = fp_server_listen(server, *arguments, err);

    while (status == FP_OK && *++arguments != NULL)
        status = set(server, *arguments, err);
    if (status == FP_OK)
        status = fp_server_open(server, err);
    if (status != FP_OK)
        return status;
    for (size_t i = 0; fp_server_pair(server, i) != NULL; i++)
        puts(fp_server_pair(server, i));
    fflush(stdout);
    return fp_server_run(server, err);
}

int main(int argc, char **argv)
{
    struct fp_error err = {.status = FP_OK};
    struct fp_server *server = fp_server_new(&err);
    char message[1024];

    if (argc < 2) {
        fputs("usage: echo ADDRESS[,ADDRESS...] [OPTION=VALUE...]\n", stderr);
        fp_server_free(server);
        return fp_status_exit_code(FP_USAGE);
    }
    if (server != NULL) {
        fp_server_handler(server, echo, NULL);
        fp_server_log(server, print_event, stderr);
        run(server, argv + 1, &err);
    }
    if (err.status != FP_OK) {
        fp_error_format(&err, message, sizeof(message));
        fprintf(stderr, "echo: %s\n", message);
    }
    fp_server_free(server);
    return fp_status_exit_code(err.status);
}
