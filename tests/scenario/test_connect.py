"""forkport connect against real servers: sockets of this process, and hosts made of namespaces."""
import contextlib
import fcntl
import hashlib
import os
import pathlib
import pty
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FORKPORT = pathlib.Path(os.environ.get("FORKPORT_BUILD", ROOT / "build")).resolve() / "forkport"
DEADLINE = 30


class Listener:
    """A listening socket on a free port, whose every wait has a deadline."""

    def __init__(self, host="127.0.0.1", port=0, backlog=8):
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.settimeout(DEADLINE)
        self.socket.bind((host, port))
        self.socket.listen(backlog)
        self.port = self.socket.getsockname()[1]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.accepted = []

    def accept(self):
        connection, self.peer = self.socket.accept()
        connection.settimeout(DEADLINE)
        self.accepted.append(connection)
        return connection

    def close(self):
        for connection in [self.socket, *self.accepted]:
            connection.close()


@pytest.fixture
def listen():
    made = []

    def make(*arguments, **more):
        made.append(Listener(*arguments, **more))
        return made[-1]

    yield make
    for listener in made:
        listener.close()


@pytest.fixture
def server(listen):
    return listen()


@pytest.fixture
def connect():
    """Starts clients; none outlives the test."""
    started = []

    def start(*arguments, program=None, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more):
        # Only folders that every user may search: in others a program that is not there is not permitted, as they say.
        more.setdefault("env", dict(os.environ, PATH="/usr/bin:/bin"))
        command = [FORKPORT, "connect", *map(str, arguments), *(["--", *program] if program else [])]
        started.append(subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, **more))
        return started[-1]

    yield start
    for client in started:
        client.kill()
        client.wait()
        for stream in (client.stdin, client.stdout, client.stderr):
            if stream:
                with contextlib.suppress(BrokenPipeError):  # of what it was not fed to the end
                    stream.close()


def finish(client, data=b""):
    """Feeds and reads the client to its end: exit code, standard output, standard error."""
    out, err = client.communicate(data, timeout=DEADLINE)
    return client.returncode, out, err.decode()


def read_all(connection):
    data = bytearray()
    while chunk := connection.recv(1 << 16):
        data += chunk
    return bytes(data)


