"""The kernel's accounting of a server and of everything it starts.

Two ways, used at once so that one checks the other:

cgroup   A cgroup of our own (version 2, which counts CPU without any controller; or version 1's cpuacct) that the
         server is started in. Whatever descends from it is counted, reaped or not, forked once or twice.
wait     This process is a subreaper (PR_SET_CHILD_SUBREAPER) and waits for everything: wait4() gives what the
         server used and what it reaped, and orphans come to us. Needs no privilege. It misses what a server lets the
         kernel reap (SIGCHLD ignored), and includes what starting and stopping the server costs.
"""

import ctypes
import fcntl
import os
import re
import signal
import socket
import struct
import time

PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
SETTLE_SECONDS = 2.0

_libc = ctypes.CDLL(None, use_errno=True)


def subreaper_become():
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become a subreaper")


def _write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def network_isolate():
    """A network namespace of our own, with its loopback up. False where the kernel refuses."""
    uid, gid = os.getuid(), os.getgid()
    if _libc.unshare(CLONE_NEWNET) != 0:
        if _libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
            return False
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {uid} 1")
        _write("/proc/self/gid_map", f"0 {gid} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(sock, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))
    return True


class Cgroup:
    """A cgroup of this run, one for each name; `path` is None where none can be made."""

    def __init__(self, name=""):
        self.path, self.version = None, 0
        for version, parent in self._parents():
            path = os.path.join(parent, f"forkport-bench-{os.getpid()}{name}")
            try:
                os.mkdir(path)
            except OSError:
                continue
            self.path, self.version = path, version
            try:
                self.cpu_us()
                return
            except (OSError, AttributeError):
                self.remove()

    @staticmethod
    def _parents():
        with open("/proc/self/mounts", encoding="utf-8") as file:
            mounts = [line.split()[1:4] for line in file]
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            own = [line.rstrip("\n").split(":", 2) for line in file]
        for version, kind in ((2, "cgroup2"), (1, "cgroup")):
            for folder, filesystem, options in mounts:
                if filesystem != kind or (version == 1 and "cpuacct" not in options.split(",")):
                    continue
                for _, controllers, inside in own:
                    if (controllers == "") == (version == 2) and (version == 2 or "cpuacct" in controllers.split(",")):
                        yield version, folder + inside

    def enter(self):
        if self.path:
            _write(os.path.join(self.path, "cgroup.procs"), str(os.getpid()))

    def cpu_us(self):
        if not self.path:
            return None
        if self.version == 1:
            with open(os.path.join(self.path, "cpuacct.usage"), encoding="ascii") as file:
                return int(file.read()) / 1000
        with open(os.path.join(self.path, "cpu.stat"), encoding="ascii") as file:
            return int(re.search(r"^usage_usec (\d+)", file.read(), re.MULTILINE).group(1))

    def processes(self):
        if not self.path:
            return []
        with open(os.path.join(self.path, "cgroup.procs"), encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]

    def settle(self, count):
        """Waits until no more than `count` processes are left: those that ended last are still being counted."""
        end = time.monotonic() + SETTLE_SECONDS
        while self.path and len(self.processes()) > count and time.monotonic() < end:
            time.sleep(0.002)

    def remove(self):
        end = time.monotonic() + SETTLE_SECONDS
        while self.path:
            try:
                os.rmdir(self.path)
                self.path = None
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)


def _children_of(parent):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    if int(file.read().rpartition(")")[2].split()[1]) == parent:
                        found.append(int(name))
            except OSError:
                pass
    return found


def everything_end(cgroup):
    """Ends all our children and what they leave to us, and waits for them; what they used, in microseconds."""
    used_us = 0.0
    while True:
        for pid in set(_children_of(os.getpid()) + cgroup.processes()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            usage = os.wait4(-1, 0)[2]
        except ChildProcessError:
            return used_us
        used_us += (usage.ru_utime + usage.ru_stime) * 1e6


def machine_busy_us():
    """CPU time of the whole machine spent on anything but idling, in microseconds."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = (int(word) for word in file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) * 1e6 / os.sysconf("SC_CLK_TCK")
