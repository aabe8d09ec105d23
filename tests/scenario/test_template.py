"""The fork engine: where it forks, what a worker is then, and what becomes of connections when a template does not do."""
import concurrent.futures
import contextlib
import ctypes
import datetime
import functools
import json
import os
import pathlib
import platform
import re
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
import time

import pytest

import forkport

TEMPLATE = forkport.BUILD / "tests/fixtures/template"
WAYS = ["read", "syscall", "readv", "recv", "recvfrom", "recvmsg", "poll", "ppoll", "select", "pselect", "epoll", "fgets",
        "fread", "getchar", "getline", "scanf"]
TRACED = os.path.join(forkport.BUILD, "tests", "fixtures", "traced")
FORK = ["--engine", "fork"]
READ = [*FORK, "--gate", "read"]
POOL = ["--engine", "pool", "--pool-start", "exec"]
C_LIBRARY = ctypes.CDLL(None)


FOLDER = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with


@functools.cache
def of_library(name, library):
    """A fixture's program, of one C library or the other."""
    if library == "glibc":
        return forkport.BUILD / "tests/fixtures" / name
    if not shutil.which("musl-gcc"):
        pytest.skip("there is no program musl-gcc")
    source = forkport.ROOT / "tests/fixtures" / f"{name}.c"
    program_ = pathlib.Path(FOLDER.name, f"{name}-musl")
    subprocess.run(["musl-gcc", "-O2", "-D_GNU_SOURCE", "-o", program_, source], check=True)
    return program_


@pytest.fixture(params=["glibc", "musl"])
def program(request):
    return of_library("template", request.param)


@pytest.fixture(params=["glibc", "musl"])
def large_program(request):
    return of_library("memory", request.param)


def ask(server, line="hello", **how):
    """What a worker says of itself: its line, the pid that prepared, its own, its client's port, and so on."""
    with server.connect(**how) as client:
        client.sendall(line.encode() + b"\n")
        return forkport.read_to_end(client).decode().split() + [str(client.getsockname()[1])]


def template_pids(server):
    return [event["pid"] for event in server.log.find("template") if "at its gate" in event["reason"]]


def ready(serve, *arguments, worker, **how):
    server = serve("127.0.0.1:0", "--max", 5000, "--max-per-source", 5000, *arguments, worker=worker, **how)
    server.log.wait("template")
    return server


@pytest.mark.parametrize("way", WAYS)
def test_gate_read(serve, program, way):
    """Each was prepared by the template, and is a process of its own whose C library knows it."""
    server = ready(serve, *READ, worker=[program, way])
    [template] = template_pids(server)
    answers = [ask(server, f"line{number}") for number in range(5)]
    for number, (line, prepared, pid, port, fault, _, _, client) in enumerate(answers):
        assert (line, int(prepared), port, fault) == (f"line{number}"[:6], template, client, "0")
        assert server.log.wait("end", connection=number + 1)["pid"] == int(pid) != template
    assert server.stop() == 0


