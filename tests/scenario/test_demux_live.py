"""forkport demux --live: each segment goes to the process that has it, also where that is gone before one could look."""
import calendar
import contextlib
import itertools
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time as time_module

import pytest

import forkport
import packets
from steering import lookup_program, redirect_to

VISITORS = forkport.BUILD / "tests/fixtures/visitors"
CONNECTIONS = 1000
LIFE_US = 5000
# Makes the device tun0, which is there until standard input ends.
OTHER_SIDE = """
import fcntl, os, struct, sys
fcntl.ioctl(os.open("/dev/net/tun", os.O_RDWR), 0x400454ca, struct.pack("16sH22x", b"tun0", 0x1001))
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def events():
    """What names processes that live shortly takes privileges that a user namespace cannot give."""
    if os.geteuid() != 0:
        pytest.skip("the kernel's events take CAP_BPF and CAP_PERFMON")
    if not os.path.exists("/sys/kernel/btf/vmlinux"):
        pytest.skip("this kernel does not describe its types (CONFIG_DEBUG_INFO_BTF)")
    if not forkport.has_kernel_pids():
        pytest.skip("this is a PID namespace, and the kernel's events tell its own pids")


@pytest.fixture
def seeing():
    if os.geteuid() != 0:
        pytest.skip("from a user namespace the processes outside it, such as this one, may not be looked into")


class Live:
    """`forkport demux --live` as it runs, from the first segment that it tells of; its lines are read at the end."""

    # pylint: disable=too-many-arguments
    def __init__(self, folder, host, *arguments, interface="lo", prefix=(), probe=None):
        probe = probe or (lambda: knock(host))
        self.output, self.errors = folder / "live", folder / "live-errors"
        with open(self.output, "wb") as output, open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                [*host.prefix, *prefix, forkport.FORKPORT, "demux", "--live", interface, *map(str, arguments)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        # Nothing says that it has begun but that it tells of a segment.
        try:
            forkport.until(lambda: self.process.poll() is not None or (probe(), self.output.stat().st_size)[1],
                           "a segment that is told of")
        except BaseException:
            self.process.kill()
            raise

    def told(self):
        """The lines so far, of those that are whole."""
        return self.output.read_text().split("\n")[:-1]

    def wait(self, condition):
        """The objects of JSON so far, once one of them is so."""
        return forkport.until(lambda: [line for line in map(json.loads, self.told()) if condition(line)], "a line")

    def stop(self, code=0):
        """What it told, as lines, and what it complained of."""
        self.process.send_signal(signal.SIGTERM)
        return self.end(code), self.errors.read_text()

    def end(self, code=0):
        assert self.process.wait(forkport.DEADLINE) == code, self.errors.read_text()
        return self.output.read_text().splitlines()


def knock(host, port=9):
    """A segment to a port where nobody listens."""
    with host.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture
def watch(tmp_path):
    """Starts them: watch(host, "--json"); none outlives its test."""
    started = []

    def one(host, *arguments, **more):
        started.append(Live(tmp_path, host, *arguments, **more))
        return started[-1]

    yield one
    for live in started:
        live.process.kill()
        live.process.wait()


def start(host, *arguments, prefix=()):
    """`forkport demux --live` to its own end: code, output, errors."""
    result = subprocess.run([*host.prefix, *prefix, forkport.FORKPORT, "demux", "--live", *arguments],
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                            timeout=forkport.DEADLINE)
    return result.returncode, result.stdout, result.stderr


def pids(line, who="processes"):
    return [process["pid"] for process in line[who]]


def split(pair):
    """"{127.0.0.1:21, 127.0.0.1:1500}": the two ports."""
    local, foreign = pair.strip("{}").split(", ")
    return local.rpartition(":")[2], foreign.rpartition(":")[2]


class Judge:
    """Holds what was told of segments against what the processes said themselves.

    A port may be used by one process after another, and then its segments are of the last that had begun. On a machine
    that is busy a worker may come to its connection later than its segments are told of: then those that hold the
    listening socket are named, and it is said that the connection waits.
    """

    def __init__(self, server, visits, workers, supervisor):
        self.server, self.visits, self.supervisor = str(server), {}, supervisor
        for pid, port, date_us, life_us in visits:
            visit = {"date_us": int(date_us), "short": int(life_us) < LIFE_US, "client": int(pid)}
            visit["worker"] = workers[port][len(self.visits.setdefault(port, []))]
            self.visits[port].append(visit)
        self.named, self.unnamed, self.taken, self.wrong, self.ends = 0, 0, 0, [], set()

    def visit(self, port, time):
        """The one that had the port at the time, as the capture writes it."""
        date, _, part = time.rstrip("Z").partition(".")
        us = calendar.timegm(time_module.strptime(date, "%Y-%m-%dT%H:%M:%S")) * 1000000 + int(part[:6])
        begun = [visit for visit in self.visits.get(port, []) if visit["date_us"] <= us]
        return begun[-1] if begun else None

    def segment(self, line):
        foreign = line["segment"]["foreign"].rpartition(":")[2]
        local = line["segment"]["local"].rpartition(":")[2]
        comes = local == self.server
        visit = self.visit(foreign if comes else local, line["time"])
        if self.server not in (local, foreign) or not visit or not visit["short"]:
            return
        truth = {"server": {visit["worker"]}, "client": {visit["client"]}}
        if line["answer"] in ("listening", "syn-received", "connected"):
            waiting = line["answer"] == "listening" or line["waiting"]
            self.end(line, line["processes"], {self.supervisor} if waiting else truth["server" if comes else "client"])
            if line["processes"] and line["answer"] != "listening":
                self.ends.add((comes, visit["client"]))
                self.taken += comes and not waiting
        if line["senders"]:
            self.end(line, line["senders"],
                     truth["client"] if comes else truth["server"] | {self.supervisor}, counts=False)

    def end(self, line, processes, truth, counts=True):
        named = {process["pid"] for process in processes}
        if not named <= truth:
            self.wrong.append((line, truth))
        self.named += counts and bool(named)
        self.unnamed += counts and not named


def judge_all(server, said, lines):
    """What was told of the visits whose lines are `said`; those of less than 5 ms count."""
    visits = [line.split() for line in said.splitlines()]
    workers = {}
    for end in sorted(server.log.find("end"), key=lambda end: end["connection"]):
        workers.setdefault(split(end["pair"])[1], []).append(end["pid"])
    judge = Judge(server.port, visits, workers, server.pid)
    for line in map(json.loads, lines):
        judge.segment(line)
    judge.short = sum(int(life_us) < LIFE_US for *_, life_us in visits)
    print(f"{judge.short} connections: {judge.named} segments named, {judge.unnamed} not; "
          f"{len(judge.ends)} ends named, {judge.taken} segments of workers; "
          f"{len(visits) - len(judge.visits)} ports were used again")
    assert not judge.wrong, f"{len(judge.wrong)} named wrongly: {judge.wrong[:3]}"
    return judge


ROOM = ["--backlog", 4096, "--max", 4096, "--max-per-source", 4096]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("service", [["--builtin", "discard"], ["cat"]])
def test_processes_that_live_shortly(network, watch, serve, events, service):
    """A thousand processes of less than 5 ms each: 99 % of their connections named, at both ends, none wrongly."""
    host = network.host("host")
    builtin = service[0].startswith("--")
    server = serve("127.0.0.1:0", *ROOM, *(service if builtin else []), worker=None if builtin else service,
                   prefix=host.prefix)
    live = watch(host, "--json")
    # Some may be slowed down by what else the machine does, and do not count.
    count = CONNECTIONS * 3 // 2
    said = host.run(VISITORS, "127.0.0.1", server.port, count)
    server.log.wait("end", count, seconds=60)
    lines, errors = live.stop()

    assert errors == ""
    judge = judge_all(server, said, lines)
    if judge.short < CONNECTIONS:
        pytest.skip(f"this machine is too slow: only {judge.short} of {count} processes ended within 5 ms")
    assert judge.named >= 0.99 * (judge.named + judge.unnamed)
    assert len(judge.ends) >= 0.99 * 2 * judge.short


def test_a_port_that_is_used_again_at_once(network, watch, serve, events):
    """One pair, a hundred processes, one after the other: each of its segments goes to the one that had it then."""
    host = network.host("host")
    server = serve("127.0.0.1:0", *ROOM, "--builtin", "discard", prefix=host.prefix)
    live = watch(host, "--json")
    said = host.run(VISITORS, "127.0.0.1", server.port, 100, 1500)
    server.log.wait("end", 100)
    judge = judge_all(server, said, live.stop()[0])
    assert len(judge.visits) == 1
    assert len(judge.ends) >= 0.99 * 2 * judge.short


def test_without_the_kernel_s_events(network, watch, serve, seeing):
    """Then who lives shortly is unseen, and never taken for another; who stays is named."""
    if not shutil.which("setpriv"):
        pytest.skip("there is no program setpriv to give up capabilities with")
    prefix = ["setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin"]
    host = network.host("host")
    server = serve("127.0.0.1:0", *ROOM, "--builtin", "discard", prefix=host.prefix)
    live = watch(host, "--json", prefix=prefix)
    said = host.run(VISITORS, "127.0.0.1", server.port, 200)
    server.log.wait("end", 200)
    with host.connect("127.0.0.1", server.port) as client:
        port = str(client.getsockname()[1])

        def is_named(line):
            return pids(line) == [os.getpid()] and line["segment"]["local"].endswith(f":{port}")

        def ask():
            client.send(b"x")
            return any(map(is_named, map(json.loads, live.told())))
        forkport.until(ask, "that the client is named")
    lines, errors = live.stop()
    assert "processes that live shortly may be unseen" in errors
    judge_all(server, said, lines)


# Listens on the port, shared, on all addresses, until standard input ends.
BEHIND = """
import socket, sys
made = socket.socket()
made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
made.bind(("0.0.0.0", int(sys.argv[1])))
made.listen()
print(flush=True)
sys.stdin.read()
"""


def listen(host, port=0):
    made = host.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    made.listen(8)
    return made, made.getsockname()[1]


@contextlib.contextmanager
def behind(host, port, is_there):
    """Another process that listens on all addresses, if `is_there`, and so gets what comes when this one is gone."""
    if not is_there:
        yield None
        return
    with subprocess.Popen([*host.prefix, sys.executable, "-c", BEHIND, str(port)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        yield other.pid
        other.stdin.close()


def opening(live, port, local):
    """What was told of the SYN from that port to the other."""
    return live.wait(lambda line: line["segment"]["flags"] == "SYN" and line["segment"]["local"].endswith(f":{local}")
                     and line["segment"]["foreign"].endswith(f":{port}"))[0]


@pytest.mark.parametrize("is_behind", [False, True])
def test_a_listening_socket_that_goes_at_once(network, watch, events, is_behind):
    """A SYN is of whoever listened when it came: before the end of the socket it is its own, and then the next one's."""
    host = network.host("host")
    first, port = listen(host)
    with behind(host, port, is_behind) as other:
        live = watch(host, "--json")
        second, second_port = listen(host)
        # The SYN to what is new has the table read again, and when it is told of the first is gone.
        with second, host.connect("127.0.0.1", second_port), host.connect("127.0.0.1", port) as client:
            client_port = client.getsockname()[1]
            accepted, _ = first.accept()
            first.close()
            late = host.socket()
            late.bind(("127.0.0.1", 0))
            late_port = late.getsockname()[1]
            assert (late.connect_ex(("127.0.0.1", port)) == 0) == is_behind
            line = opening(live, client_port, port)
            assert (line["answer"], line["pair"], pids(line), line["certainty"]) == (
                "listening", f"{{127.0.0.1:{port}, *:*}}", [os.getpid()], "exact"), line
            line = opening(live, late_port, port)
            assert (line["answer"], line["pair"], pids(line), line["certainty"]) == (
                ("listening", f"{{*:{port}, *:*}}", [other], "exact") if is_behind else
                ("nobody", None, [], "exact")), line
            accepted.close()
            late.close()
        live.stop()


