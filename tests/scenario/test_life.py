"""Life of the server: what is said of each connection's end, how the server ends, and what signals do to it."""
import collections
import contextlib
import fcntl
import json
import os
import pty
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
import tty

import pytest

import forkport

LIMITS = ["--max", 3000, "--max-per-source", 3000]


def end_of(server, number=1, **fields):
    return server.log.wait("end", connection=number, **fields)


# What is said of an end.

@pytest.mark.parametrize("code", [0, 1, 64, 127, 255])
def test_exit_status(serve, code):
    server = serve("127.0.0.1:0", worker=[forkport.WORKER, "exit", code])
    server.ask()
    end = end_of(server)
    assert end["exit"] == code and "signal" not in end


@pytest.mark.no_program
@pytest.mark.parametrize("code", [0, 1, 127, 255])
def test_exit_status_of_a_handler(serve, code):
    server = serve("127.0.0.1:0", handler="exit")
    server.ask(bytes([code]))
    assert end_of(server)["exit"] == code
    assert server.log.find("fail") == []


@pytest.mark.parametrize("name", ["KILL", "SEGV", "TERM", "PIPE", "USR1"])
def test_ended_by_a_signal(serve, name):
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    server = serve("127.0.0.1:0", worker=[forkport.WORKER, "signal", int(signal.Signals[f"SIG{name}"])])
    server.ask()
    end = end_of(server)
    assert end["signal"] == name and "exit" not in end


# What it does once it has itself traced by its parent, what it answers, and how it ends.
TRACED_BY_THE_SERVER = {
    "a signal that is caught": ("signal.signal(10, lambda *_: print('caught', flush=True)); os.kill(os.getpid(), 10)", b"caught\n", {"exit": 0}),
    "a signal that ends": ("print('answer', flush=True); os.kill(os.getpid(), 10)", b"answer\n", {"signal": "USR1"}),
    "another program": ("os.execlp('echo', 'echo', 'executed')", b"executed\n", {"exit": 0}),
}


@pytest.mark.parametrize("options", [[], ["--engine", "fork", "--gate", "read"]], ids=["exec", "fork"])
@pytest.mark.parametrize("what", TRACED_BY_THE_SERVER)
def test_one_that_has_itself_traced_by_its_parent(serve, options, what):
    """Against a debugger, as is done: whatever it would stop at for the server, which is no debugger, is not its end."""
    script, answer, how = TRACED_BY_THE_SERVER[what]
    server = serve("127.0.0.1:0", *options, worker=[
        "python3", "-c", f"import ctypes, os, signal, sys; sys.stdin.readline(); ctypes.CDLL(None).ptrace(0, 0, 0, 0); {script}"])
    if options:
        server.log.wait("template")
    assert server.ask(b"\n") == answer
    end = end_of(server)
    assert {key: end[key] for key in ("exit", "signal") if key in end} == how
    assert forkport.state(end["pid"]) is None


@pytest.mark.parametrize("milliseconds, mebibytes", [(0, 0), (150, 0), (50, 64)])
def test_time_and_memory(serve, milliseconds, mebibytes):
    """What the kernel told the worker itself just before its end, and a little more."""
    server = serve("127.0.0.1:0", worker=[forkport.WORKER, "burn", milliseconds, mebibytes])
    began = time.monotonic()
    cpu_us, rss_kib = map(int, server.ask().split())
    end = end_of(server)
    took_ms = (time.monotonic() - began) * 1000
    used_us = end["cpu_user_us"] + end["cpu_system_us"]
    assert cpu_us <= used_us < cpu_us + 100_000 and used_us >= milliseconds * 1000
    assert rss_kib <= end["max_rss_kib"] < rss_kib + 4096 and end["max_rss_kib"] >= mebibytes * 1024
    assert milliseconds <= end["duration_ms"] <= took_ms


TRANSFERS = [(0, 0), (1, 0), (0, 1), (1, 1), (1000, 3), (65536, 65537), (3_000_000, 1), (1, 5_000_000)]