def test_a_library_that_reads_before_the_program_starts(serve, tmp_path):
    """The dynamic loader calls its constructor before ours: libcap's reads a file of /proc, which brought sshd down."""
    (tmp_path / "early.c").write_text(
        "#include <fcntl.h>\n#include <poll.h>\n#include <pthread.h>\n#include <unistd.h>\nchar first;\nstatic void forked(void) {}\n"
        "__attribute__((constructor)) static void early(void)\n"
        "{\n    int fd = open(\"/proc/self/comm\", O_RDONLY);\n    struct pollfd one = {fd, POLLIN, 0};\n"
        "    pthread_atfork(forked, forked, forked);\n"
        "    if (poll(&one, 1, 0) != 1 || read(fd, &first, 1) != 1)\n        _exit(1);\n    close(fd);\n}\n")
    (tmp_path / "late.c").write_text(
        "#include <unistd.h>\nextern char first;\n"
        "int main(void) { char byte; return read(0, &byte, 1) != 1 || write(1, &first, 1) != 1; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "libearly.so", tmp_path / "early.c"], check=True)
    subprocess.run(["cc", "-o", tmp_path / "late", tmp_path / "late.c", "-L", tmp_path, "-learly",
                    f"-Wl,-rpath,{tmp_path}"], check=True)
    server = ready(serve, *READ, worker=[tmp_path / "late"])
    assert template_pids(server) and server.ask(b"x") == b"l"


@pytest.mark.parametrize("way", ["handlers", "renamed"])
def test_handlers_around_a_fork_are_called(serve, program, way):
    """What pthread_atfork(3) was told: before each fork, after it in the template, and in the worker; whatever it calls itself."""
    server = ready(serve, *READ, worker=[program, way])
    assert [ask(server)[0] for _ in range(3)] == ["1/0/1", "2/1/1", "3/2/1"]


def test_handlers_around_a_fork_are_called_in_order(serve, program):
    """Those before it in the reverse of the order in which they were registered, the others in that order."""
    server = ready(serve, *READ, worker=[program, "order"])
    assert [ask(server)[0] for _ in range(3)] == ["qptu", "qprsqptu", "qprsqprsqptu"]


def test_handlers_of_a_library_that_is_gone_are_not_called(serve, tmp_path):
    (tmp_path / "gone.c").write_text(
        "#include <pthread.h>\nstatic void forked(void) {}\nint set_up(void) { return pthread_atfork(forked, forked, forked); }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "libgone.so", tmp_path / "gone.c"], check=True)
    server = ready(serve, *READ, worker=["/usr/bin/python3", "-c", (
        f"import _ctypes, ctypes, sys; library = ctypes.CDLL('{tmp_path}/libgone.so'); library.set_up()\n"
        "_ctypes.dlclose(library._handle); sys.stdin.readline(); print('served', flush=True)\n")])
    assert [server.ask(b"x\n") for _ in range(3)] == 3 * [b"served\n"]
    assert len(server.log.find("template")) == 1 and template_pids(server), server.log.find("template")


def test_handlers_of_a_library_are_not_called_in_another_at_its_place(serve, tmp_path):
    """Which has its code at the same addresses, as libraries of one size come to have that are loaded one after the other."""
    (tmp_path / "one.c").write_text(
        "#include <pthread.h>\nint called;\nstatic void forked(void) { called++; }\n"
        "int set_up(void) { return pthread_atfork(forked, forked, forked); }\n")
    for name in ("one", "two"):
        subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / f"{name}.so", tmp_path / "one.c"], check=True)
    server = ready(serve, *READ, worker=["/usr/bin/python3", "-c", (
        "import _ctypes, ctypes, sys\n"
        "at = lambda library: ctypes.cast(library.set_up, ctypes.c_void_p).value\n"
        f"one = ctypes.CDLL('{tmp_path}/one.so'); place = at(one); one.set_up(); _ctypes.dlclose(one._handle)\n"
        f"two = ctypes.CDLL('{tmp_path}/two.so'); called = ctypes.c_int.in_dll(two, 'called')\n"
        "sys.stdin.readline(); print(at(two) == place, called.value, flush=True)\n")])
    assert [server.ask(b"x\n") for _ in range(3)] == 3 * [b"True 0\n"]
    assert len(server.log.find("template")) == 1 and template_pids(server), server.log.find("template")


def test_gate_main(serve, program):
    server = ready(serve, *FORK, worker=[program, "fgets"])
    answers = [ask(server) for _ in range(5)]
    assert all(prepared == pid and port == client and fault == "0"
               for _, prepared, pid, port, fault, _, _, client in answers), answers
    assert server.log.find("notice") == []
    # What one worker's memory tells of the next: the canary, and the random bytes that the kernel gave.
    assert len({answer[5] for answer in answers}) == (5 if os.uname().machine == "x86_64" else 1)
    assert len({answer[6] for answer in answers}) == 5


def moved(server):
    """How much of a template's memory is in files, how much in huge pages, in MiB."""
    [reason] = [event["reason"] for event in server.log.find("template") if "at its gate" in event["reason"]]
    found = re.search(r", (\d+) MiB in files, (\d+) MiB in huge pages, in \d+ ms", reason)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def collapses(in_file):
    """Can the kernel make huge pages of small ones, in files too?"""
    checks = map(json.loads, forkport.run("doctor", "--json")[1].splitlines())
    [how] = [check["found"] for check in checks if check["check"] == "collapse"]
    return how.startswith("done") or (not in_file and "in no file" in how)


