"""Failures of accept(2) and clone(2), injected into the running server by strace, and descriptors that run out.

Whatever fails: the server lives, does not spin, and serves whoever comes, and whoever waited, once it fails no more.
"""
import concurrent.futures
import contextlib
import errno
import os
import re
import resource
import signal
import socket
import subprocess
import time

import pytest

import forkport

HERE = "127.0.0.1:0"
ENGINES = [([], {"worker": ["cat"]}), (["--builtin", "echo"], {})]
SOON = 3 if forkport.SANITIZED else 1.5  # a second is the longest pause; the rest is for a busy machine


# What accept(2) may say, and what it means to a server. EIO stands for what nobody has thought of.
CLASSES = {
    "DRAINED": ["EAGAIN"],
    "RETRY": ["EINTR", "ECONNABORTED", "ENETDOWN", "EPROTO", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH",
              "EOPNOTSUPP", "ENETUNREACH", "ETIMEDOUT", "ECONNRESET", "EPERM", "EACCES"],
    "PAUSE": ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ENOSR", "EIO"],
    "DEAD": ["EBADF", "ENOTSOCK", "EINVAL", "EFAULT"],
}
TRANSIENT = [name for of_class in ("DRAINED", "RETRY", "PAUSE") for name in CLASSES[of_class]]


def test_table_is_that_of_the_source():
    """A failure that is given a class is given a test."""
    text = (forkport.ROOT / "src/sys/accept.c").read_text()
    assert set(re.findall(r"case (E\w+):", text)) == {name for names in CLASSES.values() for name in names} - {"EIO"}


