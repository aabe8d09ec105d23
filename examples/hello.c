/* SPDX-License-Identifier: MIT
 *
 * hello.c - the shortest server: greets each client with its socket pair.
 *
 *     cc -o hello hello.c $(pkg-config --cflags --libs forkport)
 *     ./hello 127.0.0.1:2121
 */
#include <forkport/server.h>
#include <stdio.h>

static int hello(struct fp_connection *connection, void *data)
{
    (void)data;
    return printf("hello, you are %s\n", fp_connection_pair(connection)) < 0;
}

int main(int argc, char **argv)
{
    struct fp_error err = {.status = FP_OK};
    struct fp_server *server = fp_server_new(&err);

    if (server != NULL && fp_server_listen(server, argc > 1 ? argv[1] : "127.0.0.1:2121", &err) == FP_OK) {
        fp_server_handler(server, hello, NULL);
        fp_server_run(server, &err);
    }
    fp_server_free(server);
    return fp_status_exit_code(err.status);
}
