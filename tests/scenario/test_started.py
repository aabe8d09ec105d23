"""What the kernel starts a program with: arguments, environment, auxiliary vector, random bytes. A template has it moved."""
import ctypes
import platform
import struct

import pytest

from test_template import of_library

LIBC = ctypes.CDLL(None, use_errno=True)
ENGINES = {
    "exec": [],
    "fork": ["--engine", "fork"],
    "fork at the read": ["--engine", "fork", "--gate", "read"],
    "pool of a template": ["--engine", "pool"],
    "pool of programs": ["--engine", "pool", "--pool-start", "exec"],
}
OF_TEMPLATES = ["fork", "fork at the read", "pool of a template"]
SMALL = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "EMPTY": ""}
LARGE = {**SMALL, **{f"NUMBER{i}": 100 * "x" for i in range(100)}}
TOO_LARGE = {**LARGE, "ONE": 10_000 * "x"}


@pytest.fixture(params=["glibc", "musl"], name="program")
def program_(request, tmp_path):
    return of_library("started", request.param, tmp_path)


def started(serve, way, *worker, env, **how):
    server = serve("127.0.0.1:0", *ENGINES[way], worker=worker, env=env, **how)
    if way in OF_TEMPLATES:
        server.log.wait("template")
    return server


def looks(server):
    """Whether all is as it should be and where, the pages from main() to the connection's variables, and the random bytes."""
    verdict, place, pages, random = server.ask(b"look\n").decode().strip().split(", ")
    return verdict, place, int(pages), random


@pytest.mark.no_program
@pytest.mark.parametrize("env", [SMALL, LARGE, TOO_LARGE], ids=["small", "large", "too large to gain"])
@pytest.mark.parametrize("way", ENGINES)
def test_it_is_as_the_kernel_makes_it(serve, program, way, env):
    """From all sides: what main() has, the C library, /proc, and who kept a pointer before."""
    server = started(serve, way, program, "", "two words", env=env)
    workers = [looks(server) for _ in range(4)]
    assert [worker[0] for worker in workers] == 4 * ["whole"]
    assert {worker[1] for worker in workers} == {"moved" if way in OF_TEMPLATES and env is not TOO_LARGE else "in place"}
    assert len({worker[3] for worker in workers}) == 4 and "00 00 00" not in workers[0][3]


@pytest.mark.no_program
@pytest.mark.parametrize("way", OF_TEMPLATES)
def test_what_is_written_for_a_connection_is_on_the_page_of_main(serve, program, way):
    """Each page that is written is copied for each worker: where the kernel puts it, it is three or four."""
    env = {**SMALL, "MORE": 1500 * "x"}
    assert [looks(started(serve, way, program, env=env))[2] for _ in range(3)] == 3 * [1]


@pytest.mark.no_program
@pytest.mark.parametrize("way", ENGINES)
def test_a_title_is_what_others_see(serve, program, way):
    """Programs write one over their arguments and on into the environment behind (setproctitle(3bsd))."""
    executed = started(serve, "exec", program, "title", env=SMALL).ask(b"look\n")
    assert executed.startswith(b"serving, of ")
    assert started(serve, way, program, "title", env=SMALL).ask(b"look\n") == executed


def refuse_to_move():
    """prctl(PR_SET_MM) fails, as where the kernel is without CONFIG_CHECKPOINT_RESTORE (seccomp(2))."""
    load, jump, give = 0x20, 0x15, 0x06
    number, first = (167 if platform.machine() == "aarch64" else 157), 35
    program = b"".join(struct.pack("HBBI", *statement) for statement in [
        (load, 0, 0, 0), (jump, 0, 3, number), (load, 0, 0, 16), (jump, 0, 1, first), (give, 0, 0, 0x50016), (give, 0, 0, 0x7FFF0000)])
    statements = ctypes.create_string_buffer(program)
    filters = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(statements))
    assert LIBC.prctl(38, 1, 0, 0, 0) == 0 and LIBC.prctl(22, 2, filters, 0, 0) == 0


@pytest.mark.no_program
@pytest.mark.parametrize("way", OF_TEMPLATES)
def test_where_the_kernel_does_not_move_it_stays(serve, program, way):
    server = started(serve, way, program, env=SMALL, preexec=refuse_to_move)
    assert looks(server)[:2] == ("whole", "in place")
    assert server.log.find("notice") == [] and "at its gate" in server.log.find("template")[0]["reason"]
