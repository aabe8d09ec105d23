"""What was tried to break the server, where it did break or came near: each of these has failed once."""
import concurrent.futures
import resource
import signal
import subprocess

import pytest

import forkport


def limit(kind, number):
    """For preexec: the server's own limit, and its workers'."""
    return lambda: resource.setrlimit(kind, (number, number))


def test_log_file_at_the_size_limit_ends_nothing(serve):
    """RLIMIT_FSIZE is met by a signal whose default is the end of the process."""
    size = 4096
    server = serve("127.0.0.1:0", "--builtin", "echo", preexec=limit(resource.RLIMIT_FSIZE, size))
    while server.log.path.stat().st_size < size:
        assert server.ask(b"x") == b"x"
    for _ in range(10):
        assert server.ask(b"alive") == b"alive"
    # Rotated, it goes on.
    server.log.path.rename(server.folder / "full")
    server.signal(signal.SIGUSR1)
    forkport.until(lambda: server.log.path.exists() and server.log.path.stat().st_size, "the new file to be written")
    while server.log.path.stat().st_size < size:
        assert server.ask(b"x") == b"x"
    # The last events are in no file.
    assert server.stop() == 71


def test_last_lines_of_a_worker_are_its_own(serve, network):
    """Where many datagrams may wait (systemd makes it 512), all of them are read before their worker is reaped."""
    host, number = network.host("server"), 200
    try:
        host.run("sysctl", "-qw", "net.unix.max_dgram_qlen=512")
    except subprocess.CalledProcessError:
        pytest.skip("only root may let more datagrams wait")
    script = f"echo $$; read go; i=0; while [ $i -lt {number} ]; do echo line $i >&2; i=$((i + 1)); done"
    server = serve("127.0.0.1:0", worker=["sh", "-c", script], prefix=host.prefix)
    with host.connect("127.0.0.1", server.port) as client:
        pid = int(forkport.read_line(client))
        server.signal(signal.SIGSTOP)
        forkport.until(lambda: forkport.state(server.pid) == "T", "the server to stand still")
        client.sendall(b"go\n")
        forkport.until(lambda: forkport.state(pid) == "Z", "the worker to have ended")
        server.signal(signal.SIGCONT)
    server.log.wait("end", connection=1)
    assert len(server.log.find("stderr", connection=1)) == number
    assert server.stop() == 0


def test_no_worker_ends_between_its_lines_and_its_reaping(serve, strace):  # pylint: disable=unused-argument
    """Others write a line and end after the supervisor has found no more to read, and before it reaps."""
    late = ["strace", "-D", "-o", "/dev/null", "-e", "trace=recvmsg", "-e", "inject=recvmsg:delay_exit=10000"]
    server, threads, each = serve("127.0.0.1:0", worker=["sh", "-c", "echo line >&2"], prefix=late), 8, 5

    def ask():
        for _ in range(each):
            server.ask()

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(ask) for _ in range(threads)]:
            future.result()
    server.log.wait("end", count=threads * each)
    lines = server.log.find("stderr")
    assert sorted(line.get("connection", 0) for line in lines) == list(range(1, threads * each + 1))


def test_who_outlives_its_worker_is_bounded_too(serve):
    """A daemon left behind by a worker writes to standard error without end: the log does not grow so."""
    flood = 'trap "" HUP; i=0; while [ $i -lt 40000 ]; do echo 0123456789abcdef; i=$((i + 1)); done >&2; echo done'
    script = f"setsid sh -c '{flood}' & echo gone"
    server = serve("127.0.0.1:0", worker=["sh", "-c", script])
    with server.connect() as client:
        assert forkport.read_line(client) == "gone\n"
        server.log.wait("end", connection=1)
        assert forkport.read_line(client) == "done\n"
    assert "dropped" in server.log.wait("notice")["error"]
    written = sum(len(line["text"]) for line in server.log.find("stderr"))
    assert written < 384 << 10
    assert server.stop() == 0
