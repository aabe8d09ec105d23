"""Turns of the supervisor that are seldom so: its clock was set, a watch cannot be had, a pid comes again."""
import contextlib
import datetime
import json
import os
import pty
import re
import resource
import select
import shutil
import signal
import socket
import statistics
import subprocess
import time
import timeit

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


def test_the_end_of_one_whose_bytes_are_waited_for(serve):
    """It is said later than it was; the time in it is that of the end."""
    server = serve(HERE, worker=["sh", "-c", "exec 3<&0; cat <&3 >/dev/null & exit 3"])
    with server.connect():
        end = server.log.wait("end", exit=3)
        times = [time_of(event) for event in (server.log.wait("start"), end)]
    assert datetime.timedelta(0) <= times[1] - times[0] < datetime.timedelta(seconds=forkport.DEADLINE)


def test_a_log_for_programs_has_no_colours_on_a_terminal(serve):
    reader, writer = pty.openpty()
    server = serve(HERE, "--log", "json", "--builtin", "echo", log=False, stderr=writer)
    os.close(writer)
    assert server.ask(b"x") == b"x"
    assert server.stop() == 0
    events = {json.loads(line)["event"] for line in forkport.lines_of(reader)}
    os.close(reader)
    assert events == {"listen", "accept", "start", "end", "drain", "stop"}


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


def test_a_watch_of_signals_that_cannot_be_had(serve, strace):
    """They come so fast that they are left unread for a moment; then there is no memory to look at them again."""
    server = serve(HERE, "--builtin", "echo", env=forkport.TRACED)

    def has_failed():
        for _ in range(100):
            os.kill(server.pid, signal.SIGUSR2)
        return "(INJECTED)" in trace.read_text()

    with test_shortage.injected(server, "epoll_ctl:error=ENOMEM:when=2") as trace:
        forkport.until(has_failed, "a watch not to be had")
    assert server.ask(b"x") == b"x"
    server.log.wait("end")
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
    server.log.wait("end")
    with test_shortage.no_descriptor_free(server), server.connect() as client:
        assert forkport.read_to_end(client) == b"busy\n"


# Connections that wait for a process.

def say_and_end(client, text):
    client.sendall(text)
    client.shutdown(socket.SHUT_WR)


def ports_of(events):
    return [int(re.search(r":(\d+)\}$", event["pair"])[1]) for event in events]


def test_one_is_held_and_others_are_queued(serve, strace):
    """They are taken in when the server ends, stand behind it, and are tried after it: it is said once that none can be made."""
    server = serve(HERE, worker=["cat"], env=forkport.TRACED)
    with test_shortage.injected(server, "clone,clone3,fork,vfork:error=EAGAIN") as trace:
        clients = [server.connect() for _ in range(6)]
        forkport.until(lambda: trace.read_text().count("(INJECTED)") > 3, "some tries")
        assert len(server.log.find("accept")) == 1
        server.signal(signal.SIGTERM)
        assert server.log.wait("drain")["live"] == 6
        for index, client in enumerate(clients):
            say_and_end(client, b"%d" % index)
    assert [forkport.read_to_end(client) for client in clients] == [b"%d" % index for index in range(6)]
    assert server.wait() == 0
    assert ports_of(server.log.find("start")) == [client.getsockname()[1] for client in clients]
    assert len(server.log.find("notice")) == 1 and server.log.wait("stop")["served"] == 6


SLOW_TO_EXECUTE = ["strace", "--seccomp-bpf", "-D", "-f", "-o", "/dev/null", "-e", "trace=execve", "-e", "inject=execve:delay_enter=300000"]


def test_more_than_can_be_executed_when_the_server_ends(serve, strace):
    """That is no failure, and is not said to be one."""
    server = serve(HERE, worker=["cat"], env=forkport.TRACED, prefix=SLOW_TO_EXECUTE)
    server.signal(signal.SIGSTOP)
    forkport.until(lambda: forkport.state(server.pid) in "Tt", "the server to be stopped")
    clients = [server.connect() for _ in range(90)]
    server.signal(signal.SIGTERM)
    server.signal(signal.SIGCONT)
    for index, client in enumerate(clients):
        say_and_end(client, b"%d" % index)
    assert [forkport.read_to_end(client) for client in clients] == [b"%d" % index for index in range(90)]
    assert server.wait() == 0
    assert server.log.find("notice") == [] and server.log.wait("stop")["served"] == 90