def test_a_listening_socket_that_comes_and_goes(network, watch, events):
    """Between two looks at the table: nobody has seen who holds it, and no other is taken for it."""
    host = network.host("host")
    live = watch(host, "--json")
    first, port = listen(host)
    with behind(host, port, True) as other, host.connect("127.0.0.1", port) as client:
        accepted, _ = first.accept()
        first.close()
        line = opening(live, client.getsockname()[1], port)
        assert line["answer"] == "listening" and other not in pids(line) or line["certainty"] != "exact", line
        accepted.close()
    live.stop()


def test_a_listening_socket_that_goes_and_no_events(network, watch, seeing):
    """Then it is not known when it went, and nothing is said to be exact that is another's."""
    if not shutil.which("setpriv"):
        pytest.skip("there is no program setpriv to give up capabilities with")
    host = network.host("host")
    first, port = listen(host)
    with behind(host, port, True) as other:
        live = watch(host, "--json", prefix=["setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin"])
        with host.connect("127.0.0.1", port) as client:
            line = opening(live, client.getsockname()[1], port)
            assert (pids(line), line["certainty"]) == ([os.getpid()], "exact"), line
        first.close()
        with host.connect("127.0.0.1", port) as client:
            line = opening(live, client.getsockname()[1], port)
            assert pids(line) == [other] or line["certainty"] == "depends", line
        live.stop()


