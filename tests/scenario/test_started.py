"""What the kernel starts a program with: arguments, environment, auxiliary vector, random bytes. A template has it moved."""
import platform
import resource
import shutil
import subprocess

import pytest

import forkport
from test_template import of_library

ENGINES = {
    "exec": [],
    "fork": ["--engine", "fork"],
    "fork at the read": ["--engine", "fork", "--gate", "read"],
    "pool of a template": ["--engine", "pool"],
    "pool of programs": ["--engine", "pool", "--pool-start", "exec"],
}
OF_TEMPLATES = ["fork", "fork at the read", "pool of a template"]
SMALL = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "EMPTY": ""}
LARGE = {**SMALL, **{f"NUMBER{i}": 100 * "x" for i in range(100)}}
TOO_LARGE = {**LARGE, "ONE": 10_000 * "x"}
# The dynamic loader goes on without a library that it does not find.
PRELOADING = {"FIRST": "", "LD_PRELOAD": "/nowhere/none.so", "LAST": "x"}
PRELOADING_NOTHING = {**PRELOADING, "LD_PRELOAD": ""}
ENVIRONMENTS = {"small": SMALL, "large": LARGE, "too large to gain": TOO_LARGE, "none": {}, "with a library of one's own": PRELOADING,
                "with no library of one's own": PRELOADING_NOTHING}


@pytest.fixture(params=["glibc", "musl"], name="program")
def program_(request):
    return of_library("started", request.param)


def started(serve, way, *worker, env, **how):
    server = serve("127.0.0.1:0", *ENGINES[way], worker=worker, env=env, **how)
    if way in OF_TEMPLATES:
        server.log.wait("template")
    return server


def looks(server):
    """Whether all is as it should be and where, the pages from main() to the connection's variables, and the random bytes."""
    verdict, place, pages, random = server.ask(b"look\n").decode().strip().split(", ")
    return verdict, place, int(pages), random