def noise(size):
    return os.urandom(4096) * (size // 4096)


def in_thread(function, *arguments):
    """Runs it beside the test; .result() waits for it, and raises what it raised."""
    outcome = []

    def run():
        try:
            outcome.append((function(*arguments), None))
        except BaseException as error:  # shown by result()
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result():
        thread.join(DEADLINE)
        assert outcome, f"{function} does not come to an end"
        if outcome[0][1]:
            raise outcome[0][1]
        return outcome[0][0]

    thread.result = result
    return thread


def reset(connection):
    """Closes with a RST in place of a FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


# ---- the pair, the arguments, the errors


def test_prints_the_pair_local_end_first(server, connect):
    client = connect(server.address)
    connection = server.accept()
    connection.close()
    host, port = server.peer
    assert finish(client) == (0, b"", f"connected {{{host}:{port}, {server.address}}}\n")


def test_quiet(server, connect):
    client = connect("--quiet", server.address)
    server.accept().close()
    assert finish(client) == (0, b"", "")


def test_ipv6(listen, connect):
    try:
        server = listen("::1")
    except OSError as error:
        pytest.skip(f"no IPv6 on this host: {error}")
    client = connect(server.address)
    server.accept().close()
    code, _, err = finish(client)
    assert (code, err) == (0, f"connected {{[::1]:{server.peer[1]}, [::1]:{server.port}}}\n")


def test_help(connect):
    code, out, err = finish(connect("--help"))
    assert (code, err) == (0, "") and out.startswith(b"usage: forkport connect ADDRESS")
    text = " ".join(out.decode().split())
    assert "an address (192.0.2.9:0, any port), a port (:4000, any address), or both" in text


@pytest.mark.parametrize("origin", ["127.0.0.9:0", ":{}", "127.0.0.9:{}", "127.0.0.9%lo:0", "*%lo:0"])
def test_the_forms_of_from_that_the_help_has(server, listen, connect, origin):
    free = listen()
    free.close()
    client = connect("--quiet", server.address, "--from", origin.format(free.port))
    server.accept().close()
    assert finish(client)[0] == 0


@pytest.mark.parametrize("arguments, code, message", [
    ([], 64, "cannot connect: an address is expected, as in forkport connect localhost:2121"),
    (["--fast"], 64, "cannot connect --fast: there is no such option (see forkport connect --help)"),
    (["-q"], 64, "cannot connect -q: there is no such option (see forkport connect --help)"),
    (["--fromage=1"], 64, "cannot connect --fromage=1: there is no such option (see forkport connect --help)"),
    (["127.0.0.1:1", "cat"], 64, "cannot connect cat: one address is expected, and -- before the program"),
    (["127.0.0.1:1", "--"], 64, "cannot connect --: a program is expected behind it"),
    (["127.0.0.1:1", "--timeout"], 64, "cannot connect --timeout: SECONDS is expected behind it"),
    (["127.0.0.1:1", "--timeout", "0"], 64, "cannot set --timeout to 0: a whole number from 1 to 86400 is expected"),
    (["127.0.0.1:1", "--timeout", "5x"], 64, "cannot set --timeout to 5x: a whole number from 1 to 86400 is expected"),
    (["127.0.0.1:1", "--timeout=1s"], 64, "cannot set --timeout to 1s: a whole number from 1 to 86400 is expected"),
    (["127.0.0.1:1", "--timeout=-1"], 64, "cannot set --timeout to -1: a whole number from 1 to 86400 is expected"),
    (["127.0.0.1:1", "--from"], 64, "cannot connect --from: ADDRESS[,ADDRESS] is expected behind it"),
    (["127.0.0.1:1", "--from", "127.0.0.2"], 65,
     "cannot understand the address 127.0.0.2: the port is missing, at column 10 (write 127.0.0.2:PORT)"),
    (["1"], 65, "cannot understand the address 1: expected the host of a server, at column 1 "
                "(write localhost:1 for this host)"),
    (["::1:1"], 65, "cannot understand the address ::1:1: an IPv6 address stands in brackets, at column 1 "
                    "(write [::1]:1)"),
    (["127.0.0.1:65536"], 65, "cannot understand the address 127.0.0.1:65536: port 65536 is above 65535, at column 11"),
    (["127.0.0.1:1\n"], 65, "cannot understand the address 127.0.0.1:1\\x0a: there is a byte in it that no address "
                            "has, at column 12"),
    (["127.0.0.1:1", "--from", "224.0.0.1:0"], 65,
     "cannot understand the address 224.0.0.1:0: a multicast address has no TCP, at column 1"),
    (["127.0.0.1:1", "--from", "[::1]:0"], 65,
     "cannot connect to 127.0.0.1:1: the address to connect from is of the other family"),
    (["127.0.0.1:1", "--", ""], 64, "cannot run a program without a name: its path is expected behind --"),
    (["127.0.0.1:1", "--", "no-such-program"], 66, "cannot run no-such-program: No such file or directory"),
    (["127.0.0.1:1", "--", "/tmp"], 66, "cannot run /tmp: Is a directory"),
    (["127.0.0.1:1", "--", "/etc/passwd"], 77, "cannot run /etc/passwd: Permission denied"),
])
def test_bad_arguments_get_one_line(connect, arguments, code, message):
    assert finish(connect(*arguments)) == (code, b"", f"forkport: {message}\n")


def test_refused_is_69(listen, connect):
    server = listen()
    server.socket.close()
    assert finish(connect(server.address)) == (
        69, b"", f"forkport: cannot connect to {server.address}: Connection refused\n")


def test_a_missing_program_makes_no_connection(server, connect):
    assert finish(connect(server.address, program=["no-such-program"]))[0] == 66
    server.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.socket.accept()


def test_a_silent_server_is_75_by_the_timeout(listen, connect):
    server = listen(backlog=0)
    with socket.create_connection(("127.0.0.1", server.port)):  # its queue is full now: it says nothing to others
        code, _, err = finish(connect("--timeout=1", server.address))
    assert (code, err) == (75, f"forkport: cannot connect to {server.address}: Connection timed out\n")


# ---- --from


def test_from_chooses_the_address(server, connect):
    client = connect("--from", "127.0.0.9:0", server.address)
    server.accept().close()
    assert finish(client)[0] == 0
    assert server.peer[0] == "127.0.0.9"


def test_from_chooses_the_port_and_has_it_again_at_once(server, listen, connect):
    free = listen()
    free.close()
    for _ in range(3):  # the client closes first, so its end of the pair stays in TIME_WAIT
        client = connect(f"--from=:{free.port}", listen().address, program=["true"])
        assert finish(client)[0] == 0
        assert f"connected {{127.0.0.1:{free.port}, " in finish(connect(f"--from=:{free.port}", server.address,
                                                                       program=["true"]))[2]
        server.accept().close()
        server = listen()


def test_from_a_port_in_use_is_69(server, listen, connect):
    taken = listen()
    port = taken.address.rpartition(":")[2]
    for origin, shown in ((taken.address, taken.address), (f":{port}", f"*:{port}")):
        code, out, error = finish(connect("--from", origin, server.address))
        assert (code, out) == (69, b"")
        assert error.startswith(f"forkport: cannot connect from {shown}: Address already in use "
                                f"(held by {{{taken.address}, *:*}} of process {os.getpid()}, "), error


def test_from_an_address_of_nobody_is_69(server, connect):
    assert finish(connect("--from", "192.0.2.1:0", server.address)) == (
        69, b"", "forkport: cannot connect from 192.0.2.1:0: Cannot assign requested address "
                 "(no interface of this host has that address, or not yet)\n")


def test_from_a_port_of_root_is_77(host):
    done = host('setpriv --bounding-set=-net_bind_service --inh-caps=-net_bind_service '
                '"$1" connect 127.0.0.1:1 --from 127.0.0.1:99')
    assert (done.returncode, done.stderr) == (
        77, "forkport: cannot connect from 127.0.0.1:99: Permission denied "
            "(ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE)\n")


@pytest.mark.parametrize("address", ["127.0.0.1", "*"])
def test_a_pair_that_exists_already_is_69(server, listen, connect, address):
    free = listen()
    free.close()
    origin = f"{address}:{free.port}"
    client = connect("--from", origin, server.address)
    server.accept()
    assert finish(connect("--from", origin, server.address)) == (
        69, b"", f"forkport: cannot connect to {server.address}: the socket pair with {origin} exists already\n")
    assert client.poll() is None


@pytest.mark.parametrize("of_server, arguments", [("%lo", []), ("", ["--from", "*%lo:0"]), ("%lo", ["--from", "127.0.0.9:0"])])
def test_device(server, connect, of_server, arguments):
    ask = "import os, socket; os.write(7, socket.socket(fileno=0).getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16))"
    client = connect(*arguments, f"127.0.0.1{of_server}:{server.port}", program=[sys.executable, "-c", ask])
    assert read_all(server.accept()) == b"lo\0"
    code, _, error = finish(client)
    assert code == 0 and re.fullmatch(rf"connected \{{127\.0\.0\.\d%lo:\d+, 127\.0\.0\.1:{server.port}\}}\n", error), error


# ---- the relay


def test_a_file_goes_through_and_the_answer_comes_after_the_end(server, connect, tmp_path):
    data = noise(8 << 20)
    (tmp_path / "data").write_bytes(data)
    with (tmp_path / "data").open() as file, (tmp_path / "answer").open("wb") as answer:
        client = connect(server.address, stdin=file, stdout=answer)
        connection = server.accept()
        received = read_all(connection)  # up to the end of the file: the sending side was shut down, no more
        connection.sendall(received[::-1])
        connection.close()
        assert finish(client, None)[0] == 0
    assert received == data
    assert (tmp_path / "answer").read_bytes() == data[::-1]


@pytest.mark.skipif(b"__asan_init" in FORKPORT.read_bytes(), reason="its stack is not that of the program")
def test_a_small_stack(server, connect):
    """Of 64 KiB, which the program's environment is in as well."""
    client = connect(server.address, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_STACK, (65536, 65536)))
    connection = server.accept()
    connection.sendall(b"down")
    connection.shutdown(socket.SHUT_WR)
    code, out, error = finish(client, b"up")
    assert (code, out) == (0, b"down") and error.startswith("connected "), (code, error)
    assert read_all(connection) == b"up"


