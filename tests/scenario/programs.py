"""Real programs, how each is served, and what its real client does with it.

LINE_SCRIPTS are shells and interpreters with a script that answers a line. DAEMONS are classes: an instance prepares
what its program needs in a folder, has the command to serve, and uses a server of it as an operator's users would.
"""
import collections
import hashlib
import os
import pathlib
import pwd
import random
import shutil
import subprocess

import forkport
import test_vsftpd

SCRIPTS = forkport.ROOT / "tests/fixtures/scripts"
SMALL = b"small\n" * 1000
BIG_BYTES = 100 << 20

# The last is found by its #! line, as most scripts of an inetd.conf are.
LINE_SCRIPTS = {
    "dash": ["dash", SCRIPTS / "line.sh"],
    "bash": ["bash", SCRIPTS / "line.sh"],
    "busybox-ash": ["busybox", "ash", SCRIPTS / "line.sh"],
    "perl": ["perl", SCRIPTS / "line.pl"],
    "ruby": ["ruby", SCRIPTS / "line.rb"],
    "lua": ["lua5.4", SCRIPTS / "line.lua"],
    "php": ["php", SCRIPTS / "line.php"],
    "tcl": ["tclsh", SCRIPTS / "line.tcl"],
    "guile": ["guile", "--no-auto-compile", SCRIPTS / "line.scm"],
    "node": ["node", SCRIPTS / "line.js"],
    "python": ["/usr/bin/python3", SCRIPTS / "line.py"],
    "python-imports": ["/usr/bin/python3", SCRIPTS / "imports.py"],
    "python-runner": [forkport.BUILD / "forkport-python", SCRIPTS / "imports.py"],
    "by-its-first-line": [SCRIPTS / "line.sh"],
}

# Ruby has a timer by then (timer_create(2)), which it would use against the races of its threads with signals.
UNFIT_AT_READ = {"ruby"}

# Of the same program: static; dynamic, but not entered by way of the C library; linked as a C program is.
GoBuild = collections.namedtuple("GoBuild", "fits env flags")
GO_BUILDS = {
    "static": GoBuild(False, {"CGO_ENABLED": "0"}, []),
    "dynamic": GoBuild(False, {"CGO_ENABLED": "1"}, []),
    "linked-as-c": GoBuild(True, {"CGO_ENABLED": "1"}, ["-ldflags=-linkmode=external"]),
}