@pytest.mark.parametrize("limit", [None, 64 << 20])
def test_large_memory_stays_what_it_is(serve, large_program, limit):
    """All but what was wiped, and what is hardly there, is in files that forks do not copy; no worker can tell, or change another's."""
    server = ready(serve, *FORK, worker=[large_program],
                   preexec=limit and (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))))
    in_files, in_huge = moved(server)
    assert in_files == 0 if limit else 53 <= in_files <= 62, in_files
    if collapses(in_file=not limit):
        # From 6.7 on the kernel puts large mappings where huge pages begin; before, each has less than it could in them.
        assert (42 if tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 7) else 30) <= in_huge <= 66, in_huge
    for _ in range(3):
        assert server.ask(b"look\n").split() == [b"whole", b"wiped"] + 19 * [b"whole"]
    server.log.wait("end", 3)
    assert [event.get("exit") for event in server.log.find("end")] == 3 * [0]
    assert server.stop() == 0


def test_large_memory_of_another_user(serve, root):  # pylint: disable=unused-argument
    """Its page table is read while it may be."""
    with forkport.for_everybody(forkport.BUILD / "tests/fixtures/memory") as program:
        server = ready(serve, *FORK, "--user", "nobody", worker=[program],
                       preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20, 64 << 20)))
        if not collapses(in_file=False):
            pytest.skip("this kernel does not make huge pages of small ones")
        assert moved(server)[1] >= 30


def test_memory_with_the_stack_stays_where_it_is(serve):
    """What is written there while it is moved would be lost: where functions return to, too."""
    server = ready(serve, *READ, worker=[forkport.BUILD / "tests/fixtures/context"])
    assert moved(server)[0] == 0
    assert [server.ask(b"look\n") for _ in range(2)] == 2 * [b"whole\n"]
    assert server.log.find("notice") == []


def test_memory_is_the_same_when_executed(serve):
    """What the program asks of itself holds without any of ours."""
    server = serve("127.0.0.1:0", worker=[forkport.BUILD / "tests/fixtures/memory"])
    assert server.ask(b"look\n").split() == [b"whole", b"kept"] + 19 * [b"whole"]


def test_worker_has_no_trace(serve):
    """Its limits, and the environment that others see, byte for byte, are those of exec."""
    script = ["sh", "-c", "cat /proc/self/limits; tr '\\0' '\\n' </proc/$$/environ | sed '/^$/d; /PORT=/d; /FORKPORT_/d'; umask"]
    env = {**os.environ, "LD_PRELOAD": "", "LAST": "x"}
    said = []
    for arguments in ([], FORK):
        server = serve("127.0.0.1:0", *arguments, worker=script, env=env)
        if arguments:
            server.log.wait("template")
        said.append(server.ask())
        assert b"TCPREMOTEIP=127.0.0.1\n" in said[-1] and b"ROOM" not in said[-1] and b"TEMPLATE" not in said[-1]
    assert said[0] == said[1]


def test_nothing_of_an_earlier_connection_is_in_a_worker(serve):
    """Its variables stand where those of the one before stood, which may have been longer."""
    said = []
    for arguments in ([], FORK):
        server = serve("127.0.0.1:0", *arguments, worker=["sh", "-c", "tr '\\0' '\\n' </proc/$$/environ"])
        if arguments:
            server.log.wait("template")
        server.ask(source="127.111.111.111")
        # At its end there is room for longer ones.
        said.append(server.ask(source="127.0.0.2").rstrip(b"\n").decode(errors="surrogateescape").split("\n"))
    names = [[line.partition("=")[0] for line in lines] for lines in said]
    assert names[0] == names[1] and said[1][-1] == "FORKPORT_CONNECTION=2"


def test_what_each_switch_writes_is_on_one_page(serve):
    """A page that the kernel writes to in each process is copied for each; which of the C library's settings does that is not seen."""
    assert ready(serve, *FORK, worker=[forkport.WORKER, "thread"]).ask() in (b"one page\n", b"unknown\n")


