"""Workers that are started ahead of their connections: how many wait, who replaces them, and that no connection is lost."""
import concurrent.futures
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import time

import pytest

import forkport
from test_shortage import injected, no_descriptor_free

HERE = "127.0.0.1:0"
POOL = ["--engine", "pool"]
STARTS = {"forked": [], "executed": ["--pool-start", "exec"]}
BURST = 1000


@pytest.fixture(params=STARTS)
def start(request, serve):
    """Starts a server with a pool, each way to start one that waits: start("--pool-min", 4, worker=["cat"])."""
    def begin(*arguments, **more):
        return serve(HERE, *POOL, *STARTS[request.param], "--max-per-source", 4000, *arguments, **more)
    return begin


def waiting(server):
    """The workers that wait for a connection: not the template, whose workers have the session that it made."""
    found = []
    for task in pathlib.Path(f"/proc/{server.pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            if forkport.waits_for_connections(child) and child not in templates(server):
                found.append(child)
    return found


def templates(server):
    return {event["pid"] for event in server.log.find("template") if "pid" in event}


def wait_for(server, count):
    forkport.until(lambda: len(waiting(server)) == count, f"{count} to wait")


@pytest.mark.skipif(forkport.SANITIZED, reason="the program would have to be sanitized too")
@pytest.mark.parametrize("alignment", [0x1000, 0x10000])
def test_what_one_that_waits_brings_in(serve, strace, tmp_path, alignment):
    """The program's variables, wherever its segments lie: where they are laid out for larger pages there are gaps between them."""
    (tmp_path / "says.c").write_text("""
        #include <stdio.h>
        #include <unistd.h>
        int set = 1, unset[2000];
        int main(void)
        {
            char text[80];
            return write(1, text, (size_t)sprintf(text, "%p %p", (void *)&set, (void *)&unset[1999])) < 0;
        }""")
    subprocess.run(["cc", f"-Wl,-z,max-page-size={alignment}", "-o", tmp_path / "says", tmp_path / "says.c"], check=True)
    trace = tmp_path / "trace"
    server = serve(HERE, *POOL, "--pool-min", 1, "--pool-max", 1, worker=[tmp_path / "says"], env=forkport.TRACED,
                   prefix=["strace", "-D", "-f", "-o", trace, "-e", "trace=madvise"])
    forkport.until(lambda: waiting(server), "a worker to wait")
    addresses = [int(word, 16) for word in server.ask().split()]
    ranges = [(int(at, 16), int(size)) for at, size in re.findall(r"madvise\((0x\w+), (\d+), MADV_POPULATE_WRITE", trace.read_text())]
    assert len(addresses) == 2 and all(any(at <= address < at + size for at, size in ranges) for address in addresses), (addresses, ranges)


def test_as_many_wait_as_were_asked_for(start):
    server = start("--pool-min", 5, worker=["cat"])
    assert server.log.wait("pool", reason="filled")["waiting"] == 5
    wait_for(server, 5)
    assert server.ask(b"x") == b"x"
    wait_for(server, 5)
    assert server.stop() == 0
    assert server.log.wait("stop")["served"] == 1


def test_a_minimum_above_the_maximum_by_default_is_the_maximum(start):
    server = start("--pool-min", 70, worker=["cat"])
    assert server.log.wait("pool", reason="filled")["waiting"] == 70


def test_a_connection_gets_one_that_waited(start):
    server = start("--pool-min", 3, worker=[forkport.WORKER, "hold"])
    wait_for(server, 3)
    ahead = set(waiting(server))
    with server.connect() as client:
        assert int(forkport.read_line(client)) in ahead
        wait_for(server, 3)


def test_each_serves_one(start):
    server = start("--pool-min", 4, worker=[forkport.WORKER, "hold"])
    pids = []
    for _ in range(40):
        with server.connect() as client:
            pids.append(int(forkport.read_line(client)))
    assert len(set(pids)) == 40


def test_what_a_worker_writes_stands_behind_its_start(start):
    """Whatever else the server sees in the turn in which the worker took its order: so there are many at once."""
    server = start("--pool-min", 8, worker=["sh", "-c", "echo begins >&2"])
    wait_for(server, 8)
    with concurrent.futures.ThreadPoolExecutor(8) as clients:
        assert set(clients.map(lambda _: server.ask(), range(2 * BURST))) == {b""}
    assert server.stop() == 0
    pids = {}
    for event in server.log.read():
        if event["event"] == "start":
            pids[event["connection"]] = event["pid"]
        assert event["event"] != "stderr" or event["pid"] == pids.get(event["connection"]), event
    assert len(server.log.find("stderr")) == len(pids) == 2 * BURST


def let_grow(server, number):
    """More come at once than wait, until so many wait."""
    def is_full():
        clients = [server.connect() for _ in range(2 * number)]
        for client in clients:
            client.close()
        forkport.until(lambda: not forkport.children(server.pid), "all to be served")
        return len(waiting(server)) == number

    forkport.until(is_full, "the pool to grow")


def test_more_wait_after_a_burst_but_not_too_many(start):
    server = start("--pool-min", 1, "--pool-max", 6, worker=["cat"])
    wait_for(server, 1)
    let_grow(server, 6)
    assert server.stop() == 0


def test_twice_as_many_wait_when_one_found_none(serve):
    """Each takes half a second to its gate, so that a fifth connection finds none."""
    server = serve(HERE, *POOL, "--pool-start", "exec", "--gate", "read", "--pool-min", 4,
                   worker=["dash", "-c", "sleep 0.5; read line; echo $line"])
    wait_for(server, 4)
    # All are found at once, however long they are in coming.
    server.signal(signal.SIGSTOP)
    forkport.until(lambda: forkport.state(server.pid) == "T", "the server to be stopped")
    clients = [server.connect() for _ in range(5)]
    server.signal(signal.SIGCONT)
    for client in clients:
        client.sendall(b"x\n")
        assert forkport.read_to_end(client) == b"x\n"
    wait_for(server, 8)


def test_fewer_wait_when_they_were_not_needed(serve):
    """Half of those that were not needed for ten seconds go, down to the least."""
    server = serve(HERE, *POOL, "--pool-min", 4, "--pool-max", 6, worker=["cat"])
    wait_for(server, 4)
    let_grow(server, 6)
    forkport.until(lambda: len(waiting(server)) < 6, "some to go", seconds=30)
    wait_for(server, 4)


def test_no_more_than_may_be_served_wait(start):
    server = start("--max", 2, "--pool-min", 8, worker=["cat"])
    assert server.log.wait("pool", reason="filled")["waiting"] == 2
    wait_for(server, 2)


def test_one_that_dies_is_replaced_and_said_once(start):
    server = start("--pool-min", 3, worker=["cat"])
    wait_for(server, 3)
    gone = waiting(server)
    for pid in gone:
        os.kill(pid, signal.SIGKILL)
    forkport.until(lambda: len(waiting(server)) == 3 and not set(waiting(server)) & set(gone), "others to wait")
    said = []
    forkport.until(lambda: said.extend(event["reason"] for event in server.log.find("pool") if "ended" in event["reason"]) or said,
                   "it to be said")
    assert len(said) <= 3 and said[0].endswith("that waited ended (the last: signal KILL)")
    assert all(0 <= event["waiting"] <= 3 for event in server.log.find("pool"))
    assert server.ask(b"x") == b"x"


def test_one_that_dies_again_and_again_is_replaced_more_slowly(start):
    server = start("--pool-min", 1, worker=["cat"])
    delays = []
    for _ in range(5):
        # Of one look: on its way to its gate, it may not be known as one that waits the next time.
        looks = []
        forkport.until(lambda looks=looks: looks.append(waiting(server)) or len(looks[-1]) == 1, "one to wait")
        [pid] = looks[-1]
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        forkport.until(lambda gone=pid: waiting(server) not in ([gone], []), "another to wait")
        delays.append(time.monotonic() - began)
    # A tenth of a second, and twice as long each time; less where one lived for a while in between.
    assert sum(delays) > 1, delays


def test_an_order_that_was_not_taken_is_given_to_another(start):
    """Those that wait are stopped: they do not take what they are sent. They are killed, and the clients served."""
    server = start("--pool-min", 3, worker=["cat"])
    wait_for(server, 3)
    stopped = waiting(server)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
        forkport.until(lambda pid=pid: forkport.state(pid) == "T", "it to be stopped")
    clients = [server.connect() for _ in range(3)]
    server.log.wait("accept", count=3)
    for pid in stopped:
        os.kill(pid, signal.SIGKILL)
    for index, client in enumerate(clients):
        client.sendall(b"%d" % index)
        client.shutdown(socket.SHUT_WR)
        assert forkport.read_to_end(client) == b"%d" % index
    server.log.wait("end", count=3)
    assert not {event["pid"] for event in server.log.find("end")} & set(stopped)
    assert server.stop() == 0
    stop = server.log.wait("stop")
    assert (stop["served"], stop["refused"], stop["failed"]) == (3, 0, 0)


@pytest.mark.parametrize("kind, count", [("fork", 1), ("pool", 3)])
def test_orders_are_had_back_when_there_are_descriptors_again(serve, kind, count):
    """There is none to take their connections with when those who had them are killed."""
    ahead = [*POOL, "--pool-start", "exec", "--pool-min", 3, "--pool-max", 3] if kind == "pool" else ["--engine", kind]
    server = serve(HERE, *ahead, worker=["cat"])
    stopped = forkport.until(lambda: len(found := forkport.all_children(server.pid)) == count and found, "them to wait")
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
        forkport.until(lambda pid=pid: forkport.state(pid) == "T", "it to be stopped")
    clients = [server.connect() for _ in range(3)]
    server.log.wait("accept", count=3)

    def ended():
        said = [event["reason"] for event in server.log.find("pool" if kind == "pool" else "template")]
        return sum(int(reason.split()[0]) if kind == "pool" else 1 for reason in said if "ended (" in reason) == count

    with no_descriptor_free(server):
        for pid in stopped:
            os.kill(pid, signal.SIGKILL)
        forkport.until(ended, "their end")
    for index, client in enumerate(clients):
        client.sendall(b"%d" % index)
        client.shutdown(socket.SHUT_WR)
        assert forkport.read_to_end(client) == b"%d" % index
    assert server.stop() == 0
    stop = server.log.wait("stop")
    assert (stop["served"], stop["refused"], stop["failed"]) == (3, 0, 0)


@pytest.mark.parametrize("kind", ["fork", "pool"])
def test_an_order_that_cannot_be_had_back_is_tried_again(serve, strace, kind):  # pylint: disable=unused-argument
    """Whatever the kernel lacks for a moment."""
    ahead = [*POOL, "--pool-start", "exec", "--pool-min", 1, "--pool-max", 1] if kind == "pool" else ["--engine", kind]
    server = serve(HERE, *ahead, "--stderr", "inherit", worker=["cat"], env=forkport.TRACED)
    server.log.wait("pool" if kind == "pool" else "template")
    [stopped] = forkport.all_children(server.pid)
    os.kill(stopped, signal.SIGSTOP)
    forkport.until(lambda: forkport.state(stopped) == "T", "it to be stopped")
    with server.connect() as client:
        server.log.wait("accept")
        with injected(server, "recvmsg:error=ENOMEM:when=1..3"):
            os.kill(stopped, signal.SIGKILL)
            client.sendall(b"x\n")
            assert forkport.read_line(client) == "x\n"
    assert server.stop() == 0
    assert server.log.wait("stop")["failed"] == 0


def test_one_that_does_not_answer_is_killed(start):
    server = start("--pool-min", 1, "--pool-max", 1, worker=["cat"])
    wait_for(server, 1)
    [pid] = waiting(server)
    os.kill(pid, signal.SIGSTOP)
    forkport.until(lambda: forkport.state(pid) == "T", "it to be stopped")
    assert server.ask(b"x") == b"x"
    # It may be reaped at any time.
    assert forkport.state(pid) in (None, "Z")


def test_those_that_wait_end_with_the_server(start):
    server = start("--pool-min", 4, worker=["cat"])
    wait_for(server, 4)
    left = waiting(server)
    assert server.stop() == 0
    for pid in left:
        forkport.wait_pid(pid)
    server = start("--pool-min", 4, worker=["cat"])
    wait_for(server, 4)
    left = waiting(server)
    server.process.kill()
    for pid in left:
        forkport.wait_pid(pid)


def test_they_go_when_no_more_connections_come(start):
    server = start("--pool-min", 4, worker=["cat"])
    wait_for(server, 4)
    left = waiting(server)
    with server.connect() as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        server.log.wait("start")
        server.signal(signal.SIGTERM)
        server.log.wait("drain")
        for pid in set(left) - {event["pid"] for event in server.log.find("start")}:
            forkport.wait_pid(pid)
        client.sendall(b"y")
        assert client.recv(1) == b"y"
        client.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert waiting(server) == [], "no others in their place, nor those that were on their way"
    assert server.wait() == 0


def test_no_process_can_be_made(start, strace):
    """Connections take those that wait; who comes after them is held until there are processes again."""
    server = start("--pool-min", 3, "--pool-max", 3, worker=["cat"], env=forkport.TRACED)
    wait_for(server, 3)
    for template in templates(server):
        os.kill(template, signal.SIGSTOP)
    with injected(server, "clone,clone3,fork,vfork:error=EAGAIN:when=1..8"):
        for index in range(3):
            assert server.ask(b"%d" % index) == b"%d" % index
        for template in templates(server):
            os.kill(template, signal.SIGKILL)
        assert server.ask(b"x") == b"x"
    assert server.stop() == 0
    assert server.log.wait("stop")["served"] == 4


def test_no_process_for_a_second(serve, strace):
    """It is tried less and less often, and said once."""
    server = serve(HERE, *POOL, "--pool-start", "exec", "--pool-min", 2, "--pool-max", 2, worker=["cat"], env=forkport.TRACED)
    wait_for(server, 2)
    with injected(server, "clone,clone3,fork,vfork:error=EAGAIN") as trace, server.connect() as client:
        client.settimeout(1)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert 2 <= trace.read_text().count("(INJECTED)") < 10
    wait_for(server, 2)
    said = [event["reason"] for event in server.log.find("pool") if event["reason"] != "filled"]
    assert said == ["none can be started: Resource temporarily unavailable"]


def test_a_program_that_cannot_wait_is_executed(serve):
    server = serve(HERE, *POOL, worker=[static_program()])
    notices = [event["error"] for event in server.log.find("notice")]
    assert len(notices) == 1 and "each connection executes it instead" in notices[0], notices
    assert server.ask(b"static\n") == b"static\n"
    assert server.stop() == 0


def static_program():
    path = forkport.BUILD / "bench/program-static"
    if not path.exists():
        pytest.skip("there is no static program: the benchmark was not built")
    return path


def test_a_worker_that_crashes_takes_the_forked_ones_with_it(serve):
    """They share its layout, which somebody may be guessing."""
    server = serve(HERE, *POOL, "--pool-min", 4, worker=["sh", "-c", "read line; kill -SEGV $$"])
    wait_for(server, 4)
    before = set(waiting(server)) | templates(server)
    with server.connect() as client:
        client.sendall(b"\n")
        assert client.recv(1) == b""
    server.log.wait("end", signal="SEGV")
    forkport.until(lambda: len(waiting(server)) == 4 and not set(waiting(server)) & before, "others to wait")


def test_a_program_that_was_replaced_is_taken_up_when_the_template_is_ended(serve, tmp_path):
    """As the manual has it for those that were forked; those that wait have what the program was."""
    program, other = shutil.copy("/bin/echo", tmp_path / "program"), shutil.copy("/bin/false", tmp_path / "other")
    server = serve(HERE, *POOL, "--pool-min", 4, worker=[program, "hello"])
    wait_for(server, 4)
    os.rename(other, program)
    [template] = templates(server)
    os.kill(template, signal.SIGTERM)
    server.log.wait("template", reason="ended (signal TERM)")
    assert [server.ask() for _ in range(4)] == [b""] * 4


def test_those_on_their_way_when_a_worker_crashes_go_too(serve):
    """Their template has the orders already, and what it forks has the layout that somebody may be guessing."""
    server = serve(HERE, *POOL, "--gate", "read", "--pool-min", 4, "--pool-max", 4,
                   worker=[forkport.BUILD / "tests/fixtures/template", "read"])
    wait_for(server, 4)
    [template] = templates(server)
    os.kill(template, signal.SIGSTOP)
    forkport.until(lambda: forkport.state(template) == "T", "the template to be stopped")
    for count in range(1, 4):
        assert prepared_by(server) == template
        server.log.wait("end", count=count)
    server.ask(b"fault\n")
    server.log.wait("template", reason="replaced: a worker ended by signal ABRT")
    os.kill(template, signal.SIGCONT)
    forkport.wait_pid(template)
    wait_for(server, 4)
    assert template not in {prepared_by(server) for _ in range(8)}


def prepared_by(server):
    return int(server.ask(b"hello\n").split()[1])


def test_few_descriptors_leave_some_for_connections(start):
    server = start("--pool-min", 500, "--pool-max", 500, worker=["cat"],
                   preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
    assert "no more than 11 wait" in server.log.wait("notice")["error"]
    wait_for(server, 11)
    for index in range(60):
        assert server.ask(b"%d" % index) == b"%d" % index


def retransmitted(host):
    """How many segments were sent again in the host's network, and how many timers ran out, SYN included."""
    counts = {}
    for name in ("snmp", "netstat"):
        lines = host.run("cat", f"/proc/net/{name}").splitlines()
        for keys, values in zip(lines[::2], lines[1::2]):
            counts |= dict(zip((f"{keys.split()[0]}{key}" for key in keys.split()[1:]), values.split()[1:]))
    return {key: int(counts[key]) for key in ("Tcp:RetransSegs", "TcpExt:TCPTimeouts", "TcpExt:TCPSynRetrans",
                                              "TcpExt:ListenOverflows")}


@pytest.mark.parametrize("ahead", [8, 100])
def test_a_burst_is_answered_without_a_second_try(serve, network, ahead):
    host = network.host("server")
    server = serve("127.0.0.1:21", *POOL, "--pool-min", ahead, "--pool-max", 200, "--max", 2000, "--max-per-source", 2000,
                   worker=["cat"], prefix=host.prefix)
    clients = []
    for _ in range(BURST // 100):
        clients += [host.connect("127.0.0.1", 21) for _ in range(100)]
    for index, client in enumerate(clients):
        client.sendall(b"%d" % index)
        client.shutdown(socket.SHUT_WR)
    assert [forkport.read_to_end(client) for client in clients] == [b"%d" % index for index in range(BURST)]
    assert set(retransmitted(host).values()) == {0}, retransmitted(host)
    server.log.wait("end", count=BURST)
    assert server.stop() == 0
    stop = server.log.wait("stop")
    assert (stop["served"], stop["refused"], stop["failed"]) == (BURST, 0, 0)


@pytest.mark.parametrize("what, answer", [("file", b"root:\n"), ("epoll", b"woken 1\n"), ("events", b"3\n"),
                                          ("reply", b"first hello\n"), ("copy", b"hello\n"), ("closed", b"root:\n"),
                                          ("thread", b"heard\n")])
@pytest.mark.parametrize("options", [[], ["--engine", "fork"], ["--engine", "pool", "--pool-min", 3],
                                     ["--engine", "pool", "--pool-min", 3, "--pool-start", "exec"]],
                         ids=["exec", "fork", "pool", "pool of programs"])
def test_what_a_constructor_does_with_descriptors(serve, options, what, answer):
    """Each connection has its own, also of those for which somebody waited, or is executed."""
    program = forkport.BUILD / "tests/fixtures/constructed"
    server = serve("127.0.0.1:0", *options, worker=[program], env={**os.environ, "CONSTRUCTED": what})
    if options:
        forkport.until(lambda: server.log.find("pool" if "pool" in options else "template") or server.log.find("notice"))
    for _ in range(3):
        with server.connect() as client:
            client.sendall(b"hello")
            # Of one that does not read what was sent the end is a reset.
            assert client.recv(20) == answer if what != "reply" else forkport.read_to_end(client) == answer
