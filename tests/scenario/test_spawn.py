"""How processes are come by when something is amiss, each test with engines of its own."""
import collections
import fcntl
import os
import re
import resource
import shutil
import signal
import socket
import subprocess

import pytest

import forkport
from test_contract import ask_dump
from test_pool import templates, wait_for, waiting
from test_shortage import injected

HERE = "127.0.0.1:0"
POOL = ["--engine", "pool", "--pool-min", 2, "--pool-max", 2]
# What is said of each is an event of this kind.
WARM = {"template": ["--engine", "fork"], "pool": [*POOL, "--pool-start", "exec"]}


@pytest.mark.parametrize("kind", WARM)
def test_a_program_that_hangs_for_a_while_is_started_again(serve, tmp_path, kind):
    """It has come to its gate before: what keeps it from that now is not for ever."""
    hang = tmp_path / "hang"
    server = serve(HERE, *WARM[kind], "--gate", "read", "--template-start", 1, "--template-age", 1,
                   worker=["sh", "-c", f"while [ -e {hang} ]; do sleep 0.05; done; read line; echo $line"])
    hang.touch()
    server.log.wait(kind, reason="did not come to its gate within 1 s")
    hang.unlink()
    assert server.ask(b"x\n") == b"x\n"
    if kind == "pool":
        wait_for(server, 2)
    else:
        missed = len(server.log.find(kind))
        forkport.until(lambda: any("at its gate" in event["reason"] for event in server.log.find(kind)[missed:]), "it to be back")
    assert server.ask(b"x\n") == b"x\n"
    assert server.log.find("notice") == []
    assert not [event for event in server.log.find(kind) if "ended" in event["reason"]], "those that were retired"
    assert server.stop() == 0


@pytest.mark.parametrize("kind", WARM)
def test_a_program_that_does_not_wait_any_more_is_executed(serve, tmp_path, kind):
    """It says so itself, so it is not tried again; what was prepared of it before goes when it is old."""
    early = tmp_path / "early"
    server = serve(HERE, *WARM[kind], "--gate", "read", "--template-age", 1,
                   worker=["sh", "-c", f"[ -e {early} ] && echo early; read line; echo $line"])
    assert server.ask(b"x\n") == b"x\n"
    early.touch()
    assert "it writes to its connection before it reads: each connection executes it" in server.log.wait("notice")["error"]
    forkport.until(lambda: server.ask(b"x\n") == b"early\nx\n", "it to be executed")
    forkport.until(lambda: forkport.all_children(server.pid) == [], "nobody to wait")
    assert len(server.log.find("notice")) == 1
    assert server.stop() == 0


@pytest.mark.parametrize("goes_on", [True, False])
def test_an_order_of_a_template_that_is_to_go(serve, goes_on):
    """It is answered still, and that is seen though nothing else happens; or given to another one."""
    server = serve(HERE, "--engine", "fork", "--gate", "read", worker=[forkport.BUILD / "tests/fixtures/template", "read"])
    server.log.wait("template")
    [template] = templates(server)
    with server.connect() as crashing:
        server.log.wait("start")
        os.kill(template, signal.SIGSTOP)
        forkport.until(lambda: forkport.state(template) == "T", "the template to be stopped")
        with server.connect() as client:
            server.log.wait("accept", connection=2)
            crashing.sendall(b"fault\n")
            server.log.wait("template", reason="replaced: a worker ended by signal ABRT")
            forkport.until(lambda: len(templates(server)) == 2, "another template")
            if goes_on:
                os.kill(template, signal.SIGCONT)
            server.log.wait("start", connection=2)
            client.sendall(b"hello\n")
            prepared = int(forkport.read_to_end(client).split()[1])
            # On a busy machine it may be given up before it goes on.
            assert prepared != template or goes_on
    forkport.wait_pid(template)
    assert server.stop() == 0


def test_an_order_that_a_template_left_leaves_no_descriptor(serve):
    """It was to fork one that waits."""
    server = serve(HERE, *POOL, worker=["cat"])
    wait_for(server, 2)
    before = forkport.descriptors(server.pid)
    [template] = templates(server)
    os.kill(template, signal.SIGSTOP)
    forkport.until(lambda: forkport.state(template) == "T", "the template to be stopped")
    assert server.ask(b"x") == b"x"
    server.log.wait("end")
    forkport.until(lambda: forkport.descriptors(server.pid) == before, "the next one to be ordered")
    os.kill(template, signal.SIGKILL)
    server.log.wait("template", reason="ended (signal KILL)")
    wait_for(server, 2)
    forkport.until(lambda: forkport.descriptors(server.pid) == before, "as many descriptors as before")
    assert server.stop() == 0