def why_missing(*programs):
    """Why these cannot be run, or "" where they can."""
    missing = [str(program) for program in programs if not test_vsftpd.find(program)]
    return f"there is no program {', '.join(missing)}" if missing else ""


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Files:
    """A folder that everybody may read, with a small file and a big one of random bytes."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.chmod(0o755)
        self.public = self.folder / "public"
        self.public.mkdir(mode=0o755)
        (self.public / "small").write_bytes(SMALL)
        with open(self.public / "big", "wb") as file:
            chance = random.Random(1)
            for _ in range(BIG_BYTES >> 20):
                file.write(chance.randbytes(1 << 20))
        self.big_sha256 = sha256(self.public / "big")


class Daemon:
    """How a program is served.

    `greeting` is a part of what its clients say first, `ends` the exit statuses after a small use, `clients` how many
    small uses a test makes, `through` whether the big file goes through the connection itself, `greets` whether it
    says something before it reads, and `fits` whether that lets it be what the engine of the test asks for.
    """

    needs, options, prefix, env, command = (), (), (), {}, ()
    greeting, ends, clients, through, greets, fits = b"", {0}, 50, True, False, True

    def __init__(self, files):
        self.files = files

    @classmethod
    def why_not(cls):
        return why_missing(*cls.needs)

    def serve(self, serve, *options):
        return serve("127.0.0.1:0", "--max", 100, "--max-per-source", 100, *self.options, *options,
                     worker=self.command, prefix=self.prefix, env={**os.environ, **self.env}, fits=self.fits)

    def client(self, *command, status=0):
        """What a client writes, which must end with this status."""
        done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=forkport.DEADLINE * 3, env={**os.environ, **self.env}, check=False)
        assert done.returncode == status, (command, done.returncode, done.stderr.decode(errors="backslashreplace"))
        return done.stdout

    def use_small(self, server):
        """The small file, or what stands for it, is what the client gets."""
        raise NotImplementedError

    def start_big(self, server, folder):
        """Its client, fetching the big file, in a process group of its own."""
        return self._start(*self._big_command(server, folder))

    def _start(self, *command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL):
        return subprocess.Popen([str(word) for word in command], stdin=stdin, stdout=stdout, start_new_session=True,
                                env={**os.environ, **self.env})

    def _big_command(self, server, folder):
        raise NotImplementedError

    def check_big(self, folder):
        """What its client has fetched into the folder is right."""
        assert sha256(folder / "big") == self.files.big_sha256


class Git(Daemon):
    """git daemon --inetd, and git clone."""

    needs, greeting = ("git",), b"0033git-upload-pack /repo"
    env = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}

    def __init__(self, files):
        super().__init__(files)
        # Not `git daemon`, which only starts it, and waits: the gate would not be in the same process.
        where = self.client("git", "--exec-path").decode().strip()
        self.command = [f"{where}/git-daemon", "--inetd", "--export-all", f"--base-path={files.folder}"]
        self.repository = files.folder / "repo"
        if not self.repository.exists():
            shutil.copytree(files.public, self.repository)
            self._git("init", "--quiet")
            # Random bytes do not get smaller, and looking for that takes seconds.
            for name, value in (("core.compression", "0"), ("pack.window", "0"), ("user.name", "t"),
                                ("user.email", "t@localhost")):
                self._git("config", name, value)
            self._git("add", ".")
            self._git("commit", "--quiet", "--message=both")
        self.head = self._git("rev-parse", "HEAD").strip()

    def _git(self, *arguments):
        return self.client("git", "-C", self.repository, *arguments)

    def use_small(self, server):
        assert self.client("git", "ls-remote", f"git://127.0.0.1:{server.port}/repo", "HEAD") == self.head + b"\tHEAD\n"

    def _big_command(self, server, folder):
        return "git", "clone", "--quiet", f"git://127.0.0.1:{server.port}/repo", folder / "clone"

    def check_big(self, folder):
        super().check_big(folder / "clone")
        assert self.client("git", "-C", folder / "clone", "rev-parse", "HEAD").strip() == self.head
        assert (folder / "clone/small").read_bytes() == SMALL


class Rsync(Daemon):
    """rsync --daemon, which sees by itself that its standard input is a connection; rsync lists and fetches."""

    # So it ends when all it was asked for is a list.
    needs, greeting, ends = ("rsync",), b"@RSYNCD: 31.0\nfil", {255}

    def __init__(self, files):
        super().__init__(files)
        configuration = files.folder / "rsyncd.conf"
        configuration.write_text("use chroot = no\nreverse lookup = no\n"
                                 f"[files]\npath = {files.public}\ncomment = all of them\n")
        program = test_vsftpd.find("rsync")
        if os.geteuid() == 0:
            self.options = ("--user", "nobody")
            # Where that user may run it, wherever it was unpacked.
            program = shutil.copy(program, files.folder)
        self.command = [program, "--daemon", f"--config={configuration}"]

    def use_small(self, server):
        listed = self.client(test_vsftpd.find("rsync"), f"rsync://127.0.0.1:{server.port}/")
        assert listed.split() == b"files all of them".split()

    def _big_command(self, server, folder):
        return test_vsftpd.find("rsync"), "--recursive", f"rsync://127.0.0.1:{server.port}/files/", folder

    def check_big(self, folder):
        super().check_big(folder)
        assert (folder / "small").read_bytes() == SMALL


class BusyboxHttpd(Daemon):
    """An HTTP server for inetd, and curl."""

    needs, greeting = ("busybox", "curl"), b"GET /small HT"

    def __init__(self, files):
        super().__init__(files)
        self.command = ["busybox", "httpd", "-i", "-h", files.public]

    def use_small(self, server):
        assert self.client("curl", "-sS", f"http://127.0.0.1:{server.port}/small") == SMALL

    def _big_command(self, server, folder):
        return "curl", "-sS", "-o", folder / "big", f"http://127.0.0.1:{server.port}/big"


class MicroHttpd(BusyboxHttpd):
    """Another one."""

    needs = ("micro-httpd", "curl")

    def __init__(self, files):
        super().__init__(files)
        self.command = [test_vsftpd.find("micro-httpd"), files.public]


class Vsftpd(Daemon):
    """vsftpd and curl; with lftp, and by the book's addresses, in test_vsftpd.py."""

    # 2 where curl did not wait for the answer to its QUIT.
    needs, greeting, ends, through = ("vsftpd", "curl"), b"USER anonym", {0, 2}, False

    def __init__(self, files):
        super().__init__(files)
        configuration = files.folder / "vsftpd.conf"
        (files.folder / "files").symlink_to(files.public)
        (files.folder / "empty").mkdir()
        configuration.write_text(
            test_vsftpd.CONFIGURATION.format(folder=files.folder, user=test_vsftpd.anonymous()))
        self.command = [test_vsftpd.find("vsftpd"), configuration]

    @classmethod
    def why_not(cls):
        return super().why_not() or ("" if os.geteuid() == 0 else "vsftpd changes users, which only root may")

    def use_small(self, server):
        assert self.client("curl", "-sS", f"ftp://127.0.0.1:{server.port}/small") == SMALL

    def _big_command(self, server, folder):
        return "curl", "-sS", "-o", folder / "big", f"ftp://127.0.0.1:{server.port}/big"