@contextlib.contextmanager
def injected(server, rule, pid=None):
    """While it lasts, calls of the supervisor fail by the rule; gives the trace's path."""
    trace = server.folder / "trace"
    with subprocess.Popen(["strace", "-ttt", "-p", str(pid or server.pid), "-o", trace, "-e", f"inject={rule}"],
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as tracer:
        try:
            assert b"attached" in tracer.stderr.readline()
            yield trace
        finally:
            tracer.terminate()


def ask_while(server, rule, seconds=None):
    """Asks one thing while calls fail; what the trace says of it: (how many failed, seconds from the last to success,
    calls but those that waited for a millisecond, CPU seconds, seconds in all). With `seconds`, they fail for that long and then no more."""
    cpu, began = forkport.cpu_seconds(server.pid), time.monotonic()
    with injected(server, rule) as trace, server.connect() as client:
        client.sendall(b"x")
        client.shutdown(socket.SHUT_WR)
        if seconds:
            client.settimeout(seconds)
            with pytest.raises(TimeoutError):
                client.recv(1)
            took, cpu = time.monotonic() - began, forkport.cpu_seconds(server.pid) - cpu
            lines = trace.read_text().splitlines()
        else:
            assert forkport.read_to_end(client) == b"x"
            took, cpu = time.monotonic() - began, forkport.cpu_seconds(server.pid) - cpu
            lines = trace.read_text().splitlines()
    if seconds:
        freed = time.monotonic()
        assert server.ask(b"y") == b"y"
        late = time.monotonic() - freed
    else:
        call = rule.partition(":")[0].split(",")[0]
        last = max(index for index, line in enumerate(lines) if "(INJECTED)" in line)
        good = next(line for line in lines[last:] if f" {call}(" in line and not re.search(r"= -1 ", line))
        late = float(good.split()[0]) - float(lines[last].split()[0])
    failed = sum("(INJECTED)" in line for line in lines)
    # On a busy machine a template is long in answering, which is looked for so often.
    looks = sum(re.search(r" epoll_wait\(.*, 1\) += 0$", line) is not None for line in lines)
    return failed, late, len(lines) - looks, cpu, took


def run_all(serve, names, rule, seconds=None):
    """All at once, a server each, since most of it is waiting: errno -> what ask_while() gives."""
    servers = {name: serve(HERE, worker=["cat"], env=forkport.TRACED) for name in names}
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        runs = {name: pool.submit(ask_while, servers[name], rule.format(name), seconds) for name in names}
    results = {name: run.result() for name, run in runs.items()}
    for name, server in servers.items():
        assert server.ask(b"z") == b"z", name
        assert server.stop() == 0, name
        stop = server.log.wait("stop")
        assert (stop["refused"], stop["failed"]) == (0, 0), name
    return results


@pytest.mark.parametrize("times", [1, 10])
def test_accept_fails_and_heals(serve, strace, times):
    for name, (failed, late, calls, _, _) in run_all(serve, TRANSIENT, f"accept4:error={{}}:when=1..{times}").items():
        assert failed == times, name
        assert late < SOON, f"{name}: served {late} s after the last failure"
        assert calls < 60 + 12 * times, f"{name}: {calls} system calls"


def test_accept_fails_for_two_seconds(serve, strace):
    # EAGAIN with somebody in the queue is the one that no kernel says twice.
    names = [name for name in TRANSIENT if name not in CLASSES["DRAINED"]]
    for name, (failed, late, calls, cpu, took) in run_all(serve, names, "accept4:error={}", 2).items():
        assert failed >= 5, f"{name}: it went on trying"
        assert calls < 400, f"{name}: {calls} system calls"
        assert cpu < 0.05 * took, f"{name}: {cpu} s of CPU in {took} s"
        assert late < SOON, f"{name}: served {late} s after"


def test_pauses_are_said_and_grow(serve, strace):
    server = serve(HERE, worker=["cat"], env=forkport.TRACED)
    ask_while(server, "accept4:error=ENFILE:when=1..6")
    pauses = [(event["error"], event["delay_ms"]) for event in server.log.find("pause")]
    assert pauses == [("Too many open files in system", delay) for delay in (10, 20, 40, 80, 160, 320)]
    assert len(server.log.find("resume")) == 6


@pytest.mark.parametrize("name", CLASSES["DEAD"])
def test_listening_socket_is_lost(serve, strace, name):
    """The others go on; with the last one the server has nothing to do any more, and says so."""
    server = serve("127.0.0.1:0,127.0.0.1:0", worker=["cat"], env=forkport.TRACED)
    one, two = server.ports()
    with server.connect(port=two) as held:
        held.sendall(b"held\n")
        assert forkport.read_line(held) == "held\n"
        with injected(server, f"accept4:error={name}:when=1"):
            with pytest.raises(ConnectionError):
                server.connect(port=one).recv(1)
                server.connect(port=one)
            lost = server.log.wait("notice")["error"]
            assert f"127.0.0.1:{one}, " in lost and lost.endswith(f" is lost: {os.strerror(getattr(errno, name))}")
            assert server.ask(b"x", port=two) == b"x"
            server.log.wait("end", connection=2)
        with injected(server, f"accept4:error={name}"):
            with contextlib.suppress(ConnectionError):
                server.connect(port=two).recv(1)
            # With the one that is held, and, where it was accepted before the other failed, the one just made.
            assert server.log.wait("drain")["live"] in (1, 2)
        held.sendall(b"to the end\n")
        assert forkport.read_line(held) == "to the end\n"
    assert server.wait() == 71
    assert server.errors().count("\n") == 1 and "every listening socket is lost" in server.errors()


def needs_a_process(engine):
    if engine.startswith("pool"):
        pytest.skip("connections take those that wait, whatever cannot be made (test_pool.py has that)")


@pytest.mark.parametrize("options, how", ENGINES, ids=["exec", "handler"])
@pytest.mark.parametrize("name, said", [("EAGAIN", "temporarily unavailable"), ("ENOMEM", "Cannot allocate memory")])
def test_no_process_can_be_made_for_a_while(serve, strace, engine, options, how, name, said):
    """The connection is held, not lost; those behind it wait in the kernel's queue, and all are served in order."""
    needs_a_process(engine)
    server = serve(HERE, *options, env=forkport.TRACED, **how)
    with injected(server, f"clone,clone3,fork,vfork:error={name}:when=1..6"):
        clients = [server.connect() for _ in range(10)]
        for index, client in enumerate(clients):
            client.sendall(b"%d" % index)
            client.shutdown(socket.SHUT_WR)
        assert [forkport.read_to_end(client) for client in clients] == [b"%d" % index for index in range(10)]
    assert said in server.log.wait("notice")["error"]
    ports = [client.getsockname()[1] for client in clients]
    server.log.wait("start", count=10)
    started = [int(re.search(r":(\d+)\}$", event["pair"])[1]) for event in server.log.find("start")]
    assert started == ports, "in the order in which they came"
    for client in clients:
        client.close()
    assert server.stop() == 0
    stop = server.log.wait("stop")
    assert (stop["served"], stop["refused"], stop["failed"]) == (10, 0, 0)


def test_no_process_for_two_seconds(serve, strace, engine):
    needs_a_process(engine)
    server = serve(HERE, worker=["cat"], env=forkport.TRACED)
    _, late, calls, cpu, took = ask_while(server, "clone,clone3,fork,vfork:error=EAGAIN", 2)
    assert calls < 400 and cpu < 0.05 * took and late < SOON


def test_more_than_can_be_executed_at_once(serve, strace, engine):
    """They wait in the kernel's queue until those before them run, which is no failure to be told of."""
    needs_a_process(engine)
    server = serve(HERE, "--max-per-source", 1000, worker=["cat"], env=forkport.TRACED,
                   prefix=["strace", "-D", "-f", "-o", "/dev/null", "-e", "trace=execve", "-e", "inject=execve:delay_enter=300000"])
    clients = [server.connect() for _ in range(100)]
    for index, client in enumerate(clients):
        client.sendall(b"%d" % index)
        client.shutdown(socket.SHUT_WR)
    assert [forkport.read_to_end(client) for client in clients] == [b"%d" % index for index in range(100)]
    for client in clients:
        client.close()
    server.log.wait("end", count=100)
    assert server.stop() == 0
    assert server.log.find("notice") == [] and server.log.find("pause") == []


def test_a_user_that_has_no_processes_left(serve, root):
    """Of a worker's user, not of root, who makes them: it is seen when the program is executed, and that is said."""
    with contextlib.ExitStack() as others:
        # The kernel compares when the child becomes the user's, without the child itself: two, where one is allowed.
        for _ in range(2):
            others.callback(others.enter_context(subprocess.Popen(["sleep", "100"], user=54323)).kill)
        server = serve(HERE, "--user", "54323", "--group", "nogroup", worker=["cat"],
                       preexec=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)))
        with server.connect() as client, contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
        failure = server.log.wait("fail")
        assert failure["step"] == "run the program" and "temporarily unavailable" in failure["error"]

    def is_served():
        with contextlib.suppress(ConnectionResetError):
            return server.ask(b"x") == b"x"
    forkport.until(is_served, "a connection to be served")


