"""Many connections held, and ended together. It looks at the time that takes, so tools/test runs it when nothing else runs."""
import json
import subprocess
import time

import pytest

import forkport
import test_scale

HERE = "127.0.0.1:0"
HELD = 5000

pytestmark = test_scale.pytestmark


@pytest.mark.parametrize("options, worker", [([], ["cat"]), (["--builtin", "echo"], None)], ids=["exec", "handler"])
def test_held_and_ended_together(serve, options, worker):
    server = serve(HERE, *options, "--max", HELD, worker=worker)
    with subprocess.Popen(test_scale.load(server, "--hold", HELD, "--prove", "--timeout", 60), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as clients:
        try:
            assert json.loads(clients.stdout.readline())["held"] == HELD
            server.log.wait("start", count=HELD)
            # One that is started ahead has none of its marks for a moment.
            workers = forkport.until(lambda: len(pids := forkport.children(server.pid)) <= HELD and pids, f"{HELD} workers")
            assert len(workers) == len(set(workers)) == HELD, "a process each"
            descriptors = forkport.descriptors(server.pid)
            clients.stdin.close()
            outcome = json.loads(clients.stdout.readline())
            assert clients.wait(forkport.DEADLINE) == 0
        finally:
            clients.kill()
    # Here the last client has seen the end of its stream, which its worker's end is.
    ended = time.monotonic()
    forkport.until(lambda: not forkport.children(server.pid), "all to be reaped")
    assert forkport.descriptors(server.pid) == descriptors < 64, "none for a connection that has its process"
    server.log.wait("end", count=HELD)
    # A second, or on a busy machine as long as the ending itself took.
    assert time.monotonic() - ended < max(1, outcome["seconds"])
    assert outcome["ok"] == HELD and outcome["lost_early"] == 0, outcome
    test_scale.check_events(server, HELD)
    line = 34  # of the load generator
    known = [end for end in server.log.find("end") if "bytes_in" in end]
    assert {(end["bytes_in"], end["bytes_out"]) for end in known} == {(line, line)}
    assert len(known) == HELD, "the bytes of every one are known"
    assert server.stop() == 0
    assert server.log.wait("stop")["served"] == HELD
