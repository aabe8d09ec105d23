"""Who is measured: one row for each server, with how it is started on an address for a program.

In `arguments` and `files`, {port}, {program}, {user}, {build} and {files} (the folder the files are written to)
are filled in. Every limit of a peer's own that a benchmark would run into is lifted, and what a peer would do
beyond forkport's work (names, ident, tcp_wrappers) is switched off: each is shown at its best.
"""

import dataclasses
import os
import re
import shutil

PROGRAM = "exec"  # group: a program for each connection
PROGRAMS = {"dynamic": "program", "static": "program-static", "bare": "program-bare"}  # files in BUILD/bench
# What a service manager gives (systemd.exec(5)), whoever runs the benchmark: how large the environment is moves what is on
# the stack, and so what a program costs.
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
SCRIPTS = ("dash", "bash", "perl", "python")  # files in programs/; each is found by its #! line
CHILD = "child"  # group: the server's own code answers, in a process for each connection or in one


@dataclasses.dataclass(frozen=True)
class Contestant:
    name: str
    kind: str  # "forkport", "limit" (a bare loop) or "peer"
    executable: str  # of a peer: its name; otherwise its path in the build folder
    arguments: str
    group: str = PROGRAM
    programs: tuple = (*PROGRAMS, *SCRIPTS)
    package: str = ""  # Debian's
    on_path: bool = True  # whether the executable's name on PATH can only be this one
    ready: str = "answers"  # how the port is known: "answers" (given), "stdout" or "fd" (a pair is written)
    files: dict = dataclasses.field(default_factory=dict)
    half_close: bool = False  # the server answers until the end of the stream
    resting: int = 1  # processes there are without a connection


SERVE = "serve 127.0.0.1:0 --ready-fd {ready_fd} --log-file {files}/log --max 100000 --max-per-source 100000 "

XINETD = """\
defaults
{{
}}
service bench
{{
    type = UNLISTED
    flags = IPv4 NOLIBWRAP
    bind = 127.0.0.1
    port = {port}
    socket_type = stream
    protocol = tcp
    wait = no
    user = {user}
    server = {program}
    instances = UNLIMITED
    per_source = UNLIMITED
    cps = 1000000 1
}}
"""