def test_waiting_for_programs_to_be_executed_costs_nothing(serve, strace):
    server = serve(HERE, worker=["cat"], env=forkport.TRACED,
                   prefix=[*SLOW_TO_EXECUTE[:-1], "inject=execve:delay_enter=3000000"])
    clients = [server.connect() for _ in range(90)]
    server.log.wait("start", count=64)
    before, began = forkport.cpu_seconds(server.pid), time.monotonic()
    clients[-1].settimeout(1)
    with pytest.raises(TimeoutError):
        clients[-1].recv(1)
    assert forkport.cpu_seconds(server.pid) - before < 0.3 * (time.monotonic() - began)


# Listening sockets that are left alone.

@pytest.mark.parametrize("name", ["EMFILE", "ENFILE"])
def test_without_descriptors_of_the_process_or_the_host_a_client_is_told(serve, strace, name):
    server = serve(HERE, "--at-max", "message:busy\n", "--builtin", "echo", env=forkport.TRACED)
    with test_shortage.injected(server, f"accept4:error={name}:when=1"):
        with server.connect() as client:
            assert forkport.read_to_end(client) == b"busy\n"
        assert server.ask(b"y") == b"y"
    assert server.log.wait("refuse")["reason"] == "no descriptors"


def test_failures_of_one_connection_each_are_not_in_a_row(serve, strace):
    server = serve(HERE, "--builtin", "echo", env=forkport.TRACED)
    with test_shortage.injected(server, "accept4:error=ECONNABORTED:when=1+2") as trace:
        for _ in range(10):
            assert server.ask(b"x") == b"x"
        # Then it is in no such call, which would be cut short otherwise.
        server.log.wait("end", count=10)
        assert trace.read_text().count("(INJECTED)") >= 10
    assert server.log.find("pause") == []


def cannot_run(serve, tmp_path, *arguments):
    """A server whose program is gone."""
    program = shutil.copy("/bin/cat", tmp_path / "cat")
    server = serve(HERE, *arguments, worker=[program])
    os.unlink(program)
    return server


@contextlib.contextmanager
def found_together(server, count, *signals):
    """So many connections, and signals, that the server finds in one turn."""
    server.signal(signal.SIGSTOP)
    forkport.until(lambda: forkport.state(server.pid) in "Tt", "the server to be stopped")
    with contextlib.ExitStack() as clients:
        connected = [clients.enter_context(server.connect()) for _ in range(count)]
        for number in (*signals, signal.SIGCONT):
            server.signal(number)
        yield connected


def test_workers_that_fail_together_are_one_failure(serve, tmp_path):
    """The pause is for the first; the others were started before it, make it no longer, and its end is said."""
    server = cannot_run(serve, tmp_path)
    with found_together(server, 10):
        pause = server.log.wait("pause")
        server.log.wait("resume")
        server.log.wait("end", count=10)
    assert pause["delay_ms"] == 10 and len(server.log.find("resume")) == 1


def test_workers_that_fail_when_the_server_has_closed_its_doors(serve, tmp_path):
    server = cannot_run(serve, tmp_path)
    with found_together(server, 10, signal.SIGTERM):
        assert server.wait() == 0
    assert [event["event"] for event in server.log.read() if event["event"] in ("fail", "pause", "resume", "stop")] == ["fail", "stop"]
    assert server.log.find("stop")[0]["failed"] == 10


