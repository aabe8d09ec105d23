/* SPDX-License-Identifier: MIT
 *
 * The fork loop of loops.c as a server of libforkport: the same answer, given by a handler, with every default on
 * and its limits out of the way. Writes the pair it listens on to standard output, and its log to a file.
 */
#include <forkport/server.h>

#include <stdio.h>
#include <unistd.h>

#define LINE_BYTES 512

static int answer(struct fp_connection *connection, void *data)
{
    char line[LINE_BYTES];
    int fd = fp_connection_fd(connection);
    (void)data;
    ssize_t got = read(fd, line, sizeof line);
    return got > 0 && write(fd, line, (size_t)got) == got ? 0 : 1;
}

static enum fp_status server_prepare(struct fp_server *server, char **argv, struct fp_error *err)
{
    const char *const options[][2] = {{"max", "100000"}, {"max-per-source", "100000"}, {"log-file", argv[2]}};
    enum fp_status status = fp_server_listen(server, argv[1], err);
    for (size_t i = 0; status == FP_OK && i < sizeof options / sizeof options[0]; i++)
        status = fp_server_set(server, options[i][0], options[i][1], err);
    fp_server_handler(server, answer, NULL);
    return status == FP_OK ? fp_server_open(server, err) : status;
}

int main(int argc, char **argv)
{
    struct fp_error err;
    char message[256];

    if (argc != 3) {
        fprintf(stderr, "usage: handler ADDRESS LOG-FILE\n");
        return 64;
    }
    struct fp_server *server = fp_server_new(&err);
    enum fp_status status = server ? server_prepare(server, argv, &err) : FP_SYSTEM;
    if (status == FP_OK) {
        puts(fp_server_pair(server, 0));
        fflush(stdout);
        status = fp_server_run(server, &err);
    }
    fp_server_free(server);
    if (status == FP_OK)
        return 0;
    fp_error_format(&err, message, sizeof message);
    fprintf(stderr, "handler: %s\n", message);
    return 1;
}
