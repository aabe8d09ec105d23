"""forkport demux --live: each segment goes to the process that has it, also where that is gone before anybody could look."""
import calendar
import json
import os
import signal
import subprocess
import time as time_module

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
    """Holds what was told of segments against what the processes said themselves.

    A port may be used by one process after another, and then its segments are of the last that had begun.
    """

    def __init__(self, server, visits, workers, supervisor):
        self.server, self.visits, self.supervisor = str(server), {}, supervisor
        for pid, port, date_us, life_us in visits:
            visit = {"date_us": int(date_us), "short": int(life_us) < LIFE_US, "client": int(pid)}
            visit["worker"] = workers[port][len(self.visits.setdefault(port, []))]
            self.visits[port].append(visit)
        self.named, self.unnamed, self.wrong, self.ends = 0, 0, [], set()

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
            if line["processes"] and not waiting:
                self.ends.add((comes, visit["client"]))
        if line["senders"]:
            self.end(line, line["senders"],
                     truth["client"] if comes else truth["server"] | {self.supervisor}, counts=False)

    def end(self, line, processes, truth, counts=True):
        named = {process["pid"] for process in processes}
        if not named <= truth:
            self.wrong.append((line, truth))
        self.named += counts and bool(named)
        self.unnamed += counts and not named


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
    visits = [line.split() for line in said.splitlines()]
    short = sum(int(life_us) < LIFE_US for *_, life_us in visits)
    if short < CONNECTIONS:
        pytest.skip(f"this machine is too slow: only {short} of {count} processes ended within 5 ms")
    workers = {}
    for end in sorted(server.log.find("end"), key=lambda end: end["connection"]):
        workers.setdefault(split(end["pair"])[1], []).append(end["pid"])
    judge = Judge(server.port, visits, workers, server.pid)
    for line in map(json.loads, lines):
        judge.segment(line)
    print(f"{short} connections: {judge.named} segments named, {judge.unnamed} not; {len(judge.ends)} ends named; "
          f"{len(visits) - len(judge.visits)} ports were used again")
    assert not judge.wrong, f"{len(judge.wrong)} named wrongly: {judge.wrong[:3]}"
    assert judge.named >= 0.99 * (judge.named + judge.unnamed)
    assert len(judge.ends) >= 0.99 * 2 * short
