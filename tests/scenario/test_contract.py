"""What a worker gets: descriptors, signals, session, identity, environment, whatever the server itself started with."""
import collections
import concurrent.futures
import ctypes
import fcntl
import os
import pathlib
import pty
import pwd
import re
import resource
import shutil
import signal
import socket
import subprocess
import termios

import pytest

import forkport

PORT_VARIABLES = {
    "PROTO", "TCPLOCALIP", "TCPLOCALPORT", "TCPREMOTEIP", "TCPREMOTEPORT", "TCPCONNNUM", "REMOTE_ADDR",
    "REMOTE_PORT", "FORKPORT_PAIR", "FORKPORT_CONNECTION",
}
# What was in the server's environment about some other connection is not true of this one.
FOREIGN = {
    "PROTO": "UDP", "TCPLOCALIP": "203.0.113.1", "TCPLOCALPORT": "1", "TCPLOCALHOST": "wrong",
    "TCPREMOTEIP": "203.0.113.2", "TCPREMOTEPORT": "2", "TCPREMOTEHOST": "wrong", "TCPREMOTEINFO": "wrong",
    "TCPCONNNUM": "77", "REMOTE_ADDR": "203.0.113.2", "REMOTE_PORT": "2", "FORKPORT_PAIR": "wrong",
    "FORKPORT_CONNECTION": "99", "FORKPORT_TEMPLATE": "wrong", "FORKPORT_ROOM": "wrong", "FORKPORT_P": "libm.so.6",
}
MODES = ["exec", "resolve", "user", "handler"]

Dump = collections.namedtuple("Dump", "fds blocking status stat variables arguments directory local foreign")


def ask_dump(server, port=None):
    """What the worker of one connection has found, and the two ends as its client knows them."""
    with server.connect(port=port) as client:
        local, foreign = client.getpeername()[:2], client.getsockname()[:2]
        records = forkport.read_to_end(client).split(b"\0")
    assert records.pop() == b"", "the dump was cut"
    kinds = collections.defaultdict(list)
    for record in records:
        kind, _, text = record.partition(b"\t")
        kinds[kind.decode()].append(os.fsdecode(text))
    return Dump(
        fds={int(number): what for number, what in (text.split(" ", 1) for text in kinds["fd"])},
        blocking=kinds["blocking"] == ["1"],
        status=dict(line.split(":\t", 1) for line in kinds["status"] if ":\t" in line),
        stat=kinds["stat"][0].rpartition(")")[2].split(), variables=kinds["variable"],
        arguments=kinds["argument"], directory=kinds["directory"][0], local=local, foreign=foreign)


def check_descriptors(dump):
    assert sorted(dump.fds) == [0, 1, 2], dump.fds
    assert dump.fds[0] == dump.fds[1] and dump.fds[0].startswith("socket:"), dump.fds
    assert dump.fds[2] != dump.fds[0], "standard error is the client's"
    assert dump.blocking


def check_signals(dump):
    for name in ("SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"):
        assert int(dump.status[name], 16) == 0, (name, dump.status[name])


def check_session(dump):
    pid, (_, _, group, session, terminal, *_) = int(dump.status["Pid"]), dump.stat
    assert (int(group), int(session), int(terminal)) == (pid, pid, 0)


def check_environment(dump, server_env, name):
    variables = dict(variable.split("=", 1) for variable in dump.variables)
    assert len(variables) == len(dump.variables), "a variable stands there twice"
    of_connection = {key: variables.pop(key) for key in list(variables) if key in FOREIGN}
    assert variables == {key: value for key, value in server_env.items() if key not in FOREIGN}
    (local, local_port), (foreign, foreign_port) = dump.local, dump.foreign
    number, of_source = int(of_connection.pop("FORKPORT_CONNECTION")), int(of_connection.pop("TCPCONNNUM"))
    expected = {
        "PROTO": "TCP", "TCPLOCALIP": local, "TCPLOCALPORT": str(local_port), "TCPREMOTEIP": foreign,
        "TCPREMOTEPORT": str(foreign_port), "REMOTE_ADDR": foreign, "REMOTE_PORT": str(foreign_port),
        "FORKPORT_PAIR": f"{{{local}:{local_port}, {foreign}:{foreign_port}}}",
    }
    if name:
        expected["TCPREMOTEHOST"] = name
    assert of_connection == expected
    return number, of_source