def test_pipes_carry_both_directions_at_once(server, connect):
    data = noise(16 << 20)
    client = connect(server.address)
    connection = server.accept()

    def echo():
        while chunk := connection.recv(1 << 16):
            connection.sendall(chunk)
        connection.shutdown(socket.SHUT_WR)

    echoed = in_thread(echo)
    code, out, _ = finish(client, data)
    echoed.result()
    assert code == 0 and hashlib.sha256(out).digest() == hashlib.sha256(data).digest()


def test_a_stalled_reader_does_not_stall_the_other_direction(server, connect):
    """Standard output is read by nobody until all of standard input has come through; no byte is lost. It is a pipe that
    has room for a page: a write of more than that would wait for the reader, though the pipe is ready to be written."""
    down, up = noise(8 << 20), noise(8 << 20)
    client = connect(server.address)
    fcntl.fcntl(client.stdout, fcntl.F_SETPIPE_SZ, 4096)
    connection = server.accept()
    sent = in_thread(connection.sendall, down)
    written = in_thread(client.stdin.write, up)
    received = bytearray()
    while len(received) < len(up):
        received += connection.recv(1 << 16)
    written.result()
    assert received == up
    reader = in_thread(client.stdout.read, len(down))
    assert reader.result() == down
    sent.result()
    connection.close()
    assert finish(client)[0] == 0


def test_a_stalled_server_does_not_stall_the_other_direction(server, connect):
    down, up = noise(8 << 20), noise(8 << 20)
    client = connect(server.address)
    connection = server.accept()
    written = in_thread(client.stdin.write, up)
    reader = in_thread(client.stdout.read, len(down))
    connection.sendall(down)
    assert reader.result() == down
    received = bytearray()
    while len(received) < len(up):
        received += connection.recv(1 << 16)
    written.result()
    assert received == up
    connection.close()
    assert finish(client)[0] == 0


def test_the_end_of_the_server_closes_the_output_and_input_goes_on(server, connect):
    client = connect(server.address)
    connection = server.accept()
    connection.sendall(b"all I have to say\n")
    connection.shutdown(socket.SHUT_WR)
    assert client.stdout.read() == b"all I have to say\n"  # to its end
    for line in (b"but ", b"I go on\n"):
        client.stdin.write(line)
        client.stdin.flush()
        assert connection.recv(100) == line
    client.stdin.close()
    assert connection.recv(100) == b""
    assert client.wait(DEADLINE) == 0


def test_the_end_of_the_server_is_the_end_at_a_terminal(server, connect):
    leader, terminal = pty.openpty()
    client = connect(server.address, stdin=terminal)
    connection = server.accept()
    connection.sendall(b"Sun Nov 22 2026\r\n")
    connection.close()
    assert client.wait(DEADLINE) == 0
    assert client.stdout.read() == b"Sun Nov 22 2026\r\n"
    os.close(leader)
    os.close(terminal)


def test_lines_typed_at_a_terminal_go_out_one_by_one(server, connect):
    leader, terminal = pty.openpty()
    client = connect(server.address, stdin=terminal, stdout=terminal)
    connection = server.accept()
    settings = termios.tcgetattr(terminal)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, settings)
    os.write(leader, b"hello\n")
    assert connection.recv(100) == b"hello\n"
    connection.sendall(b"world\n")
    answer = b""
    while not answer.endswith(b"\n"):
        answer += os.read(leader, 100)
    assert answer == b"world\r\n"
    os.write(leader, b"\x04")  # end of file, as it is typed
    assert connection.recv(100) == b""
    connection.close()
    assert client.wait(DEADLINE) == 0
    os.close(leader)
    os.close(terminal)