@pytest.mark.parametrize("taken, given", TRANSFERS)
def test_bytes_of_a_program(serve, taken, given):
    server = serve("127.0.0.1:0", worker=[forkport.WORKER, "take-and-give", given])
    for number in range(1, 4):
        assert len(server.ask(b"x" * taken)) == given
        end = end_of(server, number)
        assert (end["bytes_in"], end["bytes_out"]) == (taken, given)


@pytest.mark.parametrize("builtin, echoed", [("echo", 1), ("discard", 0)])
@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_bytes_of_a_handler(serve, builtin, echoed, size):
    server = serve("127.0.0.1:0", "--builtin", builtin)
    with server.connect() as client:
        sender = threading.Thread(target=lambda: (client.sendall(b"x" * size), client.shutdown(socket.SHUT_WR)))
        sender.start()
        assert len(forkport.read_to_end(client)) == size * echoed
        sender.join()
    end = end_of(server)
    assert (end["bytes_in"], end["bytes_out"]) == (size, size * echoed)


def test_a_handler_prints_in_wide_characters(serve):
    assert serve("127.0.0.1:0", handler="wide").ask() == b"in wide characters\n"


@pytest.mark.no_program
@pytest.mark.skipif(forkport.SANITIZED, reason="the sanitizer's memory of a thread comes before it too")
def test_what_each_switch_writes_is_on_one_page_of_a_handler(serve):
    """As of a template's worker (test_template.py)."""
    assert serve("127.0.0.1:0", handler="thread").ask() in (b"one page\n", b"unknown\n")



def test_bytes_of_a_handler_that_ends_its_direction_first(serve):
    server = serve("127.0.0.1:0", handler="farewell")
    with server.connect() as client:
        assert forkport.read_to_end(client) == b"farewell\n"
        client.sendall(b"x" * 1000)
    end = end_of(server)
    assert (end["bytes_in"], end["bytes_out"]) == (1000, 9)


def test_bytes_that_were_not_sent_when_the_client_closed_were_written(serve):
    """The client goes while the kernel, and nobody else, has the most of what the program wrote."""
    server = serve("127.0.0.1:0", worker=["/usr/bin/head", "-c", 1_500_000, "/dev/zero"])
    for number in range(1, 4):
        with server.connect():
            pid = server.log.wait("start", connection=number)["pid"]
            forkport.until(lambda pid=pid: forkport.state(pid) in (None, "Z"), "the end of the program")
        end = server.log.wait("end", connection=number)
        assert (end["exit"], end["bytes_out"]) == (0, 1_500_000)


def test_bytes_that_a_handler_left_unread_are_not_its(serve):
    server = serve("127.0.0.1:0", handler="exit")
    with server.connect() as client:
        server.signal(signal.SIGSTOP)
        forkport.until(lambda: forkport.state(server.pid) == "T", "the server to be stopped")
        client.sendall(b"\0" * 1000)
        server.signal(signal.SIGCONT)
        end = end_of(server)
    assert (end["bytes_in"], end["bytes_out"], end["exit"]) == (1, 0, 0)


def test_bytes_of_a_handler_that_is_ended_are_not_known(serve):
    server = serve("127.0.0.1:0", "--builtin", "echo", "--drain", 0)
    with server.connect() as client:
        client.sendall(b"x\n")
        assert forkport.read_line(client) == "x\n"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    end = end_of(server)
    assert end["signal"] == "TERM" and not {"bytes_in", "bytes_out"} & set(end)


