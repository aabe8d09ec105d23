"""A `forkport serve` of the benchmark's own, with what can be seen of it from outside, and the load it gets."""

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time

import account
import contestants
import report

START_SECONDS = 60.0  # a template of many megabytes takes its time
POLL_SECONDS = 0.002

# What is between a connection and its process: options, and whether the program is given. All echo to the end.
ENGINES = {
    "exec": (["--engine", "exec"], True),
    "fork": (["--engine", "fork"], True),
    "pool": (["--engine", "pool"], True),
    "handler": (["--builtin", "echo"], False),
}


class Failed(Exception):
    """What cannot be measured, and why."""


def await_true(condition, seconds, what):
    """None of these can be waited for in the kernel: they are states of processes that are not ours."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"{what} within {seconds:.0f} s")
        time.sleep(POLL_SECONDS)


def memory_bytes(*names):
    """Of the whole machine, by their names in /proc/meminfo.

    MemAvailable with the free pages that the processors keep for themselves, which the kernel counts as used: after
    the end of many processes they are hundreds of megabytes, and the next ones are made of them.
    """
    with open("/proc/meminfo", encoding="ascii") as file:
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in file}
    with open("/proc/zoneinfo", encoding="ascii") as file:
        kept_pages = sum(int(count) for count in re.findall(r"^ +count: +(\d+)$", file.read(), re.MULTILINE))
    sizes["MemAvailable"] += kept_pages * os.sysconf("SC_PAGE_SIZE")
    return {name: sizes[name] for name in names}


def children(pid):
    """The pids of a process of one thread's children."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def footprint(pid):
    """What a process holds: resident and private KiB, and descriptors."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        sizes = {line.split()[0]: int(line.split()[1]) for line in file if line.endswith("kB\n")}
    return {"rss_kib": sizes["Rss:"], "private_kib": sizes["Private_Clean:"] + sizes["Private_Dirty:"],
            "fds": len(os.listdir(f"/proc/{pid}/fd"))}


class Service:
    """Started in the accounting's cgroup; `log` is the file of its events, in JSON, or what takes them."""

    def __init__(self, build, engine, program, cgroup, options=(), log=subprocess.DEVNULL, environment=None):
        arguments, with_program = ENGINES[engine]
        ready_read, ready_write = os.pipe()
        command = [os.path.join(build, "forkport"), "serve", "127.0.0.1:0", "--ready-fd", str(ready_write),
                   "--log", "json", *arguments, *options, *(["--", *program] if with_program else [])]
        self.engine, self.cgroup = engine, cgroup
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                                        pass_fds=(ready_write,), preexec_fn=cgroup.enter,
                                        env={**contestants.ENVIRONMENT, **(environment or {})})
        os.close(ready_write)
        with open(ready_read, encoding="utf-8") as ready:
            pair = ready.readline()
        if not pair:
            raise Failed("forkport did not come to listen")
        self.port = int(pair.split(",")[0].rpartition(":")[2])

    def rest(self):
        """The pids of the processes it keeps between connections: templates, and what waits ahead."""
        return children(self.process.pid)

    def await_rest(self, count):
        await_true(lambda: len(self.rest()) == count, START_SECONDS, f"{self.engine}: not {count} children")

    def end(self, seconds=60):
        """Its exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=seconds)


def load(build, port, *arguments):
    """The load program's result, whether all went well or not."""
    command = [os.path.join(build, "bench", "load"), f"127.0.0.1:{port}", "--json", "--half-close", *arguments]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if not result.stdout:
        raise Failed("the load program: " + result.stderr.strip())
    return json.loads(result.stdout.splitlines()[-1])


@contextlib.contextmanager
def isolated():
    """The accounting, in a network namespace of this run's own; what is left over is ended."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    account.subreaper_become()
    if not account.network_isolate():
        raise Failed("the kernel gives no network namespace")
    cgroup = account.Cgroup()
    try:
        yield cgroup
    finally:
        account.everything_end(cgroup)
        cgroup.remove()


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="forkport-bench-") as path:
        yield path


def json_write(path, measured):
    if path:
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"machine": report.machine(), "command": " ".join(["bench/" + os.path.basename(sys.argv[0]), *sys.argv[1:]]),
                       "load_average": os.getloadavg()[0], **measured}, file, indent=1)
            file.write("\n")


def limit_raise(kind, wanted):
    """A limit of ours and of all we start. Says what stands in the way, "" if nothing."""
    soft, hard = resource.getrlimit(kind)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return ""
    try:
        resource.setrlimit(kind, (wanted, hard if hard == resource.RLIM_INFINITY else max(hard, wanted)))
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def run(main):
    """main() with its reasons told; its value is the exit status."""
    try:
        return main()
    except Failed as failure:
        print(f"{os.path.basename(sys.argv[0])}: cannot measure: {failure}", file=sys.stderr)
        return 71