def test_tunables_of_ones_own_are_kept(serve):
    env = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.perturb=0"}
    server = ready(serve, *FORK, worker=["sh", "-c", "tr '\\0' '\\n' </proc/$$/environ | grep TUNABLES; echo $GLIBC_TUNABLES"], env=env)
    assert server.ask() == b"GLIBC_TUNABLES=glibc.malloc.perturb=0\nglibc.malloc.perturb=0\n"
    # They hold for the template as they do for a program that is executed; where a thread's memory begins is the same on x86-64 alone.
    if platform.machine() != "x86_64":
        return
    thread = {"worker": [forkport.WORKER, "thread"], "env": {**os.environ, "GLIBC_TUNABLES": "glibc.rtld.nns=4"}}
    assert ready(serve, *FORK, **thread).ask() == serve("127.0.0.1:0", **thread).ask()


@pytest.mark.skipif(forkport.SANITIZED, reason="the sanitizer wants to be the first library of the server")
def test_a_preload_of_ones_own_is_kept(serve):
    server = ready_with_env(serve, {**os.environ, "LD_PRELOAD": "libm.so.6"})
    assert server.ask() == b"libm.so.6 127.0.0.1\n"


def ready_with_env(serve, env):
    server = serve("127.0.0.1:0", *FORK, worker=["sh", "-c", "echo $LD_PRELOAD $TCPREMOTEIP"], env=env)
    server.log.wait("template")
    return server


def test_shells_go_on_reading_their_script(serve, tmp_path):
    """The script's file is open at the gate; workers read on in it, each from where the template was."""
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nread line\n" + "".join(f"echo {number} $line\n" for number in range(3000)))
    script.chmod(0o755)
    server = ready(serve, *READ, worker=[script])
    assert template_pids(server)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for number, answer in enumerate(pool.map(lambda n: server.ask(b"%d\n" % n), range(40))):
            assert answer == b"".join(b"%d %d\n" % (at, number) for at in range(3000))


ENV_LINES = {
    "env": ("/usr/bin/env sh", True),
    "split": ("/usr/bin/env -S sh -f", True),
    "variable": ("/usr/bin/env -S V=1 sh", False),
    "quoted": ("/usr/bin/env -S 'sh'", False),
    "quoted option": ("/usr/bin/env -S sh '-f'", False),
    "bin": ("/bin/env sh", True),
}


@pytest.mark.parametrize("line", ENV_LINES)
@pytest.mark.parametrize("gate", [FORK, READ, POOL], ids=["main", "read", "pool"])
def test_what_env_would_execute_is_the_template(serve, tmp_path, line, gate):
    """A script of env(1) is prepared once, and says what it says when it is executed."""
    first, is_plain = ENV_LINES[line]
    if not os.path.exists(first.split()[0]):
        pytest.skip(f"there is no {first.split()[0]}")
    script = tmp_path / "script"
    script.write_text(f"#!{first}\nread -r line; echo \"$0 $1 $- $line\"; tr '\\0' ' ' </proc/$$/cmdline; wait\n")
    script.chmod(0o755)
    executed = serve("127.0.0.1:0", worker=[script, "a b"]).ask(b"x\n")
    server = serve("127.0.0.1:0", *gate, worker=[script, "a b"])
    event = server.log.wait("pool" if gate == POOL else "template" if gate == FORK or is_plain else "notice")
    if gate == FORK:
        # Of env itself it is the one that is stopped: the shell is executed anew.
        name = pathlib.Path(f"/proc/{event['pid']}/cmdline").read_bytes().split(b"\0")[0]
        assert (name in (b"/usr/bin/env", b"/bin/env")) != is_plain
    assert server.ask(b"x\n") == executed
    assert server.stop() == 0


def faults_of_template(serve, gate, preexec):
    """Page faults of the template for each worker, and of the worker."""
    def at_the_same_addresses():
        C_LIBRARY.personality(0x0040000)  # ADDR_NO_RANDOMIZE: else one start may come to more pages of code than another
        if preexec:
            preexec()

    server = ready(serve, *gate, "--templates", 1, worker=[TEMPLATE, "read"], preexec=at_the_same_addresses)
    [template] = template_pids(server)
    assert ("written pages pinned" in server.log.find("template")[0]["reason"]) == (preexec is None)

    def after_hundred(turn):
        for _ in range(100):
            assert ask(server)[0] == "hello"
        server.log.wait("end", 100 * turn)
        return forkport.faults(template)[0], forkport.faults(server.pid)[1]

    early, late = after_hundred(1), after_hundred(2)
    assert server.stop() == 0
    return [(late[kind] - early[kind]) / 100 for kind in (0, 1)]