used_users = []


def bounded(serve, processes, *options, worker=("cat",)):
    """A server whose worker's user may have so many processes, its template included, and has no other ones."""
    user = 100000 + 100 * os.getpid() + len(used_users)
    used_users.append(user)
    return serve(HERE, "--user", user, "--group", "nogroup", *options, worker=worker,
                 preexec=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes)))


def template_events(server, text):
    return [event for event in server.log.find("template") if text in event.get("reason", "")]


@pytest.mark.no_program
def test_a_template_that_cannot_fork_for_a_while_is_not_stuck(serve, root):
    server = bounded(serve, 3, "--engine", "fork")
    template = server.log.wait("template")["pid"]
    clients = [server.connect() for _ in range(4)]
    for client in clients:
        client.sendall(b"x")
    server.log.wait("start", count=2)
    waiting = clients[2:]
    # Longer than one may be that does not answer.
    waiting[0].settimeout(4)
    with pytest.raises(TimeoutError):
        waiting[0].recv(1)
    for client in clients[:2]:
        assert client.recv(1) == b"x"
        client.close()
    for client in waiting:
        client.settimeout(10)
        assert client.recv(1) == b"x"
    assert len(template_events(server, "cannot fork: Resource temporarily unavailable")) == 1
    assert {event["pid"] for event in server.log.find("template")} == {template}
    assert server.log.find("notice") == []