def check_identity(dump, identity):
    uid, gid, groups = identity
    assert dump.status["Uid"].split() == [str(uid)] * 4
    assert dump.status["Gid"].split() == [str(gid)] * 4
    assert sorted(map(int, dump.status["Groups"].split())) == sorted(groups)
    if uid != 0 and os.geteuid() == 0:
        assert {int(dump.status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}


def name_of_loopback():
    """The name of 127.0.0.1 where it leads back to it, as the server is to find it."""
    try:
        name = socket.gethostbyaddr("127.0.0.1")[0]
        return name if "127.0.0.1" in socket.gethostbyname_ex(name)[2] else None
    except OSError:
        return None


class Subject:
    """A server in one of the modes, and what its workers must be like."""

    def __init__(self, serve, mode, worker, *arguments, **how):
        self.env = {**os.environ, **FOREIGN, "EMPTY": "", "BYTES": "\udcff\udc80 \n=;", **how.pop("env", {})}
        self.name = name_of_loopback() if mode == "resolve" else None
        self.identity = (os.geteuid(), os.getegid(), how.pop("groups", os.getgroups()))
        if mode == "user":
            nobody = pwd.getpwnam("nobody")
            self.identity = (nobody.pw_uid, nobody.pw_gid, os.getgrouplist("nobody", nobody.pw_gid))
        arguments = ["127.0.0.1:0", "--max", 3000, "--max-per-source", 3000, *arguments]
        if mode == "handler":
            self.server = serve(*arguments, handler="dump", env=self.env, **how)
        else:
            option = {"exec": [], "resolve": ["--resolve"], "user": ["--user", "nobody"]}[mode]
            self.server = serve(*arguments, *option, worker=[worker, "dump", "an argument", ""], env=self.env, **how)
        self.mode = mode

    def check(self, count, checks=(check_descriptors, check_signals, check_session)):
        """Makes so many connections, eight at once, and checks each; the dumps."""
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            dumps = list(pool.map(lambda _: ask_dump(self.server), range(count)))
        numbers = set()
        for dump in dumps:
            for check in checks:
                check(dump)
            number, of_source = check_environment(dump, self.env, self.name)
            numbers.add(number)
            assert of_source >= 1
            check_identity(dump, self.identity)
        assert numbers == set(range(1, count + 1)), "each connection has a number of its own, from 1"
        assert len({dump.status["Pid"] for dump in dumps}) > count / 2, "a process each"
        if self.mode == "handler":
            assert all(dump.arguments == [dict(v.split("=", 1) for v in dump.variables)["FORKPORT_PAIR"]]
                       for dump in dumps)
        else:
            assert all(dump.arguments == ["an argument", ""] for dump in dumps)
        assert self.server.stop() == 0
        stop = self.server.log.find("stop")[-1]
        assert (stop["served"], stop["refused"], stop["failed"]) == (count, 0, 0)
        return dumps


@pytest.fixture(params=MODES)
def mode(request):
    if request.param == "user":
        request.getfixturevalue("root")
    return request.param


def test_over_a_thousand_connections(serve, mode, public_worker):
    dumps = Subject(serve, mode, public_worker).check(1000)
    assert {dump.directory for dump in dumps} == {os.getcwd()}


# The odd ways to start. Each runs in the server's process just before it is executed.

def close_standard():
    for fd in range(3):
        os.close(fd)


def ignore_signals():
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            # By the bare call: the C library keeps two real-time signals to itself.
            action = (ctypes.c_ulong * 4)(signal.SIG_IGN, 0, 0, 0)
            assert forkport.LIBC.syscall(13 if os.uname().machine == "x86_64" else 134, number, action, None, 8) == 0


def ignore_usual_signals():
    for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def block_signals():
    blocked = (ctypes.c_ulong * 1)(~0 & (2**64 - 1))
    assert forkport.LIBC.syscall(14 if os.uname().machine == "x86_64" else 135, 0, blocked, None, 8) == 0


def take_groups():
    os.setgroups([4, 24, 1000])


def most_descriptors():
    limit = int(pathlib.Path("/proc/sys/fs/nr_open").read_text(encoding="ascii"))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    except ValueError:  # Not permitted: as many as are allowed, then.
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def access_of(pid, fd):
    """Can it be read, written, both; or neither (O_PATH)?"""
    flags = pathlib.Path(f"/proc/{pid}/fdinfo/{fd}").read_text(encoding="ascii").split("flags:")[1].split()[0]
    return int(flags, 8) & (os.O_ACCMODE | os.O_PATH)


ODD_STARTS = {
    "descriptors 0 to 2 closed": close_standard,
    "some signals ignored": ignore_usual_signals,
    "all signals ignored": ignore_signals,
    "all signals blocked": block_signals,
    "umask 0777": lambda: os.umask(0o777),
    "most descriptors allowed": most_descriptors,
}


@pytest.mark.parametrize("odd", ODD_STARTS)
def test_odd_start(serve, mode, public_worker, odd):
    subject = Subject(serve, mode, public_worker, preexec=ODD_STARTS[odd])
    standard = {(os.readlink(f"/proc/{subject.server.pid}/fd/{fd}"), access_of(subject.server.pid, fd)) for fd in range(3)}
    dumps = subject.check(40)
    if odd == "descriptors 0 to 2 closed":
        assert standard == {("/dev/null", os.O_RDWR)}, "nothing else may land there"
    if odd == "umask 0777":
        assert {dump.status["Umask"] for dump in dumps} == {"0777"}, "the umask is passed on as it is"


def test_start_of_somebody_whose_umask_lets_nobody_in(serve, root, public_worker):
    """Root is let in everywhere; anybody else is kept out by it of the folders they make."""
    program = shutil.copy(forkport.FORKPORT, public_worker.parent)

    def become():
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        os.umask(0o777)

    server = serve("127.0.0.1:0", program=program, worker=[public_worker, "dump"], preexec=become, log=False)
    dump = ask_dump(server)
    check_descriptors(dump)
    check_identity(dump, (65534, 65534, []))
    assert server.stop() == 0


def test_supplementary_groups(serve, root, mode, public_worker):
    Subject(serve, mode, public_worker, preexec=take_groups, groups=[4, 24, 1000]).check(40)


def test_inherited_descriptors_stay_out(serve, mode, public_worker):
    """Some that are close-on-exec, some that are not; low ones, high ones, and one between."""
    fds = [os.open("/dev/null", os.O_RDWR)]
    fds += [fcntl.fcntl(fds[0], fcntl.F_DUPFD, least) for least in (9, 63, 500)]
    try:
        Subject(serve, mode, public_worker, pass_fds=fds).check(40)
    finally:
        for fd in fds:
            os.close(fd)


def test_controlling_terminal_stays_with_the_server(serve, mode, public_worker):
    controller, terminal = pty.openpty()

    def take_terminal():
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        for fd in range(3):
            os.dup2(terminal, fd)

    try:
        subject = Subject(serve, mode, public_worker, preexec=take_terminal)
        assert int(forkport.stat(subject.server.pid)[4]) != 0, "the server has one, or this test shows nothing"
        subject.check(40)
    finally:
        os.close(controller)
        os.close(terminal)


def count_calls(serve, trace, preexec):
    """How many system calls a server makes in its life, and the descriptor limit it had."""
    server = serve("127.0.0.1:0", "--builtin", "echo", prefix=["strace", "-D", "-o", trace], preexec=preexec,
                   env=forkport.TRACED)
    limit = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[0]
    assert server.stop() == 0
    calls = "\n".join(forkport.read_trace(trace))
    # It looks for what servers that were killed left, six calls for each that others run beside this test.
    calls, looks = re.subn(r'openat\([^\n]*"/run".*?getdents64\([^\n]* 0 entries [^\n]*\n', "", calls, flags=re.DOTALL)
    assert looks <= 1
    return len(calls.splitlines()), limit


def test_start_does_not_grow_with_the_descriptor_limit(serve, strace, tmp_path):
    few, few_limit = count_calls(serve, tmp_path / "few",
                                 lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)))
    many, many_limit = count_calls(serve, tmp_path / "many", most_descriptors)
    assert few_limit == 256 and many_limit > 10 * few_limit
    assert abs(many - few) < 20, "system calls"


