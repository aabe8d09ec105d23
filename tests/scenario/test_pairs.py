"""forkport pairs: every socket pair of the host, and who holds it."""
import contextlib
import fcntl
import json
import os
import pty
import re
import resource
import shutil
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest

from forkport import DEADLINE, FORKPORT, NOBODY, SANITIZED, TRACED, children, descriptors, state, until

CONNECTIONS = 5000
COMMON = ["proto", "state", "local", "foreign", "pair", "cookie", "inode", "uid", "device", "processes"]


# Three threads that share their descriptors, of which the main thread has none.
THREADS = """
import ctypes, os, socket, sys, threading
libc, CLONE_FILES = ctypes.CDLL(None), 0x400
ended = threading.Event()
def last():
    sys.stdin.read()
    os._exit(0)
def first():
    assert sys.argv[1] == "that go on" or libc.unshare(CLONE_FILES) == 0
    for target in ended.wait, last:
        threading.Thread(target=target, daemon=True).start()
    made = socket.create_server(("127.0.0.1", 0))
    print(made.getsockname()[1], made.fileno(), flush=True)
    ended.wait()
threading.Thread(target=first, daemon=True).start()
if sys.argv[1] == "that go on":
    libc.pthread_exit(None)
ended.wait()
"""


def run(*arguments, code=0, **more):
    """What the command prints; its exit code is the one expected."""
    result = subprocess.run([FORKPORT, "pairs", *map(str, arguments)], capture_output=True, text=True,
                            timeout=DEADLINE, check=False, **more)
    assert result.returncode == code, result
    return result.stderr if code > 1 else result.stdout


def rows(*arguments, **more):
    """The rows in JSON, by pair."""
    lines = [json.loads(line) for line in run("--json", *arguments, **more).splitlines()]
    return {row["pair"]: row for row in lines}


def notation(local, foreign=None):
    def end(address):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"{{{end(local)}, {end(foreign) if foreign else '*:*'}}}"


def pair_of(connection):
    return notation(connection.getsockname(), connection.getpeername())


def cookie_of(connection):
    return f"{int.from_bytes(connection.getsockopt(socket.SOL_SOCKET, 57, 8), 'little'):x}"


def holders(row):
    return [(process["pid"], process["fd"]) for process in row["processes"]]


@pytest.fixture
def listening():
    """On a port that no connection of another test is left of, in TIME-WAIT."""
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            made = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=8))
            if len(rows(f":{made.getsockname()[1]}")) == 1:
                break
        yield made


@pytest.fixture
def port(listening):
    return listening.getsockname()[1]


@contextlib.contextmanager
def connected(listening):
    """A connection's two ends: the client's, and the one that was accepted."""
    with socket.create_connection(listening.getsockname()) as client:
        accepted, _ = listening.accept()
        with accepted:
            yield client, accepted


def test_listening_and_connected_are_told_apart_and_held_by_this_process(listening, port):
    with connected(listening) as (client, accepted):
        found = rows(f":{port}")
        assert set(found) == {notation(("127.0.0.1", port)), pair_of(client), pair_of(accepted)}
        row = found[notation(("127.0.0.1", port))]
        assert list(row)[:9] == COMMON[:9] and set(COMMON) <= set(row)
        assert (row["proto"], row["state"], row["owner"]) == ("tcp4", "LISTEN", "held")
        assert row["local"] == {"address": "127.0.0.1", "port": port}
        assert row["foreign"] == {"address": "*", "port": "*"}
        assert (row["accept_queue"], row["backlog"], row["uid"]) == (0, 8, os.getuid())
        assert row["inode"] == os.fstat(listening.fileno()).st_ino
        for end in (listening, client, accepted):
            row = found[pair_of(end) if end is not listening else notation(end.getsockname())]
            assert row["cookie"] == cookie_of(end)
            assert holders(row) == [(os.getpid(), end.fileno())]
            assert row["processes"][0]["name"] == open("/proc/self/comm").read().rstrip("\n")


def test_an_inherited_listening_socket_has_all_its_processes(listening, port):
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[listening.fileno()]) as child:
        until(lambda: open(f"/proc/{child.pid}/comm").read() == "cat\n")
        row = rows(f":{port}")[notation(("127.0.0.1", port))]
        assert holders(row) == sorted([(os.getpid(), listening.fileno()), (child.pid, listening.fileno())])
        assert {process["name"] for process in row["processes"]} >= {"cat"}
        child.stdin.close()


