"""What `make install` leaves: the files in their places, and a library that a program can be built with."""
import os
import pathlib
import shlex
import shutil
import socket
import subprocess

import pytest

BUILD = pathlib.Path(os.environ["FORKPORT_BUILD"])

# It has functions of its own whose names the rooms of the library use too.
PROGRAM = r"""
#include <forkport/error.h>
#include <stdio.h>
int text_init(void);
int text_init(void) { return 1; }
int error_set(void);
int error_set(void) { return 1; }
int main(void)
{
    struct fp_error error = {.operation = "listen on", .what = "*:21", .reason = "no"};
    char message[100];
    fp_error_format(&error, message, sizeof(message));
    printf("%d %s %d\n", fp_status_exit_code(FP_USAGE), message, text_init() + error_set());
    return 0;
}
"""


def output(command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60, **more).stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The root below which everything was installed, and the prefix within it."""
    root = tmp_path_factory.mktemp("root")
    output(["meson", "install", "-C", str(BUILD), "--no-rebuild", "--quiet"], env={**os.environ, "DESTDIR": str(root)})
    prefix = next(root.rglob("forkport/error.h")).parents[2]
    return root, prefix


def pkg_config(root, *arguments):
    folder = next(root.rglob("forkport.pc")).parent
    # Nothing else is asked for: who links the shared library has no need of the headers of what is in it.
    env = {**os.environ, "PKG_CONFIG_LIBDIR": str(folder), "PKG_CONFIG_PATH": "", "PKG_CONFIG_SYSROOT_DIR": ""}
    # The .pc file names the prefix that it was configured for; the files lie below DESTDIR.
    prefix = f"--define-variable=prefix={next(root.rglob('forkport/error.h')).parents[2]}"
    return shlex.split(output(["pkg-config", prefix, *arguments, "forkport"], env=env))


def sanitizer_flags():
    linked = output(["readelf", "-d", str(BUILD / "libforkport.so")])
    return ["-fsanitize=address,undefined"] if "libasan" in linked else []


@pytest.mark.parametrize("static", [False, True], ids=["shared", "static"])
def test_a_program_is_built_with_the_installed_library(installed, tmp_path, static):
    root, _ = installed
    library = next(root.rglob("libforkport.a")).parent
    source, program = tmp_path / "program.c", tmp_path / "program"
    source.write_text(PROGRAM)
    libs = pkg_config(root, "--libs", *(["--static"] if static else []))
    if static:
        libs = [f"{library}/libforkport.a" if lib == "-lforkport" else lib for lib in libs]
    subprocess.run(["cc", "-Wall", "-Werror", *sanitizer_flags(), *pkg_config(root, "--cflags"), str(source),
                    "-o", str(program), *libs], check=True, timeout=60)
    env = {**os.environ, "LD_LIBRARY_PATH": "" if static else str(library)}
    assert output([str(program)], env=env) == "64 cannot listen on *:21: no 2\n"
    needed = output(["readelf", "-d", str(program)])
    assert ("libforkport.so.0" in needed) is not static


GATED = """\
#include <forkport/gate.h>
#include <stdio.h>
int main(void) { return printf("%d\\n", fp_gate()) < 0; }
"""

# As a language's interface to functions of C does it.
OPENED = """\
#include <dlfcn.h>
#include <stdio.h>
int main(void)
{
    int (*gate)(void);
    *(void **)&gate = dlsym(dlopen(LIBRARY, RTLD_NOW), "fp_gate");
    return printf("%d\\n", gate()) < 0;
}
"""


@pytest.mark.parametrize("text", [GATED, OPENED], ids=["static", "opened"])
def test_a_program_that_calls_the_library_s_own_has_its_gate(installed, tmp_path, text):
    """It is found before the template's, and finds that one."""
    root, _ = installed
    if sanitizer_flags():
        pytest.skip("a program with the sanitizer, which wants to be its first library, cannot be a template")
    (tmp_path / "gated.c").write_text(text)
    libs = [str(next(root.rglob("libforkport.a"))) if lib == "-lforkport" else lib for lib in pkg_config(root, "--libs", "--static")]
    flags = [f'-DLIBRARY="{next(root.rglob("libforkport.so.0"))}"', *pkg_config(root, "--cflags")]
    subprocess.run(["cc", *flags, tmp_path / "gated.c", "-o", tmp_path / "gated", *libs], check=True, timeout=60)
    log = tmp_path / "log"
    reader, writer = os.pipe()
    with subprocess.Popen([BUILD / "forkport", "serve", "127.0.0.1:0", "--engine", "fork", "--gate", "read", "--ready-fd", str(writer),
                           "--log-file", log, "--", tmp_path / "gated"], pass_fds=[writer]) as server:
        try:
            os.close(writer)
            port = int(os.read(reader, 100).split(b":")[1].split(b",")[0])
            while not {"template", "notice"} & set(log.read_text().split()):
                assert server.poll() is None
                os.sched_yield()
            with socket.create_connection(("127.0.0.1", port), 20) as client:
                assert client.recv(100) == b"1\n"
        finally:
            server.kill()
            os.close(reader)
    assert "at its gate" in log.read_text()