def test_a_program_that_goes_on_failing_is_tried_again_within_a_second(serve, tmp_path):
    program, delays = tmp_path / "program", []
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    server = serve(HERE, worker=[program])
    program.write_text("#!/no/such/interpreter\n")

    def is_long():
        # For another reason each time, or it would not be said.
        program.chmod(0o755 if len(delays) % 2 else 0o644)
        with server.connect() as client:
            assert forkport.read_to_end(client) == b""
        delays.append(server.log.wait("pause", count=len(delays) + 1)["delay_ms"])
        return delays[-1] >= 1000

    forkport.until(is_long, "a long pause")
    assert delays[0] == 10 and delays[-1] == 1000, delays


# Those in the queue when the server ends.

def stop_with_queued(server, count):
    with found_together(server, count, signal.SIGTERM) as clients:
        for index, client in enumerate(clients):
            say_and_end(client, b"%d" % index)
            assert forkport.read_to_end(client) == b"%d" % index
            client.close()
        assert server.wait() == 0


def test_as_many_as_the_queue_can_hold_are_served_at_the_end(serve):
    """Which is one more than it is asked for."""
    server = serve(HERE, "--backlog", 40, "--builtin", "echo")
    # The kernel takes no more than that: a 42nd would not be connected.
    stop_with_queued(server, 41)


def test_a_failure_of_one_in_the_queue_is_not_that_of_the_others(serve, strace):
    """More than are taken in one turn before the signal is looked at."""
    server = serve(HERE, "--builtin", "echo", env=forkport.TRACED,
                   prefix=["strace", "-D", "-o", "/dev/null", "-e", "trace=accept4", "-e", "inject=accept4:error=ECONNABORTED:when=20"])
    stop_with_queued(server, 30)


# Ends that come one after the other.

def wakeups(server):
    return int(forkport.status(server.pid, "voluntary_ctxt_switches"))


def test_ends_in_a_row_are_looked_for_together(serve):
    """Not oftener than once a millisecond, whatever comes; and nobody looks for any when there are none left."""
    server = serve(HERE, "--builtin", "echo")
    clients = [server.connect() for _ in range(100)]
    server.log.wait("start", count=len(clients))
    began, before = time.monotonic(), wakeups(server)
    for client in clients:
        client.close()
        time.sleep(0.0003)
    server.log.wait("end", count=len(clients))
    took_ms = (time.monotonic() - began) * 1000
    assert wakeups(server) - before < 1.7 * took_ms + 10
    before = wakeups(server)
    time.sleep(0.3)  # of nothing, in which it would look a hundred times
    assert wakeups(server) - before <= 10
    assert server.ask(b"still there") == b"still there"


@pytest.mark.skipif(forkport.SANITIZED, reason="a sanitized copy takes longer than an end is left alone")
def test_with_no_room_left_an_end_is_looked_at_at_once(serve):
    """The next one waits for it."""
    server = serve(HERE, "--builtin", "echo", "--max", 1)

    def between_answers():
        clients = [server.connect() for _ in range(100)]
        for client in clients:
            say_and_end(client, b"x")
        answered = []
        for client in clients:
            assert forkport.read_to_end(client) == b"x"
            answered.append(time.monotonic())
        return statistics.median(later - sooner for sooner, later in zip(answered, answered[1:]))

    # A machine that others use is at rest some time. One that is slow itself would tell nothing.
    lone = min(timeit.repeat(lambda: server.ask(b"x"), repeat=10, number=1))
    forkport.until(lambda: between_answers() < max(0.002, 2 * lone), "an answer soon after the one before it")


# A pid that comes again.

def inside(pid):
    """The pid of a process where it lives."""
    return int(forkport.status(pid, "NSpid").split()[-1])


