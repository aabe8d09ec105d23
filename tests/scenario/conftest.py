"""Fixtures of the scenarios. Whatever they give is gone when the test ends, however it ends."""
import itertools
import os
import pathlib
import shutil
import tempfile

import pytest

import forkport


@pytest.fixture
def serve(tmp_path):
    """Starts servers: serve("127.0.0.1:0", "--max", 3, worker=["cat"])."""
    servers, numbers = [], itertools.count()

    def start(*arguments, **more):
        folder = tmp_path / f"server{next(numbers)}"
        folder.mkdir()
        servers.append(forkport.Server(folder, *arguments, **more))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def public_worker():
    """The worker where every user may run it; the build and pytest's folders may lie behind closed doors."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = pathlib.Path(folder) / "worker"
        shutil.copy(forkport.WORKER, path)
        path.chmod(0o755)
        yield path


@pytest.fixture
def network():
    reason = forkport.why_no_network()
    if reason:
        pytest.skip(reason)
    made = forkport.Network()
    yield made
    made.close()


@pytest.fixture
def root():
    if os.geteuid() != 0:
        pytest.skip("only root may change users")


@pytest.fixture
def strace():
    if not shutil.which("strace"):
        pytest.skip("there is no program strace")
