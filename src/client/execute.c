/* SPDX-License-Identifier: MIT */
#include "client/execute.h"

#include "sys/connect.h"
#include "sys/process.h"
#include "sys/signals.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Known to us is nothing of these: what is left over from an outer connection would be taken for this one's. */
static const char *const unknown[] = {"TCPLOCALHOST", "TCPREMOTEHOST", "TCPREMOTEINFO",      "TCPCONNNUM",
                                      "REMOTE_ADDR",  "REMOTE_PORT",   "FORKPORT_CONNECTION"};

static bool set_host(const char *name, const struct address *address)
{
    char value[ADDRESS_TEXT_SIZE];
    struct text text;

    text_init(&text, value, sizeof(value));
    address_format_host(address, &text);
    text_end(&text);
    return setenv(name, value, 1) == 0;
}

static bool set_port(const char *name, uint16_t port)
{
    char value[8];
    struct text text;

    text_init(&text, value, sizeof(value));
    text_unsigned(&text, port);
    text_end(&text);
    return setenv(name, value, 1) == 0;
}

static bool set_environment(const struct pair *pair)
{
    char value[PAIR_TEXT_SIZE];
    struct text text;

    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        unsetenv(unknown[i]);
    text_init(&text, value, sizeof(value));
    pair_format(pair, &text);
    text_end(&text);
    return setenv("PROTO", "TCP", 1) == 0 && setenv("FORKPORT_PAIR", value, 1) == 0 &&
           set_host("TCPLOCALIP", &pair->local) && set_port("TCPLOCALPORT", pair->local.port) &&
           set_host("TCPREMOTEIP", &pair->foreign) && set_port("TCPREMOTEPORT", pair->foreign.port);
}

enum fp_status execute_program(int take_socket, const struct pair *pair, const char *path, char *const argv[],
                               struct fp_error *err)
{
    sigset_t none;

    if (connect_socket_give(take_socket) < 0) {
        bool is_short = errno == EMFILE;
        error_set(err, FP_SYSTEM, errno, "pass the connection to", "%s", argv[0]);
        if (is_short)
            error_hint(err, "descriptors up to 8 are needed: the limit (ulimit -n) must be 9 or more");
        return FP_SYSTEM;
    }
    if (!set_environment(pair))
        return error_set(err, FP_SYSTEM, errno, "prepare the environment of", "%s", argv[0]);
    signals_reset_ignored();
    sigemptyset(&none);
    signals_set_mask(&none, NULL);
    process_execute(path, argv, environ);
    return error_set(err, error_class(errno), errno, "run", "%s", argv[0]);
}