@pytest.mark.parametrize("kind", ["fork", "exec"])
def test_those_that_wait_go_at_once_when_no_more_connections_come(serve, kind):
    """Also where nothing else was to be done."""
    server = serve(HERE, *POOL, "--pool-start", kind, worker=["cat"])
    with server.connect() as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        wait_for(server, 2)
        left = waiting(server)
        server.signal(signal.SIGTERM)
        server.log.wait("drain")
        for pid in left:
            forkport.wait_pid(pid)
        client.sendall(b"y")
        assert client.recv(1) == b"y"
    assert server.wait() == 0


def test_orders_that_cannot_be_sent_leave_no_descriptor(serve, strace):
    """It is said once each time that it begins."""
    server = serve(HERE, *POOL, worker=["cat"], env=forkport.TRACED)
    wait_for(server, 2)
    before = forkport.descriptors(server.pid)
    for _ in range(2):
        with injected(server, "sendmsg:error=ENOBUFS:when=1") as trace:
            os.kill(waiting(server)[0], signal.SIGKILL)
            forkport.until(lambda trace=trace: "(INJECTED)" in trace.read_text(), "an order to fail")
            wait_for(server, 2)
        forkport.until(lambda: forkport.descriptors(server.pid) == before, "as many descriptors as before")
    assert server.ask(b"x") == b"x"
    said = [event["reason"] for event in server.log.find("pool") if "started" in event["reason"]]
    assert said == 2 * ["none can be started: No buffer space available"]


def test_where_none_shall_wait_some_do_once_they_were_missed(serve):
    server = serve(HERE, "--engine", "pool", "--pool-min", 0, worker=["cat"])
    server.log.wait("template")
    assert waiting(server) == []
    assert server.ask(b"x") == b"x"
    wait_for(server, 1)


def test_a_template_is_replaced_after_as_many_connections_as_were_asked_for(serve):
    """At once, and not only when the next one comes."""
    server = serve(HERE, "--engine", "fork", "--template-connections", 2, worker=["cat"])
    server.log.wait("template")
    for _ in range(2):
        assert server.log.find("template", reason="replaced after 2 connections") == []
        assert server.ask(b"x") == b"x"
    server.log.wait("template", reason="replaced after 2 connections")
    assert server.stop() == 0
    assert server.log.wait("stop")["served"] == 2


@pytest.mark.parametrize("gate", ["main", "read"])
@pytest.mark.parametrize("kind, options", [("start", []), ("template", ["--engine", "fork"]), ("pool", ["--engine", "pool"]),
                                           ("pool", ["--engine", "pool", "--pool-start", "exec"])],
                         ids=["exec", "fork", "pool", "pool of executed"])
def test_what_a_program_keeps_open_is_open_in_its_workers(serve, tmp_path, kind, options, gate):
    (tmp_path / "kept").write_text("kept\n")
    with open(tmp_path / "kept", "rb") as file:
        kept = fcntl.fcntl(file, fcntl.F_DUPFD, 20)
    try:
        gates = ["--gate", gate] if options else []
        server = serve(HERE, *options, *gates, handler=f"keep:{kept}", pass_fds=[kept])
        if options:
            server.log.wait(kind)
        assert [server.ask(b"x\n") for _ in range(3)] == 3 * [b"kept\n"]
        assert server.log.find("notice") == []
        assert server.stop() == 0
    finally:
        os.close(kept)


@pytest.mark.parametrize("gate", ["main", "read"])
@pytest.mark.parametrize("kind, options", [("start", []), ("template", ["--engine", "fork"]), ("pool", ["--engine", "pool"]),
                                           ("pool", ["--engine", "pool", "--pool-start", "exec"])],
                         ids=["exec", "fork", "pool", "pool of executed"])
def test_what_a_program_keeps_open_is_one_for_all(serve, root, tmp_path, kind, options, gate):
    """Each worker writes behind the one before, though its user might not open it again, and it is locked."""
    kept = fcntl.fcntl(os.open(tmp_path / "kept", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), fcntl.F_DUPFD, 20)
    fcntl.flock(kept, fcntl.LOCK_EX)
    try:
        gates = ["--gate", gate] if options else []
        server = serve(HERE, "--user", 65534, "--group", 65534, *options, *gates, handler=f"share:{kept}", pass_fds=[kept])
        if options:
            server.log.wait(kind)
        assert [server.ask(b"%d\n" % number) for number in range(3)] == 3 * [b""]
        assert server.stop() == 0
        assert (tmp_path / "kept").read_text() == "kept 0\nkept 1\nkept 2\n"
        assert server.log.find("notice") == []
    finally:
        os.close(kept)