@pytest.mark.parametrize("options", [["--engine", "fork"], ["--engine", "pool", "--pool-min", "1", "--pool-max", "1"]])
def test_who_was_stopped_with_the_server_is_given_time(serve, options):
    """As all are when their cgroup is frozen: who has not answered then is not taken for stuck, and killed with its connection."""
    server = serve(HERE, *options, worker=["cat"])
    server.log.wait("pool" if "pool" in options else "template")
    *_, process = forkport.all_children(server.pid)
    os.kill(process, signal.SIGSTOP)
    forkport.until(lambda: forkport.state(process) == "T", "the process to be stopped")
    with server.connect() as client:
        server.log.wait("accept")
        server.signal(signal.SIGSTOP)
        end = time.monotonic() + 3.5  # three seconds without an answer are too long
        forkport.until(lambda: time.monotonic() > end)
        server.signal(signal.SIGCONT)
        server.signal(signal.SIGHUP)
        server.log.wait("notice")
        os.kill(process, signal.SIGCONT)
        client.sendall(b"x\n")
        assert forkport.read_line(client) == "x\n"
        assert "pool" not in options or server.log.wait("start")["pid"] == process
    server.log.wait("end")
    assert [event for event in server.log.find("template") if "killed" in event["reason"]] == []
    assert server.stop() == 0


def test_a_worker_that_was_stopped_with_the_server_has_time_to_end(serve, tmp_path):
    """Between SIGTERM and SIGKILL."""
    (tmp_path / "worker").write_text("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done\n")
    server = serve(HERE, "--drain", "0", worker=["sh", tmp_path / "worker"])
    with server.connect() as client:
        assert forkport.read_line(client) == "ready\n"
        worker = server.log.wait("start")["pid"]
        os.kill(worker, signal.SIGSTOP)
        forkport.until(lambda: forkport.state(worker) == "T", "the worker to be stopped")
        server.signal(signal.SIGTERM)
        server.log.wait("hurry")
        server.signal(signal.SIGSTOP)
        end = time.monotonic() + 5.5  # after five seconds it is killed
        forkport.until(lambda: time.monotonic() > end)
        server.signal(signal.SIGCONT)
        server.signal(signal.SIGHUP)
        server.log.wait("notice")
        os.kill(worker, signal.SIGCONT)
        assert forkport.read_to_end(client) == b"bye\n"
    assert server.wait() == 0
    assert server.log.wait("end")["exit"] == 0


@pytest.mark.parametrize("engine", ["exec", "fork"])
def test_who_has_ended_is_not_asked_where_all_are_known(serve, strace, engine):
    """That is a call more for each end."""
    server = serve(HERE, "--engine", engine, worker=["cat"], env=forkport.TRACED)
    if engine == "fork":
        server.log.wait("template")
    with test_shortage.injected(server, "waitid:delay_enter=1") as trace:
        for count in range(1, 4):
            with server.connect():
                server.log.wait("start", count=count)
            server.log.wait("end", count=count)
        forkport.until(lambda: len(re.findall(r" wait(4|id)\(", trace.read_text())) >= 6, "the ends to be looked for")
        assert " waitid(" not in trace.read_text()


def test_those_that_have_not_answered_are_asked_once_a_turn(serve, strace):
    """Not again for each of the others that has."""
    server = serve(HERE, "--engine", "pool", "--pool-start", "exec", "--pool-min", "8", "--pool-max", "8", worker=["cat"], env=forkport.TRACED)
    server.log.wait("pool")
    waiting = forkport.all_children(server.pid)
    for pid in waiting:
        os.kill(pid, signal.SIGSTOP)
        forkport.until(lambda pid=pid: forkport.state(pid) == "T", "one that waits to be stopped")
    clients = [server.connect() for _ in waiting]
    server.log.wait("accept", count=8)
    with test_shortage.injected(server, "waitid:delay_enter=1") as trace:
        server.signal(signal.SIGSTOP)
        forkport.until(lambda: forkport.state(server.pid) in "Tt", "the server to be stopped")
        for client in clients:
            client.close()
        for pid in waiting[1::2]:
            os.kill(pid, signal.SIGCONT)
            forkport.until(lambda pid=pid: forkport.state(pid) == "Z", "a worker to end")
        server.signal(signal.SIGCONT)
        server.log.wait("end", count=4)
    # Of a server that is killed they would stay, stopped as they are.
    for pid in waiting[::2]:
        os.kill(pid, signal.SIGKILL)
    assert max(turn.count(" ioctl(") for turn in trace.read_text().split(" epoll_wait(")) <= 8