def test_a_connection_not_accepted_waits_for_those_who_listen(listening, port):
    with socket.create_connection(("127.0.0.1", port)) as client:
        found = rows(f":{port}")
        assert found[notation(("127.0.0.1", port))]["accept_queue"] == 1
        row = found[notation(client.getpeername(), client.getsockname())]
        assert (row["owner"], row["state"], row["inode"]) == ("waiting", "ESTABLISHED", None)
        assert holders(row) == [(os.getpid(), listening.fileno())]
        assert set(rows(f":{port}", "waiting")) == {row["pair"]}
        client.close()  # the peer's end does not change that
        row = until(lambda: next((r for r in rows(f":{port}", "waiting").values() if r["state"] == "CLOSE-WAIT"), None))
        assert holders(row) == [(os.getpid(), listening.fileno())]
        with listening.accept()[0] as accepted:
            held = rows(f"local::{port}", "close-wait")[row["pair"]]
            assert (held["owner"], held["cookie"]) == ("held", row["cookie"])
            assert holders(held) == [(os.getpid(), accepted.fileno())]


def listen_shared(open_ones, host, port, family=socket.AF_INET):
    made = open_ones.enter_context(socket.socket(family))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.bind((host, port))
    made.listen()
    return made


def test_what_waits_does_so_for_the_socket_that_the_kernel_chose():
    """By family, address and, of a group, its hash: it is in the queue of that one and no other."""
    with contextlib.ExitStack() as open_ones:
        first = listen_shared(open_ones, "0.0.0.0", 0)
        port = first.getsockname()[1]
        made = [first] + [listen_shared(open_ones, *end) for end in (
            ("0.0.0.0", port), ("::", port, socket.AF_INET6), ("127.0.0.2", port))]
        for host, wanted in [("127.0.0.1", made[:2]), ("127.0.0.2", made[3:]), ("::1", made[2:3])]:
            client = open_ones.enter_context(socket.create_connection((host, port)))
            row = rows(f"local::{port}", "waiting")[notation(client.getpeername(), client.getsockname())]
            [chosen] = [one for one in wanted if select.select([one], [], [], 0)[0]]
            assert holders(row) == [(os.getpid(), chosen.fileno())], host
            open_ones.enter_context(chosen.accept()[0])


def test_what_waits_does_so_for_the_socket_that_listened_when_it_came():
    """Whoever would receive it now. Where both have connections in their queues, no socket says in which of them it is."""
    with contextlib.ExitStack() as open_ones:
        def waiting(client):
            row = rows(f"local::{port}", "waiting")[notation(client.getpeername(), client.getsockname())]
            return {fd for _, fd in holders(row)}

        before = listen_shared(open_ones, "0.0.0.0", 0)
        port = before.getsockname()[1]
        first = open_ones.enter_context(socket.create_connection(("127.0.0.2", port)))
        listen_shared(open_ones, "127.0.0.1", port)
        after = listen_shared(open_ones, "127.0.0.2", port)
        assert waiting(first) == {before.fileno()}
        second = open_ones.enter_context(socket.create_connection(("127.0.0.2", port)))
        assert waiting(first) == waiting(second) == {before.fileno(), after.fileno()}
        open_ones.enter_context(before.accept()[0])
        assert waiting(second) == {after.fileno()}


@pytest.mark.parametrize("devices", [(b"lo", b""), (b"", b"lo")])
def test_what_waits_does_not_do_so_for_a_socket_of_a_device_that_did_not_take_it(devices):
    with contextlib.ExitStack() as open_ones:
        port, made = 0, []
        for device in devices:  # the last to listen takes it
            made.append(open_ones.enter_context(socket.socket()))
            made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
            made[-1].bind(("0.0.0.0", port))
            made[-1].listen()
            port = made[0].getsockname()[1]
        open_ones.enter_context(socket.create_connection(("127.0.0.1", port)))
        [row] = rows(f"local::{port}", "waiting").values()
        assert holders(row) == [(os.getpid(), made[1].fileno())]


def test_a_half_open_connection_waits_as_well(listening, port):
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
    with socket.create_connection(("127.0.0.1", port)):
        [row] = rows(f"local::{port}", "syn-received").values()
        assert (row["owner"], holders(row)) == ("waiting", [(os.getpid(), listening.fileno())])


def test_a_process_of_another_pid_namespace_is_not_seen(root, listening, port):
    """Which is another thing than not being permitted to look."""
    inside = ["unshare", "--pid", "--fork", "--mount-proc", FORKPORT, "pairs", "--json", f":{port}"]
    result = subprocess.run(inside, capture_output=True, text=True, timeout=DEADLINE, check=False)
    if "unshare" in result.stderr:
        pytest.skip(result.stderr.strip())
    row = json.loads(result.stdout)
    assert (row["owner"], row["processes"]) == ("unseen", [])