def test_connections_of_a_source_are_counted(serve):
    server = serve("127.0.0.1:0", worker=["sh", "-c", "echo $TCPCONNNUM; exec cat"])
    held = [server.connect(source="127.0.0.2") for _ in range(3)]
    assert [forkport.read_line(client) for client in held] == ["1\n", "2\n", "3\n"]
    assert server.ask() == b"1\n", "another source"
    held.pop(0).close()
    server.log.wait("end", connection=1)
    with server.connect(source="127.0.0.2") as client:
        assert forkport.read_line(client) == "3\n"
    for client in held:
        client.close()


@pytest.mark.parametrize("options, identity", [
    (["--user", "nobody", "--group", "4,24,60000"], (65534, 4, [24, 60000])),
    (["--group", "4,24", "--user", "nobody"], (65534, 4, [24])),
    (["--user", "12345"], (12345, 12345, [])),
    (["--group", "4"], (0, 4, [])),
])
def test_user_and_group(serve, root, public_worker, options, identity):
    server = serve("127.0.0.1:0", *options, worker=[public_worker, "dump"], preexec=take_groups)
    check_identity(ask_dump(server), identity)


def test_privileges_cannot_be_regained(serve, root):
    """A worker that tries every way back, with the tools that would take it."""
    server = serve("127.0.0.1:0", "--user", "nobody", worker=["/usr/bin/python3", "-c", """
import os
for name, call in [("setuid", lambda: os.setuid(0)), ("seteuid", lambda: os.seteuid(0)),
                   ("setresuid", lambda: os.setresuid(-1, 0, -1)), ("setgid", lambda: os.setgid(0)),
                   ("setresgid", lambda: os.setresgid(-1, 0, -1)), ("setgroups", lambda: os.setgroups([0]))]:
    try:
        call()
        print("regained by", name)
    except PermissionError:
        pass
print("end", flush=True)
"""])
    assert server.ask() == b"end\n"


