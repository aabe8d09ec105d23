"""Many connections, one after the other, 32 at once. Nothing is lost, and nothing is left.

FORKPORT_SCALE says how many connections in a row there are; `make test-long` takes 100,000.
"""
import collections
import json
import os
import pathlib
import platform
import resource
import subprocess

import pytest

import forkport

HERE = "127.0.0.1:0"
LOAD = forkport.BUILD / "bench/load"
PROGRAM = forkport.BUILD / "bench/program"
MANY = int(os.environ.get("FORKPORT_SCALE", 20_000))
# So many have made use of all the memory there is for any: the log's MiB above all.
FIRST = max(MANY // 10, 3000)

pytestmark = pytest.mark.skipif(not LOAD.exists(), reason="the load generator is not part of this build (sanitized?)")


def load(server, *arguments):
    return [str(LOAD), f"127.0.0.1:{server.port}", *map(str, arguments), "--json"]


def run_load(server, count, *arguments):
    """So many connections, 32 at once; each sends a line of its own and must have it back once, and then the end."""
    result = subprocess.run(load(server, "--concurrency", 32, "--count", count, *arguments), check=True,
                            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=120)
    outcome = json.loads(result.stdout)
    bad = sum(outcome[name] for name in ("wrong", "missing", "refused", "reset", "timed_out", "local"))
    assert outcome["ok"] == outcome["started"] == count and bad == 0 and not outcome["gave_up"], outcome


def measure(server, resting):
    """Descriptors, and KiB of memory, with as many children as in the beginning: another template goes after ten seconds."""
    forkport.until(lambda: not forkport.children(server.pid), "no child to be left")
    forkport.until(lambda: len(forkport.all_children(server.pid)) == resting, f"{resting} that wait for connections", 30)
    return forkport.descriptors(server.pid), int(forkport.status(server.pid, "VmRSS").split()[0])


def check_events(server, count):
    """Every connection was accepted, started and ended once, and its end says what was sent."""
    assert server.log.wait("end", count=count)
    seen = collections.Counter((event["event"], event["connection"]) for event in server.log.read()
                               if "connection" in event)
    assert set(seen.values()) == {1}
    assert len(seen) == 3 * count and {number for _, number in seen} == set(range(1, count + 1))
    ends = server.log.find("end")
    assert {end["exit"] for end in ends} == {0}
    assert min(end["live"] for end in ends) == 0


@pytest.mark.parametrize("options, worker, arguments", [
    ([], [PROGRAM], []), (["--builtin", "echo"], None, ["--half-close"])], ids=["exec", "handler"])
def test_in_a_row(serve, options, worker, arguments):
    server = serve(HERE, *options, worker=worker)
    resting = len(forkport.all_children(server.pid))
    run_load(server, FIRST, *arguments)
    early = measure(server, resting)
    run_load(server, MANY - FIRST, *arguments)
    late = measure(server, resting)
    assert late[0] == early[0] and late[1] - early[1] < 256, (early, late)
    check_events(server, MANY)
    assert server.stop() == 0
    stop = server.log.wait("stop")
    assert (stop["served"], stop["refused"], stop["failed"]) == (MANY, 0, 0)


def faults_of_copies(serve, preexec=None, **env):
    """Page faults of the server for each connection, and of the copy that serves it."""
    server = serve(HERE, "--builtin", "echo", "--log", "text", "--log-file", "/dev/null", log=False, preexec=preexec,
                   env={**os.environ, **env})

    run_load(server, 300, "--half-close")
    forkport.until(lambda: not forkport.all_children(server.pid), "all to be reaped")
    before = forkport.faults(server.pid)
    for _ in range(200):
        assert server.ask(b"line\n") == b"line\n"
    forkport.until(lambda: not forkport.all_children(server.pid), "all to be reaped")
    return [(after - early) / 200 for early, after in zip(before, forkport.faults(server.pid))]


def test_a_copy_costs_the_server_few_pages(serve):
    """Each page that it writes to while a copy lives is copied: one of its stack and one of its thread, in nearly all cases."""
    assert faults_of_copies(serve)[0] < 3


def test_pages_that_both_write_to_are_copied_by_the_fork(serve):
    """Pinned ones (sys/pinned.h). With a filter of system calls, which may kill for it, they are copied when they are written to."""
    if not forkport.may_pin():
        pytest.skip("no io_uring may be had here")
    pinned, ordinary = (
        [min(faults) for faults in zip(*(faults_of_copies(serve, preexec=preexec) for _ in range(3)))]
        for preexec in (None, forkport.KILLED_FOR_IO_URING))
    assert pinned[0] < 0.5 <= ordinary[0] and pinned[1] < ordinary[1] - 1.5


@pytest.mark.parametrize("number", [(157, 167), (274, 100), (186, 178), (425, 425)],
                         ids=["prctl", "get_robust_list", "gettid", "io_uring_setup"])
def test_a_filter_that_kills_for_what_copies_can_do_without(serve, number):
    """It is seen by reading (/proc/self/status), not by asking."""
    preexec = forkport.killed_for(number[platform.machine() == "aarch64"])
    assert serve(HERE, "--builtin", "echo", preexec=preexec).ask(b"line\n") == b"line\n"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do not say whether there are threads")
def test_a_copy_writes_to_few_pages(serve):
    """Not to where the C library keeps environ, nor, where nobody wants to know of forks, to what fork(3) keeps of that."""
    # A start may lie so that one more page of code is come to.
    plain = min(faults_of_copies(serve)[1] for _ in range(5))
    many = {f"VARIABLE_{number}": "" for number in range(128)}
    assert faults_of_copies(serve, **many)[1] > plain + 0.5
    registers = forkport.BUILD / "tests/fixtures/registers.so"
    assert faults_of_copies(serve, LD_PRELOAD=str(registers), FORKS_UNTOLD="")[1] > plain + 1.5


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do not say whether there are threads")
@pytest.mark.parametrize("linked", [["-static"], []], ids=["static", "dynamic"])
def test_who_wants_to_know_of_forks_is_found(tmp_path, linked):
    """In a program that has all in itself too, where there is no table to be read."""
    fixtures = pathlib.Path(__file__).parents[1] / "fixtures"
    command = ["cc", "-D_GNU_SOURCE", *linked, "-iquote", fixtures.parents[1] / "src", "-o", tmp_path / "registered", fixtures / "registered.c"]
    library = forkport.BUILD / "libcore.a"
    if linked and subprocess.run(["cc", "-print-file-name=libc.a"], stdout=subprocess.PIPE, check=True).stdout == b"libc.a\n":
        pytest.skip("there is no static C library")
    subprocess.run([*command, library], check=True)
    assert subprocess.run([tmp_path / "registered"], check=False).returncode == 1
    subprocess.run([*command, fixtures / "registers.c", library], check=True)
    assert subprocess.run([tmp_path / "registered"], check=False).returncode == 0


def test_copies_report_on_the_page_table_of_their_stack(serve):
    maps = pathlib.Path(f"/proc/{serve(HERE, '--builtin', 'echo').pid}/maps").read_text().splitlines()
    stack = next(number for number, line in enumerate(maps) if line.endswith("[stack]"))
    behind = maps[stack + 1]
    if "[vvar" in behind or "[vdso" in behind:
        pytest.skip(f"the kernel has put something there: {behind}")
    end = int(maps[stack].split()[0].partition("-")[2], 16)
    assert behind.startswith(f"{end + resource.getpagesize():x}-") and " rw-s " in behind, "with a page between"