def test_what_was_there_before(network, watch, serve, events):
    """A connection that was open when it began, one that nobody uses, and a socket that begins to listen later."""
    host = network.host("host")
    server = serve("127.0.0.1:0", "--builtin", "discard", prefix=host.prefix)
    before = host.connect("127.0.0.1", server.port)
    worker = server.log.wait("start")["pid"]
    live = watch(host, "--json")
    before.send(b"x")
    line = live.wait(lambda line: line["segment"]["length"] == 1)[0]
    assert (pids(line), pids(line, "senders"), line["answer"]) == ([worker], [os.getpid()], "connected")
    with host.socket() as later:
        later.bind(("127.0.0.1", 0))
        later.listen(8)
        with host.connect("127.0.0.1", later.getsockname()[1]) as client:
            end = f'{{127.0.0.1:{later.getsockname()[1]}, 127.0.0.1:{client.getsockname()[1]}}}'
            local = end[:end.index(",")]
            line = live.wait(lambda line: line["answer"] == "listening" and line["pair"].startswith(local))[0]
            assert os.getpid() in pids(line)
            line = live.wait(lambda line: line["pair"] == end)[0]
            assert line["waiting"] is True and line["known_by"] == "listening"
            accepted, _ = later.accept()
            client.send(b"xy")
            line = live.wait(lambda line: line["segment"]["length"] == 2)[0]
            assert os.getpid() in pids(line)
            accepted.close()
    before.close()
    live.stop()


