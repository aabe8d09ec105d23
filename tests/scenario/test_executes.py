"""Gate read, where what is served executes another program before it reads, or has it executed: nothing reads but for a client."""
import os
import pathlib
import shutil
import subprocess

import pytest

import forkport

HERE = "127.0.0.1:0"
WAYS = {
    "fork": ["--engine", "fork"],
    "pool": ["--engine", "pool", "--pool-min", 1],
    "pool by exec": ["--engine", "pool", "--pool-start", "exec", "--pool-min", 1],
}

pytestmark = [pytest.mark.no_program, pytest.mark.skipif(forkport.SANITIZED, reason="the program would have to be sanitized too")]

CALLS = {
    "execl": 'execl(path, "name", "one", "two", (char *)0)',
    "execlp": 'execlp(path, "name", "one", "two", (char *)0)',
    "execle": 'execle(path, "name", "one", "two", (char *)0, environ)',
    "execv": "execv(path, argv)",
    "execvp": "execvp(path, argv)",
    "execvpe": "execvpe(path, argv, environ)",
    "execve": "execve(path, argv, environ)",
    "fexecve": "fexecve(open(path, O_RDONLY), argv, environ)",
    "execveat": 'execveat(open(path, O_PATH), "", argv, environ, AT_EMPTY_PATH)',
}


@pytest.fixture(name="program")
def program_(tmp_path):
    """What is executed: it notes that it began and what it read, and answers with what it was given."""
    path = tmp_path / "program"
    path.write_text(f'#!/bin/sh\necho began >>{tmp_path}/notes\nread line\necho "read $line" >>{tmp_path}/notes\necho "$line $*"\n')
    path.chmod(0o755)
    return path


def notes(program):
    path = program.parent / "notes"
    return path.read_text().splitlines() if path.exists() else []


WHY = "cannot wait at a gate: it executes another program before it reads: "


def reads_for_clients_alone(server, program, answer):
    """A pool of forked workers is first one of executed ones."""
    def said():
        return [notice["error"].partition(WHY)[2] for notice in server.log.find("notice")]

    forkport.until(lambda: "each connection executes it instead" in said(), "the engine to be given up")
    assert notes(program) == []
    assert server.ask(b"line\n") == answer
    assert notes(program) == ["began", "read line"]
    assert server.stop() == 0
    assert notes(program) == ["began", "read line"]
    assert said() in (["each connection executes it instead"],
                      ["those that wait are executed, not forked", "each connection executes it instead"])


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("wrapper", [["env", "A=b"], ["nice"], ["sh", "-c", 'exec "$@"', "sh"], ["bash", "-c", 'exec "$@"', "bash"],
                                     ["perl", "-e", "exec @ARGV", "--"]], ids=lambda wrapper: wrapper[0])
def test_a_wrapper(serve, program, way, wrapper):
    if not shutil.which(wrapper[0]):
        pytest.skip(f"there is no {wrapper[0]}")
    server = serve(HERE, *way, "--gate", "read", worker=[*wrapper, program, "one", "two"])
    reads_for_clients_alone(server, program, b"line one two\n")


@pytest.mark.parametrize("call", CALLS)
def test_each_call(serve, program, tmp_path, call):
    """In the template it is not let through; in a worker, and in a child that is no template, it does what it is for."""
    (tmp_path / "calls.c").write_text(f"""
        #define _GNU_SOURCE
        #include <fcntl.h>
        #include <string.h>
        #include <sys/wait.h>
        #include <unistd.h>
        int main(int argc, char **argv)
        {{
            const char *path = argv[1];
            argv[1] = "name";
            argv++;
            if (path[0] == '+') {{ /* a child first: one that does not read */
                if (vfork() == 0) {{
                    char *argv[] = {{"true", NULL}};
                    const char *path = "/bin/true";
                    {CALLS[call]};
                    _exit(3);
                }}
                int status;
                if (wait(&status) < 0 || status != 0)
                    return 4;
                path++;
            }}
            (void)argc;
            {CALLS[call]};
            return 5;
        }}""")
    subprocess.run(["cc", "-o", tmp_path / "calls", tmp_path / "calls.c"], check=True)
    for sign in ("", "+"):
        server = serve(HERE, "--engine", "fork", "--gate", "read",
                       worker=[tmp_path / "calls", f"{sign}{program}", "one", "two"])
        (tmp_path / "notes").unlink(missing_ok=True)
        reads_for_clients_alone(server, program, b"line one two\n")


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_child_that_reads(serve, program, way):
    """It waits, as for a client that says nothing, and ends with what it is the child of."""
    server = serve(HERE, *way, "--gate", "read", "--template-start", 1, worker=["sh", "-c", f"{program}; :"])
    forkport.until(lambda: [notice for notice in server.log.find("notice")
                            if notice["error"].endswith("each connection executes it instead")], "the engine to be given up")
    forkport.until(lambda: not [pid for pid in os.listdir("/proc") if pid.isdigit() and runs(pid, program)], "it to end")
    assert set(notes(program)) == {"began"}
    assert server.ask(b"line\n") == b"line \n"
    assert server.stop() == 0
    assert set(notes(program)[:-1]) == {"began"} and notes(program)[-1] == "read line"


def test_a_child_that_reads_when_the_server_ends(program, tmp_path):
    server = forkport.Server(tmp_path, HERE, "--engine", "fork", "--gate", "read", worker=["sh", "-c", f"{program}; :"])
    try:
        forkport.until(lambda: notes(program), "the child to run")
        assert server.stop() == 0
        forkport.until(lambda: not [pid for pid in os.listdir("/proc") if pid.isdigit() and runs(pid, program)], "it to end")
    finally:
        server.kill()
    assert notes(program) == ["began"]


def runs(pid, program):
    try:
        return str(program).encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