CONTESTANTS = (
    Contestant("forkport exec", "forkport", "forkport", SERVE + "-- {program}", ready="fd"),
    Contestant("forkport fork", "forkport", "forkport", SERVE + "--engine fork -- {program}",
               programs=("dynamic", *SCRIPTS), ready="fd", resting=2),
    Contestant("forkport fork x2", "forkport", "forkport", SERVE + "--engine fork --templates 2 -- {program}",
               programs=("dynamic", *SCRIPTS), ready="fd", resting=3),
    Contestant("forkport fork, read", "forkport", "forkport", SERVE + "--engine fork --gate read -- {program}",
               programs=SCRIPTS, ready="fd", resting=2),
    # As many wait as come at once; less, and a burst is served by the template that makes them good.
    Contestant("forkport pool", "forkport", "forkport", SERVE + "--engine pool --pool-min 64 -- {program}",
               programs=("dynamic",), ready="fd", resting=66),
    Contestant("forkport pool, executed", "forkport", "forkport",
               SERVE + "--engine pool --pool-start exec --pool-min 64 -- {program}",
               programs=("dynamic",), ready="fd", resting=65),
    Contestant("forkport-python", "forkport", "forkport",
               SERVE + "--engine fork --gate read -- {build}/forkport-python {program}",
               programs=("python",), ready="fd", resting=2),
    Contestant("forkport handler", "forkport", "bench/handler", "127.0.0.1:0 {files}/log", group=CHILD,
               programs=("dynamic",), ready="stdout"),
    Contestant("forkport handler, static", "forkport", "bench/handler-static", "127.0.0.1:0 {files}/log", group=CHILD,
               programs=("static",), ready="stdout"),
    Contestant("forkport echo", "forkport", "forkport", SERVE + "--builtin echo", group=CHILD,
               programs=("dynamic",), ready="fd", half_close=True),

    Contestant("vfork+exec loop", "limit", "bench/loops", "vfork-exec 127.0.0.1 0 {program}", ready="stdout"),
    Contestant("fork+exec loop", "limit", "bench/loops", "fork-exec 127.0.0.1 0 {program}", ready="stdout"),
    Contestant("fork loop", "limit", "bench/loops", "fork 127.0.0.1 0", group=CHILD,
               programs=("dynamic",), ready="stdout"),
    Contestant("fork loop, exit", "limit", "bench/loops", "fork-exit 127.0.0.1 0", group=CHILD,
               programs=("dynamic",), ready="stdout"),
    Contestant("fork loop, bare", "limit", "bench/loops-bare", "", group=CHILD,
               programs=("static",), ready="stdout"),
    Contestant("fork loop, static", "limit", "bench/loops-static", "fork 127.0.0.1 0", group=CHILD,
               programs=("static",), ready="stdout"),
    Contestant("epoll server", "limit", "bench/loops", "epoll 127.0.0.1 0", group=CHILD,
               programs=("dynamic",), ready="stdout"),

    # -H -R -l: no names, no ident. The limit is 40 unless given, the backlog 20.
    Contestant("tcpserver", "peer", "tcpserver", "-H -R -l localhost -c 100000 -b 4096 127.0.0.1 {port} {program}",
               package="ucspi-tcp"),
    # The limit is 30 unless given, the backlog 20.
    Contestant("tcpsvd", "peer", "tcpsvd", "-l localhost -c 100000 -b 4096 127.0.0.1 {port} {program}",
               package="ipsvd"),
    # Not in Debian 12. It accepts no more than 16384 at once.
    Contestant("s6-tcpserver", "peer", "s6-tcpserver", "-c 16000 -C 16000 -b 4096 127.0.0.1 {port} {program}",
               package="s6-networking"),
    # The rate is 50 a second unless given, then none for 10 s.
    Contestant("xinetd", "peer", "xinetd", "-dontfork -f {files}/xinetd.conf -pidfile {files}/pid",
               package="xinetd", files={"xinetd.conf": XINETD}),
    # The rate is 256 a minute unless given, then none for 10 minutes.
    Contestant("openbsd-inetd", "peer", "inetd", "-i -q 4096 -R 1000000000 {files}/inetd.conf",
               package="openbsd-inetd", on_path=False,
               files={"inetd.conf": "127.0.0.1:{port} stream tcp nowait.1000000000 {user} {program} program\n"}),
    # The rate is 40 a minute unless given, then none for 10 minutes. It goes to the background.
    Contestant("inetutils-inetd", "peer", "inetutils-inetd", "-R 1000000000 -p{files}/pid {files}/inetd.conf",
               package="inetutils-inetd",
               files={"inetd.conf": "127.0.0.1:{port} stream tcp nowait.1000000000 {user} {program} program\n"}),
    # The socket itself on fds 0 and 1, as the others do it; without nofork, a relay in a process of its own.
    Contestant("socat nofork", "peer", "socat",
               "TCP4-LISTEN:{port},bind=127.0.0.1,backlog=4096,reuseaddr,fork EXEC:{program},nofork", package="socat"),
    Contestant("socat", "peer", "socat",
               "TCP4-LISTEN:{port},bind=127.0.0.1,backlog=4096,reuseaddr,fork EXEC:{program}", package="socat"),
    # The limit is 100 unless given.
    Contestant("ncat", "peer", "ncat", "-4 -n -k -m 10000 -e {program} -l 127.0.0.1 {port}", package="ncat"),
    Contestant("systemd-socket-activate", "peer", "systemd-socket-activate",
               "--accept --inetd --listen=127.0.0.1:{port} {program}", package="systemd"),
)


def peers_folder(build, contestant):
    return os.path.join(build, "peers", contestant.package)


def _loader(executable):
    """The dynamic loader the executable asks for."""
    with open(executable, "rb") as file:
        found = re.search(rb"(/lib[^\0]*/ld-[^\0]*)\0", file.read(4096))
    return found.group(1).decode() if found else None


def _unpacked(folder, name):
    for where in ("usr/bin", "usr/sbin", "bin", "sbin"):
        path = os.path.join(folder, where, name)
        if os.access(path, os.X_OK):
            return path
    return None


def command_prefix(build, contestant):
    """What to run it with, as a list of arguments; None where it is not there.

    An unpacked peer whose libraries were unpacked with it is run by the loader with their folders as an
    argument: LD_LIBRARY_PATH would be inherited by the program, and slow it down.
    """
    if contestant.kind != "peer":
        path = os.path.join(build, contestant.executable)
        return [path] if os.access(path, os.X_OK) else None
    folder = peers_folder(build, contestant)
    path = _unpacked(folder, contestant.executable)
    if path:
        libraries = sorted({where for where, _, names in os.walk(folder)
                            if any(re.search(r"^lib.*\.so(\.|$)", name) for name in names)})
        loader = _loader(path)
        return [loader, "--library-path", ":".join(libraries), path] if libraries and loader else [path]
    if contestant.on_path:
        path = shutil.which(contestant.executable, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    return [path] if path else None