@pytest.mark.parametrize("is_older", [False, True])
@pytest.mark.parametrize("flags", [packets.SYN, packets.RST])
def test_what_a_connection_does_not_heed(network, watch, serve, events, flags, is_older):
    """A SYN, or a reset of another number, comes to the worker, not to who listens, and ends nothing; whether or not
    the connection is older than what is seen of it."""
    host = network.host("host")
    server = serve("127.0.0.1:0", worker=["cat"], prefix=host.prefix)
    live = None if is_older else watch(host, "--json")
    with host.connect("127.0.0.1", server.port) as client:
        def ask():
            client.sendall(b"a line\n")
            assert forkport.read_line(client) == "a line\n"
        ask()
        live = live or watch(host, "--json")
        worker, port = server.log.wait("start")["pid"], client.getsockname()[1]
        packets.inject(host, ("127.0.0.1", port), ("127.0.0.1", server.port), 77777777, 0, flags)
        ask()
    lines = [json.loads(line) for line in live.stop()[0]]
    to_worker = [line for line in lines if line["segment"]["local"].endswith(f":{server.port}")]
    injected = [line["segment"]["flags"] for line in to_worker].index("RST" if flags == packets.RST else "SYN", not is_older)
    end = f"{{127.0.0.1:{server.port}, 127.0.0.1:{port}}}"
    assert all((line["answer"], line["pair"], line["certainty"], pids(line)) == ("connected", end, "exact", [worker])
               for line in to_worker[injected:injected + 2]), to_worker
    sent_back = [line for line in lines if line["segment"]["foreign"].endswith(f":{server.port}") and line["segment"]["length"]]
    assert [(line["answer"], pids(line)) for line in sent_back] == (2 - is_older) * [("connected", [os.getpid()])]


