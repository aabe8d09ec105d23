"""Gate read: what a program has done with its descriptors and timers before it reads, and what that is in a worker."""
import ctypes
import errno
import os
import pathlib
import resource
import signal
import socket
import subprocess
import tempfile
import time

import pytest

import forkport
import programs

READ = ["--engine", "fork", "--gate", "read"]
POOL = ["--engine", "pool", "--gate", "read", "--pool-start", "fork", "--pool-min", "2"]
# Each is started ahead, and waits at the gate itself.
STARTED = ["--engine", "pool", "--gate", "read", "--pool-start", "exec", "--pool-min", "2"]

# By what a shell has done before it reads: whether it is the connection that the reply goes to, and what is logged of its errors.
BEFORE = {
    "nothing": (":", True, ["no error"]),
    "no standard error": ("exec 2>/dev/null", True, []),
    "a closed standard error": ("exec 2>&-", True, []),
    "errors to the client": ("exec 2>&1", True, []),
    "replies to the log": ("exec 1>&2", False, ["got hello", "no error"]),
    "replies to a file": ("exec 1>>replies", False, ["no error"]),
    "a closed output": ("exec 1>&-", False, None),
    "input from elsewhere for a while": ("read first </etc/passwd", True, ["no error"]),
}


@pytest.fixture(name="ready")
def ready_(serve, tmp_path):
    """serve() of a shell, which says whether it became a template or is executed."""
    def start(options, script, event):
        server = serve("127.0.0.1:0", *options, worker=["dash", "-c", f"cd {tmp_path}; {script}"])
        if options:
            server.log.wait(event)
        return server
    return start


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("options", [[], READ, POOL, STARTED], ids=["exec", "fork", "pool", "pool of programs"])
def test_descriptors_that_a_program_has_changed(ready, tmp_path, options, before):
    """The same under each engine: what it has put there stays, and what is a copy of another is one of its own connection's."""
    command, answers, errors = BEFORE[before]
    script = (f"{command}; read line; echo got $line; echo no error >&2; ls -l /proc/self/fd | grep -c ' -> ' >count; "
              "read pid rest </proc/self/stat; (exec ls /proc/$pid/fd >own); :")
    server = ready(options, script, "pool" if "pool" in options else "template")
    for number in range(1, 4):
        answer = server.ask(b"hello\n").replace(b"no error\n", b"")
        assert answer == (b"got hello\n" if answers else b""), answer
        server.log.wait("end", connection=number)
        if errors is not None:
            assert [event["text"] for event in server.log.find("stderr", connection=number)] == errors
    if before == "replies to a file":
        assert (tmp_path / "replies").read_text() == 3 * "got hello\n"
    # Those of ls, of which one is the folder that it lists, and takes a free number.
    assert (tmp_path / "count").read_text() == ("3\n" if before == "a closed standard error" else "4\n")
    # The shell itself has no other either, which would be closed for ls.
    assert len((tmp_path / "own").read_text().split()) == (2 if "closed" in before else 3)
    assert server.log.find("notice") == []
    assert server.stop() == 0


