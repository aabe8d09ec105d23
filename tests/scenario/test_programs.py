"""Real programs, each served by every engine and used by its real clients, with the same answers.

And what operators trip over with them: fifty clients at once, a hundred megabytes, binary data, the end of one
direction only, and clients that go away in the middle.
"""
import collections
import concurrent.futures
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess
import tempfile
import threading

import pytest

import forkport
import programs

AT_ONCE = 50


@pytest.fixture(name="serve")
def serve_and_look(serve, engine):
    """serve(), and no server gives up its engine for exec; with `fits` false, each does, and says so once."""
    servers = []

    def start(*arguments, worker, fits=True, **more):
        fits = fits and not ("read" in engine and worker[0] in programs.UNFIT_AT_READ)
        servers.append((serve(*arguments, worker=worker, **more), fits))
        return servers[-1][0]

    yield start
    for server, fits in servers:
        notices = [event["error"] for event in server.log.find("notice")]
        assert len(notices) == (0 if fits or engine == "exec" else 1), notices


@pytest.fixture(params=programs.LINE_SCRIPTS)
def script(request):
    """The command of a program that answers a line."""
    command = programs.LINE_SCRIPTS[request.param]
    if reason := programs.why_missing(command[0]):
        pytest.skip(reason)
    return command


@pytest.fixture(scope="module", params=programs.GO_BUILDS)
def go_program(request):
    """A Go program's command, and whether it can be a template."""
    build = programs.GO_BUILDS[request.param]
    if reason := programs.why_missing("go"):
        pytest.skip(reason)
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, **build.env, "GOCACHE": f"{folder}/cache", "GO111MODULE": "off"}
        subprocess.run(["go", "build", *build.flags, "-o", f"{folder}/line", programs.SCRIPTS / "line.go"], check=True,
                       env=env, timeout=120)
        yield [f"{folder}/line"], build.fits


@pytest.fixture(scope="module")
def files():
    with tempfile.TemporaryDirectory() as folder:
        yield programs.Files(folder)


@pytest.fixture
def daemon(one_daemon, engine):
    one_daemon.fits = not ("read" in engine and one_daemon.greets)
    return one_daemon


@pytest.fixture(scope="module", params=programs.DAEMONS)
def one_daemon(request, files):
    kind = programs.DAEMONS[request.param]
    if reason := kind.why_not():
        pytest.skip(reason)
    return kind(files)


def pair_of(client):
    """A connection as the server's events call it."""
    (foreign, foreign_port), (local, local_port) = client.getsockname(), client.getpeername()
    return f"{{{local}:{local_port}, {foreign}:{foreign_port}}}"


