"""What the scenarios share: a server that runs, its events, its clients, and hosts of their own.

Every wait here is for a condition and has a deadline; nothing is known by waiting long enough. A server is ready when
its --ready-fd says so, its events are read as its log file grows (inotify), a process has ended when its pidfd says so.
What the kernel tells nobody about (the state of a process, a count of descriptors) is asked again and again by until().
"""
import contextlib
import ctypes
import errno
import json
import os
import pathlib
import platform
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("FORKPORT_BUILD", ROOT / "build")).resolve()
FORKPORT = BUILD / "forkport"
WORKER = BUILD / "tests/fixtures/worker"
HANDLER = BUILD / "tests/fixtures/handler"
SANITIZED = FORKPORT.exists() and b"__asan_init" in FORKPORT.read_bytes()
DEADLINE = 60 if SANITIZED else 20

LIBC = ctypes.CDLL(None, use_errno=True)


def until(condition, what="", seconds=DEADLINE):
    """The first true value of condition(); for what nothing announces."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what or condition}"
        select.select([], [], [], 0.002)
    return value


def stat(pid):
    """The fields of /proc/PID/stat from the state on (field 3 of proc(5) is [0]); None: no such process."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def state(pid):
    fields = stat(pid)
    return fields and fields[0]


def status(pid, name):
    """The value of a line of /proc/PID/status."""
    return re.search(rf"^{name}:\s*(.*)$", pathlib.Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1]


def all_children(pid):
    """The processes whose parent this one is, ended ones that nobody has waited for included."""
    return [int(child) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()]


def children(pid):
    """Those that serve connections: not those that wait for them, templates and workers that were started ahead."""
    pids = all_children(pid)
    waiting = wait_for_connections(pids)
    return [child for child in pids if child not in waiting]


def has_kernel_pids():
    """Is this the first PID namespace, whose file has a number of its own (PROC_PID_INIT_INO)?"""
    return os.readlink("/proc/self/ns/pid") == "pid:[4026531836]"


def waits_for_connections(pid):
    return pid in wait_for_connections([pid])


def is_at_gate(pid):
    """Has it descriptors, none of the standard ones? Nobody but root may look into one there at all."""
    try:
        fds = os.listdir(f"/proc/{pid}/fd")
    except PermissionError:
        return True
    except (FileNotFoundError, ProcessLookupError):
        return False
    return bool(fds) and min(map(int, fds)) > 2


def wait_for_connections(pids):
    """Those at the gate; or on their way there, with a Unix socket as 0."""
    waiting, inputs = set(), {}
    for pid in pids:
        with contextlib.suppress(OSError):
            if is_at_gate(pid):
                waiting.add(pid)
            else:
                inputs[pid] = os.readlink(f"/proc/{pid}/fd/0").strip("socket:[]")
    unix = set()
    for pid in inputs:
        with contextlib.suppress(OSError):
            unix = {line.split()[6] for line in pathlib.Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]}
            break
    return waiting | {pid for pid, inode in inputs.items() if inode in unix}


def cpu_seconds(pid):
    """What a process has used itself, without its children."""
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def log_names(pid):
    """The name in the file system, if it is there, of the socket that the standard errors of a server's workers are connected to."""
    names = []
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            names.append(pathlib.Path(os.readlink(fd)))
    return [name for name in names if name.match("forkport.*/log")]


# What a server is started with under strace: LeakSanitizer traces the process itself, which it cannot then.
TRACED = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}


def read_trace(path):
    """The lines of a trace, once its process has ended."""
    return until(lambda: path.read_text().endswith("+++ exited with 0 +++\n") and path.read_text(), path).splitlines()