@pytest.mark.parametrize("gate", ["main", "read"])
def test_an_eventfd_that_a_program_keeps_open_is_one_for_all(serve, gate):
    kept = fcntl.fcntl(os.eventfd(0, os.EFD_NONBLOCK), fcntl.F_DUPFD, 20)
    try:
        server = serve(HERE, "--engine", "fork", "--gate", gate, handler=f"share:{kept}", pass_fds=[kept])
        server.log.wait("template")
        server.ask(b"10\n")
        assert os.eventfd_read(kept) == int.from_bytes(b"kept 10\n", "little")
    finally:
        os.close(kept)


@pytest.mark.parametrize("pid", [-1, 0], ids=["no pid", "its own"])
def test_a_template_that_names_who_cannot_be_a_worker(serve, pid):
    """It is killed, and its connections are another's."""
    server = serve(HERE, "--engine", "fork", worker=[forkport.BUILD / "tests/fixtures/liar", pid])
    forkport.until(lambda: server.ask() == b"served\n" and server.log.find("template", reason="killed: it says what cannot be"),
                   "a lie to be heard")
    assert server.stop() == 0
    assert server.log.wait("stop")["failed"] == 0


def test_more_orders_than_a_template_may_have_open(serve):
    """It answers as many as it may while nobody reads the answers."""
    server = serve(HERE, "--engine", "fork", "--max-per-source", 1000, worker=["cat"])
    [template] = templates(server)
    os.kill(template, signal.SIGSTOP)
    forkport.until(lambda: forkport.state(template) == "T", "the template to be stopped")
    clients = [server.connect() for _ in range(100)]
    server.log.wait("accept", count=64)
    server.signal(signal.SIGSTOP)
    forkport.until(lambda: forkport.state(server.pid) == "T", "the server to be stopped")
    os.kill(template, signal.SIGCONT)
    forkport.until(lambda: len(forkport.all_children(server.pid)) > 64 and forkport.state(template) == "S", "its workers")
    server.signal(signal.SIGCONT)
    for index, client in enumerate(clients):
        client.sendall(b"%d" % index)
        client.shutdown(socket.SHUT_WR)
    assert [forkport.read_to_end(client) for client in clients] == [b"%d" % index for index in range(100)]
    server.log.wait("end", count=100)
    assert len({event["pid"] for event in server.log.find("start")}) == 100
    assert server.stop() == 0
    stop = server.log.wait("stop")
    assert (stop["served"], stop["failed"]) == (100, 0)


@pytest.mark.parametrize("how", [{"handler": "dump"}, {"worker": [forkport.WORKER, "dump"]}], ids=["handler", "resolve"])
def test_a_large_environment_is_in_forked_copies(serve, how):
    env = {f"VARIABLE{number}": str(number) for number in range(1000)}
    server = serve(HERE, *(["--resolve"] if "worker" in how else []), env={**os.environ, **env}, **how)
    for _ in range(3):
        variables = dict(variable.split("=", 1) for variable in ask_dump(server).variables)
        assert variables.items() >= env.items() and variables["TCPREMOTEIP"] == "127.0.0.1"
    assert server.stop() == 0


@pytest.mark.skipif(not os.path.exists("/proc/self/syscall"), reason="the kernel does not tell what a process waits in")
def test_what_a_program_sleeps_in_before_its_gate_is_not_cut_short(serve, tmp_path):
    """Only one that waits for its input is asked for it by a signal."""
    (tmp_path / "sleeper.c").write_text("""
        #include <poll.h>
        #include <stdio.h>
        int main(void)
        {
            char line[80];
            int result = poll(NULL, 0, 300);
            return fgets(line, sizeof(line), stdin) == NULL || printf("%d %s", result, line) < 0;
        }""")
    subprocess.run(["cc", "-o", tmp_path / "sleeper", tmp_path / "sleeper.c"], check=True)
    server = serve(HERE, "--engine", "fork", "--gate", "read", worker=[tmp_path / "sleeper"])
    server.log.wait("template")
    assert server.ask(b"hello\n") == b"0 hello\n"
    assert server.log.find("notice") == []