@pytest.mark.no_program
def test_a_successor_that_cannot_fork_for_a_while_is_tried_again(serve, root):
    """And the one that there is serves until then: a program that has been forked from can be."""
    server = bounded(serve, 3, "--engine", "fork", "--template-age", 1)
    template = server.log.wait("template")["pid"]
    with server.connect() as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        forkport.until(lambda: template_events(server, "for want of a process"), "a successor to fail")
    server.log.wait("end")
    forkport.until(lambda: template_events(server, "replaced"), "a successor to be there", seconds=20)
    assert template_events(server, "replaced")[0]["pid"] == template
    assert server.log.find("notice") == []


@pytest.mark.no_program
def test_those_that_wait_give_way_where_processes_are_short(serve, root):
    """Connections that wait for a process have waited longer than who comes now, and than those that wait for nobody."""
    server = bounded(serve, 2, "--engine", "pool", "--pool-min", 1)
    server.log.wait("pool")
    with contextlib.ExitStack() as all_clients:
        def connect():
            client = all_clients.enter_context(server.connect())
            client.sendall(b"x")
            return client

        clients = [connect()]
        # One that is to wait for the next connection has been ordered, and is before these.
        forkport.until(lambda: template_events(server, "cannot fork"), "processes to be short")
        clients += [connect() for _ in range(2)]
        for number, client in enumerate(clients, 1):
            assert client.recv(1) == b"x"
            client.close()
            server.log.wait("end", count=number)
    assert [event["connection"] for event in server.log.find("end")] == [1, 2, 3]
    # Before one would be taken for stuck.
    assert max(event["duration_ms"] for event in server.log.find("end")) < 2500
    assert len({event["pid"] for event in server.log.find("template")}) == 1, server.log.find("template")


@pytest.mark.no_program
def test_a_server_that_is_short_at_its_end(serve, root):
    """Who waits for a process of its template is refused then, as who waits for one of the server's own."""
    server = bounded(serve, 3, "--engine", "fork", "--drain", 0)
    with contextlib.ExitStack() as others:
        for _ in range(2):
            others.callback(others.enter_context(subprocess.Popen(["sleep", "100"], user=used_users[-1])).kill)
        with server.connect():
            forkport.until(lambda: template_events(server, "cannot fork"), "processes to be short")
            began = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - began < 2
    assert server.log.wait("refuse")["reason"] == "server ends"


@pytest.mark.no_program
def test_a_program_that_limits_itself(serve, root):
    """Each that is executed would have the limit for itself: nobody waits for a process of the template."""
    server = bounded(serve, 100, "--engine", "fork", "--gate", "read", worker=["bash", "-c", "ulimit -u 2; read line; echo $line; read line"])
    with server.connect() as first, server.connect() as second:
        for client in first, second:
            client.sendall(b"x\n")
            assert client.recv(2) == b"x\n"
    forkport.until(lambda: template_events(server, "it cannot fork"), "its template to give up")


@pytest.mark.no_program
def test_a_program_of_a_user_that_has_no_processes_left_for_a_while(serve, root):
    """At the server's start: its template is tried again."""
    user = 100000 + 100 * os.getpid() + len(used_users)
    with contextlib.ExitStack() as others:
        for _ in range(3):
            others.callback(others.enter_context(subprocess.Popen(["sleep", "100"], user=user)).kill)
        server = bounded(serve, 2, "--engine", "fork")
        forkport.until(lambda: template_events(server, "cannot run the program"), "the program not to be run")
    forkport.until(lambda: template_events(server, "at its gate"), "a template")
    assert server.log.find("notice") == []


def waits_of(server, clients, count):
    """How long so many connections take, some at once; the longest last."""
    def ask(_):
        began = time.monotonic()
        assert server.ask(b"x") == b"x"
        return time.monotonic() - began

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        return sorted(pool.map(ask, range(count)))


def as_one_of(processes):
    """A preexec_fn after which the server is a user's who may have so many processes, and has no other ones."""
    user = 100000 + 100 * os.getpid() + len(used_users)
    used_users.append(user)

    def be_bounded():
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    return be_bounded


@pytest.mark.no_program
def test_processes_that_have_ended_make_room(serve, root, public_forkport):
    """They count until they are waited for, and under load that is put off for a moment: not when there is no other left."""
    server = serve(HERE, "--builtin", "echo", program=public_forkport, log=False, preexec=as_one_of(8))
    waits = waits_of(server, 6, 300)
    # One that is held is tried again later each time, up to a second.
    assert waits[-10] < 0.3, waits[-10:]


