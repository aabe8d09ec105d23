"""How many templates a service has, where nobody says: as many as its connections need to wait for no other's fork."""
import os
import subprocess

import pytest

import forkport
from test_scale import LOAD, load
from test_started import build

pytestmark = [
    pytest.mark.no_program,
    pytest.mark.skipif(not LOAD.exists(), reason="the load generator is not part of this build (sanitized?)"),
]
PROGRAM = forkport.BUILD / "bench/program"
# Each of its mappings is copied, so that on any machine its fork takes longest of all that is done for a connection.
SLOW = """#include <sys/mman.h>
#include <unistd.h>
int main(void)
{
    char line[512];
    ssize_t got = read(0, line, sizeof(line));
    return got > 0 && write(1, line, (size_t)got) == got ? 0 : 1;
}
__attribute__((constructor)) static void start(void)
{
    for (int i = 0; i < 200; i++)
        *(volatile char *)mmap(NULL, 8192, PROT_READ | (i % 2 ? PROT_EXEC : 0) | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) = 1;
}
"""


def served(serve, *arguments, program=PROGRAM):
    server = serve("127.0.0.1:0", "--max", 5000, "--max-per-source", 5000, "--engine", "fork", *arguments, worker=[program])
    server.log.wait("template")
    return server


def come(server, concurrency, count):
    subprocess.run(load(server, "--concurrency", concurrency, "--count", count), check=True, stdout=subprocess.DEVNULL)


def said(server, what):
    return [event["pid"] for event in server.log.find("template") if what in event["reason"]]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor: a second template would not fork any sooner")
def test_another_template_while_connections_wait_for_the_first(serve, tmp_path):
    """It goes when it was not needed for ten seconds, the older one of the two, and every connection is served once."""
    server = served(serve, program=build(tmp_path, "cc", "slow", SLOW))
    count = 0
    # It is wanted where enough come within a tenth of a second, and is there a moment later.
    while count < 60000 and len(said(server, "at its gate")) < 2:
        come(server, 32, 2000)
        count += 2000
    most = min(8, len(os.sched_getaffinity(0)))
    assert 2 <= len(said(server, "at its gate")) <= most
    first = said(server, "at its gate")[0]
    while len(said(server, "not needed")) < len(said(server, "at its gate")) - 1:
        server.log.wait("template", len(server.log.find("template")) + 1, seconds=15)
    assert said(server, "not needed any more")[0] == first
    assert len(set(said(server, "at its gate")) - set(said(server, "not needed"))) == 1
    assert server.ask(b"x") == b"x"
    server.log.wait("end", count + 1)
    assert server.stop() == 0
    assert len(server.log.find("end")) == len(server.log.find("start")) == count + 1


@pytest.mark.parametrize("arguments", [["--templates", 1], []], ids=["one is asked for", "each comes alone"])
def test_no_other_where_it_is_not_needed(serve, arguments):
    server = served(serve, *arguments)
    come(server, 32 if arguments else 1, 4000)
    assert len(said(server, "at its gate")) == 1
    assert server.stop() == 0