def test_input_from_dev_null_and_none_at_all_are_an_end(server, connect):
    for more in ({"stdin": subprocess.DEVNULL}, {"stdin": None, "preexec_fn": lambda: os.close(0)}):
        client = connect(server.address, **more)
        connection = server.accept()
        assert connection.recv(100) == b""
        connection.sendall(b"answer")
        connection.close()
        assert client.stdout.read() == b"answer"
        assert client.wait(DEADLINE) == 0


def test_all_three_descriptors_closed(server, connect):
    def close_all():
        for fd in range(3):
            os.close(fd)

    client = connect(server.address, stdin=None, stdout=None, stderr=None, preexec_fn=close_all)
    connection = server.accept()
    connection.sendall(b"answer")
    assert read_all(connection) == b""  # and nothing that was meant for another descriptor
    connection.close()
    assert client.wait(DEADLINE) == 71


def test_a_closed_output_is_said(server, connect):
    client = connect("--quiet", server.address, stdout=None, preexec_fn=lambda: os.close(1))
    connection = server.accept()
    connection.sendall(b"answer")
    assert client.wait(DEADLINE) == 71
    assert client.stderr.read() == b"forkport: cannot write standard output: Bad file descriptor\n"


def test_a_closed_output_is_none_where_nothing_is_said(server, connect):
    client = connect("--quiet", server.address, stdout=None, preexec_fn=lambda: os.close(1))
    server.accept().close()
    assert finish(client)[0] == 0


def test_descriptors_of_others_stay_blocking_and_nonblocking_ones_work(server, connect):
    """A description shared with another process is used as it is found: here with O_NONBLOCK, and without."""
    data = noise(4 << 20)
    for blocking in (True, False):
        source, sink = os.pipe(), os.pipe()
        for fd in (source[0], sink[1]):
            os.set_blocking(fd, blocking)
        client = connect(server.address, stdin=source[0], stdout=sink[1])
        connection = server.accept()
        for fd in (source[0], sink[1]):
            assert os.get_blocking(fd) == blocking
            os.close(fd)
        with open(source[1], "wb") as writer, open(sink[0], "rb") as reader:
            written = in_thread(lambda: (writer.write(data), writer.close()))
            echoed = in_thread(lambda: (connection.sendall(read_all(connection)), connection.shutdown(socket.SHUT_WR)))
            received = in_thread(reader.read)
            written.result(), echoed.result()
            assert received.result() == data
        assert client.wait(DEADLINE) == 0


def test_flags_of_shared_descriptors_are_left_alone(server, connect):
    source, sink = os.pipe(), os.pipe()
    client = connect(server.address, stdin=source[0], stdout=sink[1])
    connection = server.accept()
    connection.sendall(b"x")
    assert os.read(sink[0], 1) == b"x"  # it is relaying by now
    assert os.get_blocking(source[0]) and os.get_blocking(sink[1])
    os.close(source[1])
    assert connection.recv(1) == b""
    connection.close()
    assert client.wait(DEADLINE) == 0
    for fd in (source[0], *sink):
        os.close(fd)


def test_stopped_and_continued_it_loses_nothing(server, connect):
    data = noise(8 << 20)
    client = connect(server.address)
    connection = server.accept()
    written = in_thread(lambda: (client.stdin.write(data), client.stdin.close()))
    received = bytearray()
    for turn in range(64):
        while len(received) < turn * (64 << 10):
            received += connection.recv(1 << 14)
        client.send_signal(signal.SIGSTOP)
        client.send_signal(signal.SIGCONT)
    received += read_all(connection)
    written.result()
    assert received == data
    connection.close()
    assert client.wait(DEADLINE) == 0


def test_a_reset_is_69_after_what_came_before_it(server, connect):
    client = connect(server.address)
    connection = server.accept()
    connection.sendall(b"so far")
    assert client.stdout.read(6) == b"so far"
    reset(connection)
    code, out, err = finish(client)
    host, port = server.peer
    assert (code, out) == (69, b"")
    assert err.endswith(f"\nforkport: cannot receive on {{{host}:{port}, {server.address}}}: Connection reset by peer\n")


def test_a_reset_after_the_end_is_seen_while_input_is_idle(server, connect):
    client = connect(server.address)
    connection = server.accept()
    connection.close()  # all of it: what the client sends from now on is answered by a reset
    assert client.stdout.read() == b""
    client.stdin.write(b"is anybody there?")
    client.stdin.flush()
    assert client.wait(DEADLINE) == 69  # though standard input is still open
    assert re.search(r"cannot send on \{.*\}: (Broken pipe|Connection reset by peer)\n$", client.stderr.read().decode())


def test_what_was_received_is_written_though_sending_failed(server, connect):
    """The server answers and closes without having read: the client's bytes are reset, the answer is not lost."""
    answer = noise(128 << 10)  # more than the client and the pipe behind it hold: some of it waits in the kernel
    client = connect(server.address)
    connection = server.accept()
    feeding = in_thread(client.stdin.write, noise(32 << 20))
    connection.sendall(answer)
    until(lambda: unsent(connection) == 0)
    assert select.select([connection], [], [], DEADLINE)[0]
    connection.close()
    assert client.stdout.read() == answer
    assert client.wait(DEADLINE) == 69
    with pytest.raises(BrokenPipeError):
        feeding.result()
    assert b": Connection reset by peer" in client.stderr.read()


def unsent(connection):
    return struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]


def waiting_in(pipe):
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]


