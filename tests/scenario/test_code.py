"""The C library's code in a worker of a template: the pages that it comes to at its end are handed down by the fork."""
import os
import pathlib
import platform
import re

import pytest

import forkport
from test_started import ENGINES, build, started

pytestmark = pytest.mark.no_program

PROGRAM = """#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
static char byte;
static void at_end(void)
{
    if (write(1, "x", 1) != 1 || read(0, &byte, 1) != 1) _exit(3);
}
__attribute__((constructor)) static void start(void)
{
    atexit(at_end);
#if defined(CHANGED)
    static const unsigned char returns_42[] = {0xb8, 42, 0, 0, 0, 0xc3};
    int memory = open("/proc/self/mem", O_RDWR);
    if (pwrite(memory, returns_42, sizeof(returns_42), (off_t)on_exit) != sizeof(returns_42)) _exit(4);
    close(memory);
#elif defined(LOCKED)
    if (mlockall(MCL_CURRENT) != 0) _exit(5);
#endif
}
int main(void)
{
    if (read(0, &byte, 1) != 1) return 1;
#if defined(CHANGED)
    return on_exit(NULL, NULL);
#else
    return 7;
#endif
}
"""
FORKS = ["fork", "fork at the read"]


def handed_down(server):
    """As the template says."""
    [reason] = [event["reason"] for event in server.log.find("template") if "at its gate" in event["reason"]]
    found = re.search(r", (\d+) pages of code handed down", reason)
    return int(found[1]) if found else 0


def pages_of_code(worker):
    """Of the C library, in its page table; and how many of these are not its file's."""
    code = re.search(r"^\S+ r-xp .*/libc\.so\.6\n(?:\w+: .*\n)*", pathlib.Path(f"/proc/{worker}/smaps").read_text(), re.MULTILINE)[0]
    return [int(re.search(rf"^{name}: +(\d+) kB", code, re.MULTILINE)[1]) * 1024 // os.sysconf("SC_PAGE_SIZE")
            for name in ("Rss", "Anonymous")]


def at_its_end(server):
    """What `pages_of_code()` says of a worker that is in its last exit handler, and its exit status."""
    ended = len(server.log.find("end"))
    with server.connect() as client:
        client.sendall(b"1")
        assert client.recv(1) == b"x"
        pages = pages_of_code(server.log.wait("start", ended + 1)["pid"])
        client.sendall(b"2")
        assert forkport.read_to_end(client) == b""
    return pages, server.log.wait("end", ended + 1)["exit"]


@pytest.fixture
def run(serve, tmp_path):
    def start(way, *options):
        return started(serve, way, build(tmp_path, "cc", "stepping", PROGRAM, *options), env={})
    return start


@pytest.mark.skipif(tuple(map(int, os.uname().release.split(".")[:2])) < (6, 15), reason="no guards in mappings of files before 6.15")
@pytest.mark.parametrize("way", FORKS)
def test_a_worker_has_the_pages_of_its_end_and_no_others(run, way):
    """Had it to find them, it would have sixteen for each."""
    server = run(way)
    assert 4 <= handed_down(server) <= 40
    for _ in range(3):
        assert at_its_end(server) == ([handed_down(server), 0], 7)


@pytest.mark.parametrize("way", FORKS)
def test_locked_memory_is_left_alone(run, way):
    server = run(way, "-DLOCKED")
    assert handed_down(server) == 0
    assert at_its_end(server)[1] == 7


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the changed code is this processor's")
@pytest.mark.parametrize("way", ENGINES)
def test_changed_code_stays_changed(run, way):
    """By a debugger, a tracer, or the program itself."""
    server = run(way, "-DCHANGED")
    if way in FORKS:
        assert handed_down(server) == 0
    pages, status = at_its_end(server)
    assert pages[1] == 1 and status == 42


ON_OWN_STACK = """#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#define BYTES (256 << 10)
static ucontext_t first, own;
static void answer(void)
{
    char line[16];
    if (read(0, line, sizeof(line)) > 0) write(1, "read", 4);
}
int main(void)
{
    char *stack = mmap(0, 2 * BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mprotect(stack, BYTES, PROT_READ | PROT_WRITE) != 0 || getcontext(&own) != 0) return 1;
    own.uc_stack.ss_sp = stack;
    own.uc_stack.ss_size = BYTES;
    own.uc_link = &first;
    makecontext(&own, answer, 0);
    return swapcontext(&first, &own) != 0;
}
"""


@pytest.mark.parametrize("way", ENGINES)
def test_a_stack_of_the_programs_own_is_read_to_its_end_at_most(serve, tmp_path, way):
    server = started(serve, way, build(tmp_path, "cc", "own", ON_OWN_STACK), env={})
    assert [server.ask(b"look\n") for _ in range(2)] == 2 * [b"read"]
    assert server.log.find("notice") == []
