"""What workers write to standard error: lines of the log, marked, bounded, escaped, and nobody's delay."""
import collections
import concurrent.futures
import os
import pathlib
import signal
import socket
import stat
import subprocess
import time

import pytest

import forkport

HERE = "127.0.0.1:0"
COPY = [forkport.WORKER, "stderr"]
# Of serve/worker_log.c and observe/event.h.
LINE_BYTES, CONNECTION_BYTES = 1024, 256 * 1024


def texts(server, number=1):
    """What the connection wrote, once it has ended."""
    server.log.wait("end", connection=number)
    return [event["text"] for event in server.log.find("stderr", connection=number)]


def script(text):
    """A worker whose shell writes by itself: each printf is one write."""
    return ["sh", "-c", text]


@pytest.mark.parametrize("options", [[], ["--resolve"]], ids=["exec", "resolve"])
def test_lines_are_marked_and_not_the_clients(serve, options):
    server = serve(HERE, *options, worker=script("read name; echo \"$name one\" >&2; echo \"$name two\" >&2"))
    with server.connect() as first, server.connect() as second:
        for name, client in (("second", second), ("first", first)):
            client.sendall(name.encode() + b"\n")
            assert forkport.read_to_end(client) == b""
    for number, name in ((1, "first"), (2, "second")):
        assert texts(server, number) == [f"{name} one", f"{name} two"]
    for event in server.log.find("stderr"):
        start = server.log.wait("start", connection=event["connection"])
        assert (event["pid"], event["pair"]) == (start["pid"], start["pair"])


def test_lines_come_before_the_end(serve):
    server, number = serve(HERE, worker=script("echo last words >&2")), 50
    for _ in range(number):
        server.ask()
    server.log.wait("end", count=number)
    order = [(event["connection"], event["event"]) for event in server.log.read()
             if event["event"] in ("stderr", "end")]
    assert sorted(order) == sorted(set(order)) and len(order) == 2 * number
    for connection in range(1, number + 1):
        assert order.index((connection, "stderr")) < order.index((connection, "end"))


def test_line_of_one_whose_end_is_known_first(serve):
    """The supervisor learns of an end and of a line at once, of the end first: the line still has its connection."""
    server = serve(HERE, worker=script("read words; [ -z \"$words\" ] || echo $words >&2"))
    with server.connect() as first, server.connect() as second:
        pids = [server.log.wait("start", connection=number)["pid"] for number in (1, 2)]
        server.signal(signal.SIGSTOP)
        forkport.until(lambda: forkport.state(server.pid) == "T", "the server to be stopped")
        for client, words, pid in ((first, b"\n", pids[0]), (second, b"last words\n", pids[1])):
            client.sendall(words)
            forkport.until(lambda pid=pid: forkport.state(pid) == "Z", "the worker to have ended")
        server.signal(signal.SIGCONT)
        assert texts(server, 2) == ["last words"]


@pytest.mark.parametrize("writes, lines", [
    ("printf par >&2; printf 'tial\\n' >&2", ["partial"]),
    ("printf unfinished >&2", ["unfinished"]),
    ("printf 'one\\ntwo\\nthr' >&2; printf 'ee\\nfour' >&2", ["one", "two", "three", "four"]),
    ("printf '\\n\\n' >&2; echo x >&2", ["", "", "x"]),
    ("printf 'tab\\tbell\\a esc\\033[31m cr\\r\\n' >&2", ["tab\tbell\a esc\x1b[31m cr\r"]),
    ("printf 'nul\\000nul\\n' >&2", ["nul\0nul"]),
    ("printf 'gr\\303\\274n\\n' >&2", ["grün"]),
    ("printf 'bad\\377\\n' >&2", ["bad\\xff"]),
    ("exec 2>&-; exec 2>/dev/null; echo nothing >&2", []),
])
def test_what_makes_a_line(serve, writes, lines):
    server = serve(HERE, worker=script(writes))
    server.ask()
    assert texts(server) == lines