def reset(client):
    """Goes away without a farewell."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def exchange(client, data):
    """Sends all of it and then the end of that direction, while reading all that comes."""
    def send():
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    got = forkport.read_to_end(client)
    sender.join()
    return got


def serve_script(serve, command, *options, **how):
    return serve("127.0.0.1:0", "--max", 100, "--max-per-source", 100, *options, worker=command, **how)


def check_many(server):
    """All stand at once before the first says anything; what the events say of each is what its client saw."""
    clients = [server.connect() for _ in range(AT_ONCE)]
    server.log.wait("start", AT_ONCE)
    expected = {}
    for number, client in enumerate(clients):
        line = f"{number} \\ 'x' %s $y\n" if number % 5 else f"exit {number}\n"
        client.sendall(line.encode())
        expected[pair_of(client)] = (0 if number % 5 else number, len(line), len("answer " + line))
        assert forkport.read_to_end(client) == f"answer {line}".encode()
        client.close()
    server.log.wait("end", AT_ONCE)
    ends = {end["pair"]: (end["exit"], end["bytes_in"], end["bytes_out"]) for end in server.log.find("end")}
    assert ends == expected
    pids = {event["connection"]: event["pid"] for event in server.log.find("start")}
    assert len(set(pids.values())) == AT_ONCE, "a process each"
    assert pids == {end["connection"]: end["pid"] for end in server.log.find("end")}


def check_who(server):
    for _ in range(3):
        with server.connect() as client:
            client.sendall(b"who\n")
            host, port = client.getsockname()
            assert forkport.read_to_end(client) == f"answer {host}:{port}\n".encode()


def check_stream(server):
    """Bytes of every value, half a megabyte and more, and what stands behind the line stays for who comes next."""
    data = random.Random(2).randbytes(700001)
    with server.connect() as client:
        assert exchange(client, b"rest\n" + data) == data
    end = server.log.wait("end")
    assert (end["exit"], end["bytes_in"], end["bytes_out"]) == (0, len(data) + 5, len(data))


def check_gone(server):
    """Of a server with one slot: it is free again whenever a client goes away, and the next is served."""
    reset(server.connect())
    with server.connect() as client:
        client.sendall(b"hal")
    reading = server.connect()
    reading.sendall(b"flood\n")
    assert reading.recv(1) == b"0"
    reset(reading)
    assert server.ask(b"next\n") == b"answer next\n"
    server.log.wait("end", 4)
    nothing, half, flood, last = sorted(server.log.find("end"), key=lambda end: end["connection"])
    assert nothing["exit"] != 0 and half["exit"] == 9, (nothing, half)
    assert flood.get("exit") != 0, flood
    assert last["exit"] == 0
    assert server.stop() == 0
    stop = server.log.wait("stop")
    assert (stop["served"], stop["refused"], stop["failed"]) == (4, 0, 0)


def test_a_script_for_fifty_at_once(serve, script):
    check_many(serve_script(serve, script))


def test_a_script_knows_whose_connection_it_serves(serve, script, engine):
    if "read" in engine:
        pytest.skip("an interpreter takes its environment over before it reads")
    check_who(serve_script(serve, script))


def test_a_script_and_a_stream(serve, script):
    check_stream(serve_script(serve, script))


def test_a_script_whose_client_goes_away(serve, script):
    check_gone(serve_script(serve, script, "--max", 1))


def test_go(serve, go_program, engine):
    command, fits = go_program
    check_many(serve_script(serve, command, fits=fits))
    if "read" not in engine:
        check_who(serve_script(serve, command, fits=fits))
    check_stream(serve_script(serve, command, fits=fits))
    check_gone(serve_script(serve, command, "--max", 1, fits=fits))


def test_cat_and_a_hundred_megabytes(serve, files):
    server = serve_script(serve, ["cat"])
    data = (files.public / "big").read_bytes()
    with server.connect() as client:
        assert exchange(client, data) == data
    end = server.log.wait("end")
    assert (end["exit"], end["bytes_in"], end["bytes_out"]) == (0, len(data), len(data))


def test_nc_of_busybox_as_a_client(serve):
    if reason := programs.why_missing("busybox"):
        pytest.skip(reason)
    server = serve_script(serve, programs.LINE_SCRIPTS["by-its-first-line"])
    done = subprocess.run(["busybox", "nc", "127.0.0.1", str(server.port)], input=b"hello\n", capture_output=True,
                          timeout=forkport.DEADLINE, check=False)
    assert (done.returncode, done.stdout) == (0, b"answer hello\n")


def test_a_daemon_for_many_at_once(serve, daemon):
    server = daemon.serve(serve)
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: daemon.use_small(server), range(daemon.clients)))
    server.log.wait("end", daemon.clients)
    ends = server.log.find("end")
    assert len({end["pid"] for end in ends}) == daemon.clients
    told = collections.Counter((end.get("exit"), end.get("signal")) for end in ends)
    assert set(told) <= {(status, None) for status in daemon.ends}, told
    assert server.stop() == 0
    stop = server.log.wait("stop")
    assert (stop["served"], stop["refused"], stop["failed"]) == (daemon.clients, 0, 0)


def test_a_daemon_and_a_hundred_megabytes(serve, daemon):
    server = daemon.serve(serve)
    with tempfile.TemporaryDirectory() as folder:
        client = daemon.start_big(server, pathlib.Path(folder))
        assert client.wait(forkport.DEADLINE * 3) == 0
        daemon.check_big(pathlib.Path(folder))
    assert (server.log.wait("end")["bytes_out"] >= programs.BIG_BYTES) == daemon.through


def test_a_daemon_whose_client_goes_away(serve, daemon):
    """With one slot: whatever a client leaves behind, the next one is served."""
    server = daemon.serve(serve, "--max", 1)
    reset(server.connect())
    server.connect().close()
    for farewell in (reset, socket.socket.close):
        client = server.connect()
        client.sendall(daemon.greeting)
        farewell(client)
    with tempfile.TemporaryDirectory() as folder:
        client = daemon.start_big(server, pathlib.Path(folder))
        server.log.wait("start", 5)
        os.killpg(client.pid, signal.SIGKILL)
        client.wait()
    daemon.use_small(server)
    server.log.wait("end", 6)
    assert server.stop() == 0
    stop = server.log.wait("stop")
    assert (stop["served"], stop["refused"], stop["failed"]) == (6, 0, 0)
