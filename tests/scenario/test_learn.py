"""What workers come to in files, seen of some of a template's first, is handed down to all later ones."""
import errno
import os
import pathlib
import platform
import re
import shutil

import pytest

import forkport
from test_started import build, started

pytestmark = pytest.mark.no_program

# Of 64 KiB each, in constants of the program: what one fault brings in.
WINDOWS = 16
PROGRAM = """#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static const char table[WINDOWS << 16] __attribute__((aligned(65536))) = {1};
static char byte;
#if defined(SHUT)
#include <linux/filter.h>
#include <linux/seccomp.h>
/* What is not needed from here on ends the process. */
static void before_the_end(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ, SYS_read, 3, 0), BPF_JUMP(BPF_JMP | BPF_JEQ, SYS_write, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ, SYS_exit_group, 1, 0), BPF_STMT(BPF_RET, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) exit(4);
}
#elif defined(CHILD)
static void before_the_end(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) exit(9);
    if (waitpid(pid, &status, 0) != pid || WEXITSTATUS(status) != 9) exit(5);
    pid = vfork();
    if (pid == 0) _exit(8);
    if (waitpid(pid, &status, 0) != pid || WEXITSTATUS(status) != 8) exit(6);
}
#else
static void before_the_end(void) {}
#endif
int main(void)
{
    const volatile char *at = table;
    int sum = 0;
    if (read(0, &byte, 1) != 1) return 3;
    for (int i = 0; i < WINDOWS; i++) sum += at[(size_t)i << 16];
    before_the_end();
    if (sum != 1 || write(1, "x", 1) != 1 || read(0, &byte, 1) != 1) return 2;
    END;
}
"""
# Says where a function of the C library is that does nothing, and ends with what that returns.
TRACED_LATER = """#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static int (*volatile function)(int) = abs;
int main(void)
{
    char text[40];
    if (read(0, text, 1) != 1) return 3;
    int length = snprintf(text, sizeof(text), "%lx", (unsigned long)function);
    if (write(1, text, (size_t)length) != length) return 2;
    return function(7);
}
"""
ENDS = {"return": "return 7", "exit(3)": "exit(7)", "_exit(2)": "_exit(7)"}
NO_GUARDS = tuple(map(int, os.uname().release.split(".")[:2])) < (6, 15)


@pytest.fixture
def run(serve, tmp_path):
    def start(way, *options, end="return 7", compiler="cc", **how):
        if shutil.which(compiler) is None:
            pytest.skip(f"{compiler} is not there")
        options = (f"-DWINDOWS={WINDOWS}", f"-DEND={end}", *options)
        return started(serve, way, build(tmp_path, compiler, "scattered", PROGRAM, *options), env={}, **how)
    return start


def serve_one(server, look=lambda: None):
    """What `look` finds while the worker has all behind it but its end."""
    with server.connect() as client:
        client.sendall(b"1")
        assert client.recv(1) == b"x"
        found = look()
        client.sendall(b"2")
        assert forkport.read_to_end(client) == b""
    return found


def ends(server, count):
    server.log.wait("end", count)
    return {(event.get("exit"), event.get("signal")) for event in server.log.find("end")}


def handed_down(server):
    return [int(found[1]) for event in server.log.find("template")
            if (found := re.search(r"hands down the (\d+) pages of files", event["reason"]))]


def pages_of_table(worker):
    """What it has of the mapping with the table, which is the largest of the program's."""
    maps = re.findall(r"^\S+ r\S+ .*/scattered\n(?:\w+: .*\n)*", pathlib.Path(f"/proc/{worker}/smaps").read_text(), re.MULTILINE)
    sizes = [[int(re.search(rf"^{name}: +(\d+) kB", part, re.MULTILINE)[1]) * 1024 // os.sysconf("SC_PAGE_SIZE")
              for name in ("Size", "Rss")] for part in maps]
    return max(sizes)[1]


@pytest.mark.skipif(NO_GUARDS, reason="no guards in mappings of files before 6.15")
@pytest.mark.parametrize("compiler", ["cc", "musl-gcc"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("way", ["fork", "fork at the read"])
def test_later_workers_have_what_some_came_to(run, way, end, compiler):
    server = run(way, end=end, compiler=compiler)
    def pages(connection):
        return serve_one(server, lambda: pages_of_table(server.log.wait("start", connection)["pid"]))

    assert pages(1) >= 8 * WINDOWS
    count = 1
    # Four are enough; on a busy machine it comes late to one, and then later ones are waited for.
    while count < 2100 and not handed_down(server):
        serve_one(server)
        count += 1
    assert WINDOWS <= pages(count + 1) <= 2 * WINDOWS
    assert len(handed_down(server)) == 1 and ends(server, count + 1) == {(7, None)}


@pytest.mark.skipif(NO_GUARDS, reason="no guards in mappings of files before 6.15")
def test_a_filter_that_the_server_is_under_too(run):
    """As in containers: it is none of the program's."""
    server = run("fork", preexec=forkport.refuse("kcmp", forkport.ERRNO | errno.EPERM))
    count = 0
    while count < 2100 and not handed_down(server):
        serve_one(server)
        count += 1
    assert len(handed_down(server)) == 1 and ends(server, count) == {(7, None)}


@pytest.mark.skipif(NO_GUARDS, reason="no guards in mappings of files before 6.15")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the changed code is this processor's")
@pytest.mark.parametrize("way", ["fork", "fork at the read"])
def test_code_that_is_changed_in_a_template_stays_changed(serve, tmp_path, way):
    """By a debugger or a tracer that came once it was at its gate: what is handed down later leaves that file alone."""
    program = build(tmp_path, "cc", "traced_later", TRACED_LATER)
    server = started(serve, way, program, env={})
    [template] = [event["pid"] for event in server.log.find("template")]
    place = int(server.ask(b"1"), 16)
    with open(f"/proc/{template}/mem", "r+b", buffering=0) as memory:
        memory.seek(place)
        memory.write(b"\xb8\x2a\0\0\0\xc3")  # return 42
    count = 1
    while count < 2100 and not handed_down(server):
        server.ask(b"1")
        count += 1
    server.ask(b"1")
    assert len(handed_down(server)) == 1
    server.log.wait("end", count + 1)
    assert {event["exit"] for event in server.log.find("end") if event["connection"] > 1} == {42}


@pytest.mark.parametrize("how", ["-DSHUT", "-DCHILD"])
@pytest.mark.parametrize("way", ["fork", "fork at the read", "pool of a template"])
def test_whom_is_learnt_from_can_tell_nothing(run, way, how):
    """One that has shut itself in may make no other system call; a child of one is not it."""
    server = run(way, how)
    for _ in range(70):
        serve_one(server)
    assert ends(server, 70) == {(7, None)}


def test_who_ends_by_a_signal_or_another_program_is_not_learnt_from(serve):
    """Templates would wait for them in vain, and do not."""
    server = started(serve, "fork", "sh", "-c", "read -r line; echo $line; exec sleep 0", env={})
    for _ in range(70):
        assert server.ask(b"so\n") == b"so\n"
    assert handed_down(server) == [] and ends(server, 70) == {(0, None)}
