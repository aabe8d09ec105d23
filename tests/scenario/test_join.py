"""An object's variables in a worker of a template: those with values and those without are in one mapping, and are what they were."""
import errno
import pathlib
import re

import pytest

import forkport
from test_started import ENGINES, OF_TEMPLATES, build, started

pytestmark = pytest.mark.no_program
# The tests themselves may be under a filter of system calls, which before Linux 5.9 is not told from a program's.
STATUS = pathlib.Path("/proc/self/status").read_text()
JOINS = OF_TEMPLATES if "\nSeccomp_filters:" in STATUS or "\nSeccomp:\t0\n" in STATUS else []

PROGRAM = """#if defined(SHUT)
#include <linux/filter.h>
#include <linux/seccomp.h>
#endif
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#define WORDS (PAGES * 512)
static long values[WORDS] = {[0 ... WORDS - 1] = 7};
static long zeros[4096];
__attribute__((constructor)) static void start(void)
{
    for (long i = 0; i < CHANGED * 512; i += 2) values[i] = zeros[i % 4096] = i;
#if defined(LOCKED)
    if (mlock(values, sizeof(values)) != 0) _exit(5);
#elif defined(TO_LOCK)
    struct rlimit room = {128 << 10, 128 << 10};
    setrlimit(RLIMIT_MEMLOCK, &room);
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) _exit(5);
    if (mlockall(MCL_FUTURE) != 0) _exit(6);
#elif defined(SHUT)
    struct sock_filter does[] = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr)}, {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_mmap},
                                 {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS}, {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
    struct sock_fprog filter = {4, does};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) _exit(5);
#endif
}
static const char *where(void)
{
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx", &from, &to) == 2 && (unsigned long)&values[WORDS / 2] - from < to - from)
            return (unsigned long)&zeros[2048] - from < to - from ? "together" : "apart";
    }
    return "nowhere";
}
int main(void)
{
    char line[16];
    long wrong = 0;
    if (read(0, line, sizeof(line)) < 1) return 1;
    for (long i = 0; i < WORDS; i++) wrong += values[i] != (i < CHANGED * 512 && i % 2 == 0 ? i : 7);
    for (long i = 0; i < 4096; i++) wrong += zeros[i] != 0 && (CHANGED == 0 || i % 2 != 0);
    dprintf(1, "%ld %s", wrong, where());
    memset(values, 1, sizeof(values));
    memset(zeros, 1, sizeof(zeros));
    return 0;
}
"""


def joined(server):
    """So many mappings, as the template says."""
    [reason] = [event["reason"] for event in server.log.find("template") if "at its gate" in event["reason"]]
    found = re.search(r" mappings, (\d+) joined", reason)
    return int(found[1]) if found else 0


def looks(serve, tmp_path, way, *options, compiler="cc"):
    """Of three workers, each of which changes all when it has looked: wrong words, and where both kinds are. And what was joined."""
    server = started(serve, way, build(tmp_path, compiler, "variables", PROGRAM, *options), env={})
    answers = {tuple(server.ask(b"look\n").decode().split()) for _ in range(3)}
    server.log.wait("end", 3)
    assert {event["exit"] for event in server.log.find("end")} == {0}
    return answers, joined(server) if way in OF_TEMPLATES else 0


@pytest.mark.parametrize("compiler", ["cc", "musl-gcc"])
@pytest.mark.parametrize("way", ENGINES)
def test_they_are_together_and_what_they_were(serve, tmp_path, way, compiler):
    answers, count = looks(serve, tmp_path, way, "-DPAGES=4", "-DCHANGED=4", compiler=compiler)
    assert answers == {("0", "together" if way in JOINS else "apart")}
    # The C library's as well.
    assert count >= 2 if way in JOINS else count == 0


@pytest.mark.skipif("\nSeccomp_filters:" not in STATUS, reason="not told from the program's before Linux 5.9")
def test_a_filter_that_the_server_is_under_too(serve, tmp_path):
    """As in containers: it is none of the program's."""
    server = serve("127.0.0.1:0", "--engine=fork", worker=[build(tmp_path, "cc", "variables", PROGRAM, "-DPAGES=4", "-DCHANGED=4")],
                   preexec=forkport.refuse("kcmp", forkport.ERRNO | errno.EPERM))
    server.log.wait("template")
    assert server.ask(b"look\n").decode().split() == ["0", "together"]


@pytest.mark.parametrize("options", [["-DPAGES=24", "-DCHANGED=0"], ["-DPAGES=40", "-DCHANGED=40"],
                                     *[["-DPAGES=4", "-DCHANGED=4", what] for what in ("-DLOCKED", "-DTO_LOCK", "-DSHUT")]],
                         ids=["the file's", "large", "locked", "more would be locked than may be", "mmap kills"])
@pytest.mark.parametrize("way", [way for way in ENGINES if way in OF_TEMPLATES])
def test_what_would_not_gain_or_is_special_stays(serve, tmp_path, way, options):
    answers, _ = looks(serve, tmp_path, way, *options)
    assert answers == {("0", "apart")}


@pytest.mark.parametrize("way", [way for way in ENGINES if way in OF_TEMPLATES])
def test_some_pages_may_be_the_files(serve, tmp_path, way):
    assert looks(serve, tmp_path, way, "-DPAGES=8", "-DCHANGED=4")[0] == {("0", "together" if way in JOINS else "apart")}


# A file of the program's own, whose mapping is longer than it is and has an anonymous one behind it.
OWN_FILE = """#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static char *text;
__attribute__((constructor)) static void start(void)
{
    long page = sysconf(_SC_PAGESIZE);
    char *room = mmap(0, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open(FILE_NAME, O_RDONLY);
    text = mmap(room, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0);
    close(fd);
}
int main(void)
{
    char line[16];
    if (text == MAP_FAILED || read(0, line, sizeof(line)) < 1) return 1;
    write(1, text, strlen(text));
    return 0;
}
"""


@pytest.mark.parametrize("way", ENGINES)
def test_a_file_that_the_program_has_mapped_stays_the_files(serve, tmp_path, way):
    """What is written to it later is seen there, and its mapping cannot be read to the end."""
    (tmp_path / "file").write_text("before")
    program = build(tmp_path, "cc", "own", OWN_FILE, f'-DFILE_NAME="{tmp_path}/file"')
    server = started(serve, way, program, env={})
    with open(tmp_path / "file", "r+") as file:
        file.write("behind")
    server.ask(b"look\n")
    assert server.ask(b"look\n") == b"behind"
    assert server.log.find("notice") == []


FAULTS = """#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
static char values[12 * 4096] = {1};
static char zeros[300 << 10];
__attribute__((constructor)) static void start(void) { memset(values, zeros[9000] = 1, sizeof(values)); }
int main(void)
{
    struct rusage before, behind;
    char line[16];
    if (read(0, line, sizeof(line)) < 1) return 1;
    getrusage(RUSAGE_SELF, &before);
    for (unsigned i = 0; i < sizeof(values); i += 4096) values[i]++;
    getrusage(RUSAGE_SELF, &behind);
    dprintf(1, "%ld", behind.ru_minflt - before.ru_minflt);
    return 0;
}
"""


def test_a_worker_that_waited_has_those_with_values_by_then(serve, tmp_path):
    """With those that begin with zeros they are more than is brought in ahead."""
    server = started(serve, "pool of a template", build(tmp_path, "cc", "faults", FAULTS), env={})
    assert int(server.ask(b"look\n")) < 3