def until(condition):
    """For what the kernel tells nobody about."""
    poll = select.poll()
    for _ in range(DEADLINE * 200):
        if condition():
            return
        poll.poll(5)
    raise AssertionError(f"never: {condition}")


def test_a_reader_that_left_ends_it_by_sigpipe(server, connect):
    client = connect(server.address)
    connection = server.accept()
    client.stdout.close()
    connection.sendall(b"nobody reads this")
    assert client.wait(DEADLINE) == -signal.SIGPIPE


def test_a_reader_of_a_socket_that_left_ends_it_by_sigpipe(server, connect):
    reader, output = socket.socketpair()
    client = connect(server.address, stdout=output)
    connection = server.accept()
    output.close()
    reader.close()
    connection.sendall(b"nobody reads this")
    assert client.wait(DEADLINE) == -signal.SIGPIPE


def test_a_full_disk_is_said(server, connect):
    with open("/dev/full", "wb") as full:
        client = connect("--quiet", server.address, stdout=full)
        connection = server.accept()
        connection.sendall(b"too much")
        assert client.wait(DEADLINE) == 71
    assert client.stderr.read() == b"forkport: cannot write standard output: No space left on device\n"


def test_no_device_is_asked_for_that_nobody_named(server, strace, tmp_path):
    """The kernel would have a module looked for, and be waited for."""
    trace = tmp_path / "trace"
    done = subprocess.run(["strace", "-o", trace, "-e", "trace=ioctl", FORKPORT, "connect", server.address, "--", "true"],
                          env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}, stderr=subprocess.DEVNULL, timeout=DEADLINE, check=False)
    assert done.returncode == 0 and "SIOCGIFINDEX" not in trace.read_text()


def test_a_disk_that_fails_at_the_end_is_said(server, strace, tmp_path):
    """As a network's does, which takes what it is given, and says at the close that it has no room for it."""
    output = tmp_path / "output"
    command = ["strace", "-o", "/dev/null", "-P", output, "-e", "trace=close", "-e", "inject=close:error=ENOSPC",
               FORKPORT, "connect", "--quiet", server.address]
    with open(output, "wb") as file, subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE,
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}) as client:
        connection = server.accept()
        connection.sendall(b"too much")
        connection.close()
        errors = client.stderr.read()
        assert client.wait(DEADLINE) == 71
    assert errors.endswith(b"forkport: cannot write standard output: No space left on device\n"), errors


@pytest.mark.parametrize("path, flags, reason", [
    ("/tmp", os.O_RDONLY, b"Is a directory"), ("/dev/null", os.O_WRONLY, b"Bad file descriptor")])
def test_an_input_that_cannot_be_read_is_said(server, connect, path, flags, reason):
    fd = os.open(path, flags)
    client = connect("--quiet", server.address, stdin=fd)
    os.close(fd)
    server.accept()
    assert client.wait(DEADLINE) == 66
    assert client.stderr.read() == b"forkport: cannot read standard input: " + reason + b"\n"


def test_waiting_costs_nothing(server, connect):
    """Idle in each of its states it sleeps: nothing to do, an end on either side, output that nobody reads, a reset."""
    def start():
        clients.append(connect(server.address))
        return clients[-1], server.accept()

    clients = []
    start()
    client, connection = start()
    connection.shutdown(socket.SHUT_WR)
    assert client.stdout.read() == b""
    client, connection = start()
    client.stdin.close()
    assert connection.recv(1) == b""
    stalled = []
    for _ in range(2):
        client, connection = start()
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                connection.send(noise(64 << 10))
        until(lambda: waiting_in(client.stdout) == 64 << 10 and unsent(connection) > 0)
        stalled.append(connection)
    reset(stalled[1])
    before = [cpu_ticks(one.pid) for one in clients]
    select.select([], [], [], 0.5)  # the time that is measured; nothing is waited for
    assert max(cpu_ticks(one.pid) - ticks for one, ticks in zip(clients, before)) <= 5
    assert all(one.poll() is None for one in clients)