# What is to be given up stays, as where the kernel has other ideas: how the server is started, and which call does nothing.
KEPT = {
    "user": ([], "setresuid:retval=0:when=1"),
    "group": ([], "setresgid:retval=0:when=1"),
    "capabilities": (["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps", "+setuid,+setgid",
                      "--ambient-caps", "+setuid,+setgid"], "capset:retval=0"),
}


@pytest.mark.parametrize("what", KEPT)
def test_privileges_that_are_not_given_up_end_it(root, strace, what):
    """It is not believed but tried, and that before anybody is served."""
    prefix, rule = KEPT[what]
    if prefix and not shutil.which("setpriv"):
        pytest.skip("there is no program setpriv")
    with forkport.for_everybody(forkport.FORKPORT) as program:
        result = subprocess.run([*prefix, "strace", "-f", "-o", "/dev/null", "-e", f"inject={rule}", program, "serve",
                                 "127.0.0.1:0", "--user", "nobody", "--", "true"], env=forkport.TRACED,
                                capture_output=True, text=True, timeout=forkport.DEADLINE, check=False)
    assert result.returncode == 77, result
    assert result.stderr.startswith("forkport: cannot give up privileges for good of workers (uid 65534, gid 65534)"), result


def test_capabilities_that_the_program_keeps_are_not_the_handlers(serve, root):
    server = serve("127.0.0.1:0", "--user", "nobody", handler="dump-keeping")
    check_identity(ask_dump(server), (65534, 65534, [65534]))


CAPABILITIES = "+setuid,+setgid,+dac_override"