def test_bytes_of_many_at_once(serve):
    """Each end has the bytes of its own connection."""
    server = serve("127.0.0.1:0", *LIMITS, worker=["sh", "-c", "head -c $TCPREMOTEPORT /dev/zero"])
    sizes, number = {}, 200
    for _ in range(number // 20):
        clients = [server.connect() for _ in range(20)]
        for client in clients:
            port = client.getsockname()[1]
            assert len(forkport.read_to_end(client)) == port
            sizes[f"{{127.0.0.1:{server.port}, 127.0.0.1:{port}}}"] = port
            client.close()
    server.log.wait("end", count=number)
    ends = server.log.find("end")
    assert len(ends) == number and {end["pair"]: end["bytes_out"] for end in ends} == sizes
    assert {end["bytes_in"] for end in ends} == {0}


def test_events_of_a_connection_are_in_order_and_agree(serve):
    server = serve("127.0.0.1:0", "--name", "ftp", worker=[forkport.WORKER, "hold"])
    with server.connect() as client:
        pid = int(forkport.read_line(client))
        pair = f"{{127.0.0.1:{server.port}, 127.0.0.1:{client.getsockname()[1]}}}"
        # One that is made ahead is told from a worker once it has come to where it waits.
        forkport.until(lambda: forkport.children(server.pid) == [pid], "one worker")
    end_of(server)
    assert server.stop() == 0
    events = server.log.read()
    events = [event for event in events if event["event"] not in ("template", "pool")]
    assert [event["event"] for event in events] == ["listen", "accept", "start", "end", "drain", "stop"]
    assert {event["service"] for event in events} == {"ftp"}
    assert {event["pair"] for event in events[1:4]} == {pair} and events[0]["pair"] == server.pairs[0]
    assert {event["pid"] for event in events[2:4]} == {pid}
    times = [event["time"] for event in events]
    assert times == sorted(times) and all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", t) for t in times)
    assert {key: events[-1][key] for key in ("served", "refused", "failed")} == \
        {"served": 1, "refused": 0, "failed": 0}


def test_bytes_of_a_worker_whose_child_keeps_the_connection(serve):
    """It is not announced as ended, since it is not: the kernel is asked."""
    server = serve("127.0.0.1:0", worker=["sh", "-c", "read line; echo got $line; exec 3<&0; cat <&3 >/dev/null & exit 3"])
    with server.connect() as client:
        client.sendall(b"hello\n")
        assert forkport.read_line(client) == "got hello\n"
        end = end_of(server)
        assert (end["exit"], end["bytes_in"], end["bytes_out"]) == (3, 6, 10)


def test_bytes_that_the_kernel_does_not_tell(serve, strace):
    """The end is said without them, a second late at most, and no more wait for them than may be served."""
    server = serve("127.0.0.1:0", "--max", 2, worker=["cat"], env=forkport.TRACED,
                   prefix=["strace", "-D", "-o", "/dev/null", "-e", "trace=recvfrom", "-e", "inject=recvfrom:error=EAGAIN"])
    assert server.ask(b"x") == b"x"
    assert not {"bytes_in", "bytes_out"} & set(end_of(server))
    for _ in range(5):
        assert server.ask(b"y") == b"y"
    assert server.stop() == 0
    assert server.log.wait("stop")["served"] == 6
    assert sorted(event["connection"] for event in server.log.find("end")) == [1, 2, 3, 4, 5, 6]


def test_bytes_where_the_kernel_has_nobody_to_tell_them(serve, strace):
    """Once that has been said, nothing is waited for."""
    server = serve("127.0.0.1:0", "--stderr", "inherit", worker=["cat"], env=forkport.TRACED,
                   prefix=["strace", "-D", "-o", "/dev/null", "-e", "trace=bind", "-e", "inject=bind:error=ENOENT:when=2+"])
    assert server.log.wait("notice")["error"].startswith("the bytes of connections are not counted: sock_diag: ")
    assert server.ask(b"x") == b"x"
    assert not {"bytes_in", "bytes_out"} & set(end_of(server))
    assert server.stop() == 0 and len(server.log.find("notice")) == 1


@pytest.mark.parametrize("how, name", [({"worker": ["/bin/cat"]}, "cat"), ({"worker": ["cat"]}, "cat"), ({"handler": "exit"}, "handler")],
                         ids=["path", "name", "handler"])
def test_service_without_a_name(serve, how, name):
    server = serve("127.0.0.1:0", **how)
    server.ask(b"\0")
    end_of(server)
    assert {event["service"] for event in server.log.read()} == {name}


# How it ends.

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_at_once_without_connections(serve, number):
    server = serve("127.0.0.1:0", "--builtin", "echo")
    server.signal(number)
    assert server.wait() == 0
    assert server.log.read()[-1]["event"] == "stop"


def test_drain_lets_workers_finish(serve):
    server = serve("127.0.0.1:0", worker=["cat"])
    with server.connect() as client:
        client.sendall(b"before\n")
        assert forkport.read_line(client) == "before\n"
        server.signal(signal.SIGTERM)
        assert server.log.wait("drain")["live"] == 1
        with pytest.raises(ConnectionRefusedError):
            server.connect()
        client.sendall(b"after\n")
        assert forkport.read_line(client) == "after\n"
        assert server.process.poll() is None
    assert server.wait() == 0
    assert end_of(server)["exit"] == 0
    assert server.log.find("hurry") == []


def test_drain_over_sends_term_then_kill(serve):
    """One worker ends at TERM, the other does not; the server waits for both and no longer than it said."""
    server = serve("127.0.0.1:0", "--drain", 1, worker=["sh", "-c", f"read how; exec {forkport.WORKER} hold $how"])
    with server.connect() as meek, server.connect() as stubborn:
        meek.sendall(b"\n")
        stubborn.sendall(b"ignore\n")
        pids = [int(forkport.read_line(client)) for client in (meek, stubborn)]
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        took = time.monotonic() - began
    assert [(event["signal"], event["live"]) for event in server.log.find("hurry")] == [("TERM", 2), ("KILL", 1)]
    assert {end["pid"]: end["signal"] for end in server.log.find("end")} == dict(zip(pids, ("TERM", "KILL")))
    assert 6 <= took < 9, "a second of drain, five of patience"


def test_further_signals_hurry(serve):
    server = serve("127.0.0.1:0", "--drain", 3600, worker=[forkport.WORKER, "hold", "ignore"])
    with server.connect() as client:
        forkport.read_line(client)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        server.log.wait("drain")
        server.signal(signal.SIGINT)
        server.log.wait("hurry", signal="TERM")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert time.monotonic() - began < 4, "without waiting for a timer"
    assert end_of(server)["signal"] == "KILL"


def test_the_whole_session_of_a_worker_is_signalled(serve):
    """A shell's children get the signal too, or a worker that is a script would leave them behind."""
    server = serve("127.0.0.1:0", "--drain", 0, worker=["sh", "-c", f"{forkport.WORKER} hold; :"])
    with server.connect() as client:
        pid = int(forkport.read_line(client))
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        forkport.wait_pid(pid)


def test_queued_connections_are_served_at_the_end(serve):
    """Clients whose connection stands when SIGTERM comes were told that they are connected: they are served."""
    server = serve("127.0.0.1:0", *LIMITS, worker=["cat"])
    server.signal(signal.SIGSTOP)
    forkport.until(lambda: forkport.state(server.pid) == "T", "the server to be stopped")
    clients = [server.connect() for _ in range(50)]
    server.signal(signal.SIGTERM)
    server.signal(signal.SIGCONT)
    for index, client in enumerate(clients):
        client.sendall(b"%d" % index)
        client.shutdown(socket.SHUT_WR)
        assert forkport.read_to_end(client) == b"%d" % index
        client.close()
    assert server.wait() == 0
    assert server.log.wait("stop")["served"] == 50


def test_those_over_max_are_told_at_the_end(serve):
    """They cannot be served any more; the log says what became of them."""
    server = serve("127.0.0.1:0", "--max", 1, "--drain", 3600, worker=["cat"])
    held, *waiting = [server.connect() for _ in range(4)]
    server.log.wait("accept")
    server.signal(signal.SIGTERM)
    for client in waiting:
        assert forkport.read_to_end(client) == b""
        client.close()
    held.shutdown(socket.SHUT_WR)
    assert forkport.read_to_end(held) == b"" and server.wait() == 0
    assert [event["reason"] for event in server.log.find("refuse")] == 3 * ["server ends"]
    assert server.log.wait("stop")["refused"] == 3
    held.close()


@pytest.mark.no_program
def test_those_who_keep_coming_do_not_keep_it_from_ending(serve, strace):
    """Each is accepted slowly, so that the queue is never empty: no more are taken than it can hold."""
    server = serve("127.0.0.1:0", "--backlog", 31, *LIMITS, "--builtin", "discard", env=forkport.TRACED,
                   prefix=["strace", "-D", "-o", "/dev/null", "-e", "trace=accept4", "-e", "inject=accept4:delay_exit=50000"])
    has_ended = threading.Event()

    def come():
        while not has_ended.is_set():
            with contextlib.suppress(OSError):
                server.connect().close()

    clients = [threading.Thread(target=come) for _ in range(16)]
    for client in clients:
        client.start()
    try:
        server.log.wait("accept", count=40)
        server.signal(signal.SIGTERM)
        server.log.wait("drain", seconds=forkport.DEADLINE / 2)
    finally:
        has_ended.set()
        for client in clients:
            client.join()
    assert server.wait() == 0


def test_workers_live_on_when_the_supervisor_is_killed(serve):
    """Nothing of a connection depends on the supervisor once its process runs."""
    server = serve("127.0.0.1:0", worker=["cat"])
    with server.connect() as client:
        client.sendall(b"one\n")
        assert forkport.read_line(client) == "one\n"
        pid = server.log.wait("start")["pid"]
        server.process.kill()
        server.process.wait()
        client.sendall(b"two\n")
        assert forkport.read_line(client) == "two\n"
    forkport.wait_pid(pid)


# What happens to many at once.

def test_two_hundred_end_while_the_supervisor_stands_still(serve):
    """SIGCHLD is one signal for however many children: none is missed, no slot is lost."""
    server, number = serve("127.0.0.1:0", *LIMITS, worker=["cat"]), 200
    clients = [server.connect() for _ in range(number)]
    server.log.wait("start", count=number)
    # One that is started ahead has none of its marks for a moment.
    pids = forkport.until(lambda: len(pids := forkport.children(server.pid)) == number and pids, f"{number} workers")
    server.signal(signal.SIGSTOP)
    forkport.until(lambda: forkport.state(server.pid) == "T", "the server to be stopped")
    for client in clients:
        client.close()
    forkport.until(lambda: all(forkport.state(pid) == "Z" for pid in pids), "all workers to have ended")
    server.signal(signal.SIGCONT)
    server.log.wait("end", count=number)
    ends = server.log.find("end")
    assert collections.Counter(end["pid"] for end in ends) == collections.Counter(pids)
    assert min(end["live"] for end in ends) == 0
    forkport.until(lambda: not forkport.children(server.pid), "no child to be left")
    assert server.ask(b"alive") == b"alive"
    assert server.stop() == 0
    assert server.log.wait("stop")["served"] == number + 1


def test_children_that_are_not_ours_do_no_harm(serve):
    """A server that was executed by a shell which had children has them still, and reaps them."""
    server = serve("127.0.0.1:0", worker=["cat"], prefix=["sh", "-c", "true & exec \"$@\"", "sh"])
    assert server.ask(b"one") == b"one"
    end_of(server)
    assert server.ask(b"two") == b"two"
    assert server.stop() == 0
    assert server.log.wait("stop")["served"] == 2


# Signals.

@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR2", "SIGPIPE"])
def test_other_signals_do_not_end_it(serve, name):
    server = serve("127.0.0.1:0", worker=["cat"])
    with server.connect() as client:
        server.signal(signal.Signals[name])
        assert server.ask(b"alive") == b"alive"
        client.sendall(b"still\n")
        assert forkport.read_line(client) == "still\n"
    if name != "SIGPIPE":
        assert name in server.log.wait("notice")["error"]
    assert server.stop() == 0


def test_pairs_come_in_one_write():
    """Who waits for one line, as s6 does, closes the pipe behind it: a write for another would end the server."""
    reader, writer = os.pipe2(os.O_DIRECT)  # what is written at once is read at once, and nothing with it
    command = [forkport.FORKPORT, "serve", "127.0.0.1:0,127.0.0.2:0", "--ready-fd", str(writer), "--log", "none",
               "--builtin", "echo"]
    with subprocess.Popen(command, pass_fds=[writer]) as server, open(reader, "rb", buffering=0) as ready:
        os.close(writer)
        try:
            assert select.select([ready], [], [], forkport.DEADLINE)[0]
            assert re.fullmatch(rb"\{127\.0\.0\.1:.*\n\{127\.0\.0\.2:.*\n", ready.read(65536))
        finally:
            server.kill()


@contextlib.contextmanager
def with_pairs_over_a_page():
    """A server whose pairs are more than its pipe takes, and the end of it to be read."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    addresses = ",".join(f"127.0.{i // 250}.{i % 250 + 1}:0" for i in range(400))
    command = [forkport.FORKPORT, "serve", addresses, "--ready-fd", str(writer), "--log", "none", "--builtin", "echo"]
    with subprocess.Popen(command, pass_fds=[writer]) as server, open(reader, "rb", buffering=0) as ready:
        os.close(writer)
        try:
            assert select.select([ready], [], [], forkport.DEADLINE)[0]
            yield server, ready
        finally:
            server.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_pairs_that_nobody_reads_do_not_keep_the_server_from_ending(number):
    with with_pairs_over_a_page() as (server, _):
        server.send_signal(number)
        assert server.wait(forkport.DEADLINE) == 0


@pytest.mark.parametrize("filled", range(6500, 8500, 500))
def test_a_full_terminal_does_not_keep_the_server_from_ending(filled):
    """It may have room for less than the pairs, and a write would wait for the rest."""
    control, terminal = pty.openpty()
    with open(terminal, "wb", buffering=0) as filling, open(control, "rb", buffering=0):
        tty.setraw(terminal)
        filling.write(filled * b"x")
        command = [forkport.FORKPORT, "serve", ",".join(400 * ["127.0.0.1:0"]), "--ready-fd", str(terminal), "--log", "none", "--builtin", "echo"]
        with subprocess.Popen(command, pass_fds=[terminal]) as server:
            try:
                blocked = 1 << (signal.SIGTERM - 1)
                forkport.until(lambda: int(forkport.status(server.pid, "SigBlk"), 16) & blocked, "the server to wait with signals")
                server.terminate()
                assert server.wait(forkport.DEADLINE) == 0
            finally:
                server.kill()


def test_who_reads_no_more_than_the_first_of_many_pairs():
    with with_pairs_over_a_page() as (server, ready):
        port = int(re.match(rb"\{127\.0\.0\.1:(\d+), ", ready.read(64))[1])
        ready.close()
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(forkport.DEADLINE)
            client.sendall(b"here")
            assert client.recv(4) == b"here"


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_a_log_at_the_descriptor_that_tells_of_readiness(tmp_path, kind):
    """--ready-fd 2 is closed when it has told; the log goes on."""
    path = tmp_path / "errors"
    if kind == "file":
        path.touch()
    else:
        os.mkfifo(path)
    with open(path, "r+b", buffering=0) as errors:
        said = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        command = [forkport.FORKPORT, "serve", "127.0.0.1:0", "--ready-fd", "2", "--builtin", "echo"]
        with subprocess.Popen(command, stderr=errors) as server:
            text = b""

            def has_come(word):
                nonlocal text
                with contextlib.suppress(BlockingIOError):
                    text += os.read(said, 65536)
                return word in text

            try:
                forkport.until(lambda: has_come(b" listen "), "the server to listen")
                server.send_signal(signal.SIGTERM)
                assert server.wait(forkport.DEADLINE) == 0
                forkport.until(lambda: has_come(b" stop "), "the last event")
            finally:
                server.kill()
        os.close(said)
    assert [line.split()[1] for line in text.decode().splitlines()[1:]] == ["listen", "drain", "stop"]


def test_a_name_makes_no_line(tmp_path, serve):
    """Not in a notice either, as of a program that cannot be a template."""
    program = tmp_path / "of two lines\n2026-01-01T00:00:00.000Z end    #9 forged"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    server = serve("127.0.0.1:0", "--engine", "fork", "--log", "text", "--log-file", tmp_path / "text", worker=[program], log=False)
    server.stop()
    said = (tmp_path / "text").read_text()
    assert "of two lines\\x0a2026" in said
    assert all(line.split()[1] in ("listen", "notice", "drain", "stop") for line in said.splitlines())


def test_log_rotation_loses_nothing(serve):
    server, number = serve("127.0.0.1:0", worker=["cat"]), 30
    for index in range(1, number + 1):
        assert server.ask(b"x") == b"x"
        end_of(server, index)
        if index % 10 == 0:
            before = server.log.read()[:]
            server.log.path.rename(server.folder / f"log.{index}")
            server.signal(signal.SIGUSR1)
            forkport.until(server.log.path.exists, "a new log file")
            server.log.follow()
            assert server.log.wait("reopen", count=index // 10)
            assert len(server.log.read()) > len(before)
            assert server.log.path.stat().st_mode & 0o777 == 0o640
    assert server.stop() == 0
    events = server.log.read()
    assert [event["connection"] for event in events if event["event"] == "end"] == list(range(1, number + 1))
    assert events[-1]["event"] == "stop"


def test_no_log_file_to_be_opened_anew(tmp_path):
    with open(tmp_path / "log", "w", encoding="utf-8") as log, subprocess.Popen(
            [forkport.FORKPORT, "serve", "127.0.0.1:0", "--builtin", "echo"], stderr=log) as server:
        try:
            forkport.until(lambda: "listen" in (tmp_path / "log").read_text(), "it to listen")
            server.send_signal(signal.SIGUSR1)
            forkport.until(lambda: len((tmp_path / "log").read_text().splitlines()) > 1, "it to say something")
        finally:
            server.kill()
    assert "notice there is no log file" in (tmp_path / "log").read_text()


def test_log_file_that_cannot_be_reopened_is_kept(serve):
    server = serve("127.0.0.1:0", worker=["cat"])
    moved = server.folder / "moved"
    moved.mkdir()
    old = server.log.path
    old.rename(moved / "log")
    old.mkdir()  # a folder has taken the name
    server.signal(signal.SIGUSR1)
    server.log.close()
    log = server.log = forkport.Log(moved / "log")
    assert str(old) in log.wait("notice")["error"]
    assert server.ask(b"x") == b"x"
    log.wait("end", connection=1)


# A log that nobody reads.

def log_reader(kind):
    """Both ends of what the server is to log to."""
    if kind == "pipe":
        return os.pipe()
    if kind == "terminal":
        return pty.openpty()
    return tuple(end.detach() for end in socket.socketpair())


def serve_unread(serve, kind, number):
    """A server whose log nobody reads, after so many connections; the reader's end of the log."""
    reader, writer = log_reader(kind)
    server = serve("127.0.0.1:0", "--log", "json", "--builtin", "echo", log=False, stderr=writer)
    os.close(writer)
    for index in range(number):
        assert server.ask(b"%d" % index) == b"%d" % index
    forkport.until(lambda: not forkport.children(server.pid), "no child to be left")
    return server, reader


@pytest.mark.no_program
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_blocked_log_reader_delays_nobody(serve, kind):
    """Every client is served, events are dropped; when the reader is back it is told how many, to the last one."""
    # An event is some 170 bytes: what the reader can hold and the log's own MiB are full before.
    number = 2700
    server, reader = serve_unread(serve, kind, number)
    seen = collections.Counter()
    for line in forkport.lines_of(reader):
        event = json.loads(line)
        seen[event["event"]] += 1
        if event["event"] == "lost":
            seen["dropped"] += event["count"]
            server.signal(signal.SIGTERM)
    os.close(reader)
    assert server.wait() == 0
    assert seen["stop"] == 1 and seen["lost"] >= 1
    told = sum(count for event, count in seen.items() if event not in ("lost", "dropped"))
    assert told + seen["dropped"] == 3 * number + len(["listen", "drain", "stop"])


@pytest.mark.no_program
@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal"])
def test_blocked_log_reader_does_not_keep_the_server_from_ending(serve, kind):
    server, reader = serve_unread(serve, kind, 600)
    with server.connect() as client:
        client.sendall(b"x")
        server.signal(signal.SIGTERM)
        client.shutdown(socket.SHUT_WR)
        assert forkport.read_to_end(client) == b"x"
    assert server.wait() == 0
    os.close(reader)


def test_closed_log_reader_does_no_harm(serve):
    reader, writer = os.pipe()
    server = serve("127.0.0.1:0", "--log", "text", worker=["cat"], log=False, stderr=writer)
    os.close(writer)
    os.close(reader)
    for _ in range(10):
        assert server.ask(b"x") == b"x"
    assert server.stop() == 0


def test_colour_on_a_terminal_only(serve):
    """And of those on none whose user wants none."""
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    for kind, more, coloured in (("terminal", {}, True), ("terminal", {"NO_COLOR": "", "TERM": "xterm"}, True), ("pipe", {}, False),
                                 ("terminal", {"NO_COLOR": "1"}, False), ("terminal", {"TERM": "dumb"}, False)):
        reader, writer = log_reader(kind)
        server = serve("127.0.0.1:0", worker=["cat"], log=False, stderr=writer, env={**plain, **more})
        os.close(writer)
        server.ask(b"x")
        assert server.stop() == 0
        lines = [line for line in forkport.lines_of(reader) if not re.search(rb"template|pool", line)]
        os.close(reader)
        assert len(lines) == 6 and {b"\x1b[" in line for line in lines} == {coloured}


@pytest.mark.no_program
def test_the_end_of_a_log_on_a_full_disk(serve):
    """Nobody can be told by the log: so it is said on standard error, and by the exit status."""
    server = serve("127.0.0.1:0", "--log-file", "/dev/full", "--builtin", "echo", log=False)
    assert server.ask(b"hello") == b"hello"
    assert server.stop() == 71
    assert server.errors() == "forkport: cannot write 6 events to the log file /dev/full: No space left on device\n"


def test_the_end_of_a_log_that_is_read_slowly(serve):
    """The last events are more than a pipe holds; whoever reads them gets them all."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with open(reader, "rb") as log, open(writer, "wb") as given:
        server = serve("127.0.0.1:0", "--log", "json", "--drain", 0, *LIMITS, worker=[forkport.WORKER, "hold"],
                       stderr=given, log=False)
        given.close()
        with contextlib.ExitStack() as stack:
            for _ in range(200):
                stack.enter_context(server.connect())
            forkport.until(lambda: len(forkport.children(server.pid)) >= 200)
            server.signal(signal.SIGTERM)
            events = collections.Counter(json.loads(slow)["event"] for slow in log if not time.sleep(0.001))
    assert (server.wait(), events["accept"], events["end"], events["stop"]) == (0, 200, 200, 1)


def test_the_end_of_a_log_that_nobody_reads(serve):
    reader, writer = os.pipe()
    with open(reader, "rb"), open(writer, "wb") as given:
        server = serve("127.0.0.1:0", "--log", "json", "--drain", 0, *LIMITS, worker=[forkport.WORKER, "hold"],
                       stderr=given, log=False)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        with contextlib.ExitStack() as stack:
            for _ in range(30):
                stack.enter_context(server.connect())
            forkport.until(lambda: len(forkport.children(server.pid)) >= 30)
            assert server.stop(5) == 0


@pytest.mark.no_program
def test_the_end_of_a_fifo_whose_reader_has_gone(serve, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    server = serve("127.0.0.1:0", "--log-file", tmp_path / "fifo", "--builtin", "echo", log=False)
    os.close(reader)
    assert server.ask(b"hello") == b"hello"
    assert (server.stop(), server.errors()) == (0, "")


def test_doors_that_are_closed_are_neither_left_alone_nor_looked_after_again(serve, tmp_path):
    program = shutil.copy("/bin/cat", tmp_path / "cat")
    server = serve("127.0.0.1:0", "--engine", "exec", worker=[program])
    with server.connect() as held:
        held.sendall(b"x")
        assert held.recv(1) == b"x"
        os.unlink(program)
        with server.connect():
            server.log.wait("pause")
        server.signal(signal.SIGTERM)
        server.log.wait("drain")
        # The time in which a pause that went on would end and begin again: what is asked for is that nothing happens.
        time.sleep(0.2)
    assert server.wait() == 0
    events = [event["event"] for event in server.log.read()]
    assert not {"pause", "resume"} & set(events[events.index("drain"):])


def test_bytes_of_a_connection_of_a_device(serve):
    """The program has ended, and its socket lives on: the kernel finds it under the device's number alone."""
    server = serve("127.0.0.1%lo:0", worker=["head", "-c", 200000, "/dev/zero"])
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        assert end_of(server)["bytes_out"] == 200000