def test_every_byte_is_one_line_of_printable_text(serve):
    """In the log for people nothing of a worker can move a cursor or begin a line of its own."""
    server = serve(HERE, "--log", "text", worker=COPY, log=False)
    server.ask(bytes(byte for byte in range(256) if byte != 10) + b"\n2020-01-01 end #1 forged\n")
    assert server.stop() == 0
    lines = [line for line in server.errors().splitlines() if " stderr " in line or "forged" in line]
    assert len(lines) == 2 and all(" stderr #1 " in line and line.isprintable() for line in lines)
    assert "\\x1b" in lines[0] and "\\xff" in lines[0] and lines[1].endswith("2020-01-01 end #1 forged")


@pytest.mark.parametrize("length", [LINE_BYTES - 1, LINE_BYTES, LINE_BYTES + 1, 60_000])
def test_long_line_is_cut(serve, length):
    server = serve(HERE, worker=COPY)
    server.ask(b"x" * length + b"\nnext\n")
    assert texts(server) == ["x" * min(length, LINE_BYTES), "next"]


def test_long_line_without_an_end_is_cut(serve):
    server = serve(HERE, worker=script("for i in 1 2 3 4 5 6 7 8 9; do printf '%0500d' $i >&2; done"))
    server.ask()
    assert texts(server) == [("%0500d" % 1 + "%0500d" % 2 + "%0500d" % 3)[:LINE_BYTES]]


def test_bound_of_a_connection(serve):
    """What is over is dropped, with a word; other connections have their own bound."""
    server, line = serve(HERE, worker=COPY), b"%0999d\n"
    server.ask(b"".join(line % index for index in range(2000)))
    written = texts(server)
    assert 0 <= sum(len(text) + 1 for text in written) - CONNECTION_BYTES <= LINE_BYTES, "the last line counts whole"
    last = written.pop()
    assert written == ["%0999d" % index for index in range(len(written))]
    assert last and ("%0999d" % len(written)).startswith(last)
    notices = server.log.find("notice")
    assert len(notices) == 1 and "#1 " in notices[0]["error"] and "dropped" in notices[0]["error"]
    server.ask(b"mine\n")
    assert texts(server, 2) == ["mine"]


