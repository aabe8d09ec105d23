"""Templates that do what ours would not: the server does not believe them, and goes on."""
import shutil
import subprocess
import time

import pytest

import forkport

LIAR = forkport.BUILD / "tests/fixtures/liar"
POOL = ["--engine", "pool", "--pool-start", "exec"]


@pytest.mark.parametrize("options", [["--engine", "fork"], ["--engine", "pool"], POOL], ids=["fork", "pool", "pool-exec"])
def test_a_template_that_takes_the_boards_memory_away(serve, options):
    """A look at memory that is not there any more would be a fault of the server's."""
    server = serve("127.0.0.1:0", *options, worker=[LIAR, "truncate"])
    for _ in range(20):
        assert server.ask() == b"served\n"
    server.log.wait("pool" if "exec" in options else "template")
    assert server.ask() == b"served\n"
    assert server.stop() == 0


@pytest.mark.parametrize("successor", ["sleep 100", "exit 3"], ids=["slow", "failing"])
def test_a_worn_template_without_a_successor(serve, tmp_path, successor):
    """It serves on, and the server does not go round and round while there is none."""
    program = tmp_path / "program"
    program.write_text("#!/bin/dash\nread -r line\necho $line\n")
    program.chmod(0o755)
    server = serve("127.0.0.1:0", "--engine", "fork", "--gate", "read", "--template-age", 1, worker=[program])
    server.log.wait("template")
    other = tmp_path / "other"
    begun = tmp_path / "begun"
    other.write_text(f"#!/bin/dash\n: >{begun}\n{successor}\n")
    other.chmod(0o755)
    shutil.move(other, program)
    forkport.until(begun.exists, "the template to be worn, and its successor to be started")
    before, began = forkport.cpu_seconds(server.pid), time.monotonic()
    assert server.ask(b"served\n") == b"served\n"
    # The time over which it would spin: what is asked for is that nothing happens.
    time.sleep(1)
    assert forkport.cpu_seconds(server.pid) - before < 0.1 * (time.monotonic() - began)
    # What it has started by then, and what that has, ends with it.
    assert server.stop() == 0


@pytest.mark.parametrize("kind", ["fork", "pool"])
def test_a_template_that_lies_of_its_workers(serve, kind):
    """Whoever it names is no worker: he is not ended in one's place, and does not hold up the end."""
    with subprocess.Popen(["sleep", "100"]) as other:
        try:
            server = serve("127.0.0.1:0", "--engine", kind, "--drain", 0, worker=[LIAR, other.pid])
            forkport.until(lambda: server.ask() == b"served\n" and server.log.find("start", pid=other.pid), "a lie to be heard")
            # It is not believed a second time, when he would serve two.
            forkport.until(lambda: server.ask() and server.log.find("notice"), "another lie to be heard")
            assert server.stop() == 0
            assert other.poll() is None
            lost = [event for event in server.log.find("notice") if "was lost in a template" in event["error"]]
            stop = server.log.find("stop")[0]
            assert (stop["failed"], stop["served"]) == (len(lost), len(server.log.find("accept")) - len(lost))
        finally:
            other.kill()


@pytest.mark.parametrize("options", [["--engine", "fork"], ["--engine", "pool", "--pool-min", 0]], ids=["fork", "pool"])
def test_a_template_that_lost_an_order_and_left_the_next(serve, options):
    """The one that it left is served by another process; the other is lost, which is said."""
    server = serve("127.0.0.1:0", *options, "--templates", 1, worker=[LIAR, "takes"])
    template = server.log.wait("template")["pid"]
    forkport.until(lambda: forkport.state(template) == "T", "the template to be stopped")
    with server.connect() as first, server.connect() as second:
        assert [forkport.read_to_end(client) for client in (first, second)] == [b"", b"served\n"]
    assert "connection #1 was lost" in server.log.wait("notice")["error"]
    assert server.stop() == 0
