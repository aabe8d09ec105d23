"""environ(7) of a program that has the server in it, while it serves and afterwards."""
import os
import pathlib
import signal
import socket
import subprocess

import pytest

import forkport
from test_started import build

pytestmark = [pytest.mark.no_program, pytest.mark.skipif(forkport.SANITIZED, reason="the program would have to be sanitized too")]

PROGRAM = r"""#include <forkport/server.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static const char *saw = "nothing";
static FILE *stream;
static const char *of(const char *name) { return getenv(name) != NULL ? getenv(name) : "unset"; }
static void prepare(void)
{
    saw = getenv("FORKPORT_PAIR") != NULL ? "a worker's" : "its own";
    setenv("X", "changed", 1);
}
static ssize_t flushed(void *none, const char *text, size_t bytes)
{
    saw = getenv("FORKPORT_PAIR") != NULL ? "a worker's" : "its own";
    setenv("X", "changed", 1);
    return none == NULL && text != NULL ? (ssize_t)bytes : -1;
}
static void log_line(const char *line, size_t length, void *none)
{
    if (none == NULL)
        fwrite(line, 1, length, stream);
}
static int answer(struct fp_connection *connection, void *none)
{
    dprintf(fp_connection_fd(connection), "%s %s\n", of("X"), of("PROTO"));
    return none != NULL;
}
int main(int argc, char **argv)
{
    struct fp_error err;
    struct fp_server *server = fp_server_new(&err);
    if (argc < 2 || server == NULL || fp_server_listen(server, "127.0.0.1:0", &err) != FP_OK)
        return 1;
    fp_server_handler(server, answer, NULL);
    if (strcmp(argv[1], "fork handler") == 0)
        pthread_atfork(prepare, NULL, NULL);
    if (strcmp(argv[1], "flushed stream") == 0) {
        stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = flushed});
        fp_server_log(server, log_line, NULL);
    }
    if (strcmp(argv[1], "none") == 0)
        clearenv();
    if (fp_server_open(server, &err) != FP_OK)
        return 2;
    printf("%s\n", fp_server_pair(server, 0));
    fflush(stdout);
    if (fp_server_run(server, &err) != FP_OK)
        return 3;
    fp_server_free(server);
    printf("%s %s, saw %s\n", of("X"), of("PROTO"), saw);
    return 0;
}
"""


@pytest.mark.parametrize("what, answers, after", [
    ("", "own TCP\n", "own unset, saw nothing\n"),
    ("fork handler", "own TCP\n", "changed unset, saw its own\n"),
    ("flushed stream", "own TCP\n", "changed unset, saw its own\n"),
    ("none", "unset TCP\n", "unset unset, saw nothing\n")])
def test_it_is_the_programs_own(tmp_path, what, answers, after):
    include = pathlib.Path(__file__).parents[2] / "include"
    program = build(tmp_path, "cc", "server", PROGRAM, f"-I{include}", f"-Wl,-rpath,{forkport.BUILD}", forkport.BUILD / "libforkport.so")
    env = {"PATH": "/usr/bin:/bin", "X": "own"}
    with subprocess.Popen([program, what], env=env, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL) as server:
        try:
            port = server.stdout.readline().split(",")[0].rpartition(":")[2]
            for _ in range(3):
                with socket.create_connection(("127.0.0.1", int(port.strip(" }\n")))) as client:
                    assert forkport.read_to_end(client).decode() == answers
            os.kill(server.pid, signal.SIGTERM)
            assert server.stdout.read() == after
            assert server.wait(forkport.DEADLINE) == 0
        finally:
            server.kill()