@pytest.mark.no_program
@pytest.mark.parametrize("options", [[], ["--engine", "pool", "--pool-start", "exec"]], ids=["exec", "pool"])
def test_one_that_is_held_takes_the_room_of_one_that_has_ended(serve, root, public_forkport, options):
    """Not up to a second later, for which all the others would wait."""
    server = serve(HERE, *options, worker=["cat"], program=public_forkport, log=False, preexec=as_one_of(3))
    waits = waits_of(server, 6, 40)
    assert waits[20] < 0.3, waits


def test_held_connection_at_the_end(serve, strace, engine):
    """With --drain 0 nobody waits for a process that cannot be made; what becomes of its client is said."""
    needs_a_process(engine)
    server = serve(HERE, "--drain", 0, worker=["cat"], env=forkport.TRACED)
    with injected(server, "clone,clone3,fork,vfork:error=EAGAIN"):
        with server.connect() as client:
            server.log.wait("accept")
            assert server.stop() == 0
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
    refusal = server.log.wait("refuse")
    assert (refusal["reason"], refusal["connection"]) == ("server ends", 1)
    stop = server.log.wait("stop")
    assert (stop["served"], stop["refused"]) == (0, 1)


# Descriptors that run out for real.

def limit_descriptors(limit):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


@pytest.mark.parametrize("options, how", ENGINES, ids=["exec", "handler"])
def test_sixty_four_descriptors_and_two_hundred_clients(serve, options, how):
    server = serve(HERE, "--max-per-source", 1000, *options, preexec=limit_descriptors(64), **how)
    clients = [server.connect() for _ in range(200)]
    for index, client in enumerate(clients):
        client.sendall(b"%d\n" % index)
    for index, client in enumerate(clients):
        assert forkport.read_line(client) == f"{index}\n"
    cpu, began = forkport.cpu_seconds(server.pid), time.monotonic()
    clients[0].settimeout(1)
    with pytest.raises(TimeoutError):
        clients[0].recv(1)
    assert forkport.cpu_seconds(server.pid) - cpu < 0.05 * (time.monotonic() - began), "while all hold on"
    for client in clients:
        client.close()
    server.log.wait("end", count=200)
    assert server.stop() == 0
    assert server.log.wait("stop")["served"] == 200


@contextlib.contextmanager
def no_descriptor_free(server):
    """The server, which is at rest, can open none while it lasts."""
    # Once it is ready it opens some for a moment; what it logs is written when it has nothing else to do.
    server.log.wait("listen")
    before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    taken = {int(fd) for fd in os.listdir(f"/proc/{server.pid}/fd")}
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (min(set(range(1000)) - taken), before[1]))
    yield
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("options, how", ENGINES, ids=["exec", "handler"])
def test_no_descriptor_left_for_two_hundred_clients(serve, options, how):
    """All of them wait in the queue, and all are served once there are descriptors again."""
    server = serve(HERE, "--max-per-source", 1000, *options, **how)
    with no_descriptor_free(server):
        cpu, began = forkport.cpu_seconds(server.pid), time.monotonic()
        clients = [server.connect() for _ in range(200)]
        for index, client in enumerate(clients):
            client.sendall(b"%d" % index)
            client.shutdown(socket.SHUT_WR)
        clients[0].settimeout(1)
        with pytest.raises(TimeoutError):
            clients[0].recv(1)
        assert forkport.cpu_seconds(server.pid) - cpu < 0.05 * (time.monotonic() - began)
        assert server.log.wait("pause")["error"] == "Too many open files"
        clients[0].settimeout(forkport.DEADLINE)
    for index, client in enumerate(clients):
        assert forkport.read_to_end(client) == b"%d" % index
        client.close()
    server.log.wait("end", count=200)


def test_without_descriptors_a_client_is_told_by_the_reserve(serve):
    server = serve(HERE, "--at-max", "message:busy\n", worker=["cat"])
    with no_descriptor_free(server):
        for _ in range(3):
            with server.connect() as client:
                assert forkport.read_to_end(client) == b"busy\n"
    assert {event["reason"] for event in server.log.find("refuse")} == {"no descriptors"}
    assert forkport.until(lambda: server.ask(b"x") == b"x", "service")


