"""Turns of the supervisor that are seldom so: its clock was set, a watch cannot be had, a pid comes again."""
import datetime
import os
import re
import resource
import shutil
import signal
import socket
import subprocess

import pytest

import forkport
import test_shortage

HERE = "127.0.0.1:0"


# What the time is.

def time_of(event):
    return datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00"))


@pytest.mark.skipif(forkport.SANITIZED, reason="a sanitizer must be loaded first of all")
def test_the_clock_is_set_while_nobody_comes(serve, tmp_path):
    """As it is by a host that was asleep: what is said first has the new time already."""
    is_set = tmp_path / "is set"
    server = serve(HERE, "--builtin", "echo", env={
        **os.environ, "LD_PRELOAD": str(forkport.BUILD / "tests/fixtures/clock.so"), "CLOCK_IS_SET": str(is_set)})
    assert server.ask(b"before") == b"before"
    before = time_of(server.log.wait("end"))
    # In the turn that said so nothing follows.
    forkport.until(lambda: forkport.state(server.pid) == "S", "the server to wait")
    is_set.touch()
    assert server.ask(b"after") == b"after"
    server.log.wait("end", count=2)
    after = [time_of(event) for event in server.log.find("accept") + server.log.find("end") if event["connection"] == 2]
    assert len(after) == 2 and min(after) - before >= datetime.timedelta(hours=1)


# A watch that cannot be had.

def test_a_watch_that_cannot_be_had(serve, strace):
    """The listening socket is left alone as when there is no memory for a connection, and that is said."""
    server = serve(HERE, "--max", 1, "--builtin", "echo", env=forkport.TRACED)
    # Taken out of the loop since there is no room, and not let in again when there is.
    with test_shortage.injected(server, "epoll_ctl:error=ENOMEM:when=2"):
        assert server.ask(b"x") == b"x"
        pause = server.log.wait("pause")
        assert (pause["pair"], pause["error"]) == (server.pairs[0], "Cannot allocate memory")
        assert server.ask(b"y") == b"y"
    server.log.wait("resume", pair=server.pairs[0])
    assert server.stop() == 0


# Descriptors.

def test_a_reserve_that_was_lost_is_had_again(serve):
    """The limit was so low that even what is kept for telling a client could not be opened again."""
    server = serve(HERE, "--at-max", "message:busy\n", worker=["cat"])
    before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    with server.connect() as client:
        server.log.wait("pause")
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
        client.shutdown(socket.SHUT_WR)
        assert forkport.read_to_end(client) == b""
    with test_shortage.no_descriptor_free(server):
        assert server.ask() == b"busy\n"
