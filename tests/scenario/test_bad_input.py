"""What is wrong with a command line is said in one line, with what and where, and the exit code of its class."""
import errno
import os
import re
import shutil
import socket
import subprocess

import pytest

import forkport

HERE = "127.0.0.1:0"
ECHO = ["--builtin", "echo"]


def refused(*arguments, **more):
    """The exit code and the one line of a command that must not serve."""
    # A folder of PATH that may not be looked into would be the reason for a program that is not found.
    code, out, errors = forkport.run(*arguments, env={**os.environ, "PATH": "/usr/bin:/bin"}, **more)
    assert out == "" and errors.endswith("\n"), (code, out, errors)
    line = errors[:-1]
    assert line.startswith("forkport: ") and len(line) < 1000, errors
    assert all(character.isprintable() for character in line), repr(line)
    return code, line


@pytest.mark.parametrize("arguments, code, said", [
    (["frobnicate"], 64, ["cannot run the command frobnicate: there is none of that name (see forkport --help)"]),
    (["\x1b[2J\n"], 64, ["\\x1b[2J\\x0a"]),
    (["serve"], 64, ["address"]),
    (["serve", HERE], 64, ["program", "builtin"]),
    (["serve", HERE, "--"], 64, ["program", "builtin"]),
    (["serve", HERE, "--", ""], 64, ["program"]),
    (["serve", "--", "cat"], 64, ["address"]),
    (["serve", HERE, "127.0.0.1:1", *ECHO], 64, ["127.0.0.1:1", "one list"]),
    (["serve", HERE, *ECHO, "--", "cat"], 64, ["program", "builtin"]),
    (["serve", HERE, *ECHO, "--resolve"], 64, ["builtin", "--resolve"]),
    (["serve", HERE, *ECHO, "--engine", "pool"], 64, ["a builtin with --engine pool"]),
    (["serve", HERE, "--gate", "read", "--", "cat"], 64, ["--gate read", "--engine fork or pool"]),
    (["serve", HERE, *ECHO, "--log", "none", "--log-file", "log"], 64, ["--log none and --log-file"]),
    (["serve", HERE, "--engine", "pool", "--pool-max", "2", "--pool-min", "3", "--", "cat"], 64, ["--pool-min above --pool-max"]),
    (["serve", HERE, "--frobnicate", *ECHO], 64, ["--frobnicate", "no such option"]),
    (["serve", HERE, "--frobnicate=3", *ECHO], 64, ["--frobnicate", "no such option"]),
    (["serve", HERE, "--ma", "3", *ECHO], 64, ["--ma", "no such option"]),
    (["serve", HERE, "-x", *ECHO], 64, ["-x"]),
    (["serve", HERE, *ECHO, "--max"], 64, ["--max", "N is expected"]),
    (["serve", HERE, *ECHO, "--max", "0"], 64, ["--max to 0", "1 to"]),
    (["serve", HERE, *ECHO, "--max", "-1"], 64, ["--max to -1"]),
    (["serve", HERE, *ECHO, "--max", "3x"], 64, ["--max to 3x"]),
    (["serve", HERE, *ECHO, "--max="], 64, ["--max to an empty text"]),
    (["serve", HERE, *ECHO, "--max", "99999999999999999999"], 64, ["--max", "4000000"]),
    (["serve", HERE, *ECHO, "--source-prefix4", "33"], 64, ["--source-prefix4 to 33", "0 to 32"]),
    (["serve", HERE, *ECHO, "--source-prefix6", "129"], 64, ["--source-prefix6 to 129", "0 to 128"]),
    (["serve", HERE, *ECHO, "--resolve=yes"], 64, ["--resolve", "no value"]),
    (["serve", HERE, *ECHO, "--at-max", "drop"], 64, ["--at-max to drop", "queue|refuse|message:TEXT"]),
    (["serve", HERE, *ECHO, "--at-max", "message:\\x"], 64, ["--at-max", "backslash"]),
    (["serve", HERE, *ECHO, "--engine", "spawn"], 64, ["--engine to spawn", "exec"]),
    (["serve", HERE, *ECHO, "--log", "xml"], 64, ["--log to xml", "text|json|none"]),
    (["serve", HERE, *ECHO, "--stderr", "x"], 64, ["--stderr to x", "log|socket|inherit"]),
    (["serve", HERE, "--builtin", "ftp"], 64, ["--builtin to ftp", "echo|discard"]),
    (["serve", HERE, *ECHO, "--log-file", ""], 64, ["--log-file"]),
    (["serve", HERE, *ECHO, "--user", ""], 64, ["--user to an empty text", "a user is expected"]),
    (["serve", HERE, *ECHO, "--user", "4294967295"], 64, ["--user to 4294967295", "up to 4294967294"]),
    (["serve", HERE, *ECHO, "--group", "0,,1"], 64, ["--group to 0,,1", "a group on each side of a comma"]),
    (["serve", HERE, *ECHO, "--user", "no-such-user"], 78, ["no-such-user"]),
    (["serve", HERE, *ECHO, "--group", "no-such-group"], 78, ["no-such-group"]),
    (["serve", HERE, *ECHO, "--group", "0,no-such-group"], 78, ["no-such-group"]),
    (["serve", HERE, "--", "/no/such/program"], 66, ["/no/such/program", "No such file"]),
    (["serve", HERE, "--", "no-such-program"], 66, ["no-such-program", "No such file"]),
    (["serve", HERE, "--", "/etc"], 66, ["/etc", "directory"]),
    (["serve", HERE, "--", "/etc/passwd"], 77, ["/etc/passwd", "Permission denied"]),
    (["serve", HERE, "--", "/dev/null"], 77, ["/dev/null", "Permission denied"]),
    (["serve", HERE, *ECHO, "--ready-fd", "77"], 64, ["77", "--ready-fd", "Bad file descriptor"]),
    # What it has opened itself by then is not what was meant.
    (["serve", HERE, *ECHO, "--ready-fd", "3"], 64, ["3", "--ready-fd", "Bad file descriptor"]),
    (["serve", HERE, *ECHO, "--log-file", "/no/such/folder/log"], 66, ["/no/such/folder/log", "No such file"]),
    (["serve", HERE, *ECHO, "--log-file", "/etc"], 66, ["/etc", "directory"]),
])
def test_command_line(arguments, code, said):
    got, line = refused(*arguments)
    assert got == code, line
    for words in said:
        assert words in line