def wait_pid(pid, seconds=DEADLINE):
    """Waits for the end of a process, which need not be a child."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        assert poll.poll(seconds * 1000), f"process {pid} has not ended within {seconds} s"
    finally:
        os.close(fd)


class Log:
    """The events of a server, read from its log file in JSON while it is written."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.items = []
        self._rest = b""
        self._file = None
        # A test's threads may look at once.
        self._lock = threading.Lock()
        self._inotify = LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        modify, moved_to, create = 0x2, 0x80, 0x100
        LIBC.inotify_add_watch(self._inotify, os.fsencode(self.path.parent), modify | moved_to | create)

    def close(self):
        os.close(self._inotify)
        if self._file:
            self._file.close()

    def read(self):
        """All the events there are so far. A line that is not written whole yet is not one."""
        with self._lock:
            if self._file is None and self.path.exists():
                self._file = open(self.path, "rb")  # pylint: disable=consider-using-with
            if self._file is not None:
                lines = (self._rest + self._file.read()).split(b"\n")
                self._rest = lines.pop()
                self.items.extend(json.loads(line) for line in lines)
            return self.items

    def follow(self):
        """After a rotation: goes on with the new file of the old name, having read the old one to its end."""
        self.read()
        self._file.close()
        self._file = None

    def find(self, event, **fields):
        return [item for item in self.read()
                if item["event"] == event and all(item.get(key) == value for key, value in fields.items())]

    def wait(self, event, count=1, seconds=DEADLINE, **fields):
        """Waits until there are `count` such events; returns the last of those."""
        found, seen, end = [], 0, time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._inotify, select.POLLIN)
        while True:
            items = self.read()
            found += [item for item in items[seen:] if item["event"] == event
                      and all(item.get(key) == value for key, value in fields.items())]
            seen = len(items)
            if len(found) >= count:
                return found[count - 1]
            left = end - time.monotonic()
            assert left > 0 and poll.poll(left * 1000), (
                f"{len(found)} of {count} {event} {fields} within {seconds} s; the last events: {items[-5:]}")
            try:
                os.read(self._inotify, 65536)
            except BlockingIOError:
                pass


def filtering(*statements):
    """A preexec_fn that installs a filter of system calls: (code, jump if true, jump if false, number) each (seccomp(2), bpf(4))."""
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *statement) for statement in statements))
    filters = struct.pack("HxxxxxxP", len(statements), ctypes.addressof(program))

    def install(keep=program):
        del keep
        assert LIBC.prctl(38, 1, 0, 0, 0) == 0 and LIBC.prctl(22, 2, filters, 0, 0) == 0
    return install


# System calls by their numbers: x86-64, arm64.
NUMBERS = {"close_range": (436, 436), "bpf": (321, 280), "madvise": (28, 233), "clone": (56, 220), "signalfd4": (289, 74),
           "memfd_create": (319, 279), "recvfrom": (45, 207), "kcmp": (312, 272), "socket": (41, 198)}
KILL, ERRNO = 0x80000000, 0x00050000


def refuse(call, how):
    """A preexec_fn after which a system call is refused (seccomp(2))."""
    load, jump, give = 0x20, 0x15, 0x06
    number = NUMBERS[call][platform.machine() == "aarch64"]
    return filtering((load, 0, 0, 0), (jump, 0, 1, number), (give, 0, 0, how), (give, 0, 0, 0x7FFF0000))


def killed_for(number):
    """A preexec_fn after which who makes a system call of this number is killed."""
    return filtering((0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x80000000), (0x06, 0, 0, 0x7fff0000))


KILLED_FOR_IO_URING = killed_for(425)  # io_uring_setup(2), of x86-64 and arm64


def may_pin():
    """Does the kernel let this user have an io_uring? Then a unit's test of it was not skipped."""
    told = subprocess.run([BUILD / "tests/unit/unit-sys-pinned"], check=False, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT).stdout
    return "[       OK ] test_two_ranges" in told