def give_pid(supervisor, pid):
    """The next process beside the supervisor gets this pid."""
    subprocess.run(["nsenter", "--pid", "--mount", "--target", str(supervisor), "sh", "-c",
                    f"echo {pid - 1} >/proc/sys/kernel/ns_last_pid"], check=True)


def test_a_worker_with_the_pid_of_one_that_was_just_reaped(serve, strace, root):
    """The end of the first is not looked after yet when the second is known: they are two."""
    if forkport.why_no_network():
        pytest.skip(forkport.why_no_network())
    server = serve(HERE, "--engine", "fork", worker=["cat"], env=forkport.TRACED,
                   prefix=["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"])
    [supervisor] = forkport.all_children(server.pid)
    [template] = forkport.all_children(supervisor)
    with server.connect() as first:
        pid = server.log.wait("start")["pid"]
        [worker] = [child for child in forkport.all_children(supervisor) if inside(child) == pid]
        os.kill(template, signal.SIGSTOP)
        forkport.until(lambda: forkport.state(template) == "T", "the template to be stopped")
        with server.connect() as second:
            server.log.wait("accept", count=2)
            with test_shortage.injected(server, "wait4:delay_exit=1000000:when=1", supervisor):
                give_pid(supervisor, pid)
                first.shutdown(socket.SHUT_WR)
                forkport.until(lambda: forkport.state(worker) is None, "the first worker to be reaped")
                os.kill(template, signal.SIGCONT)
                assert server.log.wait("start", count=2)["pid"] == pid
            second.sendall(b"two\n")
            assert forkport.read_line(second) == "two\n"
    server.log.wait("end", count=2)
    os.kill(supervisor, signal.SIGTERM)
    stop = server.log.wait("stop")
    assert (stop["served"], stop["failed"]) == (2, 0) and server.log.find("notice") == []
    assert [event["connection"] for event in server.log.find("end", pid=pid)] == [1, 2]


def test_a_worker_with_the_pid_of_one_that_ended_unheard_of(serve, strace, root):
    """A worker is known before it is reaped, though nobody had asked its template yet: another one may have its pid then."""
    if forkport.why_no_network():
        pytest.skip(forkport.why_no_network())
    server = serve(HERE, "--engine", "fork", "--templates", "2", worker=["cat"], env=forkport.TRACED,
                   prefix=["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"])
    [supervisor] = forkport.all_children(server.pid)
    server.log.wait("template", count=2)
    templates = forkport.all_children(supervisor)
    for template in templates:
        os.kill(template, signal.SIGSTOP)
        forkport.until(lambda pid=template: forkport.state(pid) == "T", "the template to be stopped")
    with server.connect() as one, server.connect() as two:
        server.log.wait("accept", count=2)
        os.kill(supervisor, signal.SIGSTOP)
        forkport.until(lambda: forkport.state(supervisor) == "T", "the supervisor to be stopped")
        for client in (one, two):
            client.sendall(b"x\n")
        os.kill(templates[0], signal.SIGCONT)
        [first], _, _ = select.select([one, two], [], [], forkport.DEADLINE)
        second = two if first is one else one
        [worker] = set(forkport.all_children(supervisor)) - set(templates)
        pid = inside(worker)
        first.shutdown(socket.SHUT_WR)
        forkport.until(lambda: forkport.state(worker) == "Z", "the first worker to end")
        with test_shortage.injected(server, "wait4:delay_exit=1000000:when=1", supervisor):
            os.kill(supervisor, signal.SIGCONT)
            forkport.until(lambda: forkport.state(worker) is None, "the first worker to be reaped")
            give_pid(supervisor, pid)
            os.kill(templates[1], signal.SIGCONT)
            assert forkport.read_line(second) == "x\n"
        assert server.log.wait("start", count=2)["pid"] == pid
    server.log.wait("end", count=2)
    os.kill(supervisor, signal.SIGTERM)
    stop = server.log.wait("stop")
    assert (stop["served"], stop["failed"]) == (2, 0) and server.log.find("notice") == []
    assert {event["connection"] for event in server.log.find("end", pid=pid)} == {1, 2}