def test_ready_descriptor_that_cannot_be_written():
    """Who waits for it would wait for ever."""
    with open("/dev/full", "wb") as full:
        code, line = refused("serve", HERE, *ECHO, "--log", "none", "--ready-fd", full.fileno(), pass_fds=[full.fileno()])
        assert (code, line) == (71, f"forkport: cannot write the pairs to descriptor {full.fileno()} of --ready-fd: "
                                    "No space left on device")


def test_ready_descriptor_that_is_only_read():
    """That is whoever started it who is wrong."""
    with open("/dev/null", "rb") as null:
        code, line = refused("serve", HERE, *ECHO, "--ready-fd", null.fileno(), pass_fds=[null.fileno()])
        assert (code, line) == (64, f"forkport: cannot write the pairs to descriptor {null.fileno()} of --ready-fd: "
                                    "it is not open for writing")


def test_log_file_that_nobody_reads(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    code, line = refused("serve", HERE, *ECHO, "--log-file", tmp_path / "fifo")
    assert code == 66 and f"{tmp_path}/fifo: No such device or address (a FIFO must have" in line, line


@pytest.mark.parametrize("address, said", [
    ("", "there is nothing"), (":", ""), ("127.0.0.1", "port"), ("127.0.0.1:", "port"), ("127.0.0.1:65536", "65535"),
    ("65536", "65535"), ("127.0.0.1:-1", ""), ("127.0.0.1:21x", "21x"), ("127.0.0.1:no-such", "no-such"),
    ("1.2.3:21", "1.2.3"), ("1.2.3.4.5:21", "1.2.3.4.5"), ("::1:21", "[::1]:21"), ("[::1]", "port"), ("[::1:21", "["),
    ("[1.2.3.4]:21", "1.2.3.4"), ("fe80::1:21", "["), ("[fe80::1]:21", "%"), ("127.0.0.1%none:21", "none"),
    ("127.0.0.0/8:21", "127.0.0.0/8"), ("2000-2999", "2000-2999"), ("127.0.0.1:0,", ""), (",127.0.0.1:0", ""),
    ("127.0.0.1:0,,127.0.0.1:0", ""), ("127.0.0.1:0,bad", "bad"), ("x" * 5000 + ":21", "xxx"), ("\x1b[2J:21", "\\x1b"),
    ("caf\udce9:21", "\\xe9"), ("*:*", "*"),
    ("x" * 5000 + ":21", "x...: it is too long"), ("127.0.0.1:" + "9" * 200, "port " + "9" * 64 + "... is above 65535"),
    ("224.0.0.1:0", "a multicast address has no TCP"), ("[ff02::1%lo]:0", "a multicast address has no TCP"),
    ("255.255.255.255:0", "a broadcast address has no TCP"), ("192.0.2.99:0", "192.0.2.99:0: Cannot assign"),
    ("127.0.0.1:" + "s" * 200, "s... is neither a port"),
])
def test_address(address, said):
    code, line = refused("serve", address, *ECHO)
    assert code in (64, 65, 68, 69, 75), line
    assert said in line


def options():
    """The names of all the options, from the help."""
    _, out, _ = forkport.run("serve", "--help")
    return re.findall(r"^  --([a-z0-9-]+)", out, re.MULTILINE)


@pytest.mark.parametrize("junk", ["", " ", "-1", "0x10", "1e3", "99999999999999999999999", "\x1b[31m\n\r", "\udcff",
                                  "y" * 100_000], ids=lambda junk: ascii(junk[:30]))
def test_junk_for_each_option(junk):
    """Whatever is given to whatever option: one line and the exit code of a bad command line, and no crash."""
    names = options()
    assert len(names) >= 15
    for name in set(names) - {"name", "resolve", "log-file", "help"}:
        code, line = refused("serve", HERE, f"--{name}={junk}", *([] if name == "builtin" else ECHO))
        assert code in (64, 78) and name.split("-", maxsplit=1)[0] in line, line


def test_usage_is_shown_without_a_command():
    code, out, errors = forkport.run()
    assert code == 64 and out == "" and errors.startswith("usage: forkport ")


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["help", "serve"], ["--version"]])
def test_help_is_no_error(arguments):
    code, out, errors = forkport.run(*arguments)
    assert code == 0 and out != "" and errors == ""