# What a program does before its gate, and says of it afterwards: its answer, which may name the server's port.
EARLY = {
    "flags that it sets: not to wait, to be closed for programs that it executes": (
        "import fcntl, os, select; os.set_blocking(0, False); os.set_blocking(2, False); os.set_inheritable(1, False)\n"
        "select.select([0], [], [], None); os.read(0, 100)\n"
        "said = [(os.get_blocking(fd), os.get_inheritable(fd)) for fd in range(3)]; print(said, flush=True)\n",
        "[(False, True), (False, False), (False, True)]\n"),
    "what it asks of its connection, and sets": (
        "import socket, sys; s = socket.socket(fileno=1); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)\n"
        "before = s.family.name, s.getsockname()[1]; sys.stdin.readline()\n"
        "print(*before, s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0, flush=True)\n",
        "AF_INET {port} True\n"),
    "who its client is": (
        "import ctypes, sys\nname, room = ctypes.create_string_buffer(128), ctypes.c_uint(128)\n"
        "asked = ctypes.CDLL(None).getpeername(0, name, ctypes.byref(room)), room.value, name.raw[4:8]\n"
        "sys.stdin.readline(); print(*asked, flush=True)\n",
        f"0 16 {bytes([127, 0, 0, 1])}\n"),
    "who its client is, with room for no more than an address of IPv4": (
        "import ctypes, sys\nname, room = ctypes.create_string_buffer(16), ctypes.c_uint(16)\n"
        "asked = ctypes.CDLL(None).getpeername(0, name, ctypes.byref(room)), room.value, name.raw[4:8]\n"
        "sys.stdin.readline(); print(*asked, flush=True)\n",
        f"0 16 {bytes([127, 0, 0, 1])}\n"),
    "how much has come": (
        "import fcntl, struct, sys, time\ncount = 0\n"
        "for _ in range(1000):\n"
        "    count, = struct.unpack('i', fcntl.ioctl(0, 0x541b, bytes(4)))\n    if count: break\n    time.sleep(0.01)\n"
        "sys.stdin.readline(); print(count, flush=True)\n",
        "6\n"),
    "files that may not be links, or have no name": (
        "import os, sys, tempfile; flags = os.O_NOFOLLOW | os.O_DIRECTORY; folder = os.open('/etc', os.O_PATH | flags)\n"
        "other = os.open('/etc', flags); none = os.open('/tmp', os.O_TMPFILE | os.O_RDWR); os.write(none, b'early'); os.lseek(none, 1, 0)\n"
        "sys.stdin.readline(); print(os.path.exists(f'/proc/self/fd/{folder}/passwd'), 'passwd' in os.listdir(other), os.read(none, 9), flush=True)\n",
        "True True b'arly'\n"),
    "waiting for an epoll instance that is in another": (
        "import select, sys; outer = select.epoll(); inner = select.epoll(); inner.register(0); outer.register(inner.fileno(), 1)\n"
        "print(len(outer.poll()), flush=True); sys.stdin.readline()\n",
        "1\n"),
    "polling an epoll instance": (
        "import select, sys; inner = select.epoll(); inner.register(0); outer = select.poll(); outer.register(inner.fileno(), 1)\n"
        "print(len(outer.poll()), flush=True); sys.stdin.readline()\n",
        "1\n"),
    "an epoll instance that is in another": (
        "import select, sys; outer = select.epoll(); inner = select.epoll(); inner.register(0); outer.register(inner.fileno(), 1)\n"
        "print(len(inner.poll()), len(outer.poll(20)), flush=True); sys.stdin.readline()\n",
        "1 1\n"),
    "a variable that it removes: the environment is shorter by then": (
        "import os, subprocess, sys; os.unsetenv('PATH'); sys.stdin.readline()\n"
        "subprocess.run(['/bin/sh', '-c', 'echo $TCPREMOTEIP $FORKPORT_PAIR | /usr/bin/cut -c 1-20'], check=True)\n",
        "127.0.0.1 {{127.0.0.1\n"),
    "its own handler of the last signal, by which the supervisor asks": (
        "import os, signal, sys; signal.signal(64, lambda *_: print('got', flush=True))\n"
        "sys.stdin.readline(); os.kill(os.getpid(), 64)\n",
        "got\n"),
    "a folder that is read on": (
        "import os, sys; entries = os.scandir('/proc/self/task/..')\n"
        "sys.stdin.readline(); print(len(list(entries)) > 20, flush=True)\n",
        "True\n"),
    "eventfds": (
        "import os, sys; one, two = os.eventfd(7), os.eventfd(2, os.EFD_SEMAPHORE | os.EFD_NONBLOCK)\n"
        "sys.stdin.readline(); os.eventfd_write(two, 1)\n"
        "print(os.eventfd_read(one), [os.eventfd_read(two) for _ in range(3)], flush=True); os.eventfd_write(one, 1)\n",
        "7 [1, 1, 1]\n"),
    "a copy of an eventfd": (
        "import os, sys; one = os.eventfd(0); two = os.dup(one)\n"
        "sys.stdin.readline(); os.eventfd_write(one, 3); print(os.eventfd_read(two), flush=True); os.eventfd_write(two, 1)\n",
        "3\n"),
    "a pipe to wake itself by": (
        "import os, sys; output, entry = os.pipe(); os.set_blocking(output, False); copy = os.dup(entry)\n"
        "sys.stdin.readline(); os.write(copy, b'a'); os.write(entry, b'b'); print(os.read(output, 9), flush=True); os.write(entry, b'c')\n",
        "b'ab'\n"),
    "a pair of sockets to wake itself by": (
        "import os, socket, sys; output, entry = socket.socketpair(); output.setblocking(False); copy = os.dup(entry.fileno())\n"
        "other, last = socket.socketpair(type=socket.SOCK_SEQPACKET)\n"
        "sys.stdin.readline(); os.write(copy, b'a'); entry.send(b'b'); last.send(b'c'); last.send(b'd')\n"
        "print(output.recv(9), other.recv(9), os.get_blocking(output.fileno()), flush=True); entry.send(b'e'); output.send(b'f')\n",
        "b'ab' b'c' False\n"),
    "a pipe with something in it": (
        "import os, sys; output, entry = os.pipe(); os.write(entry, b'lock')\n"
        "sys.stdin.readline(); print(os.read(output, 9), os.get_blocking(output), flush=True)\n",
        "b'lock' True\n"),
    "an eventfd with more in it than it is made with": (
        "import os, sys; event = os.eventfd(7); os.eventfd_write(event, 2 ** 34)\n"
        "sys.stdin.readline(); print(os.eventfd_read(event) - 2 ** 34, flush=True)\n",
        "7\n"),
    "a pipe that is larger": (
        "import fcntl, os, sys; output, entry = os.pipe(); fcntl.fcntl(entry, 1031, 2 ** 20)\n"
        "sys.stdin.readline(); print(os.write(entry, bytes(200000)), flush=True)\n",
        "200000\n"),
    "a pipe that was written to its end": (
        "import os, sys; output, entry = os.pipe(); os.write(entry, b'text'); os.close(entry)\n"
        "sys.stdin.readline(); print(os.read(output, 9), os.read(output, 9), flush=True)\n",
        "b'text' b''\n"),
    "a timer that has run out": (
        "import ctypes, os, select, struct, sys; c = ctypes.CDLL(None); timer = c.timerfd_create(1, os.O_NONBLOCK)\n"
        "c.timerfd_settime(timer, 0, struct.pack('4q', 0, 0, 0, 1), None); select.select([timer], [], [], None)\n"
        "sys.stdin.readline(); print(*struct.unpack('q', os.read(timer, 8)), flush=True)\n",
        "1\n"),
    "a timer that waits to be set": (
        "import ctypes, os, struct, sys; c = ctypes.CDLL(None); timer = c.timerfd_create(7, 0); left = ctypes.create_string_buffer(32)\n"
        "sys.stdin.readline(); c.timerfd_gettime(timer, left); c.timerfd_settime(timer, 0, struct.pack('4q', 0, 0, 1000, 0), None)\n"
        "print(*struct.unpack('4q', left.raw), flush=True)\n",
        "0 0 0 0\n"),
}