def test_one_that_waited_before(network, watch, seeing):
    """A connection that was in the queue when it began is of those that may accept it; of two that share it, a group."""
    host = network.host("host")
    first, port = listen(host)
    with first, host.connect("127.0.0.1", port) as client:
        live = watch(host, "--json")
        client.send(b"xyz")
        line = live.wait(lambda line: line["segment"]["length"] == 3)[0]
        assert (pids(line), line["waiting"], line["known_by"]) == ([os.getpid()], True, "listening"), line
        live.stop()


def test_two_that_share_an_end(network, watch, events):
    host = network.host("host")
    (first, port), live = listen(host), watch(host, "--json")
    second, _ = listen(host, port)
    with first, second, host.connect("127.0.0.1", port) as client:
        line = opening(live, client.getsockname()[1], port)
        assert (line["answer"], line["certainty"], pids(line)) == ("listening", "group", [os.getpid()]), line
    live.stop()


@pytest.fixture
def wired(wires):
    """With link-local addresses that are known."""
    for i in (0, 1):
        for number, host in enumerate(wires, 1):
            host.run("ip", "addr", "add", f"fe80::{i}{number}/64", "dev", f"eth{i}", "nodad")
    return wires


def listen_bound(stack, host, port, address, device):
    made = stack.enter_context(host.socket(socket.AF_INET6 if ":" in address else socket.AF_INET))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    made.bind((address, port))
    made.listen()
    return made


# By which interface it is captured, and from where to where it goes.
WAYS = [("eth0", 1, "10.0.0.1"), ("any", 1, "10.0.0.1"), ("any", 1, "10.0.1.1"), ("any", 1, "fd00:1::1"),
        ("any", 1, "fe80::11%eth1"), ("lo", 0, "10.0.0.1"), ("any", 0, "10.0.1.1"), ("lo", 0, "fd00::1"),
        ("lo", 0, "127.0.0.1"), ("lo", 0, "fe80::11%eth1")]


@pytest.mark.parametrize("captured, client, target", WAYS)
def test_of_those_bound_to_devices_it_is_the_kernel_s(wired, watch, events, captured, client, target):
    """The device that the segment counts as coming in by decides, and the order in which they began to listen."""
    address, _, device = target.partition("%")
    family, every = (socket.AF_INET6, ["::"]) if ":" in target else (socket.AF_INET, ["0.0.0.0", "::"])
    links = json.loads(wired[client].run("ip", "-j", "link"))
    scope = next((link["ifindex"] for link in links if link["ifname"] == device), 0)
    orders = [order for length in (2, 4) for order in itertools.permutations(["", "%eth0", "%eth1", "%lo"], length)]
    with contextlib.ExitStack() as stack:
        def come(port):
            made = stack.enter_context(wired[client].socket(family))
            made.settimeout(forkport.DEADLINE)
            made.connect_ex((address, port, 0, scope) if scope else (address, port))
            return made.getsockname()[1]
        made = [{f"{{*{bound}:{port}, *:*}}": listen_bound(stack, wired[0], port, every, bound[1:]) for bound in order}
                for port, (order, every) in enumerate(itertools.product(orders, every), 1000)]
        live = watch(wired[0], "--json", interface=captured, probe=lambda: come(9))
        came = [come(port) for port in range(1000, 1000 + len(made))]
        for port, (foreign, group) in enumerate(zip(came, made), 1000):
            chosen = [pair for pair, one in group.items() if select.select([one], [], [], 0)[0]]
            line = opening(live, foreign, port)
            assert ([line["pair"]], line["certainty"]) == (chosen or [None], "exact"), (list(group), line)
        live.stop()


def test_a_program_that_decides_who_listens(network, watch, events):
    """The socket that it names is not looked for, so whoever else is named is not said to be sure."""
    host = network.host("host")
    (target, _), (decoy, port) = listen(host), listen(host)
    sockmap, instructions = redirect_to(target)
    target.listen(1000)  # what follows is in its queue
    with target, decoy, lookup_program(host, *instructions):
        live = watch(host, "--json", probe=lambda: host.connect("127.0.0.1", 9).close())
        for local, certainty, processes in (port, "group", [os.getpid()]), (4321, "depends", []):
            with host.connect("127.0.0.1", local) as client:
                line = opening(live, client.getsockname()[1], local)
                assert (line["answer"], line["certainty"], pids(line)) == ("listening", certainty, processes), line
        live.stop()
    os.close(sockmap)