def cpu_ticks(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_as_a_worker_it_is_a_proxy_that_keeps_half_closes(server, connect, tmp_path):
    """forkport serve -- forkport connect: input and output are one socket there, whose end must still be told apart."""
    ready, told = os.pipe()
    proxy = subprocess.Popen(
        [FORKPORT, "serve", "127.0.0.1:0", "--ready-fd", str(told), "--log-file", tmp_path / "log", "--",
         FORKPORT, "connect", "--quiet", server.address], pass_fds=[told])
    os.close(told)
    try:
        with open(ready) as line:
            port = int(re.match(r"\{127\.0\.0\.1:(\d+), ", line.read())[1])
        with socket.create_connection(("127.0.0.1", port), DEADLINE) as client:
            connection = server.accept()
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            assert read_all(connection) == b"question"
            connection.sendall(b"answer")
            connection.close()
            assert read_all(client) == b"answer"
        with socket.create_connection(("127.0.0.1", port), DEADLINE) as client:
            connection = server.accept()
            connection.sendall(b"greeting")
            connection.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"greeting"
            client.sendall(b"reply")
            assert connection.recv(100) == b"reply"
    finally:
        proxy.terminate()
        assert proxy.wait(DEADLINE) == 0


# ---- a program in its place


DUMP = """
import fcntl, os, signal, socket, sys
kernel = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
fds = {int(fd): os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if int(fd) != 3}
report = {
    "pid": os.getpid(), "same": len({fds.get(fd) for fd in (0, 1, 6, 7)}), "fds": sorted(fds),
    "blocking": os.get_blocking(0), "ignored": int(kernel["SigIgn"], 16), "blocked": int(kernel["SigBlk"], 16),
    "environment": {name: os.environ.get(name) for name in %r},
    "peer": socket.socket(fileno=os.dup(0)).getpeername()[1],
}
os.write(7, repr(report).encode())
"""
# What is not known of it, and would be another connection's.
UNKNOWN = ["TCPLOCALHOST", "TCPREMOTEHOST", "TCPREMOTEINFO", "TCPCONNNUM", "REMOTE_ADDR", "REMOTE_PORT", "FORKPORT_CONNECTION"]
NAMES = ["PROTO", "TCPLOCALIP", "TCPLOCALPORT", "TCPREMOTEIP", "TCPREMOTEPORT", "FORKPORT_PAIR", *UNKNOWN, "KEPT"]


def test_the_program_gets_the_connection(server, connect):
    def spoil():
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    # -S and -E: without the site's files, which open descriptors; SIGPIPE and SIGXFSZ are ignored by Python itself.
    program = [sys.executable, "-S", "-E", "-c", DUMP % NAMES]
    # What is there is of another connection: it goes, or is replaced.
    outer = {**dict.fromkeys([*UNKNOWN, "PROTO", "TCPLOCALIP", "TCPLOCALPORT", "TCPREMOTEIP", "TCPREMOTEPORT", "FORKPORT_PAIR"],
                             "9"), "KEPT": "yes"}
    client = connect(server.address, program=program, env=dict(os.environ, **outer), preexec_fn=spoil,
                     restore_signals=False)
    connection = server.accept()
    report = eval(read_all(connection))  # repr() of our own program
    host, port = server.peer
    assert client.wait(DEADLINE) == 0
    assert report["pid"] == client.pid
    assert report["same"] == 1 and report["fds"] == [0, 1, 2, 6, 7]
    assert report["blocking"] and report["blocked"] == 0 and report["peer"] == server.port
    assert report["ignored"] & ~(1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1) == 0
    assert report["environment"] == {
        "PROTO": "TCP", "TCPLOCALIP": host, "TCPLOCALPORT": str(port), "TCPREMOTEIP": "127.0.0.1",
        "TCPREMOTEPORT": str(server.port), "FORKPORT_PAIR": f"{{{host}:{port}, {server.address}}}",
        **dict.fromkeys(UNKNOWN), "KEPT": "yes"}


def test_sigpipe_is_the_default_for_the_program(server, connect):
    """Asked of a program that changes nothing itself."""
    client = connect(server.address, program=["grep", "SigIgn", "/proc/self/status"],
                     preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN), restore_signals=False)
    connection = server.accept()
    assert read_all(connection).split() == [b"SigIgn:", b"0" * 16]
    assert client.wait(DEADLINE) == 0


def test_the_program_talks_to_the_server(server, connect):
    client = connect(server.address, program=["sh", "-c", "read line; echo \"got $line\"; echo to the user >&2; exit 7"])
    connection = server.accept()
    connection.sendall(b"a line\n")
    assert read_all(connection) == b"got a line\n"
    code, out, err = finish(client)
    assert (code, out) == (7, b"") and err.endswith("\nto the user\n")


def test_descriptors_six_and_seven_of_the_caller_give_way(server, connect):
    """Whatever descriptor the socket itself comes to be, those of the program are all it."""
    for taken in range(3, 9):
        def occupy():
            null = os.open("/dev/null", os.O_RDONLY)
            for fd in range(3, taken + 1):
                os.dup2(null, fd)
            os.closerange(taken + 1, 20)

        client = connect("--quiet", server.address, close_fds=False, preexec_fn=occupy,
                         program=["ls", "-l", "/proc/self/fd"])
        listing = read_all(server.accept()).decode()
        shown = dict(re.findall(r"(\d+) -> (.*)", listing))
        assert len({shown.get(fd) for fd in "0167"}) == 1 and shown["0"].startswith("socket:")
        assert finish(client)[0] == 0


def test_a_limit_below_the_descriptors_of_the_program_is_said(server, connect):
    client = connect("--quiet", server.address, program=["true"],
                     preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6)))
    code, out, err = finish(client)
    assert (code, out) == (71, b"")
    assert "connection to true: Too many open files (descriptors up to 8 are needed" in err, err


# ---- hosts of their own


# Who is not root is it in a user namespace, where the kernel lets everybody have one.
UNSHARE = ["unshare", "-nm" if os.geteuid() == 0 else "-rnm"]


def namespaces():
    """Why no namespaces can be had, or None."""
    try:
        made = subprocess.run([*UNSHARE, "sh", "-c", "ip link set lo up && mount --bind /etc/hosts /etc/hosts"],
                              stderr=subprocess.PIPE, timeout=DEADLINE)
    except FileNotFoundError as error:
        return f"there is no program {error.filename}"
    return made.stderr.decode().strip() or "the kernel gives none" if made.returncode else None


@pytest.fixture
def host(tmp_path):
    """Runs a shell script on a host that has nothing but lo and the names it is given."""
    reason = namespaces()
    if reason:
        pytest.skip(f"no namespaces: {reason}")

    def run(script, names=""):
        (tmp_path / "hosts").write_text(names)
        prologue = f"""
            set -e
            mount --bind {tmp_path}/hosts /etc/hosts
            ip link set lo up
            set +e
            """
        return subprocess.run([*UNSHARE, "sh", "-c", prologue + script, "sh", FORKPORT], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=2 * DEADLINE, text=True)

    return run


