"""exit(3) in a worker of a template, which is left out where it has nothing to do, and otherwise does all of it."""
import platform

import pytest

import forkport
from test_started import build, started

pytestmark = pytest.mark.no_program

# What is to be done stands in the arguments, so that the first read may be the gate.
PROGRAM = r"""#include <dlfcn.h>
#include <fcntl.h>
#include <iconv.h>
#include <link.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <wchar.h>
static int ends[2];
/* Tells whether anything is written to the C library's memory, by having it read-only until then. */
static struct { void *start; size_t bytes; } memory;
static int find_memory(struct dl_phdr_info *info, size_t bytes, void *none)
{
    if (strstr(info->dlpi_name, "libc.so") == NULL)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_W) {
            uintptr_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr, page = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
            memory.start = (void *)(start & ~page);
            memory.bytes = info->dlpi_phdr[i].p_memsz + (start & page);
        }
    return bytes == 0 || none == NULL;
}
static void tell_write(int number)
{
    if (mprotect(memory.start, memory.bytes, PROT_READ | PROT_WRITE) < 0 || write(1, "wrote\n", 6) != 6)
        _exit(number);
}
/* Another process that has the same open file tells where it stands when this one has ended. */
static int tell_offset(int fd)
{
    char byte;
    if (pipe(ends) < 0)
        return 1;
    if (fork() != 0)
        return close(ends[0]);
    close(ends[1]);
    while (read(ends[0], &byte, 1) > 0)
        ;
    dprintf(1, "%ld\n", (long)lseek(fd, 0, SEEK_CUR));
    _exit(0);
}
#ifdef ASKS
static void asked(void) { dprintf(1, "asked\n"); }
static void asked_with(int status, void *none) { dprintf(1, none == NULL ? "asked %d\n" : "", status); }
static void asked_for_thread(void *none) { dprintf(1, none == NULL ? "asked\n" : ""); }
extern void *__dso_handle;
int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
#endif
#ifdef DESTRUCTOR
__attribute__((destructor)) static void destructor(void) { dprintf(1, "destructor\n"); }
#endif
static void perform(const char *what, const char *path)
{
    if (strcmp(what, "print") == 0)
        printf("printed\n");
    else if (strcmp(what, "watch") == 0) {
        if (signal(SIGSEGV, tell_write) == SIG_ERR || dl_iterate_phdr(find_memory, NULL) != 1 ||
            mprotect(memory.start, memory.bytes, PROT_READ) < 0)
            abort();
    } else if (strcmp(what, "print wide") == 0)
        wprintf(L"wide\n");
    else if (strcmp(what, "write a file") == 0)
        fputs("written\n", fopen(path, "w"));
    else if (strcmp(what, "read ahead") == 0 || strncmp(what, "push back", 9) == 0) {
        FILE *file = fopen(path, "r");
        if (tell_offset(fileno(file)) < 0 || getc(file) == EOF)
            abort();
        if (*what == 'p' && (getc(file) == EOF || ungetc('x', file) == EOF || (strlen(what) > 9 && getc(file) != 'x')))
            abort();
    } else if (strcmp(what, "have it opened") == 0 && iconv_open("UTF-16", "UTF-8") == (iconv_t)-1)
        printf("there is no UTF-16\n");
#ifdef OPENS
    else if (strcmp(what, "open") == 0 && dlopen(path, RTLD_NOW) == NULL)
        printf("%s\n", dlerror());
#endif
#ifdef ASKS
    else if (strcmp(what, "ask") == 0)
        ASKS;
#endif
}
int main(int argc, char **argv)
{
    char line[4096];
#ifdef OPENS
    void *early = argc > 4 ? dlopen(argv[4], RTLD_NOW) : NULL;
#endif
    ssize_t got = read(0, line, sizeof(line));
    if (got < 1 || write(1, line, (size_t)got) != got)
        return 1;
#ifdef OPENS
    if (early != NULL)
        dlclose(early);
    else if (argc > 4)
        dprintf(1, dlerror() != NULL ? "an error\n" : "none\n");
#endif
    for (int i = 2; i < argc && (i == 2 || strcmp(argv[i], "watch") == 0); i++)
        perform(argv[i], argc > 3 ? argv[3] : "");
    if (strcmp(argv[1], "exit") == 0)
        exit(256 + 7);
    return 7;
}
"""
LIBRARY = r"""#include <stdio.h>
#include <stdlib.h>
static void asked(void) { dprintf(1, "library\n"); }
__attribute__((constructor)) static void ask(void) { atexit(asked); }
"""
TELLS = r"""#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>
#ifdef OF_EXIT
void exit(int status)
{
    dprintf(1, "told %d\n", status);
    _exit(status);
}
#else
typedef int function(int, char **, char **);
static function *program;
static int wrapped(int argc, char **argv, char **envp)
{
    int status = program(argc, argv, envp);
    dprintf(1, "told %d\n", status);
    return status;
}
int __libc_start_main(function *main, int argc, char **argv, void (*init)(void), void (*fini)(void), void (*loader)(void), void *end)
{
    program = main;
    return ((int (*)(function *, int, char **, void (*)(void), void (*)(void), void (*)(void), void *))dlsym(
        RTLD_NEXT, "__libc_start_main"))(wrapped, argc, argv, init, fini, loader, end);
}
#endif
"""
WAYS = ["exec", "fork", "fork at the read"]