@pytest.mark.parametrize("failure, reason", [("ENFILE", "Too many open files in system"),
                                             ("ENOMEM", "Cannot allocate memory")])
def test_a_service_that_cannot_be_looked_up_is_not_said_to_be_none(strace, failure, reason):
    result = subprocess.run(["strace", "-o", "/dev/null", "-P", "/etc/services", "-e", f"inject=openat:error={failure}",
                             forkport.FORKPORT, "connect", "127.0.0.1:ftp"], capture_output=True, text=True,
                            timeout=forkport.DEADLINE, check=False, env=forkport.TRACED)
    assert (result.returncode, result.stderr) == (71, f"forkport: cannot look up the service ftp: {reason}\n")


@pytest.fixture
def stranger(root, public_forkport):
    """refused(), by somebody who may do nothing."""
    return lambda *arguments: refused(*arguments, program=public_forkport, **forkport.NOBODY)


@pytest.mark.parametrize("arguments, said", [
    ([HERE, *ECHO, "--user", "root"], "of workers (uid 0"),
    ([HERE, *ECHO, "--group", "0"], "of workers"),
    ([HERE, *ECHO, "--log-file", "/log-of-nobody"], "/log-of-nobody"),
    (["127.0.0.1:21", *ECHO], "127.0.0.1:21: Permission denied (ports below net.ipv4.ip_unprivileged_port_start need "
                              "CAP_NET_BIND_SERVICE)"),
])
def test_what_is_not_permitted(stranger, arguments, said):
    code, line = stranger("serve", *arguments)
    assert code == 77 and said in line, line