@pytest.mark.no_program
@pytest.mark.parametrize("env", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
@pytest.mark.parametrize("way", ENGINES)
def test_it_is_as_the_kernel_makes_it(serve, program, way, env):
    """From all sides: what main() has, the C library, /proc, and who kept a pointer before."""
    server = started(serve, way, program, "", "two words", env=env)
    workers = [looks(server) for _ in range(4)]
    assert [worker[0] for worker in workers] == 4 * ["whole"]
    assert {worker[1] for worker in workers} == {"moved" if way in OF_TEMPLATES and env is not TOO_LARGE else "in place"}
    assert len({worker[3][:23] for worker in workers}) == len({worker[3][24:] for worker in workers}) == 4
    assert "00 00 00" not in workers[0][3]


@pytest.mark.no_program
@pytest.mark.parametrize("way", OF_TEMPLATES)
def test_what_is_written_for_a_connection_is_on_the_page_of_main(serve, program, way):
    """Each page that is written is copied for each worker: where the kernel puts it, it is three or four."""
    env = {**SMALL, "MORE": 1500 * "x"}
    assert [looks(started(serve, way, program, env=env))[2] for _ in range(3)] == 3 * [1]


@pytest.mark.no_program
@pytest.mark.parametrize("way", ENGINES)
def test_a_title_is_what_others_see(serve, program, way):
    """Programs write one over their arguments and on into the environment behind (setproctitle(3bsd))."""
    executed = started(serve, "exec", program, "title", env=SMALL).ask(b"look\n")
    assert executed.startswith(b"serving, of ") and executed.endswith(b",  , serving\n")
    assert started(serve, way, program, "title", env=SMALL).ask(b"look\n") == executed


@pytest.mark.no_program
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the stack's guard is elsewhere")
@pytest.mark.parametrize("way", OF_TEMPLATES)
def test_the_guard_of_the_stack_is_not_in_the_random_bytes(serve, program, way):
    """It is made of those that the kernel gave, and at the read it stays the template's: they are others by then, where they were too."""
    assert started(serve, "exec", program, "guard", env=SMALL).ask(b"look\n") == b"guard\n"
    assert started(serve, way, program, "guard", env=SMALL).ask(b"look\n") == b"none\n"


def refuse_to_move():
    """prctl(PR_SET_MM) fails, as where the kernel is without CONFIG_CHECKPOINT_RESTORE."""
    load, jump, give = 0x20, 0x15, 0x06
    number, first = (167 if platform.machine() == "aarch64" else 157), 35
    return forkport.filtering((load, 0, 0, 0), (jump, 0, 3, number), (load, 0, 0, 16), (jump, 0, 1, first), (give, 0, 0, 0x50016),
                              (give, 0, 0, 0x7FFF0000))


@pytest.mark.no_program
@pytest.mark.parametrize("way", OF_TEMPLATES)
def test_where_the_kernel_does_not_move_it_stays(serve, program, way):
    server = started(serve, way, program, env=SMALL, preexec=refuse_to_move())
    assert looks(server)[:2] == ("whole", "in place")
    assert server.log.find("notice") == [] and "at its gate" in server.log.find("template")[0]["reason"]


@pytest.mark.no_program
@pytest.mark.parametrize("way", ENGINES)
def test_of_a_small_stack_nothing_is_taken(serve, program, way):
    def small():
        resource.setrlimit(resource.RLIMIT_STACK, (64 * 1024, 64 * 1024))

    assert looks(started(serve, way, program, env=SMALL, preexec=small))[:2] == ("whole", "in place")


@pytest.mark.no_program
@pytest.mark.parametrize("env", [PRELOADING, PRELOADING_NOTHING], ids=["one", "none"])
@pytest.mark.parametrize("way", ["fork", "pool of a template", "pool of programs"])
def test_a_library_of_ones_own_is_named_where_it_was(serve, way, env):
    """The same variables in the same order, in the program's vector and in what others see."""
    script = ["sh", "-c", "env; tr '\\0' '\\n' </proc/$$/environ | sed '/^$/d'"]

    def variables(way):
        lines = started(serve, way, *script, env=env).ask().decode().splitlines()
        return [line.partition("=")[0] if line.startswith(("TCP", "REMOTE", "FORKPORT_")) else line for line in lines]

    executed = variables("exec")
    assert executed.count(f"LD_PRELOAD={env['LD_PRELOAD']}") == 2
    assert variables(way) == executed


def build(tmp_path, compiler, name, source, *options):
    if not shutil.which(compiler):
        pytest.skip(f"there is no program {compiler}")
    (tmp_path / f"{name}.c").write_text(source)
    subprocess.run([compiler, "-D_GNU_SOURCE", "-o", tmp_path / name, tmp_path / f"{name}.c", *options], check=True)
    return tmp_path / name


EARLY = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
extern char **environ;
static char *has(char **at, const char *name)
{
    for (; at != NULL && *at != NULL; at++)
        if (strncmp(*at, name, strlen(name)) == 0) return *at;
    return "none";
}
__attribute__((constructor)) static void early(void) { CHANGE; }
int main(int argc, char **argv, char **envp)
{
    char line[16];
    int count = 0;
    if (AT_GATE && read(0, line, sizeof(line)) < 0) return 1;
    while (environ != NULL && environ[count] != NULL) count++;
    return printf("%s %s %s %d %s\\n", has(environ, "EARLY="), has(environ, "TCPREMOTEIP="), has(environ, "PATH="), count,
                  AT_GATE ? "" : has(envp, "TCPREMOTEIP=")) < 0;
}
"""
CHANGES = {
    "adds": ("setenv(\"EARLY\", \"1\", 1)", b"EARLY=1 TCPREMOTEIP=127.0.0.1 PATH=/usr/bin:/bin 14 "),
    "replaces": ("putenv(\"PATH=/\")", b"none TCPREMOTEIP=127.0.0.1 PATH=/ 13 "),
    "removes": ("unsetenv(\"PATH\")", b"none TCPREMOTEIP=127.0.0.1 none 12 "),
    "clears": ("clearenv()", b"none none none 0 "),
}


@pytest.mark.no_program
@pytest.mark.parametrize("library", ["cc", "musl-gcc"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("way", ENGINES)
def test_an_environment_that_a_constructor_changes(serve, tmp_path, way, change, library):
    """It is done before main(), and so before the gate: what main() has is as when the program is executed."""
    statement, expected = CHANGES[change]
    options = [f"-DCHANGE={statement}", f"-DAT_GATE={int('read' in way)}"]
    program = build(tmp_path, library, "early", EARLY, *options)
    line = b"look\n" if "read" in way else b""
    executed = started(serve, "exec", program, env=SMALL).ask(line)
    assert executed.startswith(expected), executed
    server = started(serve, way, program, env=SMALL)
    assert [server.ask(line) for _ in range(2)] == 2 * [executed]


LIBRARY = """#include <stdlib.h>
#include <unistd.h>
char **kept;
char *heap;
__attribute__((constructor)) static void begin(int argc, char **argv) { kept = argv; BEFORE; heap = sbrk(0); }
"""
OF_LIBRARY = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
extern char **kept;
extern char *heap;
int main(void)
{
    char line[64];
    int has_heap = (char *)syscall(SYS_brk, 0) == heap;
    if (read(0, line, sizeof(line)) < 0) return 1;
    strcpy(kept[0], "title");
    fgets(line, sizeof(line), fopen("/proc/self/cmdline", "r"));
    return printf("%s %d %s %s\\n", line, has_heap, getenv("TCPREMOTEIP"), getenv("LAST")) < 0;
}
"""
BEFORE = {"keeps its arguments": ("", "x"), "adds to the heap": ("sbrk(65536)", "x"),
          "removes from the environment": ('unsetenv("LAST")', "(null)")}


@pytest.mark.no_program
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("way", ENGINES)
def test_what_a_library_has_done_before(serve, tmp_path, way, before):
    """Its constructor is called before all that is moved. A title is written to the arguments that it has kept."""
    statement, expected = BEFORE[before]
    build(tmp_path, "cc", "libbefore.so", LIBRARY, "-shared", "-fPIC", f"-DBEFORE={statement}")
    program = build(tmp_path, "cc", "before", OF_LIBRARY, "-L", tmp_path, "-lbefore", f"-Wl,-rpath,{tmp_path}")
    server = started(serve, way, program, env=PRELOADING)
    assert [server.ask(b"look\n").decode() for _ in range(2)] == 2 * [f"title 1 127.0.0.1 {expected}\n"]
