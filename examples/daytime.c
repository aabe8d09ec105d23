/* SPDX-License-Identifier: MIT
 *
 * daytime.c - the date and time of RFC 867, and a handler that is given something by its server.
 *
 *     cc -o daytime daytime.c $(pkg-config --cflags --libs forkport)
 *     ./daytime 127.0.0.1:2113 Berne
 *
 * What the handler is given is a copy, as it was when the connection came: a handler cannot change the server.
 */
#include <forkport/server.h>

#include <stdio.h>
#include <time.h>

struct clock {
    const char *place;
};

static int daytime(struct fp_connection *connection, void *data)
{
    const struct clock *clock = data;
    char line[128];
    time_t now = time(NULL);

    (void)connection;
    strftime(line, sizeof(line), "%A, %B %e, %Y %H:%M:%S-%Z", localtime(&now));
    /* Standard output is the client, and is flushed when the handler returns. */
    return printf("%s (%s)\r\n", line, clock->place) < 0;
}

int main(int argc, char **argv)
{
    struct fp_error err = {.status = FP_OK};
    struct clock clock = {.place = argc > 2 ? argv[2] : "here"};
    struct fp_server *server = fp_server_new(&err);
    char message[1024];

    if (server != NULL && fp_server_listen(server, argc > 1 ? argv[1] : "127.0.0.1:2113", &err) == FP_OK) {
        fp_server_handler(server, daytime, &clock);
        fp_server_run(server, &err);
    }
    if (err.status != FP_OK) {
        fp_error_format(&err, message, sizeof(message));
        fprintf(stderr, "daytime: %s\n", message);
    }
    fp_server_free(server);
    return fp_status_exit_code(err.status);
}
