"""forkport demux --live: each segment goes to the process that has it, also where that is gone before anybody could look."""
import json
import os
import signal
import subprocess

import pytest

import forkport

VISITORS = forkport.BUILD / "tests/fixtures/visitors"
CONNECTIONS = 1000
LIFE_US = 5000


@pytest.fixture
def events():
    """What names processes that live shortly takes privileges that a user namespace cannot give."""
    if os.geteuid() != 0:
        pytest.skip("the kernel's events take CAP_BPF and CAP_PERFMON")
    if not os.path.exists("/sys/kernel/btf/vmlinux"):
        pytest.skip("this kernel does not describe its types (CONFIG_DEBUG_INFO_BTF)")


class Live:
    """`forkport demux --live` as it runs, from the first segment that it tells of; its lines are read at the end."""

    # pylint: disable=too-many-arguments
    def __init__(self, folder, host, probe, *arguments, interface="lo", prefix=()):
        self.output, self.errors = folder / "live", folder / "live-errors"
        with open(self.output, "wb") as output, open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                [*host.prefix, *prefix, forkport.FORKPORT, "demux", "--live", interface, *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        # Nothing says that it has begun but that it tells of a segment.
        try:
            forkport.until(lambda: self.process.poll() is not None or (probe(), self.output.stat().st_size)[1],
                           "a segment that is told of")
        except BaseException:
            self.process.kill()
            raise

    def stop(self, code=0):
        """What it told, as lines, and what it complained of."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(forkport.DEADLINE) == code, self.errors.read_text()
        return self.output.read_text().splitlines(), self.errors.read_text()


def knock(host, port=9):
    """A segment to a port where nobody listens."""
    with host.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


def split(pair):
    """"{127.0.0.1:21, 127.0.0.1:1500}": the two ports."""
    local, foreign = pair.strip("{}").split(", ")
    return local.rpartition(":")[2], foreign.rpartition(":")[2]


class Judge:
    """Holds what was told of segments against what the processes said themselves."""

    def __init__(self, server, clients, workers, supervisor):
        self.server, self.clients, self.workers, self.supervisor = str(server), clients, workers, supervisor
        self.named, self.unnamed, self.wrong, self.ends = 0, 0, [], set()

    def owners(self, local, foreign, waiting):
        if local == self.server:
            return {self.supervisor} if waiting else {self.workers[foreign]}
        return {self.clients[local]}

    def segment(self, line):
        foreign = line["segment"]["foreign"].rpartition(":")[2]
        local = line["segment"]["local"].rpartition(":")[2]
        client = foreign if local == self.server else local
        if self.server not in (local, foreign) or client not in self.clients:
            return
        if line["answer"] in ("listening", "syn-received", "connected"):
            waiting = line["answer"] == "listening" or line["waiting"]
            self.end(line, line["processes"], self.owners(local, foreign, waiting), (local, foreign, waiting))
        if line["senders"]:
            self.end(line, line["senders"], self.owners(foreign, local, False) | {self.supervisor}, None)

    def end(self, line, processes, truth, end):
        named = {process["pid"] for process in processes}
        if not named <= truth:
            self.wrong.append((line, truth))
        if end:
            self.named += bool(named)
            self.unnamed += not named
            if named and not end[2]:
                self.ends.add(end[:2])


@pytest.mark.timeout(180)
@pytest.mark.parametrize("service", [["--builtin", "discard"], ["cat"]])
def test_processes_that_live_shortly(network, serve, tmp_path, events, service):
    """A thousand processes that are there for less than 5 ms: 99 % of their connections named, at both ends, none wrongly."""
    host = network.host("host")
    builtin = service[0].startswith("--")
    server = serve("127.0.0.1:0", "--backlog", 4096, "--max", 4096, "--max-per-source", 4096,
                   *(service if builtin else []), worker=None if builtin else service,
                   prefix=host.prefix)
    live = Live(tmp_path, host, lambda: knock(host), "--json")
    # Some may be slowed down by what else the machine does, and do not count.
    count = CONNECTIONS * 3 // 2
    said = host.run(VISITORS, "127.0.0.1", server.port, count)
    server.log.wait("end", count, seconds=60)
    lines, errors = live.stop()

    assert errors == ""
    lives = [line.split() for line in said.splitlines()]
    short = [(int(pid), port) for pid, port, life in lives if int(life) < LIFE_US]
    if len(short) < CONNECTIONS:
        pytest.skip(f"this machine is too slow: only {len(short)} of {count} processes ended within 5 ms")
    clients = {port: pid for pid, port in short}
    workers = {split(end["pair"])[1]: end["pid"] for end in server.log.find("end")}
    judge = Judge(server.port, clients, workers, server.pid)
    for line in map(json.loads, lines):
        judge.segment(line)
    assert not judge.wrong, f"{len(judge.wrong)} named wrongly: {judge.wrong[:3]}"
    print(f"{len(clients)} connections: {judge.named} segments named, {judge.unnamed} not; {len(judge.ends)} ends named")
    assert judge.named >= 0.99 * (judge.named + judge.unnamed)
    assert len(judge.ends) >= 0.99 * 2 * len(clients)