@pytest.mark.parametrize("route, message", [
    ("", "Network is unreachable"),
    ("ip route add unreachable 192.0.2.0/24", "No route to host"),
    ("ip route add blackhole 192.0.2.0/24", "the route to it is a black hole"),
])
def test_unreachable_is_68(host, route, message):
    done = host(f'{route}\n"$1" connect 192.0.2.1:21')
    assert (done.returncode, done.stderr) == (68, f"forkport: cannot connect to 192.0.2.1:21: {message}\n")


def test_forbidden_is_77(host):
    done = host('ip route add prohibit 192.0.2.0/24\n"$1" connect 192.0.2.1:21')
    assert (done.returncode, done.stderr) == (77, "forkport: cannot connect to 192.0.2.1:21: Permission denied\n")


def test_an_unknown_host_is_68(host):
    done = host('"$1" connect nosuch.example:21')
    assert done.returncode == 68
    assert re.fullmatch(r"forkport: cannot look up nosuch\.example: .+\n", done.stderr)


def test_the_kernel_giving_up_is_75(host):
    """A neighbour that never answers, and a kernel that is told to ask only twice."""
    done = host("""
        ip link add name v0 type veth peer name v1 || exit 200
        ip addr add 192.0.2.1/24 dev v0; ip link set v0 up; ip link set v1 up
        ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev v0
        echo 1 >/proc/sys/net/ipv4/tcp_syn_retries
        "$1" connect 192.0.2.2:21""")
    if done.returncode == 200:
        pytest.skip(f"no veth: {done.stderr.strip()}")
    assert (done.returncode, done.stderr) == (75, "forkport: cannot connect to 192.0.2.2:21: Connection timed out\n")


def test_a_name_with_a_dead_address_connects_by_the_other(host):
    """IPv6 first, as the resolver has it, into a host that says nothing: a quarter of a second later IPv4 has won."""
    done = host("""
        ip link add name v0 type veth peer name v1 || exit 200
        ip addr add 192.0.2.1/24 dev v0; ip -6 addr add 2001:db8::1/64 dev v0 nodad; ip link set v0 up; ip link set v1 up
        ip neigh add 2001:db8::2 lladdr 02:00:00:00:00:02 dev v0
        "$1" serve 192.0.2.1:21 --builtin daytime --ready-fd 3 3>&1 >/dev/null 2>&1 |
            { read ready; "$1" connect both.example:ftp; echo "exit $?"; kill "$(cat /proc/$$/task/$$/children | cut -d' ' -f1)"; }
        """, names="2001:db8::2 both.example\n192.0.2.1 both.example\n")
    if done.returncode == 200:
        pytest.skip(f"no veth: {done.stderr.strip()}")
    assert re.search(r"^connected \{192\.0\.2\.1:\d+, 192\.0\.2\.1:21\}$", done.stderr, re.MULTILINE), done.stderr
    assert "exit 0" in done.stdout


def test_who_has_a_port_is_looked_for_where_the_other_address_fails_too(host, strace):
    """All of /proc is looked through for it. The port is taken in IPv6 alone."""
    del strace
    done = host("""
        "$1" serve '[::1]:4000,127.0.0.1:21' --builtin daytime --ready-fd 3 3>&1 >/dev/null 2>&1 |
            { read ready; strace -e trace=openat -- "$1" connect --from :4000 both.example:21; strace -e trace=openat -- "$1" connect --from :4000 [::1]:21
              kill "$(cat /proc/$$/task/$$/children | cut -d' ' -f1)"; }
        """, names="::1 both.example\n127.0.0.1 both.example\n")
    first, connected, second = done.stderr.partition("connected {127.0.0.1:4000, 127.0.0.1:21}")
    assert connected and '"/proc"' not in first, done.stderr
    assert '"/proc"' in second and "(held by {[::1]:4000, *:*} of process " in second, done.stderr


def test_the_most_useful_error_of_a_name_is_told(host):
    done = host('"$1" connect both.example:21', names="2001:db8::2 both.example\n127.0.0.1 both.example\n")
    assert (done.returncode, done.stderr) == (
        69, "forkport: cannot connect to 127.0.0.1:21: Connection refused "
            "(the server has 2 addresses, this one got furthest)\n")


def test_silence_says_more_than_no_route(host):
    """Somebody may be there: the error is that of the address that was sent to, though the other comes first."""
    done = host("""
        ip link add name v0 type veth peer name v1 || exit 200
        ip addr add 192.0.2.1/24 dev v0; ip link set v0 up; ip link set v1 up
        ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev v0; ip route add unreachable 198.51.100.0/24
        "$1" connect --timeout 1 both.example:21""", names="198.51.100.1 both.example\n192.0.2.2 both.example\n")
    if done.returncode == 200:
        pytest.skip(f"no veth: {done.stderr.strip()}")
    assert (done.returncode, done.stderr) == (
        75, "forkport: cannot connect to 192.0.2.2:21: Connection timed out "
            "(the server has 2 addresses, this one got furthest)\n")