def test_a_scope_is_no_device_and_a_device_that_is_gone_has_no_name(network):
    host = network.host("one")
    host.run("ip", "-6", "address", "add", "fe80::1/64", "dev", "lo", "nodad")
    host.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    with contextlib.ExitStack() as open_ones:
        def listen(address, device=None):
            made = open_ones.enter_context(host.socket(socket.AF_INET if device else socket.AF_INET6))
            if device:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
            made.bind(address)
            made.listen()

        listen(("fe80::1", 20, 0, 1))
        # In both orders, so that the kernel lists one that has a name just before one that has none.
        for port, devices in (21, (b"lo", b"eth0")), (22, (b"eth0", b"lo")):
            for device in devices:
                listen(("", port), device)
        host.run("ip", "link", "del", "eth0")
        found = [json.loads(line) for line in host.run(FORKPORT, "pairs", "--json").splitlines()]
        assert [(row["pair"], row["device"]) for row in found] == [
            ("{[fe80::1%lo]:20, *:*}", None), ("{*:21, *:*}", None), ("{*%lo:21, *:*}", "lo"),
            ("{*:22, *:*}", None), ("{*%lo:22, *:*}", "lo")]


def test_a_device_whose_name_would_break_the_notation_has_its_number(network):
    host = network.host("one")
    for step in "set lo down", "set lo name a]b", "set a]b up":
        host.run("ip", "link", *step.split())
    host.run("ip", "-6", "address", "add", "fe80::1/64", "dev", "a]b", "nodad")
    with host.socket(socket.AF_INET6) as made:
        made.bind(("fe80::1", 20, 0, 1))
        made.listen()
        assert json.loads(host.run(FORKPORT, "pairs", "--json"))["pair"] == "{[fe80::1%1]:20, *:*}"


@pytest.mark.parametrize("failure, reason", [
    ("socket:error=EPROTONOSUPPORT", "Protocol not supported"), ("sendto:error=ENOENT", "No such file or directory")])
def test_a_kernel_that_does_not_tell_is_said(strace, failure, reason):
    result = subprocess.run(["strace", "-o", "/dev/null", "-e", f"inject={failure}", FORKPORT, "pairs"],
                            capture_output=True, text=True, timeout=DEADLINE, check=False, env=TRACED)
    assert (result.stdout, result.stderr) == (
        "", f"forkport: cannot read the kernel's table of sockets: {reason} (the kernel lacks the modules tcp_diag and "
            "inet_diag)\n")


# Runs a command in a folder that has all that / has, but /proc.
WITHOUT_PROC = """
cd "$1" && shift
for folder in /*; do
    [ ! -d "$folder" ] || [ "$folder" = /proc ] || { mkdir ".$folder" && mount --rbind "$folder" ".$folder" || exit; }
done
exec chroot . "$@"
"""


@pytest.mark.skipif(SANITIZED, reason="a sanitizer needs /proc")
@pytest.mark.parametrize("arguments", [["pairs"], *(["demux", "127.0.0.1:1500", f"127.0.0.1:{port}"] for port in (21, 22))])
def test_that_there_is_no_proc_is_said(network, tmp_path, arguments):
    inside = [*network.host("one").prefix, "unshare", "--mount", "--propagation", "private", "sh", "-c", WITHOUT_PROC, "sh"]
    with network.hosts[0].socket() as bound:
        bound.bind(("127.0.0.1", 21))
        result = subprocess.run([*inside, tmp_path, FORKPORT, *arguments], capture_output=True, text=True,
                                timeout=DEADLINE, check=False)
    assert (result.returncode, result.stdout) == (71, ""), result
    assert re.fullmatch(r"forkport: cannot .* in /proc: No such file or directory\n", result.stderr), result


def test_time_wait_and_orphans_have_no_process(listening, port):
    with connected(listening) as (client, accepted):
        pair = pair_of(accepted)
        accepted.close()
        row = until(lambda: rows(f":{port}", "orphan").get(pair))
        assert (row["owner"], row["processes"], row["inode"], row["uid"]) == ("none", [], None, None)
        assert row["state"].startswith("FIN-WAIT")
        client.close()
        row = until(lambda: rows(f":{port}", "time-wait").get(pair))
        assert (row["owner"], row["processes"]) == ("none", [])
        assert "no process" in run(f":{port}", "time-wait")


def test_an_ipv4_connection_on_an_ipv6_socket_is_ipv4_and_tcp46():
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as both:
        port = both.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as four, \
                socket.create_connection(("::1", port)) as six:
            found = rows(f"local::{port}")
            assert found["{*:%d, *:*}" % port]["proto"] == "tcp46"
            row = found[notation(four.getpeername(), four.getsockname())]
            assert (row["proto"], row["owner"]) == ("tcp46", "waiting")
            assert holders(row) == [(os.getpid(), both.fileno())]
            assert found[notation(six.getpeername(), six.getsockname())]["proto"] == "tcp6"
            assert set(rows(f"local::{port}", "tcp6")) == {notation(six.getpeername(), six.getsockname())}


def test_a_socket_that_is_only_bound_is_shown():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        pair = notation(bound.getsockname())
        found = rows(f":{bound.getsockname()[1]}", code=0 if has_bound() else 1)
        if has_bound():
            assert (found[pair]["state"], holders(found[pair])) == ("BOUND", [(os.getpid(), bound.fileno())])


def has_bound():
    """Since Linux 6.8."""
    return tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (6, 8)


