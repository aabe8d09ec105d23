"""What the tests of examples and documents share: forkport as it is installed, and a host to try it on."""
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("FORKPORT_BUILD", ROOT / "build")).resolve()
HERE = pathlib.Path(__file__).resolve().parent


@functools.lru_cache
def namespaces():
    """The command that makes the namespaces of a session; a text where it cannot: the reason."""
    if not shutil.which("unshare") or not shutil.which("ip"):
        return "unshare(1) or ip(8) is not there"
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        command.append("--map-root-user")
    tried = subprocess.run([*command, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"], capture_output=True, text=True,
                           timeout=60)
    return command if tried.returncode == 0 else f"no namespaces here: {tried.stderr.strip()}"


class Installed:
    """What `make install` leaves, below a folder."""

    def __init__(self, root):
        self.root = root
        subprocess.run(["meson", "install", "-C", str(BUILD), "--no-rebuild", "--quiet"], check=True, timeout=120,
                       stdout=subprocess.DEVNULL, env={**os.environ, "DESTDIR": str(root)})
        self.program = next(root.rglob("bin/forkport"))
        self.library = next(root.rglob("libforkport.so")).parent
        self.pkgconfig = next(root.rglob("forkport.pc")).parent
        self.sanitized = b"__asan_init" in self.program.read_bytes()

    def file(self, pattern):
        return next(self.root.rglob(pattern))

    def environment(self, folder):
        """To type commands in, in a folder: forkport and its library are found, as after an installation."""
        tools = folder / ".bin"
        tools.mkdir(exist_ok=True)
        if self.sanitized:
            compiler = tools / "cc"
            compiler.write_text(f'#!/bin/sh\nexec {shutil.which("cc")} -fsanitize=address,undefined "$@"\n')
            compiler.chmod(0o755)
        path = os.pathsep.join([str(tools), str(self.program.parent), os.environ["PATH"], "/usr/sbin", "/sbin"])
        return {**os.environ, "PATH": path, "LD_LIBRARY_PATH": str(self.library), "HOME": str(folder), "LC_ALL": "C",
                "PKG_CONFIG_PATH": str(self.pkgconfig), "PKG_CONFIG_SYSROOT_DIR": str(self.root), "TZ": "UTC"}

    def run_session(self, blocks):
        """Runs blocks of a document (session.py) in a folder that has the examples' files."""
        if isinstance(namespaces(), str):
            pytest.skip(namespaces())
        if os.geteuid() != 0 and any("--user" in block for block in blocks):
            pytest.skip("--user needs root")
        # Workers of another user come here: not below pytest's own folder, which each pytest that starts closes to others.
        with tempfile.TemporaryDirectory(prefix="forkport-session-") as name:
            folder = pathlib.Path(name)
            folder.chmod(0o711)
            for example in (ROOT / "examples").iterdir():
                if example.suffix in (".c", ".sh"):
                    shutil.copy(example, folder)
            tried = subprocess.run([*namespaces(), sys.executable, str(HERE / "session.py")], input=json.dumps(blocks),
                                   cwd=folder, env=self.environment(folder), capture_output=True, text=True, timeout=120)
        assert tried.returncode == 0, tried.stderr


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    return Installed(tmp_path_factory.mktemp("installed"))
