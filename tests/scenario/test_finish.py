"""What exit(3) has the dynamic loader do for each object. In a worker of a template it is left out where it is nothing."""
import platform
import subprocess

import pytest

import forkport
from test_started import ENGINES, build, started

pytestmark = pytest.mark.no_program

# A stream that exit(3) flushes when all else is done tells whether the program's own function at the end was called: the compiler's
# own, which notes that it was. The first read is at a gate, and what is to be done then is on that line; before it, in the arguments.
PROGRAM = """#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static char *noted;
static void *opened;
static int first(struct dl_phdr_info *info, size_t bytes, void *base) { *(char **)base = (char *)info->dlpi_addr; return bytes == 0 || 1; }
static ssize_t last(void *none, const char *text, size_t bytes)
{
    dprintf(1, "%s\\n", *noted ? "called" : "left out");
    return none != NULL || text == NULL ? -1 : (ssize_t)bytes;
}
static int perform(char *text)
{
    for (char *step = strtok(text, " \\n"); step != NULL; step = strtok(NULL, " \\n"))
        if (*step == '-')
            dlclose(opened);
        else if (*step == '=' ? dlmopen(LM_ID_NEWLM, step + 1, RTLD_NOW) == NULL : (opened = dlopen(step, RTLD_NOW)) == NULL)
            return dprintf(1, "%s\\n", dlerror());
    return 0;
}
#ifdef DESTRUCTOR
__attribute__((DESTRUCTOR)) static void end(void) { dprintf(1, "program\\n"); }
#endif
void of_linker(void) { dprintf(1, "of linker\\n"); }
int main(int argc, char **argv)
{
    char line[4096] = "";
    FILE *file = fopencookie(NULL, "w", (cookie_io_functions_t){.write = last});
    dl_iterate_phdr(first, &noted);
    noted += strtoul(argv[1], NULL, 16);
    if (argc > 2 && perform(argv[2])) return 1;
    if (read(0, line, sizeof(line) - 1) < 0 || perform(line)) return 1;
    fputs("x", file);
    exit(7);
}
"""
LIBRARY = """#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
__attribute__((unused)) static void end(void) { dprintf(1, NAME "\\n"); }
#if defined(DESTRUCTOR)
__attribute__((destructor)) static void destructor(void) { end(); }
#elif defined(ATEXIT)
__attribute__((constructor)) static void constructor(void) { atexit(end); }
#endif
"""
WAYS = ["exec", "fork", "fork at the read"]
AT_READ = ["exec", "fork at the read"]


def library(folder, name, *options):
    build(folder, "cc", f"lib{name}.so", LIBRARY, "-shared", "-fPIC", f'-DNAME="{name}"', *options)
    return f"{folder}/lib{name}.so"


def program(folder, *options):
    """With where, in its memory, the compiler's function notes that it was called."""
    path = build(folder, "cc", "finishing", PROGRAM, *options)
    names = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout
    return path, next(line.split()[0] for line in names.splitlines() if line.split()[-1].startswith("completed."))


def with_libraries(folder, *names):
    return program(folder, "-L", folder, f"-Wl,-rpath,{folder}", "-Wl,--no-as-needed", *(f"-l{name}" for name in names))


def answers(serve, way, worker, line=b"\n", env=None):
    server = started(serve, way, *worker, env={"PATH": "/usr/bin:/bin", **(env or {})})
    answer = [server.ask(line).decode().splitlines() for _ in range(2)]
    server.log.wait("end", count=2)
    assert [end["exit"] for end in server.log.find("end")] == [7, 7], answer
    assert answer[0] == answer[1]
    return answer[0]


def in_a_worker(way):
    """Without the loader: where it is known how such functions look, and in a worker of a template."""
    return "left out" if platform.machine() == "x86_64" and way.startswith(("fork", "pool of a")) else "called"


@pytest.mark.parametrize("options", [["-pie", "-fPIE"], ["-no-pie"]], ids=["anywhere", "at a fixed address"])
@pytest.mark.parametrize("way", ENGINES)
def test_nothing_is_left_out(serve, tmp_path, way, options):
    assert answers(serve, way, program(tmp_path, *options)) == [in_a_worker(way)]


@pytest.mark.parametrize("way", WAYS)
def test_a_library_with_nothing_to_do(serve, tmp_path, way):
    library(tmp_path, "idle")
    assert answers(serve, way, with_libraries(tmp_path, "idle")) == [in_a_worker(way)]


@pytest.mark.parametrize("options, says", {
    "destructor": (["-DDESTRUCTOR=destructor"], ["program"]),
    "destructor with a priority": (["-DDESTRUCTOR=destructor(200)"], ["program"]),
    "given to the linker": (["-Wl,-fini=of_linker"], ["of linker"]),
}.values(), ids=lambda value: value[0] if isinstance(value, list) else "")
@pytest.mark.parametrize("way", WAYS)
def test_a_function_of_the_program(serve, tmp_path, way, options, says):
    assert answers(serve, way, program(tmp_path, *options)) == [*says, "called"]


@pytest.mark.parametrize("way", WAYS)
def test_a_function_of_a_library(serve, tmp_path, way):
    library(tmp_path, "idle")
    library(tmp_path, "ends", "-DDESTRUCTOR")
    assert answers(serve, way, with_libraries(tmp_path, "idle", "ends")) == ["ends", "called"]


@pytest.mark.parametrize("way", WAYS)
def test_what_libraries_gave_to_atexit_before_main(serve, tmp_path, way):
    """exit(3) calls it without the loader too, and in the same order: who needs another is first."""
    library(tmp_path, "needed", "-DATEXIT")
    library(tmp_path, "needs", "-DATEXIT", "-L", tmp_path, "-Wl,--no-as-needed", "-lneeded")
    assert answers(serve, way, with_libraries(tmp_path, "needs", "needed")) == ["needs", "needed", in_a_worker(way)]