@pytest.mark.parametrize("what", EARLY)
@pytest.mark.parametrize("options", [[], READ, POOL, STARTED], ids=["exec", "fork", "pool", "pool of programs"])
def test_what_is_done_before_it_reads(serve, options, what):
    """The same answer under each engine, and of one that forks by forked ones."""
    program, answer = EARLY[what]
    server = serve("127.0.0.1:0", *options, worker=["python3", "-c", program])
    if options:
        server.log.wait("pool" if "pool" in options else "template")
    for _ in range(3):
        assert server.ask(b"hello\n") == answer.format(port=server.port).encode()
    assert server.log.find("notice") == []


@pytest.mark.parametrize("what", [what for what in EARLY if any(kind in what for kind in ("eventfd", "pipe", "timer", "sockets"))])
def test_what_is_done_before_it_reads_where_copies_are_not_told_from_others(serve, what):
    """As in containers whose filter of system calls refuses kcmp(2)."""
    program, answer = EARLY[what]
    server = serve("127.0.0.1:0", *READ, worker=["python3", "-c", program], preexec=forkport.refuse("kcmp", forkport.ERRNO | errno.EPERM))
    server.log.wait("template")
    assert [server.ask(b"hello\n") for _ in range(3)] == 3 * [answer.encode()]
    assert server.log.find("notice") == []


def test_a_file_that_may_not_be_opened_again(serve, root, tmp_path):
    """Of a program that has given up its privileges: each reads it from its beginning."""
    (tmp_path / "file").write_text("one\ntwo\nthree\n")
    (tmp_path / "file").chmod(0o600)
    program = (f"import os, sys; file = open('{tmp_path}/file'); os.setresuid(65534, 65534, 65534)\n"
               "sys.stdin.readline(); print(file.readline(), end='', flush=True)\n")
    server = serve("127.0.0.1:0", *READ, worker=["python3", "-c", program])
    assert "may not open again" in server.log.wait("notice")["error"]
    assert [server.ask(b"hello\n") for _ in range(3)] == 3 * [b"one\n"]


@pytest.mark.parametrize("options", [[], READ, [*READ, "--templates", 2], POOL, STARTED],
                         ids=["exec", "fork", "two templates", "pool", "pool of programs"])
def test_a_lock_ends_with_the_worker_that_took_it(serve, tmp_path, options):
    """Of a file that was opened before the gate: neither does a template hold it on, nor one worker another's."""
    lock = tmp_path / "lock"
    server = serve("127.0.0.1:0", *options, worker=["dash", "-c", f"exec 9>>{lock}; read line; flock 9; echo $line; read line"])
    if options:
        server.log.wait("pool" if "pool" in options else "template", count=2 if 2 in options else 1)
    for number in range(1, 5):
        with server.connect() as client:
            client.sendall(b"mine\n")
            assert forkport.read_line(client) == "mine\n"
            assert subprocess.run(["flock", "-n", lock, "true"], check=False).returncode == 1, "it is held"
        server.log.wait("end", connection=number)
        assert subprocess.run(["flock", "-w", "2", lock, "true"], check=False).returncode == 0


@pytest.fixture(name="everybodys")
def everybodys_():
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder)


@pytest.mark.parametrize("options", [READ, POOL], ids=["fork", "pool"])
def test_a_file_that_may_not_be_opened_again_any_more(serve, root, everybodys, options):  # pylint: disable=unused-argument
    """It is not shared, but executed from then on, which fails as well here."""
    data = everybodys / "data"
    data.write_text("one\ntwo\nthree\n")
    program = f"exec 3<{data}; read line; read first <&3; echo $first"
    server = serve("127.0.0.1:0", *options, "--user", "nobody", worker=["dash", "-c", program])
    told = "pool" if options == POOL else "template"
    server.log.wait(told)
    assert server.ask() == b"one\n"
    data.chmod(0o600)
    answers = [server.ask() for _ in range(6)]
    assert set(answers) <= {b"one\n", b""} and answers[-1] == b""
    assert any("may not open again" in event["reason"] for event in server.log.find(told))


@pytest.mark.parametrize("options", [[], READ, POOL, STARTED], ids=["exec", "fork", "pool", "pool of programs"])
def test_a_standard_error_of_its_own_with_few_descriptors(ready, tmp_path, options):
    server = ready(options, "exec 2>>errors; ulimit -n 30; read line; echo error >&2; echo $line", "pool" if options != READ else "template")
    assert [server.ask(b"hello\n") for _ in range(3)] == 3 * [b"hello\n"]
    assert (tmp_path / "errors").read_text() == 3 * "error\n"


OWNER = r"""
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
static volatile sig_atomic_t number;
static void note(int seen) { number = seen; }
int main(void)
{
    char line[16];
    sigset_t all, old;
    struct sigaction action = {.sa_handler = note};
    sigaction(SIGUSR1, &action, NULL);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old);
    fcntl(0, F_SETOWN, getpid());
    fcntl(0, F_SETSIG, SIGUSR1);
    fcntl(0, F_SETFL, O_NONBLOCK | O_ASYNC);
    alarm(10);
    while (read(0, line, sizeof(line)) < 0 && errno == EAGAIN)
        sigsuspend(&old);
    fcntl(0, F_SETFL, 0);
    return dprintf(1, "%d %d\n", fcntl(0, F_GETOWN) == getpid(), number == SIGUSR1) < 0;
}
"""


@pytest.mark.parametrize("options", [[], READ, POOL, STARTED], ids=["exec", "fork", "pool", "pool of programs"])
def test_signals_that_input_is_announced_by(serve, tmp_path, options):
    (tmp_path / "owner.c").write_text("#define _GNU_SOURCE\n" + OWNER)
    subprocess.run(["cc", "-o", tmp_path / "owner", tmp_path / "owner.c"], check=True)
    server = serve("127.0.0.1:0", *options, worker=[tmp_path / "owner"])
    if options:
        server.log.wait("template" if options == READ else "pool")
    for number in range(1, 4):
        with server.connect() as client:
            pid = server.log.wait("start", connection=number)["pid"]
            forkport.until(lambda pid=pid: forkport.state(pid) == "S", "the program to wait for its signal")
            client.sendall(b"hello\n")
            assert forkport.read_to_end(client) == b"1 1\n"