@pytest.mark.parametrize("prefix", [
    ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps", CAPABILITIES, "--ambient-caps", CAPABILITIES],
    ["--reuid=12345", "--regid=12345", "--clear-groups", "--inh-caps", CAPABILITIES, "--ambient-caps", CAPABILITIES],
    ["--inh-caps", CAPABILITIES, "--ambient-caps", CAPABILITIES],
    ["--securebits", "+no_setuid_fixup"],
    ["--bounding-set", "-sys_ptrace"],
], ids=["own user", "other user", "root", "no fixup", "in a container"])
def test_capabilities_of_the_server_are_not_the_workers(serve, root, public_worker, prefix):
    """Given to a server that need not be root, or kept by a root whose change of user takes nothing; and one worker after the other."""
    if not shutil.which("setpriv"):
        pytest.skip("there is no program setpriv")
    server = serve("127.0.0.1:0", "--user", "nobody", worker=[public_worker, "dump"], prefix=["setpriv", *prefix])
    for _ in range(3):
        check_identity(ask_dump(server), (65534, 65534, [65534]))


def test_ipv4_client_of_an_ipv6_socket_is_shown_as_ipv4(serve):
    server = serve("*:0", worker=["sh", "-c", "echo $TCPLOCALIP $TCPREMOTEIP $FORKPORT_PAIR"])
    with server.connect() as client:
        port = client.getsockname()[1]
        assert forkport.read_to_end(client).decode() == \
            f"127.0.0.1 127.0.0.1 {{127.0.0.1:{server.port}, 127.0.0.1:{port}}}\n"


@pytest.mark.parametrize("source, name", [("127.0.0.2", "good.example"), ("127.0.0.3", ""), ("127.0.0.4", ""), ("127.0.0.5", "")],
                         ids=["both ways", "leads elsewhere", "no name of a host", "none"])
def test_name_of_a_client(serve, mounted, tmp_path, source, name):
    """Passed on where it leads back to the client. What somebody has put into the name server may be an address, or a command."""
    (tmp_path / "hosts").write_text("127.0.0.2 good.example\n127.0.0.3 127.0.0.2\n127.0.0.4 $(id).example\n")
    (tmp_path / "switch").write_text("hosts: files\n")
    mounts = f"mount --bind {tmp_path}/hosts /etc/hosts && mount --bind {tmp_path}/switch /etc/nsswitch.conf"
    server = serve("127.0.0.1:0", "--resolve", worker=["sh", "-c", "echo $TCPREMOTEHOST"],
                   prefix=mounted(mounts))
    assert server.ask(source=source).decode() == f"{name}\n"


def test_may_be_looked_into_as_any_process_of_its_user(serve):
    """Those that wait at a gate may not (PR_SET_DUMPABLE); a worker would have no core, and no debugger."""
    server = serve("127.0.0.1:0", worker=["/usr/bin/python3", "-c", "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"])
    assert server.ask() == b"1\n"


def test_half_close_and_peer(serve):
    """Descriptors 0 and 1 are the socket itself: its end can be had after the client's, and its peer be asked for."""
    server = serve("127.0.0.1:0", worker=["/usr/bin/python3", "-c", """
import socket, sys
data = sys.stdin.buffer.read()
s = socket.socket(fileno=1)
s.send(b"%d %d" % (len(data), s.getpeername()[1]))
s.shutdown(socket.SHUT_WR)
"""])
    with server.connect() as client:
        client.sendall(b"x" * 100000)
        client.shutdown(socket.SHUT_WR)
        assert forkport.read_to_end(client).split() == [b"100000", str(client.getsockname()[1]).encode()]


def test_program_is_found_in_path_and_keeps_its_name(serve):
    server = serve("127.0.0.1:0", worker=["sh", "-c", "cat /proc/$$/cmdline", "two"])
    assert server.ask() == b"sh\0-c\0cat /proc/$$/cmdline\0two\0"


def test_options_of_the_program_are_its_own(serve):
    server = serve("127.0.0.1:0", worker=["sh", "-c", "echo $*", "sh", "--help", "--max", "-h", "--"])
    assert server.ask() == b"--help --max -h --\n"


@pytest.mark.parametrize("stderr", ["log", "inherit"])
@pytest.mark.parametrize("fd", [0, 1, 2])
def test_ready_descriptor_may_be_a_standard_one(serve, fd, stderr):
    """It is closed, as it is said, but no connection gets its place: it would be taken for what stood there."""
    server = serve("127.0.0.1:0", "--stderr", stderr, worker=[forkport.WORKER, "dump"], ready_fd=fd)
    for _ in range(3):
        dump = ask_dump(server)
        check_descriptors(dump)