@pytest.mark.parametrize("gate", [FORK, READ], ids=["main", "read"])
def test_pages_that_are_written_for_each_worker_are_copied_by_the_fork(serve, gate):
    """Pinned ones (sys/pinned.h). With a filter of system calls, which may kill for it, they are copied when they are written to."""
    if not forkport.may_pin():
        pytest.skip("no io_uring may be had here")
    pinned, ordinary = (faults_of_template(serve, gate, preexec) for preexec in (None, forkport.KILLED_FOR_IO_URING))
    assert pinned[0] < ordinary[0] - 0.5 and pinned[1] < ordinary[1] - 0.5, (pinned, ordinary)


@pytest.mark.parametrize("way, options, reason", [
    ("nothing", READ, "ended before its gate"),
    ("hang", [*READ, "--template-start", 1], "did not come to its gate within 1 s"),
    ("uring", READ, "io_uring"),
    ("context", READ, "asynchronous I/O"),
    ("child", READ, "has a child process"),
    ("timer", READ, "has a timer"),
    ("clock", READ, "has a timer"),
])
def test_what_does_not_come_to_its_gate_is_executed(serve, way, options, reason):
    server = serve("127.0.0.1:0", *options, worker=[TEMPLATE, way])
    notice = server.log.wait("notice")["error"]
    if "exit 77" in notice:
        pytest.skip("the kernel gives no io_uring")
    assert reason in notice and notice.endswith("each connection executes it instead"), notice
    with server.connect() as client:
        if way == "hang":
            server.log.wait("start")
        elif way != "nothing":
            client.sendall(b"hello\n")
        if way != "hang":
            answer = forkport.read_to_end(client).split()
            assert answer[-6] == answer[-5], "it was prepared anew"
    assert len(server.log.find("notice")) == 1 and template_pids(server) == []


def test_a_thread_is_made_in_the_worker(serve):
    server = ready(serve, *READ, worker=[TEMPLATE, "thread"])
    [template] = template_pids(server)
    line, prepared, pid, *_ = ask(server)
    assert (line, int(prepared)) == ("hello", template) and pid != prepared


def test_a_program_with_a_thread_before_main_is_executed(serve, tmp_path):
    source = tmp_path / "early.c"
    source.write_text("""
        #include <pthread.h>
        #include <unistd.h>
        static void *idle(void *data) { for (;;) pause(); return data; }
        __attribute__((constructor)) static void early(void) { pthread_t t; pthread_create(&t, 0, idle, 0); }
        int main(void) { return write(1, "served\\n", 7) != 7; }""")
    subprocess.run(["cc", "-o", tmp_path / "early", source, "-lpthread"], check=True)
    server = serve("127.0.0.1:0", *FORK, worker=[tmp_path / "early"])
    assert "several threads" in server.log.wait("notice")["error"]
    assert server.ask() == b"served\n"


def test_static_and_set_id_programs_are_executed(serve, tmp_path):
    set_id = shutil.copy(forkport.WORKER, tmp_path / "set-id")
    os.chmod(set_id, 0o4755)
    (tmp_path / "static.c").write_text('#include <unistd.h>\nint main(void) { return write(1, "ok\\n", 3) != 3; }\n')
    cases = [([set_id, "exit", "0"], "gains rights")]
    capable = shutil.copy(forkport.WORKER, tmp_path / "capable")
    with contextlib.suppress(OSError):  # only root may, and not on each file system
        # CAP_NET_RAW, permitted and effective (struct vfs_cap_data, version 2).
        os.setxattr(capable, "security.capability", struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0))
        cases.append(([capable, "exit", "0"], "gains rights"))
    if subprocess.run(["cc", "-static", "-o", tmp_path / "static", tmp_path / "static.c"], check=False).returncode == 0:
        cases.append(([tmp_path / "static"], "is linked statically"))
    for worker, reason in cases:
        server = serve("127.0.0.1:0", *FORK, worker=worker)
        assert reason in server.log.wait("notice")["error"]
        server.ask()
        assert server.log.wait("end")["exit"] == 0