def is_executed(serve, program, reason, **more):
    """A program in Python has no template, which is said, and its connections are served."""
    server = serve("127.0.0.1:0", *READ, worker=["/usr/bin/python3", "-c", f"{program}; print(sys.stdin.readline(), end='', flush=True)"],
                   **more)
    assert reason in server.log.wait("notice")["error"]
    assert [server.ask(b"hello\n") for _ in range(3)] == 3 * [b"hello\n"]
    assert not server.log.find("template")


def test_files_that_cannot_be_opened_again_all_at_once(serve):
    """Descriptors are short: that is found at the gate, not by each connection."""
    is_executed(serve, "import resource, sys; files = [open('/etc/passwd') for _ in range(10)]; "
                       "resource.setrlimit(resource.RLIMIT_NOFILE, (18, 18))", "more files, sockets, timers and such open than can be kept apart")


def test_a_third_end_of_a_pipe(serve):
    """It would be another pipe's than the two that were made anew."""
    is_executed(serve, "import os, sys; output, entry = os.pipe(); third = os.open(f'/proc/self/fd/{entry}', os.O_WRONLY)",
                "more files, sockets, timers and such open than can be kept apart")


def test_more_fork_handlers_than_can_be_kept(serve):
    is_executed(serve, "import ctypes, sys; register = getattr(ctypes.CDLL(None), '__register_atfork'); "
                       "[register(None, None, None, None) for _ in range(129)]", "more functions for its forks than can be kept")


# A library's constructor that comes to the gate while it is opened: OpenBLAS makes its threads there, with a lock that its function for forks wants.
IN_LIBRARY = """#include <pthread.h>
#include <stdio.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void take(void) { if (LOCKS) pthread_mutex_lock(&lock); }
static void give(void) { if (LOCKS) pthread_mutex_unlock(&lock); }
static void *count(void *number) { ++*(int *)number; return NULL; }
int opened;
__attribute__((constructor)) static void begin(void)
{
    pthread_t thread;
    pthread_atfork(take, give, give);
    take();
    if (pthread_create(&thread, NULL, count, &opened) == 0) pthread_join(thread, NULL);
    give();
}
"""


@pytest.mark.parametrize("locks", [0, 1])
@pytest.mark.parametrize("options", [READ, POOL], ids=["fork", "pool"])
def test_a_library_that_comes_to_the_gate_while_it_is_opened(serve, tmp_path, options, locks):
    """Its copies could not open another one: the loader's lock is the template's. Nor could it fork with its own lock."""
    (tmp_path / "in.c").write_text(IN_LIBRARY)
    subprocess.run(["cc", "-shared", "-fPIC", f"-DLOCKS={locks}", "-o", tmp_path / "libin.so", tmp_path / "in.c"], check=True)
    server = serve("127.0.0.1:0", *options, worker=["/usr/bin/python3", "-c", (
        f"import ctypes, sys; opened = ctypes.c_int.in_dll(ctypes.CDLL('{tmp_path}/libin.so'), 'opened').value\n"
        "line = sys.stdin.readline(); ctypes.CDLL('libutil.so.1'); print(line.strip(), opened, flush=True)\n")])
    notice = server.log.wait("notice")["error"]
    assert "its copies would wait 3 s or more, for a function for its forks or the loader's lock" in notice
    assert [server.ask(b"hello\n") for _ in range(3)] == 3 * [b"hello 1\n"]