def test_a_line_does_not_wait_for_another(network, watch):
    """Where the last frame of some is not of TCP, and so has no line, those before it are told all the same."""
    host = network.host("host")
    live = watch(host, "--json")
    for port in range(1000, 1005):
        with host.socket() as client, host.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other:
            client.connect_ex(("127.0.0.1", port))
            other.sendto(b"x", ("::1", port))
            opening(live, client.getsockname()[1], port)
    live.stop()


def test_a_socket_that_connects_to_itself(network, watch, events):
    """Its SYN comes to a socket that has sent one: that is its receiver, and nobody need listen."""
    host = network.host("host")
    live = watch(host, "--json")
    with host.socket() as both:
        both.bind(("127.0.0.1", 0))
        both.connect(both.getsockname())
        port = both.getsockname()[1]
        line = opening(live, port, port)
        assert (pids(line), pids(line, "senders"), line["certainty"]) == ([os.getpid()], [os.getpid()], "exact"), line
    live.stop()


def test_sockets_that_have_ended_make_room(network, watch, events):
    """They are kept for their last segments, but not where there is no room for those to come."""
    host = network.host("host")
    (first, port), live = listen(host), watch(host, "--json", "--max-pairs", 16)
    with first:
        for length in range(1, 41):
            with host.connect("127.0.0.1", port) as client:
                accepted, _ = first.accept()
                client.sendall(bytes(length))
                assert len(accepted.recv(100)) == length
                accepted.close()
            # By then what has ended before is told of.
            live.wait(lambda line, length=length: line["segment"]["length"] == length)
    data = [line for line in map(json.loads, live.told()) if line["segment"]["length"]]
    named = [pids(line) == pids(line, "senders") == [os.getpid()] for line in data]
    # On a machine that is busy some may come too early.
    assert len(named) == 40 and sum(named) >= 20, data
    live.stop()


def test_who_may_not_be_seen(network, watch, seeing):
    """Then it says so, of a listening socket and of a connection, and names nobody."""
    if not shutil.which("setpriv"):
        pytest.skip("there is no program setpriv to give up capabilities with")
    host = network.host("host")
    first, port = listen(host)
    with first:
        live = watch(host, prefix=["setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin,-sys_ptrace"])
        with host.connect("127.0.0.1", port) as client:
            accepted, _ = first.accept()

            def said(what):
                client.send(b"x")
                return [line for line in live.told() if f":{port}, " in line and what in line]
            assert forkport.until(lambda: said(" connected: not permitted to see"), "a connection")
            assert said("{127.0.0.1:%d, *:*}: not permitted to see" % port)
            assert not said(str(os.getpid()))
            accepted.close()
        live.stop()


def test_a_wire(network, watch, serve, events):
    """On a real interface one end is elsewhere: what comes is told by its receiver, what goes by its sender."""
    one, two = network.host("one"), network.host("two")
    network.wire(one, two)
    for host, address in ((one, "192.0.2.1/24"), (two, "192.0.2.2/24")):
        host.run("ip", "address", "add", address, "dev", "eth0")
    server = serve("192.0.2.2:0", worker=["sh", "-c", "read line; echo $$"], prefix=two.prefix)

    def probe():
        with one.socket() as client:
            assert client.connect_ex(("192.0.2.2", 9)) != 0
    live = watch(one, "--json", interface="eth0", probe=probe)
    with one.connect("192.0.2.2", server.port) as client:
        port = client.getsockname()[1]
        client.sendall(b"hello\n")
        forkport.read_to_end(client)
    lines = [json.loads(line) for line in live.stop()[0]]
    lines = [line for line in lines if f":{port}" in line["segment"]["local"] + line["segment"]["foreign"]]
    went = [line for line in lines if line["segment"]["local"].startswith("192.0.2.2:")]
    came = [line for line in lines if line["segment"]["local"].startswith("192.0.2.1:")]
    assert len(went) >= 4 and len(came) >= 3
    assert all(pids(line) == [] and pids(line, "senders") == [os.getpid()] for line in went), went
    assert all(pids(line) == [os.getpid()] and pids(line, "senders") == [] for line in came), came