def test_program_in_path_that_may_not_be_executed(tmp_path, serve):
    """It is remembered, but the search goes on. An empty part of PATH is the folder one is in."""
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    (tmp_path / "first" / "greet").write_text("")
    env = {**os.environ, "PATH": f"{tmp_path}/first:{tmp_path}/second"}
    code, _, said = forkport.run("serve", "127.0.0.1:0", "--", "greet", env=env)
    assert (code, said) == (77, "forkport: cannot run greet: Permission denied\n")
    program = tmp_path / "second" / "greet"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    for path in (f"{tmp_path}/first:{tmp_path}/second", f"{tmp_path}/first:", f":{tmp_path}/first", f"{tmp_path}/first::/bin"):
        server = serve("127.0.0.1:0", worker=["greet"], env={**os.environ, "PATH": path}, cwd=tmp_path / "second")
        assert server.ask() == b"hello\n", path


def test_which_any_is_in_use(serve):
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        code, line = refused("serve", f"[::]:{port},0.0.0.0:{port}", *ECHO)
    assert code == 69 and f"listen on 0.0.0.0:{port}" in line
    if not socket.has_dualstack_ipv6():
        pytest.skip("this host has no IPv6")
    # Of IPv4 it is free: a port that was free of IPv6 may be that of a client that has gone.
    with socket.create_server(("0.0.0.0", 0)) as free:
        port = free.getsockname()[1]
    with socket.create_server(("::", port), family=socket.AF_INET6):
        code, line = refused("serve", f"0.0.0.0:{port},[::]:{port}", *ECHO)
    assert code == 69 and f"listen on [::]:{port}" in line


def test_address_in_use(serve):
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, line = refused("serve", f"127.0.0.1:{other.getsockname()[1]}", *ECHO)
    assert code == 69 and "in use" in line


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["serve", "--help"], ["figures", "--help"], ["figures"],
                                       ["demux", "127.0.0.1:9", "127.0.0.1:7"]], ids=" ".join)
def test_an_output_that_cannot_be_written(arguments):
    with open("/dev/full", "w", encoding="ascii") as full:
        result = subprocess.run([forkport.FORKPORT, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (71, "forkport: cannot print to standard output: No space left on device\n")


@pytest.mark.parametrize("options", [[], ["--engine", "fork"], ["--engine", "pool"]], ids=["exec", "fork", "pool"])
@pytest.mark.parametrize("of_script", [False, True], ids=["a script", "a script of a script"])
def test_a_script_whose_interpreter_is_not_there(tmp_path, options, of_script):
    script, outer = tmp_path / "script", tmp_path / "outer"
    script.write_text("#!/no/such/interpreter -x\n")
    outer.write_text(f"#!{script}\n")
    script.chmod(0o755)
    outer.chmod(0o755)
    program = outer if of_script else script
    code, line = refused("serve", "127.0.0.1:0", *options, "--", program)
    assert (code, line) == (66, f"forkport: cannot run {program}: No such file or directory "
                                "(its interpreter, /no/such/interpreter)")


@pytest.mark.parametrize("errnum, code", [(errno.EPERM, 77), (errno.ENOSYS, 71)], ids=["EPERM", "ENOSYS"])
@pytest.mark.parametrize("served", [["--", "cat"], ECHO], ids=["program", "builtin"])
def test_a_filter_with_which_no_worker_could_begin(served, errnum, code):
    """As of a container that does not know close_range(2). It is no service that resets every connection."""
    assert refused("serve", HERE, *served, preexec_fn=forkport.refuse("close_range", forkport.ERRNO | errnum)) == (
        code, f"forkport: cannot keep the server's descriptors from workers: {os.strerror(errnum)} "
              "(close_range(2) is refused, as the seccomp filters of older containers do)")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may choose a user")
def test_a_program_that_the_user_may_not_run(tmp_path):
    tmp_path.chmod(0o700)
    program = shutil.copy("/bin/cat", tmp_path / "cat")
    code, line = refused("serve", "127.0.0.1:0", "--user", "nobody", "--", program)
    assert (code, line) == (77, f"forkport: cannot run the program {program} as a worker: Permission denied")


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["serve", "--help"], ["connect", "--help"], ["figures"],
                                       ["demux", "127.0.0.1:9", "127.0.0.1:7"]], ids=" ".join)
def test_an_output_that_is_closed(arguments):
    result = subprocess.run([forkport.FORKPORT, *arguments], stdout=None, stderr=subprocess.PIPE, text=True, check=False,
                            preexec_fn=lambda: os.close(1))
    assert (result.returncode, result.stderr) == (71, "forkport: cannot print to standard output: Bad file descriptor\n")