def with_fork_function(folder, before, in_child):
    """A program in Python with these statements of C as its functions for forks."""
    (folder / "of.c").write_text("#define _GNU_SOURCE\n#include <fcntl.h>\n#include <pthread.h>\n#include <signal.h>\n#include <stdio.h>\n"
                                 f"#include <stdlib.h>\n#include <unistd.h>\nstatic void before(void) {{ {before} }}\n"
                                 f"static void in_child(void) {{ {in_child} }}\n__attribute__((constructor)) static void begin(void)\n"
                                 "{ pthread_atfork(before, NULL, in_child); }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "libof.so", folder / "of.c"], check=True)
    return f"import ctypes, sys; ctypes.CDLL('{folder}/libof.so')"


@pytest.mark.parametrize("before, in_child", [("", "_exit(0);"), ("", "exit(5);"), ("abort();", ""), ("", "raise(SIGSEGV);")])
def test_a_function_for_forks_that_ends_the_copy(serve, tmp_path, before, in_child):
    """Each connection would be reset, with whatever status; and it is no filter of system calls."""
    is_executed(serve, with_fork_function(tmp_path, before, in_child), "its copies end before they begin, by a function for its forks")


def test_functions_for_forks_that_take_long(serve, tmp_path):
    """They would not for ever, and nobody says so."""
    is_executed(serve, with_fork_function(tmp_path, "sleep(2);", "sleep(2);"), "its copies would wait 3 s or more")


def test_functions_for_forks_that_take_long_once(serve, tmp_path):
    """It was a template before, and is one again."""
    slow = tmp_path / "slow"
    program = (f"import os; os.path.exists('{slow}') and os.putenv('SLOW', '1'); " + with_fork_function(tmp_path, 'if (getenv("SLOW")) pause();', "")
               + "; print(sys.stdin.readline(), end='', flush=True)")
    server = serve("127.0.0.1:0", *READ, "--template-connections", 1, worker=["/usr/bin/python3", "-c", program])

    def said(what):
        return [event for event in server.log.find("template") if what in event["reason"]]

    forkport.until(lambda: said("at its gate"), "a template")
    slow.touch()
    assert server.ask(b"hello\n") == b"hello\n"
    forkport.until(lambda: said("its copies would wait 3 s or more"), "a template that is slow")
    slow.unlink()
    forkport.until(lambda: len(said("at its gate")) == 2, "another template")
    assert server.ask(b"hello\n") == b"hello\n"
    assert server.log.find("notice") == []


def test_a_function_for_forks_has_standard_descriptors(serve, tmp_path):
    """At the gate, too, where it is tried."""
    look = "for (int fd = 0; fd < 3; fd++) if (fcntl(fd, F_GETFD) < 0) abort();"
    program = with_fork_function(tmp_path, look, look) + "; print(sys.stdin.readline(), end='', flush=True)"
    server = serve("127.0.0.1:0", *READ, worker=["/usr/bin/python3", "-c", program])
    server.log.wait("template")
    assert [server.ask(b"hello\n") for _ in range(3)] == 3 * [b"hello\n"]


def test_a_function_for_forks_that_no_alarm_ends(serve, tmp_path):
    """Of what is tried at the gate nothing is left when the template is given up."""
    wait = ("sigset_t all; sigfillset(&all); sigprocmask(SIG_SETMASK, &all, NULL); "
            f'FILE *file = fopen("{tmp_path}/pid", "w"); fprintf(file, "%d", getpid()); fclose(file); for (;;) pause();')
    server = serve("127.0.0.1:0", *READ, "--template-start", 1,
                   worker=["/usr/bin/python3", "-c", with_fork_function(tmp_path, "", wait) + "; print(sys.stdin.readline(), end='', flush=True)"])
    assert "did not come to its gate within 1 s" in server.log.wait("notice")["error"]
    tried = int((tmp_path / "pid").read_text())
    forkport.until(lambda: not os.path.exists(f"/proc/{tried}"), "the copy's end")
    assert server.ask(b"hello\n") == b"hello\n"


def test_the_errors_of_the_dynamic_loader_are_the_programs_own(serve):
    """getpeername(2) with little room has the library look whether it is bash that asks, once for all."""
    program = ("import ctypes, sys; c = ctypes.CDLL(None); c.dlerror.restype = ctypes.c_char_p; room = ctypes.c_int(16)\n"
               "load, ask, failure = c.dlopen, c.getpeername, c.dlerror\n"
               "sys.stdin.readline(); load(b'/no/such.so', 2); ask(0, ctypes.create_string_buffer(16), ctypes.byref(room))\n"
               "print(failure().decode(), flush=True)\n")
    server = serve("127.0.0.1:0", *READ, worker=["/usr/bin/python3", "-c", program])
    server.log.wait("template")
    assert b"/no/such.so" in server.ask(b"\n")


@pytest.mark.parametrize("what", ["files = [open('/etc/passwd') for _ in range(33)]",
                                  "one = select.epoll(); [one.register(os.pipe()[0]) for _ in range(33)]"], ids=["files", "in epoll"])
def test_more_files_than_can_be_kept_apart(serve, what):
    """Copies would share the places in those that are too many."""
    is_executed(serve, f"import os, select, sys; {what}", "more files, sockets, timers and such open than can be kept apart")


@pytest.mark.parametrize("options", [READ, ["--engine", "fork"]], ids=["read", "main"])
def test_a_program_that_cannot_fork(serve, root, options):
    """Its user may have no further process; that of each connection is made by root, when the one before has been reaped."""
    server = serve("127.0.0.1:0", "--user", "54321", "--group", "nogroup", *options, worker=["sh", "-c", "read line; echo got $line"],
                   preexec=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)))
    assert "it cannot fork" in server.log.wait("notice")["error"]
    forkport.until(lambda: not forkport.all_children(server.pid), "the template to be gone")
    for count in range(1, 4):
        assert server.ask(b"hello\n") == b"got hello\n"
        server.log.wait("end", count=count)


REFUSED = {
    "greets": ("echo welcome; read line; echo got $line", "writes to its connection before it reads", b"welcome\ngot hello\n"),
    "copies": ("exec 7<&0; read line; echo got $line", "under another number", b"got hello\n"),
    "copies errors": ("exec 7>&2; read line; echo got $line", "under another number", b"got hello\n"),
}


@pytest.mark.parametrize("way", REFUSED)
@pytest.mark.parametrize("options", [READ, POOL], ids=["fork", "pool"])
def test_what_would_be_lost_is_executed(ready, options, way):
    script, reason, answer = REFUSED[way]
    server = ready(options, script, "notice")
    # Of a pool, those that are forked from a template give it up first, and then those that are executed ahead.
    steps = ["those that wait are executed, not forked"] * (options == POOL) + ["each connection executes it instead"]
    server.log.wait("notice", count=len(steps))
    assert [server.ask(b"hello\n") for _ in range(3)] == 3 * [answer]
    notices = [event["error"] for event in server.log.find("notice")]
    assert len(notices) == len(steps), notices
    assert all(reason in notice and notice.endswith(step) for notice, step in zip(notices, steps)), notices


# By what two numbers are of one open file, or 2 of one of its own, and what a worker does with them: its reply.
FILES = {
    "read by both": ("printf '1\\n2\\n' >file; exec 3<file 4<&3", "read one <&3; read two <&4; echo $one $two", b"1 2\n"),
    "written by both": ("exec 3>file 4>&3", "echo one >&3; echo two >&4; cat file", b"one\ntwo\n"),
    "errors as well": ("exec 3>file 2>&3", "echo one >&2; echo two >&3; cat file", b"one\ntwo\n"),
    "errors": ("exec 2>file", "echo one >&2; cat file", b"one\n"),
}


