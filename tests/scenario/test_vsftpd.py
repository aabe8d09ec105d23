"""Real input: Debian's vsftpd in its inetd mode on port 21 of a host of its own, curl and lftp on another.

The book's picture: two clients of one host are connected to one server port; the socket pairs differ in the foreign
port alone, and each is served by a process of its own.
"""
import hashlib
import os
import pwd
import random
import re
import shutil
import subprocess
import tempfile

import pytest

import forkport

ONE, TWO, CLIENT = "192.0.2.1", "192.0.2.2", "192.0.2.9"
CONFIGURATION = """
listen=NO
anonymous_enable=YES
no_anon_password=YES
anon_root={folder}/files
ftp_username={user}
nopriv_user=nobody
secure_chroot_dir={folder}/empty
xferlog_enable=NO
"""


def find(program):
    """Where it is installed, or was unpacked by tools/deps."""
    unpacked = [str(forkport.ROOT / "build-deps/usr" / folder) for folder in ("sbin", "bin")]
    return shutil.which(program, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin", *unpacked]))


def anonymous():
    """A user to be for anonymous clients: vsftpd wants one with a home that is there."""
    return next(entry.pw_name for entry in pwd.getpwall()
                if entry.pw_uid and os.path.isdir(entry.pw_dir) and os.stat(entry.pw_dir).st_uid == 0)


@pytest.fixture
def ftp(root, network):
    """The two hosts, and what vsftpd needs: its command, its environment, and a folder of files."""
    missing = [name for name in ("vsftpd", "curl", "lftp", "ss") if not find(name)]
    if missing:
        pytest.skip(f"there is no program {', '.join(missing)}")
    server, client = network.host("server"), network.host("client")
    network.wire(server, client)
    for host, addresses in ((server, (ONE, TWO)), (client, (CLIENT,))):
        for address in addresses:
            host.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
    with tempfile.TemporaryDirectory() as folder:
        path = forkport.pathlib.Path(folder)
        path.chmod(0o755)
        for name in ("files", "empty"):
            (path / name).mkdir(mode=0o755)
        (path / "files/big").write_bytes(random.Random(1).randbytes(24 << 20))
        (path / "files/small").write_bytes(b"small\n" * 1000)
        (path / "conf").write_text(CONFIGURATION.format(folder=folder, user=anonymous()))
        yield Ftp(server, client, path)


class Ftp:
    """A server host and a client host."""

    def __init__(self, server, client, folder):
        self.server, self.client, self.folder = server, client, folder
        self.command = [find("vsftpd"), folder / "conf"]
        # Its libraries lie beside it where it was unpacked.
        unpacked = {str(path.parent) for path in (forkport.ROOT / "build-deps").rglob("lib*.so.*")}
        self.how = {"prefix": server.prefix, "env": {**os.environ, "LD_LIBRARY_PATH": ":".join(sorted(unpacked))}}

    def curl(self, *arguments):
        """curl on the client host, to its end: its exit code and what it wrote."""
        result = subprocess.run([*self.client.prefix, "curl", "-sS", *arguments], capture_output=True,
                                timeout=forkport.DEADLINE, check=False)
        return result.returncode, result.stdout

    def established(self):
        """The connected sockets on local port 21: (local, foreign) each."""
        lines = self.server.run("ss", "-Htn", "state", "established", "sport", "=", ":21").splitlines()
        ends = [re.findall(r"(?:::ffff:)?([\d.]+)\]?:(\d+)", line) for line in lines]
        return sorted(((local, int(port)), (foreign, int(foreign_port)))
                      for (local, port), (foreign, foreign_port) in ends)


def read_until(pipe, wanted):
    """Lines of a program's output, up to the one that is wanted."""
    for line in forkport.lines_of(pipe.fileno()):
        if wanted in line:
            return
    raise AssertionError(f"{wanted} did not come")


def test_two_clients_of_one_host_on_one_port(serve, ftp):
    server = serve("*:21", "--name", "ftp", worker=ftp.command, **ftp.how)
    # Held open: curl is slow by itself, and nobody takes what it writes.
    with subprocess.Popen([*ftp.client.prefix, "curl", "-sS", "--limit-rate", "32M", f"ftp://{ONE}/big"],
                          stdout=subprocess.PIPE) as slow:
        try:
            digest = hashlib.sha256(os.read(slow.stdout.fileno(), 1000))
            first = server.log.wait("start", connection=1)

            code, listing = ftp.curl(f"ftp://{TWO}/")
            assert code == 0 and b" big\n" in listing and b" small\n" in listing
            server.log.wait("end", connection=2)

            with subprocess.Popen([*ftp.client.prefix, "lftp", "-d"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, env={**os.environ, "HOME": str(ftp.folder)}) as quick:
                quick.stdin.write(f"open {TWO}; cls; get small -o {ftp.folder}/got; echo fetched\n".encode())
                quick.stdin.flush()
                read_until(quick.stdout, b"fetched")
                assert (ftp.folder / "got").read_bytes() == b"small\n" * 1000
                third = server.log.wait("start", connection=3)
                assert slow.poll() is None, "the first download is still under way"

                # Both stand: one local port, the local addresses they chose, one foreign address, two foreign ports.
                pairs = ftp.established()
                assert [local for local, _ in pairs] == [(ONE, 21), (TWO, 21)]
                assert {foreign for _, (foreign, _) in pairs} == {CLIENT}
                assert len({port for _, (_, port) in pairs}) == 2
                said = [f"{{{local}:{port}, {foreign}:{foreign_port}}}"
                        for (local, port), (foreign, foreign_port) in pairs]
                assert [first["pair"], third["pair"]] == said

                # Each has its own process, which vsftpd runs in.
                workers = {first["pid"], third["pid"]}
                # One that is started ahead has none of its marks for a moment.
                forkport.until(lambda: set(forkport.children(server.pid)) == workers, "these two and no more")
                assert {forkport.status(pid, "Name") for pid in workers} == {"vsftpd"} and len(workers) == 2
                quick.stdin.write(b"bye\n")
                quick.stdin.close()
                assert quick.wait(forkport.DEADLINE) == 0
            server.log.wait("end", connection=3)
            forkport.until(lambda: forkport.children(server.pid) == [first["pid"]], "the other one to be left alone")

            while part := slow.stdout.read(1 << 20):
                digest.update(part)
            assert slow.wait(forkport.DEADLINE) == 0
        finally:
            slow.kill()
    assert digest.digest() == hashlib.sha256((ftp.folder / "files/big").read_bytes()).digest()
    server.log.wait("end", connection=1, pid=first["pid"])
    assert server.stop() == 0
    assert server.log.wait("stop")["served"] == 3


def test_one_of_two_addresses(serve, ftp):
    serve(f"{TWO}:21", worker=ftp.command, **ftp.how)
    code, got = ftp.curl(f"ftp://{TWO}/small")
    assert code == 0 and got == b"small\n" * 1000
    refused = 7
    assert ftp.curl(f"ftp://{ONE}/small")[0] == refused


def test_a_list_of_both(serve, ftp):
    server = serve(f"{ONE}:21,{TWO}:ftp", worker=ftp.command, **ftp.how)
    assert server.pairs == [f"{{{ONE}:21, *:*}}", f"{{{TWO}:21, *:*}}"]
    for number, address in enumerate((ONE, TWO), 1):
        code, got = ftp.curl(f"ftp://{address}/small")
        assert code == 0 and got == b"small\n" * 1000
        assert server.log.wait("end", connection=number)["pair"].startswith(f"{{{address}:21, {CLIENT}:")