@pytest.mark.parametrize("options, how", ENGINES, ids=["exec", "handler"])
def test_least_descriptors(serve, options, how):
    """Whatever number it is given: it serves, or it says at the start what it lacks."""
    served = []
    for limit in range(4, 32):
        try:
            server = serve(HERE, *options, **how, preexec=limit_descriptors(limit), ready_fd=1)
        except AssertionError as error:
            assert re.search(r"did not start: (69|71) forkport: cannot .*: Too many open files\n", str(error)), error
            continue
        served.append(limit)
        assert server.ask(b"x") == b"x", f"with {limit} descriptors"
        assert server.stop() == 0
    assert set(served) >= set(range(16, 32))


def end_with_many_waiting(serve):
    """Whether descriptors were short."""
    server = serve("127.0.0.1:0,127.0.0.1:0", "--max", 1000, "--max-per-source", 1000, worker=["cat"],
                   preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
    assert server.ask(b"before\n") == b"before\n"
    server.signal(signal.SIGSTOP)
    clients = [server.connect(port=port) for port in server.ports() for _ in range(150)]
    for number, client in enumerate(clients):
        client.sendall(b"%d\n" % number)
        client.shutdown(socket.SHUT_WR)
    server.signal(signal.SIGTERM)
    server.signal(signal.SIGCONT)
    assert [forkport.read_to_end(client) for client in clients] == [b"%d\n" % number for number in range(len(clients))]
    assert server.wait() == 0
    assert server.log.find("stop")[0]["served"] == 301
    return bool(server.log.find("pause"))


def test_those_that_wait_at_the_end_are_served_where_descriptors_are_short(serve):
    """A socket that is closed resets its queue: so it is open until there were descriptors for all that waited there."""
    # A slow server may have given each its process before so many were accepted.
    assert any(end_with_many_waiting(serve) for _ in range(1 if forkport.SANITIZED else 8)) or forkport.SANITIZED


@pytest.mark.skipif(forkport.SANITIZED, reason="a sanitizer needs descriptors at the end")
def test_the_end_when_nobody_waits_and_there_are_no_descriptors(serve):
    server = serve(HERE, "--drain", 100, worker=["cat"])
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, 64))
    began = time.monotonic()
    assert server.stop() == 0 and time.monotonic() - began < 2
    assert not server.log.find("notice")


@pytest.mark.skipif(forkport.SANITIZED, reason="a sanitizer needs descriptors at the end")
def test_those_that_wait_at_the_end_when_there_never_are_descriptors(serve):
    """When it is told to hurry, what still waits there is reset, and that is said."""
    server = serve(HERE, "--max", 1000, "--max-per-source", 1000, "--drain", 100, worker=[forkport.WORKER, "hold"])
    os.kill(server.pid, signal.SIGSTOP)
    clients = [server.connect() for _ in range(30)]
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, 64))
    server.signal(signal.SIGTERM)
    server.signal(signal.SIGCONT)
    server.log.wait("drain")
    server.log.wait("pause", count=2)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "is closed with connections in its queue" in server.log.wait("notice")["error"]
    for client in clients:
        client.close()


@pytest.mark.skipif(forkport.SANITIZED, reason="a sanitizer wants more address space than any of these")
def test_too_little_memory_for_a_pool():
    """At whatever it falls short of at its start, it ends with the reason."""
    command = [forkport.FORKPORT, "serve", HERE, "--engine", "pool", "--pool-max", "4900", "--pool-min", "0", "--max", "5000",
               "--", "/bin/cat"]

    def limit(kib):
        resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
        resource.setrlimit(resource.RLIMIT_AS, (kib << 10, kib << 10))

    said = set()
    for kib in range(5000, 40000, 250):
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              preexec_fn=lambda kib=kib: limit(kib)) as server:
            line = server.stderr.readline()
            if "listen" in line:
                server.terminate()
                break
            if "forkport:" in line:
                assert server.wait() == 71, line
                said.add(line)
    assert "forkport: cannot make room for 4900 waiting workers: Cannot allocate memory\n" in said