@pytest.mark.parametrize("way", FILES)
@pytest.mark.parametrize("options", [[], READ, POOL], ids=["exec", "fork", "pool"])
def test_one_open_file_under_two_numbers(ready, options, way):
    before, then, answer = FILES[way]
    server = ready(options, f"{before}; read line; {then}", "pool" if "pool" in options else "template")
    for _ in range(3):
        assert server.ask(b"hello\n") == answer
    assert server.log.find("notice") == []


def test_a_file_that_is_the_servers_standard_error_stays_shared(serve, tmp_path):
    """Under whatever number: all write to one place, and so one behind the other."""
    with open(tmp_path / "errors", "wb") as errors:
        server = serve("127.0.0.1:0", *READ, "--stderr", "inherit", stderr=errors,
                       worker=["dash", "-c", "exec 3>&2; read line; echo $line >&3; echo again >&2"])
        server.log.wait("template")
        for line in (b"one\n", b"two\n"):
            assert server.ask(line) == b""
        assert server.stop() == 0
    assert (tmp_path / "errors").read_bytes() == b"one\nagain\ntwo\nagain\n"


@pytest.mark.parametrize("lock", ["fcntl.flock(file, fcntl.LOCK_EX)", "fcntl.lockf(file, fcntl.LOCK_EX)",
                                  "os.dup2(file.fileno(), 2); file.close(); fcntl.flock(2, fcntl.LOCK_EX)"],
                         ids=["flock", "fcntl", "of standard error"])
@pytest.mark.parametrize("options", [READ, POOL, STARTED], ids=["fork", "pool", "pool of programs"])
def test_what_holds_a_lock_is_executed(serve, tmp_path, options, lock):
    """One connection after the other, as its program means it: workers of a template would all hold it, or none; one that waits for its
    client would keep those from it who have theirs."""
    program = f"import fcntl, os, sys; file = open('{tmp_path}/lock', 'w'); {lock}; print(sys.stdin.readline(), flush=True)"
    server = serve("127.0.0.1:0", *options, worker=["python3", "-c", program])
    assert "it holds a lock on a file: each connection" in server.log.wait("notice", count=1 + (options == POOL))["error"]
    with server.connect() as first, server.connect() as second:
        server.log.wait("start", count=2)
        second.sendall(b"second\n")
        first.sendall(b"first\n")
        assert (forkport.read_to_end(first), forkport.read_to_end(second)) == (b"first\n\n", b"second\n\n")


@pytest.mark.parametrize("options", [READ, POOL, STARTED], ids=["fork", "pool", "pool of programs"])
@pytest.mark.parametrize("before", ["trap 'echo bye; exit 5' TERM", "trap 'echo bye' TERM; trap '' HUP"], ids=["trap", "ignored"])
def test_a_signal_to_what_waits_is_not_its_workers(ready, options, before):
    """It ends, whatever the program does about that signal, and others serve; the program's way stands where it serves."""
    server = ready(options, f"{before}; read line; echo got $line; read line", "pool" if "pool" in options else "template")
    with server.connect() as client:
        client.sendall(b"first\n")
        assert forkport.read_line(client) == "got first\n"
        pid = server.log.wait("start")["pid"]
        if "HUP" in before:
            os.kill(pid, signal.SIGHUP)
        os.kill(pid, signal.SIGTERM)
        assert forkport.read_line(client) == "bye\n"
    # What is on its way there has what the program has set by then.
    waiting = forkport.until(lambda: [pid for pid in forkport.all_children(server.pid) if forkport.is_at_gate(pid)])
    for pid in waiting:
        os.kill(pid, signal.SIGHUP if "HUP" in before else signal.SIGTERM)
    for pid in waiting:
        forkport.wait_pid(pid)
    assert [server.ask(b"next\n") for _ in range(3)] == 3 * [b"got next\n"]


@pytest.mark.parametrize("options", [READ, POOL, STARTED], ids=["fork", "pool", "pool of programs"])
def test_an_alarm_is_for_the_client(serve, options):
    """It does not end a template that waits long, and what was left of it then is what a silent client has."""
    program = '$SIG{ALRM} = sub { print "late\\n"; exit }; alarm 3; $line = <STDIN>; print "in time\\n"'
    server = serve("127.0.0.1:0", *options, worker=["perl", "-e", program])
    server.log.wait("pool" if "pool" in options else "template")
    # Longer than the alarm, which is what is asked for here.
    time.sleep(3.5)
    assert server.ask(b"hello\n") == b"in time\n"
    started = time.monotonic()
    with server.connect() as client:
        assert client.recv(100) == b"late\n"
    # Of a busy machine a process may have nothing for some seconds.
    assert 2 < time.monotonic() - started < forkport.DEADLINE
    assert server.log.find("notice") == []


# Each runs for a thousand seconds.
TIMERS = {
    "timerfd": "c.timerfd_settime(c.timerfd_create(1, 0), 0, struct.pack('4q', 7, 0, 1000, 0), None)",
    "timer_create": "timer = ctypes.c_void_p(); c.timer_create(1, None, ctypes.byref(timer)); c.timer_settime(timer, 0, struct.pack('4q', 7, 0, 1000, 0), None)",
}


