"""Limits: how many at once, in all and of a source, and what happens to the others."""
import concurrent.futures
import os
import socket
import struct
import threading
import time

import pytest

import forkport

HERE = "127.0.0.1:0"
HOLD = [forkport.WORKER, "hold"]
MANY = ["--max-per-source", 100_000]


def hold(server, count, **how):
    """So many connections, each with its process."""
    clients = [server.connect(**how) for _ in range(count)]
    for client in clients:
        forkport.read_line(client)
    return clients


@pytest.mark.parametrize("busy", [0, 1])
def test_addresses_take_turns_where_there_is_no_room(serve, busy):
    """One that is asked all the time does not keep the service from the clients of the other."""
    server = serve("127.0.0.1:0,127.0.0.1:0", "--max", 1, *MANY, worker=["cat"])
    ports, done = server.ports(), threading.Event()

    def ask_again_and_again():
        while not done.is_set():
            assert server.ask(b"busy", port=ports[busy]) == b"busy"

    with concurrent.futures.ThreadPoolExecutor(4) as others:
        asked = [others.submit(ask_again_and_again) for _ in range(4)]
        try:
            server.log.wait("end", count=10)
            for _ in range(10):
                began = time.monotonic()
                assert server.ask(b"other", port=ports[1 - busy]) == b"other"
                assert time.monotonic() - began < 2
        finally:
            done.set()
        for one in asked:
            one.result()


def close(clients):
    for client in clients:
        client.close()


def is_served(client):
    """Has its worker said something?"""
    client.setblocking(False)
    try:
        return client.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return False
    finally:
        client.settimeout(forkport.DEADLINE)


def closing_of(client):
    """All that came before the end of the stream, which must be an end and not a reset."""
    with client:
        return forkport.read_to_end(client)


def check_stop(server, **counts):
    assert server.stop() == 0
    stop = server.log.find("stop")[-1]
    assert {key: stop[key] for key in counts} == counts
    assert not forkport.pathlib.Path(f"/proc/{server.pid}").exists()


# --max.

def has_workers(server, count):
    """They hold, so what is one too many stays; one that a pool has just started is not yet seen to wait."""
    forkport.until(lambda: len(forkport.children(server.pid)) == count, f"{count} workers")


def test_queue_holds_back_and_loses_nobody(serve):
    server = serve(HERE, "--max", 3, *MANY, worker=HOLD)
    first = hold(server, 3)
    waiting = [server.connect() for _ in range(5)]
    # The supervisor has looked and found no room: what it does next it does because of an end.
    server.log.wait("start", count=3)
    assert not any(is_served(client) for client in waiting)
    has_workers(server, 3)
    for index in range(5):
        (first + waiting)[index].close()
        forkport.read_line(waiting[index])
        has_workers(server, 3)
    close(first + waiting)
    server.log.wait("end", count=8)
    assert max(event["live"] for event in server.log.find("end")) <= 2
    check_stop(server, served=8, refused=0, failed=0)


def test_waiting_for_room_costs_nothing(serve):
    server = serve(HERE, "--max", 1, *MANY, worker=HOLD)
    held, waiting = hold(server, 1), [server.connect() for _ in range(20)]
    server.log.wait("start")
    before, began = forkport.cpu_seconds(server.pid), time.monotonic()
    with pytest.raises(TimeoutError):
        waiting[0].settimeout(0.5)
        waiting[0].recv(1)
    assert forkport.cpu_seconds(server.pid) - before < 0.05 * (time.monotonic() - began)
    close(held + waiting)


def test_refuse_closes_at_once_without_a_process(serve):
    server = serve(HERE, "--max", 2, "--at-max", "refuse", *MANY, worker=HOLD)
    held = hold(server, 2)
    for _ in range(10):
        assert closing_of(server.connect()) == b""
    server.log.wait("refuse", count=10)
    server.log.wait("start", count=2)
    refusals = server.log.find("refuse")
    assert len(refusals) == 10 and {(event["reason"], event["live"]) for event in refusals} == {("full", 2)}
    assert all("connection" not in event and "pid" not in event for event in refusals)
    assert len(server.log.find("accept")) == len(server.log.find("start")) == 2
    close(held)
    server.log.wait("end", count=2)
    close(hold(server, 2))
    check_stop(server, served=4, refused=10, failed=0)


