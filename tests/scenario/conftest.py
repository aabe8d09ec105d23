"""Fixtures of the scenarios. Whatever they give is gone when the test ends, however it ends."""
import itertools
import os
import shutil
import subprocess

import pytest

import forkport


# What a program is served with; what is asked of all of them, unchanged, by the real programs, and by the rest.
ENGINES = {
    "exec": [],
    "fork": ["--engine", "fork"],
    "fork at read": ["--engine", "fork", "--gate", "read"],
    "pool": ["--engine", "pool"],
    "pool of executed": ["--engine", "pool", "--pool-start", "exec"],
}
# test_shortage injects its failures into the calls that exec makes, which a template makes by itself.
OF_EVERY_ENGINE = {"test_programs": ENGINES} | dict.fromkeys((
    "test_addresses", "test_break", "test_life", "test_limits", "test_stderr", "test_vsftpd"),
    ("exec", "fork", "pool")) | {
        "test_contract": ("exec", "fork", "pool", "pool of executed"), "test_shortage": ("exec", "pool")}


def pytest_configure(config):
    config.addinivalue_line("markers", "no_program: its servers have no program, or an engine of their own, so that engines are all alike to it")


def pytest_generate_tests(metafunc):
    if metafunc.definition.get_closest_marker("no_program"):
        return
    if metafunc.module.__name__ in OF_EVERY_ENGINE and "serve" in metafunc.fixturenames:
        metafunc.parametrize("engine", OF_EVERY_ENGINE[metafunc.module.__name__], indirect=True, scope="function")


@pytest.fixture
def engine(request):
    return getattr(request, "param", "exec")


@pytest.fixture
def serve(tmp_path, engine):
    """Starts servers: serve("127.0.0.1:0", "--max", 3, worker=["cat"]), with the engine of the test."""
    servers, numbers = [], itertools.count()

    def start(*arguments, **more):
        folder = tmp_path / f"server{next(numbers)}"
        folder.mkdir()
        if more.get("worker") and "--engine" not in arguments:
            arguments = [*arguments, *ENGINES[engine]]
        server = forkport.Server(folder, *arguments, **more)
        servers.append(server)
        if "--engine" in arguments and server.log:
            # Before, connections get their processes by exec, and a test of the engine would be one of that.
            said = {"fork": "template", "pool": "pool"}.get(arguments[arguments.index("--engine") + 1])
            forkport.until(lambda: not said or server.log.find(said) or server.log.find("notice"), said)
        return server

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def public_worker():
    with forkport.for_everybody(forkport.WORKER) as path:
        yield path


@pytest.fixture
def public_forkport():
    with forkport.for_everybody(forkport.FORKPORT) as path:
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
def wires(network):
    """Two hosts and the two wires between them, eth0 and eth1, with the addresses that they have there."""
    one, two = network.host("one"), network.host("two")
    for i in (0, 1):
        network.wire(one, two, f"eth{i}")
        for number, host in ((1, one), (2, two)):
            host.run("ip", "addr", "add", f"10.0.{i}.{number}/24", "dev", f"eth{i}")
            host.run("ip", "addr", "add", f"fd00:{i}::{number}/64", "dev", f"eth{i}", "nodad")
    return one, two


@pytest.fixture
def root():
    if os.geteuid() != 0:
        pytest.skip("only root may change users")


@pytest.fixture
def strace():
    if not shutil.which("strace"):
        pytest.skip("there is no program strace")


@pytest.fixture
def mounted(root):
    """What a program is started with to have mounts of its own: mounted("umount --lazy /proc")."""
    def prefix(command):
        words = ["unshare", "--mount", "sh", "-c", f'{command} && exec "$@"', "sh"]
        tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
        if tried.returncode:
            pytest.skip(f"the kernel gives no mount namespace: {tried.stderr.strip()}")
        return words

    return prefix