# One that is not set, one that is, one that has run out, one that is set to a time that may be changed, and one that ran out at a time and goes on.
FIVE_TIMERS = """
import ctypes, os, select, sys, time
c = ctypes.CDLL(None)
times = ctypes.c_long * 4
one, two, three, four, five = [c.timerfd_create(clock, 0) for clock in (1, 1, 1, 0, 0)]
def left(fd): now = times(); c.timerfd_gettime(fd, now); return now[0], now[2] > 0
c.timerfd_settime(two, 0, times(7, 0, 1000, 0), None)
c.timerfd_settime(three, 0, times(0, 0, 0, 1), None)
c.timerfd_settime(four, 3, times(0, 0, 10 ** 10, 0), None)
c.timerfd_settime(five, 1, times(10 ** 6, 0, int(time.time()), 0), None)
select.select([five], [], [], None)
sys.stdin.readline()
early = left(one), left(two), left(four), os.read(three, 8)[0], 'flags: 03' in open(f'/proc/self/fdinfo/{four}').read()
ticks = int.from_bytes(os.read(five, 8), 'little')
print(*early, ticks, flush=True)
c.timerfd_settime(one, 0, times(0, 0, 1000, 0), None)
c.timerfd_settime(two, 0, times(), None)
"""


@pytest.mark.parametrize("options", [[], READ, POOL], ids=["exec", "fork", "pool"])
def test_a_timer_is_each_workers_own(serve, options):
    """What one sets it to is none of the others'."""
    server = serve("127.0.0.1:0", *options, worker=["python3", "-c", FIVE_TIMERS])
    if options:
        server.log.wait("pool" if "pool" in options else "template")
    assert [server.ask(b"hello\n") for _ in range(3)] == 3 * [b"(0, False) (7, True) (0, True) 1 True 1\n"]
    assert server.log.find("notice") == []


def test_a_timer_that_runs_out_while_it_is_looked_at(serve, strace):  # pylint: disable=unused-argument
    """In no worker would it run out, ever."""
    program = ("import ctypes, select, sys; c = ctypes.CDLL(None); timer = c.timerfd_create(1, 0)\n"
               "c.timerfd_settime(timer, 0, (ctypes.c_long * 4)(0, 0, 0, 100000000), None); sys.stdin.readline()\n"
               "print(select.select([timer], [], [], 2)[0] == [timer], flush=True)\n")
    server = serve("127.0.0.1:0", *READ, worker=["python3", "-c", program],
                   prefix=["strace", "-D", "-f", "-o", "/dev/null", "-e", "trace=timerfd_gettime", "-e", "inject=timerfd_gettime:delay_enter=500000"])
    assert server.ask(b"hello\n") == b"True\n"


def test_a_timer_that_may_not_be_made_again(serve, root):  # pylint: disable=unused-argument
    """One that wakes the machine is a privilege, which the program has given up since."""
    timer = forkport.LIBC.timerfd_create(9, 0)
    if timer < 0:
        pytest.skip("there is no such privilege here")
    os.close(timer)
    is_executed(serve, "import ctypes, os, sys; ctypes.CDLL(None).timerfd_create(9, 0); os.setuid(65534)", "timer open that it may not open again")


@pytest.mark.parametrize("timer", TIMERS)
def test_a_timer_that_would_run_while_nobody_is_there(serve, timer):
    """Of a program that waits at its gate itself."""
    program = f"import ctypes, struct, sys; c = ctypes.CDLL(None); {TIMERS[timer]}; print(sys.stdin.readline(), end='', flush=True)"
    server = serve("127.0.0.1:0", *STARTED, worker=["python3", "-c", program])
    assert "it has a timer" in server.log.wait("notice")["error"]
    assert [server.ask(b"hello\n") for _ in range(3)] == 3 * [b"hello\n"]


def test_a_timer_that_does_not_run(serve):
    """As the interpreter of Ruby has one, to share its time between threads."""
    program = "import ctypes, sys; c = ctypes.CDLL(None); c.timer_create(1, None, ctypes.byref(ctypes.c_void_p())); print(sys.stdin.readline(), end='', flush=True)"
    server = serve("127.0.0.1:0", *STARTED, worker=["python3", "-c", program])
    assert server.ask(b"hello\n") == b"hello\n" and server.log.find("notice") == []


@pytest.mark.parametrize("options", [READ, POOL], ids=["fork", "pool"])
def test_what_is_connected_to_another_process_is_executed(serve, options):
    """What one worker asks a database, say, another would have the answer to."""
    other = serve("127.0.0.1:0", worker=["cat"])
    program = (f"import os, socket, sys; other = socket.create_connection(('127.0.0.1', {other.port})); sys.stdin.readline()\n"
               "other.sendall(b'%d' % os.getpid()); print(int(other.recv(100)) == os.getpid(), flush=True)\n")
    server = serve("127.0.0.1:0", *options, worker=["python3", "-c", program])
    assert "it has a connected socket" in server.log.wait("notice")["error"]
    assert [server.ask(b"hello\n") for _ in range(3)] == 3 * [b"True\n"]


def test_what_is_connected_where_copies_are_not_told_from_others(serve):
    """As in containers whose filter of system calls refuses kcmp(2)."""
    program = "import socket, sys; other = socket.create_server(('127.0.0.1', 0)); one = socket.create_connection(other.getsockname())"
    is_executed(serve, program, "it has a connected socket", preexec=forkport.refuse("kcmp", forkport.ERRNO | errno.EPERM))


def test_what_is_not_connected_yet(serve):
    """It would be, in all workers, once the other end's queue has room."""
    with socket.socket() as other, socket.socket() as first:
        other.bind(("127.0.0.1", 0))
        other.listen(0)
        first.connect(other.getsockname())
        is_executed(serve, "import socket, sys; one = socket.socket(); one.setblocking(False); "
                           f"one.connect_ex(('127.0.0.1', {other.getsockname()[1]}))", "it has a connected socket")