def test_templates_are_replaced_and_leave_nothing(serve):
    server = ready(serve, *FORK, "--templates", 1, "--template-connections", 20, worker=["cat"])
    before = forkport.descriptors(server.pid)
    for turn in range(4):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: server.ask(b"x"), range(100))) == {b"x"}
        server.log.wait("end", 100 * (turn + 1))
        forkport.until(lambda: forkport.children(server.pid) == [], "templates only")
        # One, or an old one on its way out.
        forkport.until(lambda: len(forkport.all_children(server.pid)) == 1, "one template")
        # Those of one that has just been reaped are closed a moment later.
        forkport.until(lambda: forkport.descriptors(server.pid) == before, "as many descriptors as before")
        assert len(template_pids(server)) > turn + 1, "another one each time"
    assert server.stop() == 0
    assert server.log.find("stop")[-1]["served"] == 400


def test_a_worn_template_serves_until_its_successor_is_there(serve, tmp_path):
    hold = tmp_path / "hold"
    server = ready(serve, *READ, "--template-connections", 3,
                   worker=["dash", "-c", f"sleep 1; while [ -e {hold} ]; do sleep 0.05; done; read line; echo $$"])
    hold.touch()
    prepared = [int(server.ask(b"\n")) for _ in range(4)]
    hold.unlink()
    prepared += [int(server.ask(b"\n")) for _ in range(2)]
    assert set(prepared[:4]) == set(template_pids(server)[:1]) and set(prepared) <= set(template_pids(server)), prepared
    assert 1000 <= server.log.find("template")[0]["duration_ms"] < 1000 * forkport.DEADLINE, "from its start to its gate"
    forkport.until(lambda: any("replaced after" in event["reason"] for event in server.log.find("template")), "the successor")


@pytest.mark.parametrize("name, is_fault", [(name, True) for name in ("SEGV", "BUS", "ILL", "FPE", "ABRT", "TRAP", "SYS")] +
                         [(name, False) for name in ("TERM", "KILL", "PIPE", "USR1")])