def test_no_port_left_is_no_pair_that_exists(host):
    """The one port is the first client's, who becomes the second: no pair was asked for, so none is named."""
    done = host("""
        echo "40000 40000" >/proc/sys/net/ipv4/ip_local_port_range
        "$1" serve 127.0.0.1:21 --builtin echo --ready-fd 3 3>&1 >/dev/null 2>&1 |
            { read ready; "$1" connect --quiet 127.0.0.1:21 -- "$1" connect --from 127.0.0.1:0 127.0.0.1:21; echo "exit $?"
              kill "$(cat /proc/$$/task/$$/children | cut -d' ' -f1)"; }
        """)
    assert done.stderr == ("forkport: cannot connect to 127.0.0.1:21: no local port is free for it (they are those of "
                           "net.ipv4.ip_local_port_range)\n")
    assert "exit 69" in done.stdout


def test_an_address_that_a_name_has_twice_is_tried_once(host):
    done = host('"$1" connect twice.example:21', names="127.0.0.1 twice.example\n" * 2)
    assert (done.returncode, done.stderr) == (69, "forkport: cannot connect to 127.0.0.1:21: Connection refused\n")


def test_a_connection_with_itself_is_refused(host):
    """The only port that the kernel can choose is the one that is asked for: TCP would connect the socket to itself."""
    done = host('echo "40000 40000" >/proc/sys/net/ipv4/ip_local_port_range\n"$1" connect 127.0.0.1:40000')
    assert (done.returncode, done.stderr) == (69, "forkport: cannot connect to 127.0.0.1:40000: Connection refused\n")


def test_a_connection_with_itself_that_was_asked_for_is_made(listen, connect):
    """Both ends were named: what is sent comes back."""
    free = listen()
    free.close()
    assert finish(connect("--from", free.address, free.address), b"to myself") == (
        0, b"to myself", f"connected {{{free.address}, {free.address}}}\n")


def test_link_local_addresses_have_their_scope(host):
    """Both ends show it, and it cannot be left out."""
    done = host("""
        ip link add name v0 type veth peer name v1 || exit 200
        ip -6 addr add fe80::1/64 dev v0 nodad; ip -6 addr add fe80::2/64 dev v1 nodad; ip link set v0 up; ip link set v1 up
        "$1" serve '[fe80::2%v1]:21' --builtin daytime --ready-fd 3 3>&1 >/dev/null 2>&1 |
            { read ready; echo "$ready"; "$1" connect '[fe80::2%v1]:21'; "$1" connect '[fe80::2]:21'; echo "exit $?"
              kill "$(cat /proc/$$/task/$$/children | cut -d' ' -f1)"; }
        """)
    if done.returncode == 200:
        pytest.skip(f"no veth: {done.stderr.strip()}")
    assert "{[fe80::2%v1]:21, *:*}" in done.stdout
    assert re.search(r"connected \{\[fe80::2%v1\]:\d+, \[fe80::2%v1\]:21\}\n", done.stderr), done.stderr
    assert "fe80::2 is on every link, so it needs the scope of one" in done.stderr and "exit 65" in done.stdout


@pytest.mark.parametrize("to, origin, code, message", [
    ("[fe80::a%v1]:79", "*%lo:0", 64, "to [fe80::a%v1]:79 from *%lo:0: they name different devices"),
    ("[fe80::a%v1]:79", "[fe80::b%v0]:0", 64, "to [fe80::a%v1]:79 from [fe80::b%v0]:0: they name different devices"),
    ("[fe80::a%v1]:79", "[fe80::b%v0]%v1:0", 64, "to [fe80::a%v1]:79 from [fe80::b%v0]%v1:0: they name different devices"),
    ("127.0.0.1%lo:1", "*%v0:0", 64, "to 127.0.0.1%lo:1 from *%v0:0: they name different devices"),
    ("[fe80::a%v1]%lo:79", "*:0", 64, "to [fe80::a%v1]%lo:79: its scope and its device are different ones"),
    ("127.0.0.1%lo:1", "*%lo:0", 69, "to 127.0.0.1%lo:1: Connection refused"),
    ("[fe80::b%v0]:1", "[fe80::b]%v0:0", 69, "to [fe80::b%v0]:1: Connection refused"),
])
def test_contradicting_devices_are_refused(host, to, origin, code, message):
    done = host(f"""
        ip link add name v0 type veth peer name v1 || exit 200
        ip -6 addr add fe80::b/64 dev v0 nodad; ip -6 addr add fe80::a/64 dev v1 nodad; ip link set v0 up; ip link set v1 up
        "$1" connect '{to}' --from '{origin}'""")
    if done.returncode == 200:
        pytest.skip(f"no veth: {done.stderr.strip()}")
    assert (done.returncode, done.stderr) == (code, f"forkport: cannot connect {message}\n")


def examples():
    page = (ROOT / "man/forkport-connect.1.scd").read_text()
    return re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(examples())))
def test_the_examples_of_the_manual_run(host, number, tmp_path):
    """Each by itself, where the echo service of `make run` is there."""
    (tmp_path / "example").write_text(examples()[number])
    done = host(f"""
        export PATH="${{1%/*}}:$PATH"
        cd {tmp_path}
        "$1" serve '127.0.0.1:2121,[::1]:2121' --builtin echo --ready-fd 3 3>&1 >/dev/null 2>&1 |
            {{ read -r first; read -r second; sh -e example; echo "exit $?"
              kill "$(cat /proc/$$/task/$$/children | cut -d' ' -f1)"; }}
        """, names="127.0.0.1 localhost\n::1 localhost\n")
    assert "exit 0" in done.stdout, done.stderr


def test_the_manual_has_examples():
    assert len(examples()) >= 5