def faults(pid):
    """Page faults of a process that needed no disk, and of its children that were waited for."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(field) for field in fields[7:9]]


class Server:
    """A server that runs, from its readiness to its end.

    `arguments` are those of `forkport serve` before `--`, `worker` the program; with `handler` the library's test
    program is run instead, with that handler. `prefix` is put before the command and must end as the server itself
    (exec), so that `pid` is the server's. The log is JSON in a file below `folder` unless `log` is false.
    """

    # pylint: disable=too-many-arguments
    def __init__(self, folder, *arguments, worker=None, handler=None, program=FORKPORT, prefix=(), env=None,
                 preexec=None, pass_fds=(), stderr=None, log=True, ready_fd=None, **popen):
        self.folder = pathlib.Path(folder)
        self.log = None
        self._stderr_path = self.folder / "stderr"
        reader, writer = os.pipe()
        options = ["--ready-fd", str(writer if ready_fd is None else ready_fd)]

        def before_exec():
            if ready_fd is not None:
                os.dup2(writer, ready_fd)
            if preexec:
                preexec()

        if log:
            self.log = Log(self.folder / "log")
            options += ["--log", "json", "--log-file", str(self.log.path)]
        command = [*map(str, prefix), *([HANDLER, handler] if handler else [program, "serve"]),
                   *map(str, arguments), *options, *(["--", *map(str, worker)] if worker else [])]
        try:
            with open(self._stderr_path, "wb") as errors:
                self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                    command, stdin=popen.pop("stdin", subprocess.DEVNULL), stdout=popen.pop("stdout", errors),
                    stderr=errors if stderr is None else stderr, preexec_fn=before_exec, env=env,
                    pass_fds=(*pass_fds, *([writer] if ready_fd is None else [])), **popen)
        finally:
            os.close(writer)
        self.pid = self.process.pid
        try:
            self.pairs = self._read_ready(reader, "strace" in prefix or "--fork" in prefix).splitlines()
            assert self.pairs, f"the server did not start: {self.wait()} {self.errors()}"
        except BaseException:
            self.kill()
            raise

    @staticmethod
    def _read_ready(reader, held):
        """What the server writes to --ready-fd; nothing where it ended before. A tracer keeps the pipe open, or a parent."""
        text, end = b"", time.monotonic() + DEADLINE
        with open(reader, "rb", buffering=0) as pipe:
            while select.select([pipe], [], [], max(0, end - time.monotonic()))[0]:
                part = pipe.read(65536)
                text += part
                if not part or (held and text.endswith(b"\n")):
                    return text.decode()
        raise AssertionError("the server was not ready in time")

    def errors(self):
        """What the server has written to standard error."""
        return self._stderr_path.read_text(errors="backslashreplace")

    def ports(self):
        return [int(re.match(r"\{.*:(\d+), \*:\*\}$", pair)[1]) for pair in self.pairs]

    @property
    def port(self):
        return self.ports()[0]

    def connect(self, host="127.0.0.1", source=None, port=None):
        """A client's socket, connected; every wait on it has a deadline."""
        return socket.create_connection((host, port or self.port), DEADLINE, source and (source, 0))

    def ask(self, data=b"", **how):
        """All that the server answers to `data` and the end of the stream."""
        with self.connect(**how) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return read_to_end(client)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=DEADLINE):
        """The exit code, once the server has ended; a signal's number is negative."""
        return self.process.wait(seconds)

    def stop(self, seconds=DEADLINE):
        """Ends the server as an operator does; its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self):
        """Whatever becomes of a test, nothing of it is left: the server, its name in /run, then its workers."""
        left, names = [], []
        if self.process.poll() is None:
            with contextlib.suppress(OSError):
                left, names = children(self.pid), log_names(self.pid)
        self.process.kill()
        self.process.wait()
        for name in names:
            # The next server may have been faster.
            with contextlib.suppress(OSError):
                name.unlink()
            with contextlib.suppress(OSError):
                name.parent.rmdir()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.log:
            self.log.close()


def read_to_end(client):
    """All that comes until the end of the stream."""
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


def read_line(client):
    """One line, byte for byte, so that nothing behind it is taken."""
    line = b""
    while not line.endswith(b"\n"):
        byte = client.recv(1)
        assert byte, f"the stream ended after {line}"
        line += byte
    return line.decode()


def lines_of(fd, seconds=DEADLINE):
    """The lines that come from a descriptor, until its end; each within the deadline."""
    rest = b""
    while True:
        assert select.select([fd], [], [], seconds)[0], f"nothing more within {seconds} s, after {rest}"
        try:
            part = os.read(fd, 65536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            part = b""  # a terminal that nobody has open any more
        if not part:
            return
        *lines, rest = (rest + part).split(b"\n")
        yield from lines


# How somebody who may do nothing runs a program.
NOBODY = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/"}


@contextlib.contextmanager
def for_everybody(program):
    """A copy of a program where every user may run it: the build may lie behind closed doors, as root's home does."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = pathlib.Path(shutil.copy(program, folder))
        path.chmod(0o755)
        yield path