def test_by_which_signals_a_template_is_replaced(serve, name, is_fault):
    """Those that guessing at the layout makes, at once; others tell nothing of it."""
    number = int(signal.Signals[f"SIG{name}"])
    server = ready(serve, *FORK, worker=[forkport.WORKER, "signal", number],
                   preexec=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
    for count in range(1, 1 + (1 if is_fault else 3)):
        server.ask()
        server.log.wait("end", count=count, signal=name)
    if is_fault:
        server.log.wait("template", reason=f"replaced: a worker ended by signal {name}")
        forkport.until(lambda: len(template_pids(server)) == 2, "another template")
    else:
        assert len(server.log.find("template")) == 1


def test_a_fault_replaces_the_template(serve):
    server = ready(serve, *FORK, worker=[TEMPLATE, "read"])
    ask(server, "fault")
    forkport.until(lambda: len(template_pids(server)) == 2, "another template")
    assert any("ended by signal ABRT" in event["reason"] for event in server.log.find("template"))
    assert ask(server)[0] == "hello"


def test_a_template_that_is_killed_on_its_way_is_started_again(serve, tmp_path):
    """That tells nothing of the program: the kernel may want its memory. What ends it otherwise is tried once more."""
    # One word, since there is no event that serve() could wait for.
    server = serve("127.0.0.1:0", "--engine=fork", "--gate", "read",
                   worker=["sh", "-c", f"until [ -e {tmp_path}/go ]; do sleep 0.05; done; read line; echo $line $$"])
    ended = set()
    for number in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        [pid] = forkport.until(lambda: {*forkport.all_children(server.pid)} - ended, "another template")
        os.kill(pid, number)
        forkport.wait_pid(pid)
        ended.add(pid)
    (tmp_path / "go").touch()
    [template] = forkport.until(lambda: template_pids(server), "a template at its gate")
    assert server.ask(b"hello\n") == b"hello %d\n" % template
    assert template not in ended and server.log.find("notice") == []


def test_a_template_on_its_way_ends_with_its_server(serve, tmp_path):
    """At its gate it sees the end by itself; one that never comes there has nobody left to end it."""
    server = serve("127.0.0.1:0", "--engine=fork", "--gate=read",
                   worker=["sh", "-c", f"echo > {tmp_path}/runs; while :; do sleep 0.1; done"])
    forkport.until((tmp_path / "runs").exists, "the template's start")
    [pid] = forkport.all_children(server.pid)
    os.kill(server.pid, signal.SIGKILL)
    forkport.wait_pid(pid)


def test_a_killed_template_loses_nobody(serve):
    """Killed again and again while it forks; every client is answered, once."""
    server = ready(serve, *FORK, worker=["cat"])
    answered = []
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        def one(number):
            answered.append(server.ask(b"%d" % number))
            if number % 50 == 0:
                for child in {*forkport.all_children(server.pid)} & {*template_pids(server)}:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
        list(pool.map(one, range(600)))
    assert sorted(map(int, answered)) == list(range(600))
    assert len(template_pids(server)) > 1
    assert server.stop() == 0
    assert server.log.find("stop")[-1] | {"served": 600, "failed": 0} == server.log.find("stop")[-1]


def test_a_template_that_is_killed_again_and_again_is_replaced_more_slowly(serve):
    server = ready(serve, *FORK, worker=["cat"])
    began = time.monotonic()
    for count in range(1, 5):
        forkport.until(lambda count=count: len(template_pids(server)) == count, "another template")
        os.kill(template_pids(server)[-1], signal.SIGKILL)
        server.log.wait("template", count=count, reason="ended (signal KILL)")
    forkport.until(lambda: len(template_pids(server)) == 5, "the last one")
    # A tenth of a second, and twice as long each time, but for what is forgotten in between.
    assert time.monotonic() - began > 1
    assert server.ask(b"x") == b"x"


def test_a_stopped_template_loses_nobody(serve):
    server = ready(serve, *FORK, worker=["cat"])
    os.kill(template_pids(server)[0], signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: server.ask(b"x"), range(20))) == [b"x"] * 20
    assert any("does not answer" in event["reason"] for event in server.log.find("template"))
    assert server.stop() == 0


@pytest.mark.parametrize("names", [["TERM"], ["TERM", "KILL"]])
def test_a_worker_that_begins_when_the_others_are_ended_is_ended_too(serve, names):
    """It was ordered before, and was not there yet when they were sent the signal."""
    server = ready(serve, *FORK, "--drain", 0, worker=["cat"])
    [template] = template_pids(server)
    os.kill(template, signal.SIGSTOP)
    forkport.until(lambda: forkport.state(template) == "T", "the template to be stopped")
    with server.connect():
        server.log.wait("accept")
        server.signal(signal.SIGTERM)
        server.log.wait("hurry", signal="TERM")
        for name in names[1:]:
            server.signal(signal.SIGTERM)
            server.log.wait("hurry", signal=name)
        os.kill(template, signal.SIGCONT)
        assert server.wait() == 0
    assert server.log.wait("end")["signal"] == names[-1], "not only by the next SIGKILL, five seconds later"


def test_a_killed_server_leaves_no_template(serve):
    server = ready(serve, *FORK, worker=["cat"])
    [template] = template_pids(server)
    server.process.kill()
    forkport.wait_pid(template)


def test_several_templates_take_turns(serve):
    server = ready(serve, *FORK, "--templates", 3, worker=["cat"])
    server.log.wait("template", 3)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: server.ask(b"x"), range(200))) == {b"x"}
    assert len(forkport.all_children(server.pid)) >= 3
    assert server.stop() == 0
    # A shell's $$ is that of who prepared.
    server = ready(serve, *READ, "--templates", 3, worker=["sh", "-c", "read line; echo $$"])
    server.log.wait("template", 3)
    assert {int(server.ask(b"\n")) for _ in range(3)} == set(template_pids(server))
    assert server.stop() == 0