def test_bound_of_empty_lines(serve):
    """Each is an event, however short it is, and counts as 32 bytes."""
    server = serve(HERE, worker=COPY)
    server.ask(b"\n" * 200000)
    assert texts(server) == [""] * (CONNECTION_BYTES // 32)
    assert len(server.log.find("notice")) == 1


def test_to_the_client(serve):
    server = serve(HERE, "--stderr", "socket", worker=script("echo out; echo err >&2"))
    assert server.ask() == b"out\nerr\n"
    assert texts(server) == []


def test_to_where_the_servers_goes(serve):
    server = serve(HERE, "--stderr", "inherit", worker=script("echo out; echo err >&2"))
    assert server.ask() == b"out\n"
    assert texts(server) == []
    assert server.errors() == "err\n"


def test_without_a_log(serve):
    server = serve(HERE, "--log", "none", worker=script("echo out; echo err >&2; readlink /proc/$$/fd/2"), log=False)
    assert server.ask() == b"out\n/dev/null\n"
    assert server.errors() == ""


def test_child_of_a_worker(serve):
    """It writes to its worker's socket, and so for its connection, also when it outlives the worker."""
    server = serve(HERE, worker=[forkport.WORKER, "child"])
    with server.connect() as client:
        pid, child = map(int, forkport.read_line(client).split())
        first = server.log.wait("stderr", text="first")
        assert (first["connection"], first["pid"]) == (1, pid)
        client.shutdown(socket.SHUT_WR)
        server.log.wait("end", connection=1, pid=pid)
        last = server.log.wait("stderr", text="last")
    assert last["connection"] == 1
    # What comes between the reaping and the end of the connection is still the connection's, whose process is the worker.
    assert last["pid"] == (pid if "pair" in last else child)


def test_child_of_a_handler(serve):
    """Handlers share one socket: whose line it is, is known by the session of who wrote it."""
    server = serve(HERE, handler="child")
    # They share one socket, which is connected; nobody has to find what to connect to.
    assert not forkport.log_names(server.pid)
    with server.connect() as client:
        said = server.log.wait("stderr", text="a child's")
        start = server.log.wait("start")
        assert (said["connection"], said["pair"]) == (1, start["pair"])
        client.sendall(b"\n")
        assert forkport.read_to_end(client) == b""


def test_lines_of_those_who_outlive_their_worker(serve):
    """Several in one write are several events, as a worker's are."""
    server = serve(HERE, worker=script("(setsid sh -c 'read line; printf \"one\\n\\ntwo\\nthree\" >&2' <&0 &); :"))
    with server.connect() as client:
        server.log.wait("end", connection=1)
        client.sendall(b"now\n")
        server.log.wait("stderr", 4)
    assert [event["text"] for event in server.log.find("stderr")] == ["one", "", "two", "three"]


def test_children_that_are_gone_already(serve):
    """Most of what a script says on standard error is said by programs that end at once; none of it may be nobody's."""
    server, number = serve(HERE, worker=script("/bin/ls /nonexistent; /bin/ls /nonexistent; :")), 160
    with concurrent.futures.ThreadPoolExecutor(16) as clients:
        list(clients.map(lambda _: server.ask(), range(number)))
    server.log.wait("end", count=number)
    events = server.log.find("stderr")
    assert collections.Counter(event["connection"] for event in events) == {one: 2 for one in range(1, number + 1)}
    assert all("pair" in event and "No such file" in event["text"] for event in events)


@pytest.mark.parametrize("harm", ["shutdown(2)", "connect(0, b'')", "setblocking(False)"])
def test_worker_harms_only_its_own(serve, harm):
    """What a worker does to its end of the log is nobody else's matter."""
    python = "import socket, sys; s = socket.socket(fileno=2); " + {
        "shutdown(2)": "s.shutdown(2)",
        "connect(0, b'')": "__import__('ctypes').CDLL(None).connect(2, bytes(16), 16)",
        "setblocking(False)": "s.setblocking(False)"}[harm] + "; s.detach()"
    server = serve(HERE, worker=script(f"read what; if [ $what = harm ]; then exec /usr/bin/env python3 -c \"{python}\"; "
                                       "else echo $what >&2; read more; echo $more >&2; fi"))
    with server.connect() as other:
        other.sendall(b"before\n")
        server.log.wait("stderr", text="before")
        server.ask(b"harm\n")
        other.sendall(b"after\n")
        assert forkport.read_to_end(other) == b""
    server.log.wait("stderr", connection=1, text="after")
    server.ask(b"new\n\n")
    server.log.wait("stderr", connection=3, text="new")


def test_those_who_outlive_their_worker_are_told_once(serve):
    """Of all that they write further nothing is said; a line of theirs counts as 32 bytes at least, as a worker's does."""
    flood = "import os\nfor _ in range(12000): os.write(2, b'\\n')\nos.write(1, b'done')"
    server = serve(HERE, worker=script(f"setsid python3 -c \"{flood}\" & echo gone"))
    began = time.monotonic()
    with server.connect() as client:
        assert forkport.read_line(client) == "gone\n"
        server.log.wait("end", connection=1)
        assert forkport.read_to_end(client) == b"done"
    server.log.wait("notice")
    assert server.stop() == 0
    came_back = (time.monotonic() - began) * 16384
    lines = len(server.log.find("stderr"))
    assert CONNECTION_BYTES // 32 <= lines <= (CONNECTION_BYTES + came_back) // 32 + 1
    assert len(server.log.find("notice")) == 1


@pytest.mark.no_program
def test_a_template_that_writes_much(serve):
    """It has not outlived anybody."""
    flood = "import os\nfor _ in range(12000): os.write(2, b'\\n')\ninput()"
    server = serve(HERE, "--engine", "fork", "--gate", "read", worker=["python3", "-c", flood])
    process = server.log.wait("template")["pid"]
    assert server.log.wait("notice")["error"].startswith(f"process {process}, which has no connection, writes much")


def test_flood_delays_nobody(serve):
    """Some workers write as fast as they can, to the end of their bound and on; the others are served as before."""
    server = serve(HERE, worker=script(f"read what; [ $what = flood ] && exec {forkport.WORKER} flood; echo $what"))
    flooders = [server.connect() for _ in range(4)]
    for flooder in flooders:
        flooder.sendall(b"flood\n")
        assert forkport.read_line(flooder) == "flood\n"
    server.log.wait("notice", count=4)
    longest = 0
    for index in range(50):
        began = time.monotonic()
        assert server.ask(b"%d\n" % index) == b"%d\n" % index
        longest = max(longest, time.monotonic() - began)
    for connection, flooder in enumerate(flooders, 1):
        assert flooder.recv(1) == b"\0", "it still runs"
        os.kill(server.log.find("start", connection=connection)[0]["pid"], signal.SIGKILL)
        flooder.close()
        server.log.wait("end", connection=connection)
    assert longest < 1


def test_much_in_one_write(serve):
    """As much as the socket takes at once."""
    lines = [f"{number:04} " + 65 * "x" for number in range(2000)]
    program = "import os, sys; data = sys.stdin.buffer.read(); sys.exit(os.write(2, data) != len(data))"
    server = serve("127.0.0.1:0", worker=["python3", "-c", program])
    assert server.ask("".join(line + "\n" for line in lines).encode()) == b""
    assert server.log.wait("end")["exit"] == 0
    assert texts(server) == lines


@pytest.mark.parametrize("end", [b"", b"\n"], ids=["without a newline", "with one"])
def test_a_line_is_not_cut_within_a_character(serve, end):
    server = serve("127.0.0.1:0", worker=["sh", "-c", "cat >&2"])
    server.ask(b"x" + 600 * "é".encode() + end)
    server.log.wait("end")
    assert texts(server) == ["x" + 511 * "é"]


def test_what_lines_in_pieces_count_as(serve):
    """As the same lines at once: not each newline as a line."""
    program = "import os\nfor _ in range(2500): os.write(2, 99 * b'y'); os.write(2, b'\\n')"
    server = serve("127.0.0.1:0", worker=["python3", "-c", program])
    server.ask(b"")
    server.log.wait("end")
    assert texts(server) == 2500 * [99 * "y"] and server.log.find("notice") == []


def test_what_those_who_outlive_their_worker_may_write_comes_back(serve):
    """16 KiB in a second: after two seconds there is room for more than there was left."""
    program = ("import os, time\nworker = os.getpid()\nif os.fork() == 0:\n os.close(0)\n"
               " while os.path.exists(f'/proc/{worker}'): time.sleep(0.01)\n"
               " for number in range(250): os.write(2, b'%01022d\\n' % number)\n"
               " time.sleep(2)\n"
               " for number in range(20): os.write(2, b'%01022d\\n' % number)")
    server = serve(HERE, worker=["python3", "-c", program])
    with server.connect() as client:
        client.shutdown(socket.SHUT_WR)
        assert forkport.read_to_end(client) == b""
    server.log.wait("stderr", count=270)
    assert server.log.find("notice") == []


def test_how_much_those_write_who_outlive_their_worker(serve):
    program = ("import os, time\nworker = os.getpid()\nif os.fork() == 0:\n os.close(0); os.close(1)\n"
               " while os.path.exists(f'/proc/{worker}'): time.sleep(0.01)\n"
               " for number in range(3000): os.write(2, b'%05d %s\\n' % (number, 43 * b'w'))")
    server = serve("127.0.0.1:0", worker=["python3", "-c", program])
    server.ask(b"")
    assert "pair" not in server.log.wait("stderr", count=3000)
    assert server.log.find("notice") == []


# Where the socket that they come to is.

NO_RUN = ["unshare", "--mount", "sh", "-c", 'mount --bind /run /run && mount -o remount,bind,ro /run && exec "$@"', "sh"]


@pytest.fixture(name="mounts")
def mounts_():
    if subprocess.run([*NO_RUN, "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("nothing can be mounted")


@pytest.fixture(name="elsewhere")
def elsewhere_(request):
    """Before the command of a server that can make nothing in /run, as others than root cannot."""
    if not os.access("/run", os.W_OK):
        return []
    request.getfixturevalue("mounts")
    return NO_RUN


@pytest.mark.parametrize("kind", ["long", "loop", "nowhere", "empty"])
def test_a_folder_for_temporary_files_that_does_not_do(serve, elsewhere, tmp_path, kind):
    """The socket that the lines come to is then made in another."""
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / ("d" * 90)).mkdir()
    folders = {"long": tmp_path / ("d" * 90), "loop": tmp_path / "loop", "nowhere": tmp_path / "nowhere", "empty": ""}
    server = serve(HERE, worker=["sh", "-c", "echo line >&2"], prefix=elsewhere,
                   env={**os.environ, "TMPDIR": str(folders[kind])})
    server.ask()
    assert server.log.wait("stderr")["text"] == "line"
    assert server.stop() == 0


def test_a_name_for_temporary_files_is_gone_at_once(serve, elsewhere):
    """Others may be let into that folder."""
    server = serve(HERE, worker=["sh", "-c", "echo line >&2"], prefix=elsewhere, env={**os.environ, "TMPDIR": "/tmp"})
    assert not forkport.log_names(server.pid)
    server.ask()
    assert server.log.wait("stderr")["text"] == "line"


def other_run(mode, script=":"):
    """Before the command of a server that has a /run of its own, of that mode."""
    run = f'mount -t tmpfs -o mode={mode} tmpfs /run && {{ {script}; }} && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", run, "sh"]


@pytest.mark.parametrize("mode", ["1777", "0777", "0775"])
def test_a_run_that_others_may_write_to(serve, mounts, mode):
    """They could put their own in the place of the name."""
    server = serve(HERE, worker=["sh", "-c", "echo line >&2"], prefix=other_run(mode))
    assert not forkport.log_names(server.pid)
    server.ask()
    assert server.log.wait("stderr")["text"] == "line"


@pytest.mark.no_program
@pytest.mark.parametrize("make", [
    "mkdir -m 700 /run/forkport.public && echo precious >/run/forkport.public/log",
    "mkdir -m 700 /run/forkport.public && mkfifo /run/forkport.public/log",
    "mkdir -m 700 /run/folder && echo precious >/run/folder/log && ln -s folder /run/forkport.public",
    "mkdir -m 755 /run/forkport.public && {socket}",
    "mkdir -m 700 /run/forkport.public && {socket} && chown 1 /run/forkport.public",
])
def test_what_is_no_name_of_a_killed_server_stays(serve, mounts, make):
    """A socket that nobody has open any more, in a folder of ours that nobody else may enter: nothing but that is removed."""
    dead = "python3 -c 'import socket; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).bind(\"/run/forkport.public/log\")'"
    server = serve(HERE, "--builtin", "echo", prefix=other_run("0755", make.format(socket=dead)))
    assert pathlib.Path(f"/proc/{server.pid}/root/run/forkport.public/log").lstat()


def test_one_that_is_made_meanwhile_is_not_one_of_a_killed_server(serve, strace, tmp_path):
    """It is bound by another name before it has that one."""
    trace = tmp_path / "trace"
    server = serve(HERE, worker=["cat"], env=forkport.TRACED, prefix=["strace", "-D", "-o", trace, "-e", "trace=bind,rename"])
    name = name_of(server)
    assert server.stop() == 0
    calls = [line for line in trace.read_text().splitlines() if str(name.parent) in line]
    assert len(calls) == 2 and calls[0].startswith("bind(") and str(name) not in calls[0] and calls[1].startswith("rename(")


def name_of(server):
    names = forkport.log_names(server.pid)
    if not os.access("/run", os.W_OK):
        pytest.skip("only root may make anything in /run")
    if os.stat("/run").st_mode & 0o022:
        pytest.skip("others may write to /run, so no name is kept there")
    assert len(names) == 1
    return names[0]


def test_a_name_in_run_is_there_as_long_as_its_server(serve):
    server = serve(HERE, worker=["sh", "-c", "echo line >&2"])
    name = name_of(server)
    assert name.is_socket() and [stat.S_IMODE(path.stat().st_mode) for path in (name, name.parent)] == [0o700, 0o700]
    assert server.stop() == 0
    assert not name.parent.exists()


def test_a_name_that_somebody_has_removed(serve):
    server = serve(HERE, worker=["sh", "-c", "echo line >&2"])
    name = name_of(server)
    name.unlink()
    server.ask()
    assert server.log.wait("stderr")["text"] == "line"
    assert server.stop() == 0
    assert not name.parent.exists()


def test_names_of_servers_that_were_killed(serve):
    """The next one removes them, and not that of one that lives."""
    killed, living = (serve(HERE, worker=["sh", "-c", "echo line >&2"]) for _ in range(2))
    names = [name_of(server) for server in (killed, living)]
    killed.process.kill()
    killed.process.wait()
    serve(HERE, "--builtin", "echo")
    assert [name.parent.exists() for name in names] == [False, True]
    living.ask()
    assert living.log.wait("stderr")["text"] == "line"