def test_counts_are_of_the_connection(listening, port):
    with connected(listening) as (client, accepted):
        client.sendall(b"x" * 1000)
        accepted.sendall(b"y" * 20)
        assert accepted.recv(1000, socket.MSG_WAITALL) and client.recv(20, socket.MSG_WAITALL)
        row = rows(f":{port}")[pair_of(accepted)]
        assert (row["bytes_received"], row["bytes_sent"], row["bytes_resent"]) == (1000, 20, 0)
        assert row["rtt_us"] > 0 and row["receive_queue"] == 0
        line = next(line for line in run("--stats", f"local::{port}", "established").splitlines() if "held" not in line
                    and str(accepted.getpeername()[1]) in line)
        assert re.search(r"\d+\.\d{3} +1000 +20 +0  \{", line)


def test_processes_far_apart_in_numbers_are_found(listening, port):
    with connected(listening) as (client, _):
        os.dup2(client.fileno(), 900)
        try:
            assert holders(rows(f":{port}")[pair_of(client)]) == [(os.getpid(), client.fileno()), (os.getpid(), 900)]
        finally:
            os.close(900)


@pytest.mark.parametrize("threads", ["of its own", "that go on"])
def test_what_the_main_thread_does_not_have_is_found_with_the_others(threads):
    """Descriptors of a thread alone, and those of a process whose main thread has ended; each of them once."""
    with subprocess.Popen([sys.executable, "-c", THREADS, threads], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        port, fd = map(int, process.stdout.readline().split())
        if threads == "that go on":
            until(lambda: state(process.pid) == "Z")
        for terms in [f"local::{port}", "listening"], [f":{port}", f"pid:{process.pid}"]:
            [row] = rows(*terms).values()
            assert (row["owner"], holders(row)) == ("held", [(process.pid, fd)])
        process.stdin.close()


@pytest.mark.parametrize("terms, expected", [
    (["listening"], "L"), (["connected"], "CA"), (["established"], "CA"), (["tcp4"], "LCA"), (["tcp46"], ""),
    (["local::PORT"], "LA"), (["foreign::PORT"], "C"), (["127.0.0.0/8"], "LCA"), (["127.0.0.1"], "LCA"),
    (["local:127.0.0.1:PORT"], "LA"), (["foreign:127.0.0.1", "local::PORT"], "A"), (["192.0.2.0/24"], ""),
    (["pid:SELF"], "LCA"), (["pid:1"], ""), (["PORT", "listening"], "L"), ([":1-65535"], "LCA"),
    (["uid:UID"], "LCA"), (["cookie:COOKIE"], "C"), (["inode:INODE"], "C"), (["service:none"], ""),
    (["name:COMM"], "LCA"), (["{127.0.0.1:PORT, *:*}"], "L"), (["device:lo"], ""),
])
def test_filters(listening, port, terms, expected):
    with connected(listening) as (client, accepted):
        values = {"PORT": port, "SELF": os.getpid(), "UID": os.getuid(), "COOKIE": cookie_of(client),
                  "INODE": os.fstat(client.fileno()).st_ino, "COMM": open("/proc/self/comm").read().rstrip("\n")}
        terms = [re.sub("[A-Z]{3,}", lambda match: str(values[match[0]]), term) for term in terms]
        pairs = {"L": notation(listening.getsockname()), "C": pair_of(client), "A": pair_of(accepted)}
        found = rows(f":{port}", *terms, code=0 if expected else 1)
        assert set(found) == {pairs[letter] for letter in expected}


@pytest.mark.parametrize("address, wildcard", [("127.0.0.1", "0.0.0.0"), ("::1", "::")])
def test_the_wildcard_is_no_address(address, wildcard):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((wildcard, 0), family=family) as made, \
            socket.create_connection((address, made.getsockname()[1])) as client:
        port = made.getsockname()[1]
        listening = notation((wildcard, port)).replace(wildcard, "*").replace("[*]", "*")
        assert listening in rows(f":{port}", "listening")
        found = rows(f":{port}", f"{wildcard}/0")
        assert pair_of(client) in found and listening not in found
        for term in wildcard, f"[{wildcard}]:{port}" if ":" in wildcard else f"{wildcard}:{port}":
            assert not rows(f":{port}", term, code=1)


@pytest.mark.parametrize("arguments, code, message", [
    (["x:y"], 64, "cannot filter by x:y: expected an address, a port of 1 to 65535, a state or KEY:VALUE"),
    (["pid:abc"], 64, "a number is expected behind ':'"),
    (["name:"], 64, "cannot filter by name:: a name is expected behind ':'"),
    ([f"service:{256 * 'n'}"], 64, "a name of at most 255 bytes is expected behind ':'"),
    (["192.0.2.0/33"], 64, "expected an address"),
    ([":70000"], 64, "a port of 1 to 65535"),
    (["--frob"], 64, "there is no such option"),
    (["--namespace"], 64, "NAME|PID is expected behind it"),
    (["--interval", "0"], 64, "cannot set --interval to 0: a whole number from 1"),
    (["--watch", "--save", "table"], 64, "--watch and --save do not go together"),
    (["--json", "--netstat"], 64, "--json and --netstat do not go together"),
    (["--interval", "1"], 64, "cannot show pairs with --interval: it goes with --watch"),
    (["--namespace", "1", "--namespace", "2"], 64, "--namespace: it is there twice"),
    (["--save", "/dev/full"], 71, "cannot save the table in /dev/full: No space left on device"),
    (["--save", "/there/is/none"], 66, "cannot save the table in /there/is/none: No such file or directory"),
    (["--namespace", "there-is-no-such"], 66, "cannot enter the network namespace there-is-no-such: No such file"),
    (["--namespace", "/etc/passwd"], 66, "cannot enter the network namespace /etc/passwd: it is none"),
    (["--namespace", ".."], 66, "cannot enter the network namespace ..: "),
    (["--namespace", "/proc/self/ns/uts"], 66, "cannot enter the network namespace /proc/self/ns/uts: it is none"),
])
def test_bad_arguments_get_one_line(arguments, code, message):
    text = run(*arguments, code=code)
    assert message in text and text.count("\n") == 1


def test_a_table_that_cannot_be_printed_is_said(listening, port):
    with open("/dev/full", "w") as full:
        result = subprocess.run([FORKPORT, "pairs", f":{port}"], stdout=full, stderr=subprocess.PIPE, text=True,
                                timeout=DEADLINE, check=False)
    assert (result.returncode, result.stderr) == (71, "forkport: cannot print the table: No space left on device\n")


def test_a_disk_that_fails_at_the_end_of_a_table_is_said(strace, listening, port, tmp_path):
    path = tmp_path / "table"
    path.touch()
    result = subprocess.run(["strace", "-o", "/dev/null", "-P", path, "-e", "inject=close:error=EIO", FORKPORT, "pairs",
                             "--save", path, f":{port}"], capture_output=True, text=True, timeout=DEADLINE, check=False,
                            env=TRACED)
    assert (result.returncode, result.stderr) == (
        71, f"forkport: cannot save the table in {path}: Input/output error\n")


def test_what_was_asked_for_is_saved_and_nothing_else(listening, port, tmp_path):
    with connected(listening):
        assert run("--save", tmp_path / "table", f":{port}", "listening") == ""
        head, *saved = map(json.loads, (tmp_path / "table").read_text().splitlines())
        assert head["table"] == 1 and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", head["time"])
        assert [row["pair"] for row in saved] == [notation(listening.getsockname())]


def test_nothing_that_matches_is_1_and_prints_nothing():
    assert run("cookie:fffffffffffffff0", code=1) == ""


def test_netstat_prints_addresses_with_a_dot(listening, port):
    lines = run("--netstat", f"local::{port}", "listening").splitlines()
    assert len(lines) == 2
    assert re.match(rf"tcp4 +0 +8  127\.0\.0\.1\.{port} +\*\.\* +LISTEN +\S", lines[1])


def test_a_name_cannot_move_the_terminal(listening, port):
    script = "printf 'a\\033[1m)\\n' > /proc/self/comm; echo; read x"
    with subprocess.Popen(["bash", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          pass_fds=[listening.fileno()]) as child:
        child.stdout.readline()
        assert "a\\x1b[1m)\\x0a" in run(f":{port}") or "a\\x1b[1m)" in run(f":{port}")
        assert "\x1b" not in run(f":{port}")
        row = rows(f":{port}", f"pid:{child.pid}")[notation(("127.0.0.1", port))]
        assert any(process["name"].startswith("a\x1b[1m)") for process in row["processes"])
        child.stdin.close()


def test_a_process_is_found_by_the_whole_name_of_its_program(listening, port, tmp_path):
    """Of which the kernel keeps the first 15 bytes."""
    name = "a-program-with-a-long-name"
    (tmp_path / name).symlink_to(shutil.which("cat"))
    with subprocess.Popen([tmp_path / name], stdin=subprocess.PIPE, pass_fds=[listening.fileno()]) as child:
        row = rows(f":{port}", f"name:{name}")[notation(("127.0.0.1", port))]
        assert (child.pid, name[:15]) in [(process["pid"], process["name"]) for process in row["processes"]]
        assert not rows(f":{port}", "name:another-program-with-a-long-name", code=1) and not rows(f":{port}", f"name:{name[:14]}", code=1)
        child.stdin.close()


def test_another_namespace_by_process(network):
    host = network.host("other")
    with subprocess.Popen([*network.inside, "nsenter", f"--net=/proc/{host.process.pid}/ns/net", "python3", "-c",
                           "import socket; s = socket.create_server(('', 4711)); print(flush=True); input()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        server.stdout.readline()
        if os.geteuid() == 0:
            found = rows("--namespace", host.process.pid, ":4711")
            assert list(found) == ["{*:4711, *:*}"] and found["{*:4711, *:*}"]["owner"] == "held"
            assert rows(":4711", "listening", code=1) == {}
        else:
            assert "cannot enter" in run("--namespace", host.process.pid, code=77)
        server.stdin.close()


def test_not_permitted_is_not_nobody(root, listening, port, public_forkport):
    result = subprocess.run([public_forkport, "pairs", "--json", f":{port}"], capture_output=True, text=True, check=True, **NOBODY)
    row = json.loads(result.stdout)
    assert (row["owner"], row["processes"]) == ("not-permitted", [])


@pytest.mark.parametrize("hidden", [1, 2, 4])
def test_hidden_is_not_permitted(root, listening, port, public_forkport, hidden):
    """Where /proc does not even list the processes of others."""
    if not shutil.which("setpriv"):
        pytest.skip("there is no program setpriv to become another user with")
    prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
              f'mount -t proc -o hidepid={hidden} proc /proc || exit 77; exec "$0" "$@"',
              "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    result = subprocess.run([*prefix, public_forkport, "pairs", "--json", f":{port}"], capture_output=True, text=True,
                            timeout=DEADLINE, check=False)
    if result.returncode == 77:
        pytest.skip(result.stderr.strip())
    row = json.loads(result.stdout)
    assert (row["owner"], row["processes"]) == ("not-permitted", [])


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1%lo"])
def test_service_and_connection_of_a_running_server(serve, host):
    server = serve(f"{host}:0", "--name", "ftp", worker=["cat"])
    with server.connect() as first, server.connect() as second:
        until(lambda: len(children(server.pid)) == 2)
        wanted = [notation(client.getpeername(), client.getsockname()).replace("127.0.0.1", host, 1) for client in (first, second)]
        assert [server.log.wait("accept", count)["pair"] for count in (1, 2)] == wanted
        found = until(lambda: (lambda r: r if all(r.get(w, {}).get("connection") for w in wanted) else None)(
            rows(f"local::{server.port}")))
        assert [found[pair]["connection"] for pair in wanted] == [1, 2]
        assert {row["service"] for row in found.values()} == {"ftp"}
        assert set(rows("service:ftp", "connection:2")) == {wanted[1]}
        assert "ftp #2: cat " in run("service:ftp", "connection:2")
        worker = found[wanted[0]]["processes"][0]["pid"]
        assert rows(f"pid:{worker}")[wanted[0]]["connection"] == 1
        assert "service" not in rows(f"foreign::{server.port}")[pair_of(first)]


def test_service_and_connection_of_a_server_that_ends(serve):
    """It listens no more, and who ends it asks what it waits for."""
    server = serve("127.0.0.1:0", "--name", "ftp", worker=["cat"])
    with server.connect() as client:
        wanted = notation(client.getpeername(), client.getsockname())
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        server.signal(signal.SIGTERM)
        server.log.wait("drain")
        found = rows(f":{server.port}")
        assert (found[wanted]["service"], found[wanted]["connection"]) == ("ftp", 1)
        assert "service" not in found[pair_of(client)]
        assert set(rows("service:ftp", "connection:1")) == {wanted}
        # Its successor has the port, and not the connection.
        serve(f"127.0.0.1:{server.port}", "--name", "next", "--builtin", "echo", log=False)
        found = rows(f"local::{server.port}")
        assert (found[wanted]["service"], found[wanted]["connection"]) == ("ftp", 1)
        assert {row["service"] for row in found.values()} == {"ftp", "next"}
    assert server.wait() == 0


def test_service_of_a_copy_of_the_server_and_of_what_waits_for_it(serve):
    """A worker of a builtin has no environment that tells its number, and what waits has no worker yet."""
    server = serve("127.0.0.1:0", "--builtin", "echo", "--max", 1)
    with server.connect() as first, server.connect() as second:
        until(lambda: len(children(server.pid)) == 1)
        # Until then the connection changes hands, maybe while its holder is looked for.
        until(lambda: descriptors(children(server.pid)[0]) == 3)
        found = until(lambda: (lambda r: r if [row["owner"] for row in r.values()].count("waiting") == 1 else None)(
            rows(f"local::{server.port}")))
        assert {row.get("service") for row in found.values()} == {"echo"}
        assert not any("connection" in row for row in found.values())
        assert found[notation(second.getpeername(), second.getsockname())]["owner"] == "waiting"
        assert found[notation(first.getpeername(), first.getsockname())]["owner"] == "held"


def test_a_service_with_a_long_name_is_found_by_it(serve):
    name = 255 * "n"
    server = serve("127.0.0.1:0", "--name", name, "--builtin", "echo")
    assert [row["service"] for row in rows(f":{server.port}", f"service:{name}").values()] == [name]


def test_a_service_with_many_addresses_is_found_by_its_name(serve):
    addresses = ",".join(f"127.0.{index // 200}.{1 + index % 200}:0" for index in range(600))
    server = serve(addresses, "--name", "many", "--builtin", "echo")
    # The kernel may give two addresses the same port.
    assert [row["service"] for row in rows(f"127.0.0.1:{server.port}", "service:many").values()] == ["many"]


def test_a_program_that_only_listens_is_no_service(listening, port):
    assert "service" not in rows(f":{port}")[notation(("127.0.0.1", port))]


def test_watch_marks_its_lines(listening, port):
    with subprocess.Popen([FORKPORT, "pairs", "--watch", f"local::{port}"], stdout=subprocess.PIPE, text=True) as watch:
        try:
            assert re.match(r"\+ tcp4 +LISTEN +0 ", watch.stdout.readline())
            with connected(listening) as (client, accepted):
                # It may have been looked at before it was accepted.
                until(lambda: re.match(rf"[+*] tcp4 +ESTABLISHED .*\(fd {accepted.fileno()}\)$", watch.stdout.readline()))
                client.sendall(b"x")
                assert re.match(r"\* tcp4 +ESTABLISHED +1 ", watch.stdout.readline())
                # What is not read is lost when it is closed: by a reset, which leaves nothing.
            assert re.match(r"- tcp4 +ESTABLISHED +1 ", watch.stdout.readline())
        finally:
            watch.kill()


@pytest.mark.parametrize("output", ["pipe", "socket"])
def test_watch_ends_when_nobody_reads_it(listening, port, output):
    """At once, though nothing changes and it looks once a day."""
    with contextlib.ExitStack() as stack:
        ours, theirs = socket.socketpair() if output == "socket" else map(os.fdopen, os.pipe(), "rw")
        reader = stack.enter_context(ours.makefile("r") if output == "socket" else ours)
        watch = subprocess.Popen([FORKPORT, "pairs", "--watch", "--interval", "86400", f":{port}"], stdout=theirs,
                                 stderr=subprocess.PIPE, text=True)
        stack.callback(watch.wait)
        stack.callback(watch.kill)
        theirs.close()
        assert reader.readline().startswith("+ tcp4")
        ours.close()
        reader.close()
        assert (watch.wait(DEADLINE), watch.stderr.read()) == (0, "")


@contextlib.contextmanager
def on_terminal(rows_shown, columns, *arguments):
    """What the command writes to a terminal of this size: a function that reads until it has all that is given it."""
    leader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows_shown, columns, 0, 0))
    text = ""

    def read(wanted):
        nonlocal text
        while wanted not in text:
            assert select.select([leader], [], [], DEADLINE)[0], text
            text += os.read(leader, 65536).decode()
        found, text = text.split(wanted, 1)
        return found

    with subprocess.Popen([FORKPORT, "pairs", *arguments], stdout=terminal) as process:
        try:
            yield read
        finally:
            process.kill()
            os.close(terminal)
            os.close(leader)


def test_lines_end_at_the_edge_of_the_terminal(listening, port):
    whole = run(f":{port}").splitlines()
    with on_terminal(24, 40, f":{port}") as read:
        assert [read("\r\n") for _ in whole] == [line[:40] for line in whole]


def test_a_name_of_wide_characters_ends_at_the_edge_of_the_terminal(listening, port):
    """Of which each takes two columns."""
    script = "printf 名名名名名 > /proc/self/comm; echo; read x"
    with subprocess.Popen(["bash", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          pass_fds=[listening.fileno()]) as child:
        child.stdout.readline()
        whole = run(f":{port}").splitlines()[1]
        start = whole.index("名")
        for columns, shown in (start + 7, start + 3), (start + 8, start + 4), (start + 20, start + 15):
            with on_terminal(24, columns, f":{port}") as read:
                read("\r\n")
                assert read("\r\n") == whole[:shown]
        child.stdin.close()


def test_watch_draws_a_screen(listening, port):
    """The first table has no marks; what comes later is marked once. A look a second, unless told otherwise."""
    with on_terminal(24, 200, "--watch", f"local::{port}") as read:
        assert read("\033[H") == "\033[2J"
        first = read("\033[J")
        assert re.match(r"  PROTO .*\033\[K\r\n  tcp4 +LISTEN .*\033\[m\033\[K\r\n$", first), first
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", port)):
            second = until(lambda: (lambda drawn: drawn if "ESTABLISHED" in drawn else None)(read("\033[J")))
            third = read("\033[J")
            assert time.monotonic() - began > 1
            assert "\033[33m* tcp4   LISTEN" in second and "\033[32m+ tcp4   ESTABLISHED" in second, second
            assert "\n  tcp4   LISTEN" in third and "\n  tcp4   ESTABLISHED" in third, third


def test_watch_says_how_many_have_no_room(listening, port):
    """On five rows: the heading, two sockets, how many more, and the line of the cursor."""
    with contextlib.ExitStack() as clients:
        for _ in range(3):
            clients.enter_context(socket.create_connection(("127.0.0.1", port)))
        with on_terminal(5, 60, "--watch", f"local::{port}") as read:
            drawn, more = read("\033[J"), read("\r\n")
            assert (drawn.count("\r\n"), more) == (3, "  and 2 more"), drawn
            lines = [re.sub(r"\033\[[0-9]*[A-Za-z]", "", line) for line in drawn.splitlines()]
            assert max(map(len, lines)) == 60, lines


def test_watch_says_what_came_changed_and_went(listening, port):
    with subprocess.Popen([FORKPORT, "pairs", "--watch", "--json", f"local::{port}"], stdout=subprocess.PIPE,
                          text=True) as watch:
        try:
            first = json.loads(watch.stdout.readline())
            assert (first["change"], first["state"]) == ("added", "LISTEN")
            client = socket.create_connection(("127.0.0.1", port))
            seen = sorted(json.loads(watch.stdout.readline())["change"] for _ in range(2))
            assert seen == ["added", "changed"]  # the connection, and the queue
            accepted, _ = listening.accept()
            seen = [json.loads(watch.stdout.readline())["change"] for _ in range(2)]
            assert seen == ["changed", "changed"]
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            accepted.close()
            assert json.loads(watch.stdout.readline())["change"] == "removed"
        finally:
            watch.kill()


SS_STATES = {"ESTAB": "ESTABLISHED", "SYN-RECV": "SYN-RECEIVED"}


def ss(port, processes=True):
    """cookie -> (state, local, foreign, holders) as ss(8) has it."""
    command = ["ss", "-tanOe" + ("p" if processes else ""), f"sport = :{port} or dport = :{port}"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True).stdout
    found = {}
    for line in text.splitlines()[1:]:
        fields = line.split()
        users = sorted((int(pid), int(fd)) for pid, fd in re.findall(r"pid=(\d+),fd=(\d+)", line))
        cookie = re.search(r"\bsk:([0-9a-f]+)", line)[1]
        found[cookie] = (SS_STATES.get(fields[0], fields[0]), fields[3], fields[4].replace("0.0.0.0", "*"), users)
    return found


def ours(port):
    found = {}
    for row in rows(f":{port}").values():
        ends = [f"{row[end]['address']}:{row[end]['port']}" for end in ("local", "foreign")]
        # ss has no holders where the kernel has no inode.
        users = sorted(holders(row)) if row["owner"] == "held" else []
        found[row["cookie"]] = (row["state"], *ends, users)
    return found


@contextlib.contextmanager
def churn(server):
    """Connections that come and go all the while."""
    ended = threading.Event()

    def work():
        while not ended.is_set():
            socket.create_connection(server.getsockname()).close()
            server.accept()[0].close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


# Sockets that share a port come and go, until it is killed.
COME_AND_GO = """
import socket, sys
port = int(sys.argv[1])
print(flush=True)
while True:
    some = [socket.create_server(("127.0.0.1", port), reuse_port=True) for _ in range(20)]
    while some:
        some.pop().close()
"""


def test_those_that_stay_are_there_while_others_of_their_group_come_and_go():
    """The kernel lists them in several parts, and goes on by counting."""
    with contextlib.ExitStack() as open_ones:
        def share(port=0):
            return open_ones.enter_context(socket.create_server(("127.0.0.1", port), reuse_port=True))

        first = share()
        port = first.getsockname()[1]
        stay = {cookie_of(made) for made in [first, *(share(port) for _ in range(600))]}
        for _ in range(2):
            others = open_ones.enter_context(subprocess.Popen([sys.executable, "-c", COME_AND_GO, str(port)],
                                                              stdout=subprocess.PIPE))
            open_ones.callback(others.kill)
            others.stdout.readline()
        for _ in range(12):
            found = [json.loads(line)["cookie"] for line in run("--json", f":{port}", "listening").splitlines()]
            assert len(found) == len(set(found)) and stay <= set(found), len(stay - set(found))


def test_agrees_with_ss_under_load():
    if not shutil.which("ss"):
        pytest.skip("there is no program ss")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * CONNECTIONS + 200:
        pytest.skip(f"no more than {hard} descriptors are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.ExitStack() as open_ones:
        server = open_ones.enter_context(socket.create_server(("127.0.0.1", 0), backlog=100))
        address = server.getsockname()
        for _ in range(CONNECTIONS):
            open_ones.enter_context(socket.create_connection(address))
            open_ones.enter_context(server.accept()[0])
        with churn(server):
            before, found, after = ss(address[1]), ours(address[1]), ss(address[1])
        stayed = {cookie for cookie in before if before[cookie] == after.get(cookie)}
        assert len(stayed) > 2 * CONNECTIONS
        wrong = {cookie: (before[cookie], found.get(cookie)) for cookie in stayed if found.get(cookie) != before[cookie]}
        assert not wrong, list(wrong.items())[:5]