def test_a_template_may_not_be_looked_into(serve, root, public_worker):
    """A worker of the same user could otherwise change what all later ones are forked from."""
    server = ready(serve, *FORK, "--user", "nobody", worker=["cat"])
    assert public_worker
    [template] = template_pids(server)
    result = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "ls", f"/proc/{template}/fd"],
                            capture_output=True, text=True, check=False)
    assert result.returncode != 0 and "Permission denied" in result.stderr


@pytest.mark.parametrize("options", [["--engine", "fork"], ["--engine", "pool", "--pool-start", "exec", "--pool-min", "1"]],
                         ids=["fork", "pool"])
def test_a_program_that_is_gone_for_a_moment(serve, tmp_path, options):
    """While it is replaced, say. It has come to its gate before, so it is tried again, and is not executed for ever."""
    program = tmp_path / "program"
    shutil.copy("/bin/cat", program)
    server = serve("127.0.0.1:0", *options, "--template-age", "1", worker=[program])
    event = options[1].replace("fork", "template")
    server.log.wait(event)
    program.rename(tmp_path / "away")
    def missed():
        return [said for said in server.log.find(event) if "cannot run the program" in str(said)]

    forkport.until(lambda: len(missed()) >= 4, "it to be missed again and again")
    times = [datetime.datetime.fromisoformat(said["time"].replace("Z", "+00:00")) for said in missed()]
    # After a tenth of a second, and twice as long each time.
    assert times[3] - times[0] > datetime.timedelta(seconds=0.6)
    seen = len(server.log.find("template"))
    (tmp_path / "away").rename(program)
    forkport.until(lambda: any("at its gate" in str(said) for said in server.log.find("template")[seen:]) if event == "template"
                   else forkport.all_children(server.pid), "it to be back")
    assert server.ask(b"hello\n") == b"hello\n"
    assert server.log.find("notice") == []


def test_a_program_that_was_replaced_is_taken_up_with_the_next_template(serve, tmp_path):
    program, other = shutil.copy("/bin/echo", tmp_path / "program"), shutil.copy("/bin/false", tmp_path / "other")
    server = serve("127.0.0.1:0", *FORK, worker=[program, "hello"])
    assert server.ask() == b"hello\n"
    os.rename(other, program)
    assert server.ask() == b"hello\n"
    os.kill(server.log.find("template")[0]["pid"], signal.SIGTERM)
    forkport.until(lambda: server.ask() == b"", "the new program")
    server.log.wait("template", count=3)
    assert server.ask() == b""


@pytest.fixture(name="traced")
def traced_(tmp_path):
    """A program that is traced, and the number of who traces, who is ended with the test."""
    probe = subprocess.run([TRACED, "start", tmp_path / "none"], stdin=subprocess.DEVNULL, check=False, timeout=5,
                           env={"FORKPORT_PAIR": ""}, stdout=subprocess.PIPE)
    assert probe.stdout == b"served\n"
    file = tmp_path / "tracer"
    yield file
    for pid in file.read_text().split():
        os.kill(int(pid), signal.SIGKILL)


@pytest.mark.parametrize("options", [["--engine", "fork"], ["--engine", "pool", "--pool-start", "exec"]], ids=["fork", "pool"])
def test_a_program_that_cannot_be_ended_before_its_gate(serve, traced, options):
    """Killed, it is not there to be waited for: the others are served meanwhile, and the server ends without it."""
    server = serve("127.0.0.1:0", *options, "--template-start", 1, worker=[TRACED, "start", traced])
    server.log.wait("notice")
    for _ in range(5):
        assert server.ask() == b"served\n"
    assert server.stop(10) == 0


def test_a_worker_that_cannot_be_ended(serve, traced):
    server = serve("127.0.0.1:0", worker=[TRACED, "worker", traced])
    with server.connect() as client:
        assert forkport.read_line(client) == "held\n"
        for event, fields in [("drain", {}), ("hurry", {"signal": "TERM"}), ("hurry", {"signal": "KILL"})]:
            server.signal(signal.SIGTERM)
            server.log.wait(event, **fields)
        assert server.wait(15) == 71
    assert server.errors() == "forkport: cannot end all workers: SIGKILL did not end 1\n"
    assert "is left" in server.log.wait("notice")["error"]