@pytest.mark.parametrize("option, value", [("SO_RCVTIMEO", "struct.pack('ll', 0, 1000)"), ("SO_SNDBUF", "100000"), ("SO_PASSCRED", "1")])
def test_a_pair_of_sockets_that_is_not_as_it_was_made(serve, option, value):
    """Another one would wait for ever where this one does not."""
    is_executed(serve, f"import socket, struct, sys; socket.SO_RCVTIMEO = 20; one, other = socket.socketpair(); "
                       f"other.setsockopt(socket.SOL_SOCKET, socket.{option}, {value})", "it has a connected socket")


@pytest.fixture(name="semaphore")
def semaphore_():
    """The number of a set of one, which one process may take."""
    library = ctypes.CDLL(None)
    number = library.semget(0, 1, 0o600)
    library.semctl(number, 0, 16, 1)
    yield number
    library.semctl(number, 0, 0)


@pytest.mark.parametrize("options", [READ, POOL, STARTED], ids=["fork", "pool", "pool of programs"])
def test_a_semaphore_that_a_program_holds_until_it_ends(serve, semaphore, options):
    """Of a template all workers would take it to be theirs, and one that waits for its client would keep others from it."""
    program = (f"import ctypes, struct, sys; c = ctypes.CDLL(None); c.semop({semaphore}, struct.pack('Hhh', 0, -1, 0x1000), 1)\n"
               f"sys.stdin.readline(); print(c.semctl({semaphore}, 0, 12), c.semctl({semaphore}, 0, 11), flush=True)\n")
    server = serve("127.0.0.1:0", *options, worker=["python3", "-c", program])
    assert "it takes a semaphore until it ends" in server.log.wait("notice", count=1 + (options == POOL))["error"]
    for number in range(1, 4):
        answer = server.ask(b"hello\n")
        assert answer == f"0 {server.log.wait('start', connection=number)['pid']}\n".encode()


@pytest.fixture(name="prepared")
def prepared_():
    return os.path.join(forkport.BUILD, "tests", "fixtures", "prepared")


@pytest.mark.parametrize("options", [["--engine", "fork"], READ, POOL, ["--engine", "pool", "--pool-min", "1"]],
                         ids=["main", "read", "pool, read", "pool"])
def test_an_alarm_that_a_constructor_sets(serve, prepared, options):
    server = serve("127.0.0.1:0", *options, worker=[prepared])
    server.log.wait("pool" if "pool" in options else "template")
    for _ in range(3):
        assert server.ask(b"hello\n") == b"40 s left, own session: hello\n"


def test_a_pair_of_sockets_under_a_filter_of_the_programs_own(serve):
    """It would be killed for the question which socket is the other end."""
    is_executed(serve, f"import socket, sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import forkport; "
                       "one, other = socket.socketpair(); forkport.refuse('socket', forkport.KILL)()", "it has a connected socket")


# Calls that a filter refuses or kills for: what a worker begins with.
FILTERED = {"session": ("112", "kill"), "no session": ("112", "refuse"), "robust list": ("273", "kill"),
            "close range": ("436", "kill"), "no close range": ("436", "refuse"), "no random numbers": ("318", "refuse")}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of the calls are those of x86-64")
@pytest.mark.parametrize("what", FILTERED)
@pytest.mark.parametrize("options", [READ, POOL], ids=["fork", "pool"])
def test_a_filter_of_what_a_worker_begins_with(serve, prepared, options, what):
    server = serve("127.0.0.1:0", *options, worker=[prepared, "filter", *FILTERED[what]])
    assert "may not make the system calls" in server.log.wait("notice")["error"]
    for _ in range(3):
        assert server.ask(b"hello\n") == b"40 s left, own session: hello\n"


@pytest.mark.parametrize("way", ["closes", "replaces"])
@pytest.mark.parametrize("options", [READ, POOL], ids=["fork", "pool"])
def test_descriptors_of_the_gate_that_a_program_closes(serve, prepared, options, way):
    """The second is as another file that has taken their numbers by the time it reads."""
    server = serve("127.0.0.1:0", *options, worker=[prepared, "descriptors", way])
    assert "closed descriptors that are not its own" in server.log.wait("notice")["error"]
    for _ in range(3):
        assert server.ask(b"hello\n") == b"40 s left, own session: hello\n"


def test_a_program_that_is_the_first_of_its_namespace(serve, root):
    """The end of the first ends the namespace."""
    server = serve("127.0.0.1:0", *READ, worker=["python3", "-c", (
        "import ctypes, sys; ctypes.CDLL(None).unshare(0x20000000) and sys.exit('not permitted')\n"
        "print('got', sys.stdin.readline(), end='', flush=True)\n")])
    assert "may not make the system calls" in server.log.wait("notice")["error"]
    for _ in range(3):
        assert server.ask(b"hello\n") == b"got hello\n"


@pytest.mark.parametrize("options", [[], READ, POOL, STARTED], ids=["exec", "fork", "pool", "pool of programs"])
def test_a_child_that_a_program_has_before_it_reads(ready, options):
    """Its output is the connection's."""
    server = ready(options, "(sleep 0.2; echo late) & read line; echo got $line; wait", "notice")
    for _ in range(3):
        assert server.ask(b"hello\n") == b"got hello\nlate\n"


def test_lua_is_seeded_by_numbers_of_the_kernel(serve):
    """By what it seeds itself with, its workers are alike: as the manual has it, they are not."""
    if reason := programs.why_missing("lua5.4"):
        pytest.skip(reason)
    seed = 'math.randomseed(string.unpack("jj", io.open("/dev/urandom"):read(16)))'
    script = f"io.read() local first = math.random(1 << 53) {seed} print(first, math.random(1 << 53))"
    server = serve("127.0.0.1:0", *READ, worker=["lua5.4", "-e", script])
    server.log.wait("template")
    answers = [server.ask(b"hello\n").split() for _ in range(8)]
    assert len({first for first, _ in answers}) == 1
    assert len({second for _, second in answers}) == 8