# What sshd wants of a host, made where nobody else sees it: its folder in /run, and the users in files.
OWN_HOST = """
mount -t tmpfs -o mode=755 tmpfs /run && mkdir -m 755 /run/sshd &&
mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group && mount --bind "$1/shadow" /etc/shadow &&
shift && exec "$@"
"""
SSHD = """
HostKey {folder}/host
AuthorizedKeysFile {folder}/key.pub
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
PidFile none
UseDNS no
"""


class Sshd(Daemon):
    """sshd -i, and ssh, with keys made for the test: as whom the tests run, who logs in as themselves."""

    greets = True
    # So it ends when its client is the one that says goodbye. The handshake costs 100 ms of CPU.
    needs, greeting, ends, clients = ("sshd", "ssh", "ssh-keygen", "unshare"), b"SSH-2.0-", {255}, 20
    user = pwd.getpwuid(os.geteuid()).pw_name
    ids = os.geteuid(), os.getegid()

    def __init__(self, files):
        super().__init__(files)
        # Where another user is to read them, and the program: not below a folder of root's.
        self.folder = files.folder / f"sshd-{self.user}"
        self.folder.mkdir(mode=0o755)
        for name in ("host", "key"):
            self.client("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name)
        os.chown(self.folder / "host", *self.ids)
        (self.folder / "known").write_text("served " + (self.folder / "host.pub").read_text())
        (self.folder / "sshd_config").write_text(SSHD.format(folder=self.folder))
        program = shutil.copy(test_vsftpd.find("sshd"), self.folder)
        self.command = [program, "-i", "-e", "-f", self.folder / "sshd_config"]
        if os.geteuid() == 0:
            self._make_host()

    @classmethod
    def why_not(cls):
        if reason := super().why_not():
            return reason
        if os.geteuid() == 0:
            tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
            return tried.stderr.strip() and f"the kernel gives no mount namespace: {tried.stderr.strip()}"
        if not os.access("/etc/shadow", os.R_OK):
            return "sshd takes an account whose line of /etc/shadow it cannot read for a locked one"
        shell = pwd.getpwuid(os.geteuid()).pw_shell
        return "" if shell.endswith("sh") else f"nobody logs in as {cls.user}, whose shell is {shell}"

    def _make_host(self):
        users = {"root": ("0:0", "/"), "sshd": ("64122:64122", "/run/sshd"), "nobody": ("65534:65534", "/"),
                 "tester": ("64123:64123", self.folder)}
        for name, line in (("passwd", "{user}:x:{ids}::{home}:/bin/sh\n"), ("group", "{user}:x:{gid}:\n"),
                           ("shadow", "{user}:*:19000:0:99999:7:::\n")):
            (self.folder / name).write_text("".join(
                line.format(user=user, ids=ids, gid=ids.split(":")[1], home=home)
                for user, (ids, home) in users.items()))
        self.prefix = ["unshare", "--mount", "sh", "-c", OWN_HOST, "sh", self.folder]

    def ssh(self, server, *command):
        """The command that runs another on the other side. Whose key this is, it has been told."""
        return ["ssh", "-F", "none", "-i", self.folder / "key", "-o", f"UserKnownHostsFile={self.folder}/known",
                "-o", "GlobalKnownHostsFile=none", "-o", "HostKeyAlias=served", "-o", "BatchMode=yes",
                "-o", "IdentitiesOnly=yes", "-p", server.port, f"{self.user}@127.0.0.1", *command]

    def use_small(self, server):
        said = self.client(*self.ssh(server, "id -u; printf '%s\\n' \"${SSH_CONNECTION##* }\"; exit 7"), status=7)
        assert said == f"{self.ids[0]}\n{server.port}\n".encode()

    def start_big(self, server, folder):
        """There and back again."""
        with open(self.files.public / "big", "rb") as there, open(folder / "big", "wb") as back:
            return self._start(*self.ssh(server, "cat"), stdin=there, stdout=back)


class SshdOfAnother(Sshd):
    """sshd -i as somebody who is not root, who logs in as themselves."""

    user, ids, options = "tester", (64123, 64123), ("--user", "tester")

    @classmethod
    def why_not(cls):
        return super().why_not() if os.geteuid() == 0 else "only root may change users"


DAEMONS = {
    "git": Git,
    "rsync": Rsync,
    "busybox-httpd": BusyboxHttpd,
    "micro-httpd": MicroHttpd,
    "vsftpd": Vsftpd,
    "sshd": Sshd,
    "sshd-not-root": SshdOfAnother,
}