@pytest.mark.parametrize("way", WAYS)
def test_a_library_that_is_opened_after_the_gate(serve, tmp_path, way):
    idle, ends, gives = library(tmp_path, "idle"), library(tmp_path, "ends", "-DDESTRUCTOR"), library(tmp_path, "gives", "-DATEXIT")
    worker = program(tmp_path)
    assert answers(serve, way, worker, f"{idle}\n".encode()) == [in_a_worker(way)]
    assert answers(serve, way, worker, f"{ends} {gives}\n".encode()) == ["gives", "ends", "called"]
    assert answers(serve, way, worker, f"={ends}\n".encode()) == ["ends", "called"]  # in a namespace of its own


@pytest.mark.parametrize("way", AT_READ)
def test_a_library_that_is_opened_before_the_gate(serve, tmp_path, way):
    idle, ends = library(tmp_path, "idle"), library(tmp_path, "ends", "-DDESTRUCTOR")
    assert answers(serve, way, [*program(tmp_path), idle]) == [in_a_worker(way)]
    assert answers(serve, way, [*program(tmp_path), f"{idle} {ends}"]) == ["ends", "called"]
    assert answers(serve, way, [*program(tmp_path), f"={idle}"]) == ["called"]
    assert answers(serve, way, [*program(tmp_path), f"{idle} -"]) == [in_a_worker(way)]


@pytest.mark.parametrize("way", AT_READ)
def test_a_library_in_the_place_of_another(serve, tmp_path, way):
    """As many as before, and where the other one was, which may be the same in all that the loader notes of it."""
    idle, ends = library(tmp_path, "idle"), library(tmp_path, "ends", "-DDESTRUCTOR")
    assert answers(serve, way, [*program(tmp_path), idle], f"- {ends}\n".encode()) == ["ends", "called"]


@pytest.mark.parametrize("way", ["exec", "fork"])
def test_a_loader_that_tells_what_it_does(serve, tmp_path, way):
    assert answers(serve, way, program(tmp_path), env={"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": f"{tmp_path}/told"}) == ["called"]


# What the compiler's crtbegin has. Each statement may be another one, and then it says so.
SHAPE = """
        .section .fini_array, "aw"
        .quad function
        .bss
noted:  .byte 0
other:  .byte 0
        .data
table:  .quad 0
handle: .quad 0
slot:   .quad say
says:   .ascii "called\\n"
        .text
clones: lea TABLE(%rip), %rdi
        lea table(%rip), %rax
        cmp %rdi, %rax
        je EMPTY
        mov slot(%rip), %rax
        test %rax, %rax
        je 1f
        jmp *%rax
1:      ret
clear:  jmp say
say:    mov $1, %eax
        mov $1, %edi
        lea says(%rip), %rsi
        mov $7, %edx
        syscall
        ret
stub:   jmp *slot(%rip)
marked: endbr64
        bnd jmp *PLACE(%rip)
odd:    push PLACE(%rip)
        pop %rax
        jmp say
function:
        cmpb $0, noted(%rip)
        jne AGAIN
        push %rbp
#ifdef FIXED
        mov %rsp, %rbp
#else
        cmpq $0, PLACE(%rip)
        mov %rsp, %rbp
        je 2f
        mov handle(%rip), %rdi
        call FIRST
#endif
2:      call SECOND
        movb $1, NOTES(%rip)
        pop %rbp
        ret
1:      ret
"""
AS_IT_IS = {"TABLE": "table", "PLACE": "__cxa_finalize@GOTPCREL", "FIRST": "__cxa_finalize@plt", "SECOND": "clones", "NOTES": "noted",
            "EMPTY": "1f", "AGAIN": "1f"}
OTHERS = {"as it is": {}, "as older linkers have it": {"FIRST": "marked"}, "first call": {"FIRST": "say"}, "first call by a stub": {"FIRST": "stub"},
          "first call by a stub, and its place": {"FIRST": "stub", "PLACE": "slot"},
          "first call of what only reads the place": {"FIRST": "odd"}, "second call": {"SECOND": "say"}, "table": {"TABLE": "handle"},
          "end of the table": {"EMPTY": "clear"}, "note": {"NOTES": "other"}, "when it was noted": {"AGAIN": "say"},
          "at a fixed address": {"FIXED": "1"}, "at a fixed address, call": {"FIXED": "1", "SECOND": "say"},
          "at a fixed address, note": {"FIXED": "1", "NOTES": "other"}}
KNOWN = ["as it is", "as older linkers have it", "at a fixed address"]
SILENT = [*KNOWN, "note", "when it was noted", "at a fixed address, note"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="known on x86-64 alone; elsewhere the loader's function is always called")
@pytest.mark.parametrize("change", OTHERS)
def test_what_looks_like_the_compilers_function(serve, tmp_path, change):
    (tmp_path / "shape.S").write_text(SHAPE)
    defined = [f"-D{name}={value}" for name, value in {**AS_IT_IS, **OTHERS[change]}.items()]
    subprocess.run(["cc", "-shared", "-nostartfiles", *defined, "-o", tmp_path / "libshape.so", tmp_path / "shape.S"], check=True)
    worker = with_libraries(tmp_path, "shape")
    executed, forked = (answers(serve, way, worker) for way in ("exec", "fork"))
    assert executed[:-1] == ([] if change in SILENT else ["called"])
    assert forked == (["left out"] if change in KNOWN else executed)