def test_a_port_of_a_bridge(network, watch, serve):
    """What is captured on it comes in by the bridge, as which alone TCP sees it."""
    one, two = network.host("one"), network.host("two")
    network.wire(one, two)
    one.bridge("eth0", "192.0.2.1/24")
    two.run("ip", "address", "add", "192.0.2.2/24", "dev", "eth0")
    server = serve("192.0.2.1%br0:0", "--builtin", "echo", prefix=one.prefix)

    def probe():
        with two.socket() as client:
            assert client.connect_ex(("192.0.2.1", 9)) != 0
    live = watch(one, "--json", interface="eth0", probe=probe)
    with two.connect("192.0.2.1", server.port) as client:
        client.sendall(b"hello\n")
        assert client.recv(10) == b"hello\n"
    [opening] = [line for line in map(json.loads, live.stop()[0])
                 if line["segment"]["local"] == f"192.0.2.1:{server.port}" and line["segment"]["flags"] == "SYN"]
    assert (opening["answer"], pids(opening)) == ("listening", [server.pid])


def test_all_interfaces_at_once(network, watch, serve):
    """On "any" frames come in another form than Ethernet's."""
    host = network.host("host")
    server = serve("127.0.0.1:0", "--builtin", "echo", prefix=host.prefix)
    live = watch(host, "--json", interface="any")
    assert server_answers(host, server)
    opening = [line for line in map(json.loads, live.stop()[0])
               if line["segment"]["local"] == f"127.0.0.1:{server.port}" and line["segment"]["flags"] == "SYN"]
    assert opening and {line["answer"] for line in opening} == {"listening"}, opening