def run(*arguments, program=FORKPORT, env=None, **more):
    """`forkport ARGUMENTS` until it ends: its exit code, standard output and standard error."""
    result = subprocess.run([program, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                            timeout=DEADLINE, env=env, check=False, **more)
    return result.returncode, result.stdout.decode(), result.stderr.decode(errors="backslashreplace")


# What a host does for its sockets: it makes them in its own network and passes them out.
AGENT = r"""
import os, socket, sys
channel = socket.socket(fileno=int(sys.argv[1]))
channel.send(b"1")
while request := channel.recv(64):
    made = socket.socket(*map(int, request.split()))
    socket.send_fds(channel, [b"1"], [made.fileno()])
    made.close()
"""


class Host:
    """A network of its own: a namespace, kept by a process, in which programs run and sockets are made."""

    def __init__(self, network, name):
        self.name = name
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel = ours
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            [*network.inside, "unshare", "--net", sys.executable, "-c", AGENT, str(theirs.fileno())],
            pass_fds=[theirs.fileno()])
        theirs.close()
        ours.settimeout(DEADLINE)
        assert ours.recv(1) == b"1", f"the host {name} did not start"
        self.prefix = [*network.inside, "nsenter", "--net", "--target", str(self.process.pid), "--"]
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command, **more):
        return subprocess.run([*self.prefix, *map(str, command)], check=True, timeout=DEADLINE, text=True,
                              stdout=subprocess.PIPE, **more).stdout

    def bridge(self, port, address):
        """br0, with this port; a kernel without bridges skips the test."""
        try:
            self.run("ip", "link", "add", "br0", "type", "bridge", stderr=subprocess.DEVNULL)
        except subprocess.CalledProcessError:
            pytest.skip("the kernel has no bridges")
        for line in (f"address flush dev {port}", f"link set {port} master br0", "link set br0 up", f"address add {address} dev br0"):
            self.run("ip", *line.split())

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
        self._channel.send(f"{int(family)} {int(kind)} {protocol}".encode())
        _, (fd, *_), _, _ = socket.recv_fds(self._channel, 1, 1)
        made = socket.socket(fileno=fd)
        made.settimeout(DEADLINE)
        return made

    def connect(self, host, port, source=None):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = self.socket(family)
        try:
            if source:
                made.bind((source, 0))
            made.connect((host, port))
        except OSError:
            made.close()
            raise
        return made

    def close(self):
        self._channel.close()
        self.process.wait(DEADLINE)


class Network:
    """Hosts, and wires between them; all of it is gone when it is closed.

    Root makes network namespaces as it likes. Anybody else makes them in a user namespace of their own, in which they
    are root, where the kernel allows that.
    """

    def __init__(self):
        self.hosts = []
        self.inside = []
        self._holder = None
        if os.geteuid() != 0:
            self._holder = subprocess.Popen(  # pylint: disable=consider-using-with
                ["unshare", "--user", "--map-root-user", "sh", "-c", "echo; exec cat"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._holder.stdout.readline()
            self.inside = ["nsenter", "--user", "--preserve-credentials", "--target", str(self._holder.pid), "--"]

    def host(self, name):
        host = Host(self, name)
        self.hosts.append(host)
        return host

    def wire(self, one, two, device="eth0"):
        """A wire between two hosts; each has its end as `device`."""
        one.run("ip", "link", "add", device, "type", "veth", "peer", "name", device, "netns", two.process.pid)
        for host in (one, two):
            # Without duplicate address detection an IPv6 address can be used at once.
            host.run("sysctl", "-qw", f"net.ipv6.conf.{device}.accept_dad=0")
            host.run("ip", "link", "set", device, "up")
        for host in (one, two):
            # The kernel makes its routes when it has heard of the carrier, a moment after the other end is up.
            until(lambda host=host: "state UP" in host.run("ip", "link", "show", "dev", device), f"{device} is not up")

    def close(self):
        for host in self.hosts:
            host.close()
        if self._holder:
            self._holder.stdin.close()
            self._holder.wait(DEADLINE)


def why_no_network():
    """Why this machine gives no network namespaces, or "" where it does."""
    for program in ("unshare", "nsenter", "ip", "sysctl"):
        if not shutil.which(program):
            return f"there is no program {program}"
    options = ["--net"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--net"]
    result = subprocess.run(["unshare", *options, "true"], capture_output=True, text=True, check=False)
    return result.stderr.strip() and f"the kernel gives no network namespace: {result.stderr.strip()}"
