"""Runs the examples of a section of a document, as a reader would type them, and compares what they print.

What is found between ``` fences of a manual page or of a Markdown file is, by its first lines:

    $ COMMAND           a session: commands, and behind each what it prints (nothing: then that is not compared).
                        A line that ends in a backslash goes on. A command that starts a server and stays in the
                        foreground is another terminal's: the section goes on when it listens, and what it printed
                        is compared, as far as it is shown, when it has been ended by SIGTERM. Others share one shell.
    #include, /* NAME   a C program, written to NAME (example.c) and compiled
    #!/bin/sh           a script, written to the file that its second line names
    anything else       not run

In what is shown, a number of several digits stands for any number, "..." for anything. It runs in a network, process and mount namespace
of its own (see main()): ports are those of the document, and nothing outlives it.
"""
import json
import os
import pathlib
import re
import select
import shlex
import signal
import subprocess
import sys
import time

SECONDS = 30
MARK = "\x01"
ADDRESSES = ["192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64", "fe80::1/64"]


def blocks_of(text):
    """Yields (heading, block) for each fenced block of a document."""
    heading, block = "", None
    for line in text.split("\n"):
        if block is None and re.match(r"#+ ", line):
            heading = line.lstrip("# ")
        elif line.startswith("```"):
            if block is not None:
                yield heading, "\n".join(block)
            block = [] if block is None else None
        elif block is not None:
            block.append(line)
    assert block is None, "a fence is not closed"


def kind_of(block):
    if re.search(r"^\$ ", block, re.MULTILINE):
        return "session"
    if block.startswith("#!"):
        return "script"
    return "program" if re.match(r"#include|/\* \w+\.c", block) else "text"


def file_of(block):
    named = re.match(r"(?:/\* |#!.*\n# )(\w[\w.-]*)", block)
    return named[1] if named else "example.c"


def steps_of(block):
    """Yields (command, what it shows) of a session."""
    steps = []
    for line in block.split("\n"):
        if line.startswith("$ "):
            steps.append([line[2:], []])
        elif steps and not steps[-1][1] and steps[-1][0].endswith("\\"):
            steps[-1][0] += "\n" + line
        else:
            assert steps, f"a line before the first command: {line}"
            steps[-1][1].append(line)
    return [(command, "\n".join(shown).rstrip()) for command, shown in steps]


def pattern_of(shown):
    """A regular expression for what a document shows."""
    pattern = re.escape(shown).replace(re.escape("..."), ".*")
    return re.sub(r"\d\d+", r"\\d+", pattern)


def is_server(command):
    return command.startswith("forkport serve ") and not re.search(r" &( |$)|--help", command)


def listening():
    """How many sockets listen in this network namespace."""
    lines = [line for table in ("tcp", "tcp6") for line in open(f"/proc/net/{table}")]
    return sum(1 for line in lines if line.split()[3] == "0A")


class Failed(Exception):
    pass