@pytest.mark.parametrize("given, told", [
    ("message:try later", b"try later"), ("message:421 Too many users\\r\\n", b"421 Too many users\r\n"),
    ("message:", b""), ("message:a\\tb\\\\c\\n", b"a\tb\\c\n"), ("message:" + "x" * 10_000, b"x" * 10_000),
])
def test_message_is_told_whole(serve, given, told):
    """Also to a client that has sent something already: it is not answered with a reset that takes the text away."""
    server = serve(HERE, "--max", 1, "--at-max", given, *MANY, worker=HOLD)
    held = hold(server, 1)
    assert closing_of(server.connect()) == told
    server.signal(forkport.signal.SIGSTOP)
    forkport.until(lambda: forkport.state(server.pid) == "T", "the server to be stopped")
    eager = server.connect()
    eager.sendall(b"GET / HTTP/1.0\r\n\r\n" * 100)
    server.signal(forkport.signal.SIGCONT)
    with eager:
        assert forkport.read_to_end(eager) == told
        server.log.wait("refuse", count=2)
        assert eager.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0, "no reset behind the end"
    close(held)
    check_stop(server, served=1, refused=2)


def test_refused_ones_cost_no_process(serve, strace, tmp_path):
    trace = tmp_path / "trace"
    server = serve(HERE, "--max", 1, "--at-max", "refuse", *MANY, worker=HOLD, env=forkport.TRACED,
                   prefix=["strace", "-D", "-o", trace, "-e", "trace=clone,clone3,fork,vfork"])
    held = hold(server, 1)
    for _ in range(100):
        assert closing_of(server.connect()) == b""
    close(held)
    server.log.wait("end")
    check_stop(server, served=1, refused=100)
    assert len([line for line in forkport.read_trace(trace) if line.startswith(("clone", "fork", "vfork"))]) == 1


