"""A worker leaves: its client has the end of the stream before the kernel has taken the worker's memory apart, and all else is as ever."""
import os

import pytest

import forkport

LEAVING = forkport.BUILD / "tests/fixtures/leaving"
RUNNER = forkport.BUILD / "forkport-python"
FORK = ["--engine", "fork"]
POOL = ["--engine", "pool"]
ENGINES = {"main": FORK, "read": [*FORK, "--gate", "read"], "pool": POOL, "executed": [*POOL, "--pool-start", "exec"]}
LARGE = """\
import mmap, os, sys
sys.stdin.readline()
memory = mmap.mmap(-1, 256 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, len(memory), mmap.PAGESIZE):
    memory[at] = 1
print(os.getpid())
"""


def descriptors(pid):
    """What a process still has; none: the kernel has begun to close them, which it does when the memory is gone."""
    try:
        return os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return []


def ready(serve, *arguments, **how):
    server = serve("127.0.0.1:0", *arguments, **how)
    if "--engine" in arguments and "exec" not in arguments:
        server.log.wait("template")
    return server


def check_seen_before_the_memory_goes(server):
    """That there are descriptors left can be missed, where others use the machine; what is not so is never seen."""
    def is_seen():
        with server.connect() as client:
            client.sendall(b"hello\n")
            return descriptors(int(forkport.read_to_end(client))) == ["2"]

    forkport.until(is_seen, "an end before the end")
    assert server.log.wait("end")["exit"] == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_the_client_sees_the_end_before_the_memory_goes(serve, engine):
    check_seen_before_the_memory_goes(ready(serve, *ENGINES[engine], worker=[LEAVING, "large"]))


def test_of_a_handler(serve):
    check_seen_before_the_memory_goes(serve("127.0.0.1:0", handler="large"))


def test_of_a_script(serve, tmp_path):
    (tmp_path / "large").write_text(LARGE)
    check_seen_before_the_memory_goes(ready(serve, *ENGINES["read"], worker=[RUNNER, tmp_path / "large"]))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("way, answer, status", [("file", b"0 at 4\n", 0), ("thread", b"", 0), ("confined", b"", 0),
                                                 ("destructor", b"last words\n", 7)])
def test_what_a_program_does_at_its_end(serve, engine, way, answer, status):
    """The position of a file, a thread that never gives a stream back, a filter of system calls, what a destructor prints."""
    server = ready(serve, *ENGINES[engine], worker=[LEAVING, way])
    for number in range(1, 3):
        with server.connect() as client:
            client.sendall(b"hello\n")
            pid, _, rest = forkport.read_to_end(client).partition(b"\n")
        end = server.log.wait("end", connection=number)
        assert (end["pid"], end.get("exit"), rest) == (int(pid), status, answer)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_started_keeps_the_connection(serve, engine):
    """It is closed for the worker alone."""
    server = ready(serve, *ENGINES[engine], worker=["bash", "-c", "read line; (read line; echo $line) <&0 & echo now"])
    with server.connect() as client, client.makefile("rb") as lines:
        client.sendall(b"hello\n")
        assert lines.readline() == b"now\n"
        server.log.wait("end")
        client.sendall(b"later\n")
        assert lines.read() == b"later\n"