@pytest.mark.skipif(forkport.SANITIZED or not shutil.which("c++"), reason="there is no C++ compiler, or a sanitizer is to come first")
def test_an_exception_that_a_handler_lets_go_ends_its_process(serve, tmp_path):
    """As one does that leaves main(): what the program catches around its server is not the handler's."""
    (tmp_path / "throws.cc").write_text("""
        #include <forkport/server.h>
        #include <cstdio>
        #include <cstring>
        static int handle(struct fp_connection *, void *) { throw 1; }
        int main(int argc, char **argv)
        {
            struct fp_server *server = fp_server_new(nullptr);
            fp_server_listen(server, argv[2], nullptr);
            for (int i = 3; i + 1 < argc; i += 2)
                fp_server_set(server, argv[i] + strlen("--"), argv[i + 1], nullptr);
            fp_server_handler(server, handle, nullptr);
            try {
                return fp_server_run(server, nullptr);
            } catch (...) {
                return puts("caught") < 0 || fflush(stdout) != 0;
            }
        }""")
    subprocess.run(["c++", "-o", tmp_path / "throws", tmp_path / "throws.cc", "-I", forkport.ROOT / "include",
                    "-L", forkport.BUILD, "-lforkport", f"-Wl,-rpath,{forkport.BUILD}"], check=True)
    server = serve(HERE, program=tmp_path / "throws",
                   preexec=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
    assert server.ask() == b""
    assert server.log.wait("end")["signal"] == "ABRT"
    assert server.stop() == 0


def test_a_worker_that_has_no_group_of_its_own_yet_is_ended_too(serve, strace):
    """It is signalled by its pid: its group would be that of the server."""
    server = serve(HERE, "--drain", 0, worker=["cat"], env=forkport.TRACED,
                   prefix=["strace", "-D", "-f", "-o", "/dev/null", "-e", "trace=setsid", "-e", "inject=setsid:delay_enter=1000000"])
    with server.connect():
        server.log.wait("start")
        assert server.stop() == 0
    assert server.log.wait("end")["signal"] == "TERM", "not only by SIGKILL, five seconds later"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("options", [[], ["--resolve"]], ids=["executed", "forked"])
def test_what_a_terminal_sends_the_servers_group_is_not_the_workers(serve, strace, options, number):
    """One that has no group of its own yet is in the server's; connections go on after Ctrl-C."""
    server = serve(HERE, *options, worker=["cat"], env=forkport.TRACED, start_new_session=True,
                   prefix=["strace", "-DDD", "-f", "-o", "/dev/null", "-e", "trace=setsid", "-e", "inject=setsid:delay_enter=1000000"])
    with server.connect() as client:
        pid = server.log.wait("start")["pid"]
        os.killpg(server.pid, number)
        server.log.wait("drain" if number == signal.SIGINT else "notice")
        assert os.getpgid(pid) == server.pid, "it has not had it before"
        client.sendall(b"x")
        client.shutdown(socket.SHUT_WR)
        assert forkport.read_to_end(client) == b"x"
    assert server.log.wait("end")["exit"] == 0


def test_whoever_the_worker_is_to_be_cannot_stop_it_before(serve, strace, root, tmp_path):
    """Making a session it gives way to others: as that user it could be stopped there, and keep its launch pad for ever."""
    trace = tmp_path / "trace"
    server = serve(HERE, "--user", "nobody", worker=["cat"], env=forkport.TRACED,
                   prefix=["strace", "-D", "-f", "-o", trace, "-e", "trace=setsid,setresuid,execve"])
    assert server.ask(b"x") == b"x"
    assert server.stop() == 0
    calls = collections.defaultdict(list)
    for line in trace.read_text().splitlines():
        if call := re.match(r"(\d+) +(\w+)\(", line):
            calls[call[1]].append(call[2])
    firsts = [list(dict.fromkeys(of_one)) for of_one in calls.values() if "setresuid" in of_one and "execve" in of_one]
    assert firsts and all(first == ["setsid", "setresuid", "execve"] for first in firsts), firsts


@pytest.mark.parametrize("kind", WARM)
def test_one_that_is_killed_before_its_gate_is_told(serve, kind):
    """By the kernel for want of memory, say. It is tried again, more slowly each time, and nobody would know why none comes."""
    server = serve(HERE, *WARM[kind], "--gate", "read", worker=["sh", "-c", '[ "$FORKPORT_CONNECTION" ] || kill -KILL $$; cat'])
    assert server.log.find(kind)[0]["reason"] == "ended before its gate (signal KILL)"
    assert server.ask(b"x") == b"x" and not server.log.find("notice")


def test_one_that_is_with_a_template_that_does_not_end_is_told(serve, root):
    """Its tracer keeps it, as a debugger does; killed as it does not answer, it has the connection that it was given still."""
    server = serve("127.0.0.1:0", "--engine", "fork", "--drain", 0, worker=["cat"])
    template = server.log.wait("template")["pid"]
    assert forkport.LIBC.ptrace(0x4206, template, 0, 0) == 0, "PTRACE_SEIZE"
    try:
        os.kill(template, signal.SIGSTOP)
        forkport.until(lambda: forkport.state(template) == "t", "the template to be stopped")
        with server.connect():
            assert server.log.wait("template", 2)["reason"] == "killed: it does not answer"
            server.signal(signal.SIGTERM)
            server.log.wait("hurry", signal="TERM")
            server.signal(signal.SIGTERM)
            assert server.wait() == 71
    finally:
        os.kill(template, signal.SIGKILL)
        os.waitpid(template, 0)
    assert server.log.find("notice")[0]["error"] == "connection #1 was given to a process that does not end, and is left unserved"


def test_a_program_is_found_without_a_path_to_search(serve):
    server = serve(HERE, worker=["cat"], env={name: value for name, value in os.environ.items() if name != "PATH"})
    assert server.ask(b"x") == b"x"


def test_an_interpreter_that_the_worker_may_not_execute(root):
    """Root may: it is tried as the worker's user, and said before anybody comes."""
    with forkport.for_everybody("/bin/sh") as shell:
        shell.chmod(0o700)
        script = shell.parent / "script"
        script.write_text(f"#!{shell}\n")
        script.chmod(0o755)
        code, _, errors = forkport.run("serve", HERE, "--user", "nobody", "--", script)
    assert (code, errors) == (77, f"forkport: cannot run the program {script} as a worker: Permission denied\n")


@pytest.mark.parametrize("options", [[], ["--user", "nobody"], ["--engine", "fork"], ["--engine", "pool"]], ids=" ".join)
def test_without_a_file_for_nothing(serve, mounted, options):
    """In a root of its own there may be no /dev/null, which only what has standard descriptors closed cannot do without."""
    prefix = mounted("mount --types tmpfs none /dev")
    server = serve(HERE, *options, worker=["cat"], prefix=prefix)
    assert server.ask(b"x") == b"x"
    result = subprocess.run([*prefix, "sh", "-c", '"$0" figures <&-', forkport.FORKPORT], stdout=subprocess.PIPE, check=False,
                            stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr) == (
        71, "forkport: cannot open /dev/null as a standard descriptor: No such file or directory\n")


@pytest.mark.parametrize("gate, library", [("main", "libforkport-preload.so"), ("read", "libforkport-preload-read.so")])
def test_a_library_that_is_not_found_is_named_with_where(serve, mounted, gate, library):
    """Without /proc a program does not know where it is itself."""
    server = serve(HERE, "--engine", "fork", "--gate", gate, "--stderr", "inherit", worker=["cat"], prefix=mounted("umount --lazy /proc"))
    notice = server.log.wait("notice")["error"]
    assert re.search(rf"since {re.escape(library)} is neither beside forkport, as /proc/self/exe has it, nor in /\S+/forkport\b", notice), notice
    assert server.ask(b"x") == b"x"


@pytest.mark.parametrize("how, said", [("umount --lazy /proc", "loaded by /proc, which is not there"),
                                       ("mount -o remount,noexec /usr/local", "libforkport-preload.so lies where nothing may be mapped")])
@pytest.mark.parametrize("options", [["--engine", "fork"], ["--engine", "pool"], ["--engine", "pool", "--pool-start", "exec"]], ids=" ".join)
def test_a_library_that_cannot_be_loaded(serve, mounted, tmp_path, options, how, said):
    """A program that it is not loaded into would not stop at its gate, but run without a client."""
    folder = re.search(rb"nor in (/[^\0]*/forkport)\0", forkport.FORKPORT.read_bytes())[1].decode()
    program = shutil.copy(forkport.FORKPORT, tmp_path)  # nothing is beside it
    prefix = mounted(f"mount --types tmpfs none /usr/local && mkdir --parents {folder} && cp {forkport.BUILD}/*.so {folder}/ && {how}")
    server = serve(HERE, *options, "--stderr", "inherit", worker=["sh", "-c", f"echo >>{tmp_path}/runs; exec cat"], prefix=prefix,
                   program=program)
    assert said in server.log.wait("notice")["error"]
    assert server.ask(b"x") == b"x"
    assert (tmp_path / "runs").read_text() == "\n"