def test_many_refusals_leave_nothing(serve):
    """Descriptors and memory stay what they were, and so do the slots."""
    number = int(os.environ.get("FORKPORT_SCALE", 20_000))
    server = serve(HERE, "--max", 2, "--at-max", "message:full\n", *MANY, worker=HOLD)
    held = hold(server, 2)

    def refuse(count):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lambda _: refused_abruptly(server), range(count))) == {b"full\n"}

    # A client sees the end of its stream before the server has closed its own end, and said so.
    refuse(number // 10)
    server.log.wait("refuse", count=number // 10)
    before = forkport.descriptors(server.pid), forkport.status(server.pid, "VmRSS")
    refuse(number - number // 10)
    server.log.wait("refuse", count=number)
    after = forkport.descriptors(server.pid), forkport.status(server.pid, "VmRSS")
    assert after[0] == before[0]
    grown_kib = int(after[1].split()[0]) - int(before[1].split()[0])
    # The log's MiB may come to be used. A sanitizer keeps what was freed.
    assert grown_kib < 1500 or forkport.SANITIZED
    has_workers(server, 2)
    close(held)
    server.log.wait("end", count=2)
    close(hold(server, 2))
    check_stop(server, served=4, refused=number, failed=0)


def refused_abruptly(server):
    """As closing_of(), but the client's port is free again at once."""
    with server.connect() as client:
        text = forkport.read_to_end(client)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return text


# --max-per-source.

def test_per_source(serve):
    server = serve(HERE, "--max-per-source", 2, worker=HOLD)
    held = hold(server, 2, source="127.0.0.2")
    assert closing_of(server.connect(source="127.0.0.2")) == b""
    assert server.log.wait("refuse")["reason"] == "source full"
    held += hold(server, 2, source="127.0.0.3")
    assert closing_of(server.connect(source="127.0.0.3")) == b""
    held.pop(0).close()
    server.log.wait("end")
    held += hold(server, 1, source="127.0.0.2")
    assert closing_of(server.connect(source="127.0.0.2")) == b""
    close(held)
    server.log.wait("end", count=5)
    check_stop(server, served=5, refused=3)


def test_per_source_is_told_the_message(serve):
    server = serve(HERE, "--max-per-source", 1, "--at-max", "message:one each\n", worker=HOLD)
    held = hold(server, 1)
    assert closing_of(server.connect()) == b"one each\n"
    close(held)


def test_per_source_does_not_hold_others_up(serve):
    """The queue is for --max alone: behind one source that has enough nobody waits."""
    server = serve(HERE, "--max-per-source", 1, "--at-max", "queue", worker=HOLD)
    held = hold(server, 1, source="127.0.0.2")
    greedy = [server.connect(source="127.0.0.2") for _ in range(20)]
    held += hold(server, 1, source="127.0.0.3")
    assert {closing_of(client) for client in greedy} == {b""}
    close(held)


@pytest.mark.parametrize("bits, other, same", [
    (32, "127.0.0.3", False), (31, "127.0.0.3", True), (31, "127.0.0.1", False), (24, "127.0.0.9", True),
    (24, "127.0.1.2", False), (9, "127.127.0.2", True), (9, "127.128.0.2", False), (0, "127.128.0.2", True)])
def test_prefix_of_ipv4(serve, bits, other, same):
    server = serve(HERE, "--max-per-source", 1, "--source-prefix4", bits, worker=HOLD)
    held = hold(server, 1, source="127.0.0.2")
    if same:
        assert closing_of(server.connect(source=other)) == b""
    else:
        held += hold(server, 1, source=other)
    close(held)


def test_default_of_a_source_is_a_hundred(serve):
    server = serve(HERE, worker=HOLD)
    held = hold(server, 100)
    assert closing_of(server.connect()) == b""
    held += hold(server, 1, source="127.0.0.2")
    close(held)
    server.log.wait("end", count=101)


@pytest.mark.parametrize("options, same_64, same_48", [
    ([], True, False), (["--source-prefix6", 48], True, True), (["--source-prefix6", 128], False, False)])
def test_prefix_of_ipv6(serve, network, options, same_64, same_48):
    """A host has a whole /64 to choose addresses from: they count as one source."""
    host = network.host("server")
    addresses = ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"]
    for address in addresses:
        host.run("ip", "-6", "address", "add", f"{address}/128", "dev", "lo", "nodad")
    server = serve("[::]:21", "--max-per-source", 1, *options, worker=HOLD, prefix=host.prefix)

    def connect(source):
        return host.connect("2001:db8:0:1::1", 21, source=source)

    held = [connect(addresses[0])]
    forkport.read_line(held[0])
    for address, same in ((addresses[1], same_64), (addresses[2], same_48)):
        client = connect(address)
        if same:
            assert closing_of(client) == b""
        else:
            forkport.read_line(client)
            held.append(client)
    close(held)


def test_ipv4_client_of_an_ipv6_socket_is_an_ipv4_source(serve):
    """Mapped addresses share one /64; as IPv6 sources all of IPv4 would be one."""
    server = serve("*:0", "--max-per-source", 1, worker=HOLD)
    held = hold(server, 1, source="127.0.0.2") + hold(server, 1, source="127.0.0.3")
    assert closing_of(server.connect(source="127.0.0.2")) == b""
    close(held)


# Programs that cannot run.

def test_program_that_cannot_be_executed(serve, tmp_path):
    """It is said once, with the step and the reason, and tried less and less often; nothing spins, and it may heal."""
    program, interpreter = tmp_path / "program", tmp_path / "interpreter"
    interpreter.symlink_to("/bin/sh")
    program.write_text(f"#!{interpreter}\necho healed\n")
    program.chmod(0o755)
    server = serve(HERE, "--engine", "exec", worker=[program])
    interpreter.unlink()
    for _ in range(5):
        assert closing_of(server.connect()) == b""
    fail = server.log.wait("fail")
    assert (fail["step"], fail["error"]) == ("run the program", f"{program}: No such file or directory")
    assert len(server.log.find("fail")) == 1 and server.log.find("pause")
    before, began = forkport.cpu_seconds(server.pid), time.monotonic()
    waiting = server.connect()
    interpreter.symlink_to("/bin/sh")
    assert closing_of(waiting) in (b"healed\n", b"")
    assert forkport.until(lambda: server.ask() == b"healed\n", "the program to run")
    assert forkport.cpu_seconds(server.pid) - before < 0.05 + 0.05 * (time.monotonic() - began)
    assert server.stop() == 0
    stop = server.log.wait("stop")
    # Only now: the log is written within milliseconds of what it says, not before.
    assert stop["failed"] >= 5 and stop["failed"] + stop["served"] == len(server.log.find("start"))


@pytest.fixture(name="breaks")
def breaks_(tmp_path):
    """A program that runs when its server starts; what one that is executed for each connection is later, it is for the next."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho healed\n")
    program.chmod(0o755)
    return program


def test_failures_are_said_once_and_counted(serve, breaks):
    """Another failure is said with how often the one before had come again; after a success the same is said anew."""
    server = serve(HERE, "--engine", "exec", worker=[breaks])
    breaks.write_text("#!/no/such/interpreter\n")
    for _ in range(3):
        assert closing_of(server.connect()) == b""
    server.log.wait("end", count=3)
    breaks.write_text("#!/bin/sh\necho healed\n")
    breaks.chmod(0o644)
    assert closing_of(server.connect()) == b""
    fail = server.log.wait("fail", count=2)
    assert fail["error"].endswith("Permission denied") and fail["count"] == 2
    breaks.chmod(0o755)
    assert server.ask() == b"healed\n"
    server.log.wait("end", exit=0)
    breaks.chmod(0o644)
    assert closing_of(server.connect()) == b""
    fail = server.log.wait("fail", count=3)
    assert fail["error"].endswith("Permission denied") and "count" not in fail
    # A pause without news is none to be told of.
    assert len(server.log.find("pause")) == 3 >= len(server.log.find("resume"))
    check_stop(server, served=1, failed=5)


def test_program_that_cannot_be_executed_pauses_all_addresses(serve, breaks):
    """Each, as long as the others: clients of one would else have the program tried as fast as they come."""
    server = serve(f"{HERE},{HERE},{HERE}", "--engine", "exec", worker=[breaks])
    breaks.chmod(0o644)
    assert closing_of(server.connect()) == b""
    server.log.wait("pause", count=3)
    pauses = server.log.find("pause")
    assert {event["pair"] for event in pauses} == set(server.pairs) and {event["delay_ms"] for event in pauses} == {10}
    server.log.wait("resume", count=3)
    assert {event["pair"] for event in server.log.find("resume")} == set(server.pairs)


def test_own_127_is_no_failure(serve):
    server, number = serve(HERE, worker=["sh", "-c", "exit 127"]), 20
    for connection in range(1, number + 1):
        server.ask()
        assert server.log.wait("end", connection=connection)["exit"] == 127
    assert not server.log.find("fail") and not server.log.find("pause")
    check_stop(server, served=number, failed=0)


def test_who_comes_again_is_let_in_once_the_last_one_has_ended(serve):
    """Under load ends are looked at together; one that makes room for a client who is there is not left to the next time."""
    server = serve("127.0.0.1:0", "--max-per-source", 1, worker=["cat"])
    for i in range(50):
        other, again = (server.connect(source=f"127.0.{i}.{end}") for end in (1, 2))
        with other, again:
            server.log.wait("start", 3 * i + 2)
            workers = [event["pid"] for event in server.log.find("start")[-2:]]
            other.shutdown(socket.SHUT_WR)
            assert forkport.read_to_end(other) == b""
            again.shutdown(socket.SHUT_WR)
            assert forkport.read_to_end(again) == b""
            forkport.until(lambda: {forkport.state(pid) for pid in workers} <= {"Z", None}, "the ends")
            assert server.ask(b"x", source=f"127.0.{i}.2") == b"x"
            server.log.wait("end", 3 * (i + 1))
    assert server.log.find("refuse") == []