def wait_until(condition, complaint):
    """For what the kernel tells nobody about."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(complaint)
        select.select([], [], [], 0.005)


# Of a build with the address sanitizer, about a child that has a stack of ours.
SANITIZER = re.compile(r"==\d+==WARNING: ASan is ignoring .*\nFalse positive .*\nFor details .*\n")


def compare(command, shown, printed, whole=True):
    match = re.fullmatch if whole else re.match
    printed = SANITIZER.sub("", printed)
    printed = "\n".join(line.rstrip() for line in printed.replace("\r", "").rstrip().split("\n"))
    if shown and not match(pattern_of(shown), printed):
        raise Failed(f"$ {command}\n--- the document shows\n{shown}\n--- it prints\n{printed}")


class Server:
    """A command that listens, in a terminal of its own."""

    def __init__(self, command, shown):
        self.command, self.shown = command, shown
        before = listening()
        self.output = open(f".output-{id(self)}", "w+")
        self.process = subprocess.Popen(["bash", "-c", "exec " + command], stdin=subprocess.DEVNULL,
                                        stdout=self.output, stderr=subprocess.STDOUT)
        wait_until(lambda: listening() > before or self.process.poll() is not None,
                   f"$ {command}\n--- it does not listen")

    def has_workers(self):
        try:
            return pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text() != ""
        except (FileNotFoundError, ProcessLookupError):
            return False

    def printed(self):
        """What it has said so far, to be read by people."""
        self.output.seek(0)
        return f"$ {self.command}\n--- it has printed\n{self.output.read()}"

    def end(self):
        wait_until(lambda: not self.has_workers(), f"$ {self.command}\n--- its workers do not end")
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(SECONDS)
        self.output.seek(0)
        printed = self.output.read()
        compare(self.command, self.shown, printed, whole=False)
        if code not in (0, -signal.SIGTERM) and "forkport: " not in self.shown:
            raise Failed(f"$ {self.command}\n--- ended with {code}:\n{printed}")


class Shell:
    def __init__(self):
        self.process = subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, bufsize=0)

    def run(self, command):
        """What a command prints, and its exit status."""
        script = f"{command}\nsession_status=$?; printf '{MARK}%d\\n' $session_status; (exit $session_status)\n"
        os.write(self.process.stdin.fileno(), script.encode())
        printed, deadline = b"", time.monotonic() + SECONDS
        while not re.search(rb"\x01\d+\n$", printed):
            ready = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]
            piece = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not piece:
                raise Failed(f"$ {command}\n--- it does not end; it printed\n{printed.decode(errors='replace')}")
            printed += piece
        text, _, status = printed.decode(errors="replace").rpartition(MARK)
        return text, int(status)

    def end(self):
        self.process.stdin.close()
        self.process.wait(SECONDS)


def run_command(shell, command, shown):
    before, background = listening(), command.endswith("&")
    printed, status = shell.run(command)
    if background:
        wait_until(lambda: listening() > before, f"$ {command}\n--- it does not listen")
        return
    compare(command, shown, printed)
    if status != 0 and "cannot" not in shown and not command.startswith("echo"):
        raise Failed(f"$ {command}\n--- ended with {status}:\n{printed}")


def write_program(block):
    name = file_of(block)
    pathlib.Path(name).write_text(block + "\n")
    if kind_of(block) == "script":
        os.chmod(name, 0o755)
        return
    subprocess.run(f"cc -Wall -Wextra -Werror -o {shlex.quote(name[:-2])} {shlex.quote(name)} "
                   "$(pkg-config --cflags --libs forkport)", shell=True, check=True, timeout=SECONDS)


def run_section(blocks, servers):
    shell = Shell()
    for block in blocks:
        kind = kind_of(block)
        if kind in ("program", "script"):
            write_program(block)
        for command, shown in steps_of(block) if kind == "session" else []:
            if is_server(command):
                servers.append(Server(command, shown))
            else:
                run_command(shell, command, shown)
    for server in servers:
        server.end()
    shell.end()


def set_up_host():
    """A host with the addresses that the documents use, and nothing of the real one's but its files."""
    for command in ["ip link set lo up", "ip link add eth0 type veth peer name eth1", "ip link set eth1 up",
                    "ip link set eth0 up",
                    *(f"ip address add {address} dev eth0 {'nodad' if ':' in address else ''}"
                      for address in ADDRESSES), "ip route add default via 192.0.2.254", "mount -t tmpfs tmpfs /srv"]:
        subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL, timeout=SECONDS)


def main():
    """In the namespaces that unshare(1) has made: the blocks come as JSON on standard input."""
    blocks = json.load(sys.stdin)
    set_up_host()
    servers = []
    try:
        run_section(blocks, servers)
    except Failed as failed:
        sys.exit("\n".join([str(failed), *(server.printed() for server in servers)]))


if __name__ == "__main__":
    main()