@pytest.fixture(name="program")
def program_(tmp_path):
    return build(tmp_path, "cc", "ending", PROGRAM)


def answer(serve, way, *worker, env=None):
    """What two connections have been answered, after their own line."""
    server = started(serve, way, *worker, env={"PATH": "/usr/bin:/bin", **(env or {})})
    answers = [server.ask(b"line\n").decode() for _ in range(2)]
    server.log.wait("end", count=2)
    assert [end["exit"] for end in server.log.find("end")] == [7, 7], answers
    assert answers[0] == answers[1] and answers[0].startswith("line\n")
    return answers[0].removeprefix("line\n")


@pytest.mark.parametrize("how", ["return", "exit"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what, says", [("", ""), ("print", "printed\n"), ("print wide", "wide\n")])
def test_what_is_there_is_done(serve, program, way, how, what, says):
    assert answer(serve, way, program, how, what) == says


@pytest.mark.parametrize("way", WAYS)
def test_a_file_is_written(serve, program, tmp_path, way):
    assert answer(serve, way, program, "return", "write a file", tmp_path / "file") == ""
    assert (tmp_path / "file").read_text() == "written\n"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what, stands", [("read ahead", "1\n"), ("push back", "2\n"), ("push back, read", "2\n")])
def test_what_was_not_read_is_given_back(serve, program, tmp_path, way, what, stands):
    (tmp_path / "file").write_text(10 * "text\n")
    assert answer(serve, way, program, "return", what, tmp_path / "file") == stands


@pytest.mark.parametrize("how", ["return", "exit"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("asks, says", [
    ("atexit(asked)", "asked\n"), ("on_exit(asked_with, NULL)", "asked {status}\n"),
    ("__cxa_thread_atexit_impl(asked_for_thread, NULL, &__dso_handle)", "asked\n"),
    ('((int (*)(void (*)(int, void *), void *))dlsym(RTLD_DEFAULT, "on_exit"))(asked_with, NULL)', "asked {status}\n")],
    ids=["atexit", "on_exit", "of a thread", "found by name"])
def test_who_asked_is_called(serve, tmp_path, way, how, asks, says):
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("other C libraries have not all of these")
    program = build(tmp_path, "cc", "asks", PROGRAM, f"-DASKS={asks}")
    assert answer(serve, way, program, how, "ask") == says.format(status=7 if how == "return" else 263)


@pytest.mark.parametrize("way", WAYS)
def test_a_destructor_of_the_program(serve, tmp_path, way):
    program = build(tmp_path, "cc", "destructor", PROGRAM, "-DDESTRUCTOR")
    assert answer(serve, way, program, "return") == "destructor\n"


@pytest.mark.parametrize("way", WAYS)
def test_a_library_that_comes_and_asks(serve, tmp_path, way):
    """By itself, and in the place of one that was there at the gate."""
    program = build(tmp_path, "cc", "opens", PROGRAM, "-DOPENS")
    library = build(tmp_path, "cc", "library.so", LIBRARY, "-shared", "-fPIC")
    assert answer(serve, way, program, "return", "open", library) == "library\n"
    silent = build(tmp_path, "cc", "silent.so", "int nothing;", "-shared", "-fPIC")
    assert answer(serve, way, program, "return", "open", library, silent) == "library\n"


@pytest.mark.parametrize("way", ["exec", "fork at the read"])
def test_what_the_loader_had_to_say_is_left(serve, tmp_path, way):
    program = build(tmp_path, "cc", "opens", PROGRAM, "-DOPENS")
    assert answer(serve, way, program, "return", "", "", "/nowhere/none.so") == "an error\n"


@pytest.mark.skipif(forkport.SANITIZED, reason="a sanitizer's runtime is to be the first library, in the server too")
@pytest.mark.parametrize("way", WAYS)
def test_who_stands_before_the_librarys_exit(serve, program, tmp_path, way):
    tells = build(tmp_path, "cc", "tells.so", TELLS, "-shared", "-fPIC", "-DOF_EXIT")
    assert answer(serve, way, program, "exit", env={"LD_PRELOAD": str(tells)}) == "told 263\n"
    assert answer(serve, way, program, "return", env={"LD_PRELOAD": str(tells)}) == ""


@pytest.mark.skipif(forkport.SANITIZED, reason="a sanitizer's runtime is to be the first library, in the server too")
@pytest.mark.parametrize("way", WAYS)
def test_who_stands_around_main(serve, program, tmp_path, way):
    tells = build(tmp_path, "cc", "tells.so", TELLS, "-shared", "-fPIC")
    assert answer(serve, way, program, "return", env={"LD_PRELOAD": str(tells)}) == "told 7\n"


@pytest.mark.skipif(platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc",
                    reason="known on x86-64 and of glibc alone; elsewhere exit(3) is always called")
@pytest.mark.parametrize("how", ["return", "exit"])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left_out(serve, program, tmp_path, way, how):
    """By what exit(3) writes to. One that could ask to be called, but does not, is not known from one that does."""
    asks = build(tmp_path, "cc", "asks", PROGRAM, "-DASKS=atexit(asked)")
    assert answer(serve, way, program, how, "watch") == ("wrote\n" if way == "exec" else "")
    assert answer(serve, way, asks, how, "watch") == "wrote\n"
    # The C library has opened something, which could ask as well.
    assert answer(serve, way, program, how, "have it opened", "watch") == "wrote\n"