def test_the_library_leaves_the_umask_alone(installed):
    """It is every thread's: changed for a moment, other threads' files would have another mode."""
    root, _ = installed
    assert "umask" not in output(["nm", "-D", "--undefined-only", str(next(root.rglob("libforkport.so")))])


@pytest.mark.parametrize("header", sorted(path.name for path in (
    pathlib.Path(__file__).parents[2] / "include" / "forkport").glob("*.h")))
@pytest.mark.parametrize("language", ["c", "c++"])
def test_a_header_stands_alone(installed, tmp_path, header, language):
    root, prefix = installed
    if not shutil.which({"c": "cc", "c++": "c++"}[language]):
        pytest.skip(f"no {language} compiler")
    standard = {"c": "-std=c11", "c++": "-std=c++11"}[language]
    text = f"#include <forkport/{header}>\n#include <forkport/{header}>\n"
    subprocess.run(["cc" if language == "c" else "c++", "-x", language, standard, "-Wall", "-Wextra", "-Wpedantic",
                    "-Werror", "-fsyntax-only", f"-I{prefix}/include", "-"], input=text, text=True, check=True,
                   timeout=60)


THROWS = """\
#include <cstdio>
#include <exception>
#include <forkport/server.h>
static int answer(struct fp_connection *, void *) { throw 1; }
int main(int, char **argv)
{
    struct fp_server *server = fp_server_new(nullptr);
    if (fp_server_listen(server, "127.0.0.1:0", nullptr) || fp_server_set(server, "ready-fd", argv[1], nullptr))
        return 1;
    fp_server_handler(server, answer, nullptr);
    fp_server_set(server, "log-file", argv[2], nullptr);
    try {
        fp_server_run(server, nullptr);
    } catch (int) {
        std::puts("caught");
    }
    fp_server_free(server);
    return 0;
}
"""


def test_an_exception_of_a_handler_ends_its_process(installed, tmp_path):
    """The server's main(), which is in the copy too, does not go on there."""
    root, prefix = installed
    if not shutil.which("c++"):
        pytest.skip("no c++ compiler")
    (tmp_path / "throws.cc").write_text(THROWS)
    subprocess.run(["c++", *sanitizer_flags(), "-o", tmp_path / "throws", tmp_path / "throws.cc",
                    *pkg_config(root, "--cflags", "--libs")], check=True, timeout=60)
    reader, writer = os.pipe()
    with subprocess.Popen([tmp_path / "throws", str(writer), tmp_path / "log"], pass_fds=[writer], env={
            **os.environ, "LD_LIBRARY_PATH": str(next(root.rglob("libforkport.so")).parent)}) as server:
        try:
            os.close(writer)
            port = int(os.read(reader, 100).split(b":")[1].split(b",")[0])
            with socket.create_connection(("127.0.0.1", port), 20) as client:
                assert client.recv(100) == b""
            server.terminate()
            assert server.wait(20) == 0
        finally:
            server.kill()
    os.close(reader)
    log = (tmp_path / "log").read_text()
    assert "signal ABRT" in log and "terminate called after throwing" in log and "caught" not in log


def test_units_name_the_program_that_is_installed(installed):
    root, prefix = installed
    units = sorted(root.rglob("*.service"))
    assert [unit.name for unit in units] == ["forkport-echo.service", "forkport@.service"]
    for unit in units:
        text = unit.read_text()
        assert f"ExecStart=/{prefix.relative_to(root)}/bin/forkport serve " in text
        # Else one worker that takes too much memory ends all the others.
        assert "\nOOMPolicy=continue\n" in text


def test_the_runner_of_python_and_its_module_are_one(installed, tmp_path):
    root, prefix = installed
    runner = prefix / "bin/forkport-python"
    module = next(root.rglob("forkport.py"))
    assert runner.read_text() == module.read_text() and not os.access(module, os.X_OK)
    script = tmp_path / "script.py"
    script.write_text("import forkport, sys\nprint(forkport.gate().foreign, sys.argv[1:])\n")
    env = {key: value for key, value in os.environ.items() if not key.startswith("TCP")}
    assert output([str(runner), str(script), "-x"], env=env) == "None ['-x']\n"
    python = runner.read_text().partition("\n")[0].removeprefix("#!")
    folders = output([python, "-c", "import site; print(*site.getsitepackages(), sep='\\n')"]).splitlines()
    # Where the interpreter looks nowhere below the prefix, it has to be told.
    assert f"/{module.parent.relative_to(root)}" in folders or not any(
        folder.startswith(f"/{prefix.relative_to(root)}/lib") for folder in folders)