@pytest.fixture
def tun(network):
    """A host with a device whose frames are IP and nothing before it, and who is on its other side."""
    host = network.host("host")
    with subprocess.Popen([*host.prefix, sys.executable, "-c", OTHER_SIDE], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as other_side:
        if not other_side.stdout.readline():
            pytest.skip("no tun device can be made")
        host.run("ip", "address", "add", "192.0.2.1/24", "dev", "tun0")
        host.run("ip", "link", "set", "tun0", "up")
        yield host
        other_side.stdin.close()


def test_a_device_without_ethernet(tun, watch, events):
    def probe():
        with tun.socket() as client:
            client.setblocking(False)
            client.connect_ex(("192.0.2.2", 9))
    live = watch(tun, "--json", interface="tun0", probe=probe)
    line = json.loads(live.stop()[0][0])
    assert (line["segment"]["local"], pids(line, "senders")) == ("192.0.2.2:9", [os.getpid()]), line


def test_a_file_is_kept(network, watch, serve, tmp_path, events):
    """--write: every frame that was told of, with the pair and the process as its comment, to be read again."""
    host = network.host("host")
    server = serve("127.0.0.1:0", "--builtin", "echo", prefix=host.prefix)
    kept = tmp_path / "kept.pcapng"
    live = watch(host, "--write", kept)
    assert server_answers(host, server) and server_answers(host, server, bytes(1000) + b"whole")
    lines, _ = live.stop()
    assert kept.read_bytes().count(bytes(1000) + b"whole") == 2
    assert kept.stat().st_mode & 0o777 == 0o600
    comments = re.findall(rb"\{127\.0\.0\.1:\d+, 127\.0\.0\.1:\d+\} [ -~]+", kept.read_bytes())
    told = [line.split("-> #")[0].split(maxsplit=2)[2][:46].strip() for line in lines]
    assert [comment.decode().split("}")[0] + "}" for comment in comments] == told
    assert any(f": python3 {os.getpid()}" in comment.decode() or f" {os.getpid()}" in comment.decode()
               for comment in comments)
    code, output, errors = forkport.run("demux", "--read", kept)
    assert (code, errors, len(output.splitlines())) == (0, "", len(lines))


def server_answers(host, server, said=b"hello\n"):
    with host.connect("127.0.0.1", server.port) as client:
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        return forkport.read_to_end(client) == said


def test_a_summary_and_an_end(network, watch, serve, tmp_path):
    """--summary has a line for each end, at the end; --count ends by itself."""
    host = network.host("host")
    server = serve("127.0.0.1:0", "--builtin", "echo", prefix=host.prefix)
    kept = tmp_path / "kept"
    # Nothing is told before the end, but the file is there when it has begun.
    live = watch(host, "--summary", "--json", "--count", 30, "--write", kept,
                probe=lambda: server_answers(host, server))
    lines = live.end()
    ends = [line for line in map(json.loads, lines) if line.get("endpoint") == "connected"]
    worker = {line["pid"] for line in server.log.find("start")}
    mine = [line for line in ends if line["pair"].startswith(f"{{127.0.0.1:{server.port},")]
    # It may have begun in the middle of one, and the thirtieth segment may be in the middle of another.
    whole = [line for line in mine if line["end"] == "closed" and line["handshake"] == "seen"]
    assert whole and all(line["bytes"] == 6 for line in whole)
    assert os.geteuid() != 0 or not forkport.has_kernel_pids() or all(map(pids, whole))
    assert sum(line["segments"] for line in ends) <= 30
    named = {pid for line in mine for pid in pids(line)}
    assert named <= worker | {server.pid}
    assert json.loads(lines[-1])["segments"] == 30


def test_a_summary_of_more_than_is_kept(network, watch):
    """A connection that makes room for another is told of then."""
    host = network.host("host")
    lines = watch(host, "--summary", "--json", "--max-pairs", 1, "--count", 8).end()
    ends = [line for line in map(json.loads, lines) if line.get("endpoint") == "connected"]
    # It may have begun in the middle of one, and ended in the middle of another.
    assert len({line["connection"] for line in ends}) >= 3 and json.loads(lines[-1])["segments"] == 8


def test_an_output_that_cannot_be_written(network):
    """It ends by itself, as soon as there is something to say."""
    host = network.host("host")
    with open("/dev/full", "wb") as full, subprocess.Popen(
            [*host.prefix, forkport.FORKPORT, "demux", "--live", "lo"], stdin=subprocess.DEVNULL, stdout=full,
            stderr=subprocess.PIPE, text=True) as live:
        try:
            forkport.until(lambda: live.poll() is not None or knock(host), "its end")
        finally:
            live.kill()
        assert "forkport: cannot print the segments: No space left on device\n" in live.stderr.read()
    assert live.returncode == 71


def test_a_summary_and_a_file(network, watch, tmp_path):
    """With --summary too a comment says what the sockets answer: of a SYN to a port where nobody listens, nobody."""
    host = network.host("host")
    kept = tmp_path / "kept"
    watch(host, "--summary", "--json", "--count", 8, "--write", kept).end()
    comments = re.findall(rb"\{127\.0\.0\.1:9, [^}]*\} ([a-z]+)", kept.read_bytes())
    assert comments == [b"nobody"] * 4


def test_what_goes_wrong(network, tmp_path):
    """One clear error each."""
    host = network.host("host")
    assert start(host, "nowhere")[::2] == (
        66, "forkport: cannot capture on nowhere: No such device exists\n")
    code, _, errors = start(host, "lo", "--write", tmp_path / "no" / "such")
    assert (code, errors) == (66, f"forkport: cannot write {tmp_path}/no/such: No such file or directory\n")
    if os.geteuid() == 0 and shutil.which("setpriv"):
        code, _, errors = start(host, "lo", prefix=["setpriv", "--bounding-set", "-net_raw"])
        assert code == 77 and errors.count("\n") == 1 and "CAP_NET_RAW" in errors


def test_the_interface_goes_away(network, watch):
    one, two = network.host("one"), network.host("two")
    network.wire(one, two)
    one.run("ip", "address", "add", "192.0.2.1/24", "dev", "eth0")
    two.run("ip", "address", "add", "192.0.2.2/24", "dev", "eth0")

    def probe():
        with one.socket() as client:
            assert client.connect_ex(("192.0.2.2", 9)) != 0
    live = watch(one, interface="eth0", probe=probe)
    one.run("ip", "link", "delete", "eth0")
    lines = live.end(code=71)
    errors = [line for line in live.errors.read_text().splitlines() if "may be unseen" not in line]
    assert lines and errors == ["forkport: cannot capture on eth0: The interface disappeared"]
