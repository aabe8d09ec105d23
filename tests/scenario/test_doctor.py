"""forkport doctor: what is there is found, what is taken away is missed, and nothing is left of the looking."""
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import tempfile
import time

import pytest

from forkport import BUILD, DEADLINE, ERRNO, FORKPORT, KILL, SANITIZED, TRACED, has_kernel_pids, read_trace, refuse

NOBODY = 65534
AS_NOBODY = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
LIBRARIES = ["libforkport-preload.so", "libforkport-preload-read.so"]
FIELDS = ["check", "group", "name", "verdict", "needed_by", "found", "use", "without", "remedy"]


def run(*arguments, prefix=(), code=0, program=FORKPORT, **more):
    result = subprocess.run([*map(str, prefix), program, "doctor", *arguments], capture_output=True, text=True,
                            timeout=DEADLINE, check=False, close_fds=False, **more)
    assert result.returncode == code, result
    return result.stdout if code < 64 else result.stderr


def look(**how):
    """What was found, by the names of the checks."""
    lines = [json.loads(line) for line in run("--json", **how).splitlines()]
    for line in lines:
        assert list(line) == FIELDS and all(line.values())
    return {line["check"]: line for line in lines}


def verdicts(found):
    return {name: check["verdict"] for name, check in found.items() if check["verdict"] != "ok"}


@pytest.fixture(name="public")
def folder_where_nobody_may_run_it():
    """The program and what belongs to it, where every user may run it."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        for file in ["forkport", *LIBRARIES]:
            shutil.copy(BUILD / file, folder / file)
            (folder / file).chmod(0o755)
        yield folder


def test_every_check_of_the_table_in_both_forms():
    rows = [line.split("\t") for line in
            subprocess.run([BUILD / "man/options", "list"], capture_output=True, text=True, check=True)
            .stdout.splitlines()]
    checks = [row[1:] for row in rows if row[0] == "check"]
    found = look()
    assert [[check[key] for key in ("check", "name", "use", "without", "remedy")] for check in found.values()] == checks
    text = run()
    shown = re.findall(r"^  (\S.*?) +(ok|low|not permitted|missing) +\S", text, re.MULTILINE)
    assert shown == [(check["name"], check["verdict"]) for check in found.values()]
    assert re.findall(r"^\S.*$", text, re.MULTILINE)[:-1] == list(dict.fromkeys(check["group"] for check in found.values()))
    assert text.count("      remedy   ") == len(verdicts(found))
    assert text.endswith("; forkport serve has what it needs\n")


def test_it_takes_less_than_a_second():
    def seconds():
        start = time.monotonic()
        run()
        return time.monotonic() - start

    # The other tests of a host may take their time out of one of three.
    assert min(seconds() for _ in range(3)) < (10 if SANITIZED else 1)


def test_what_is_not_permitted_is_not_missing(root, public):
    mine, theirs = look(program=public / "forkport"), look(program=public / "forkport", prefix=AS_NOBODY, cwd="/")
    privileged = {"users", "owners", "steering", "sk_lookup", "enter", "capture_live", "live_owners"}
    if int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) > 1:
        privileged.add("low_ports")
    for name in privileged:
        expected = "not permitted" if mine[name]["verdict"] == "ok" else mine[name]["verdict"]
        assert theirs[name]["verdict"] in (expected, "not permitted"), name
    # All the rest is as root has it.
    for name in set(mine) - privileged - {"namespaces"}:
        assert theirs[name]["verdict"] == mine[name]["verdict"], name


@pytest.mark.parametrize("how, verdict", [(ERRNO | 1, "not permitted"), (ERRNO | 38, "missing"), (KILL, "missing")])
def test_a_call_without_which_no_worker_runs(how, verdict):
    found = look(preexec_fn=refuse("close_range", how), code=1)
    assert found["close_range"]["verdict"] == verdict and found["close_range"]["needed_by"] == "serve"
    assert run(preexec_fn=refuse("close_range", how), code=1).endswith("; forkport serve cannot run\n")


@pytest.mark.parametrize("call, how, code, expected", [
    ("signalfd4", ERRNO | 38, 1, {"events": "missing"}),
    ("madvise", ERRNO | 22, 0, {"collapse": "missing"}),
    ("madvise", ERRNO | 12, 0, {"collapse": "low"}),
    ("memfd_create", ERRNO | 38, 0, {"collapse": "low"}),
    ("bpf", ERRNO | 1, 0, {"owners": "not permitted", "steering": "not permitted", "sk_lookup": "not permitted",
                           "live_owners": "not permitted"}),
    ("recvfrom", ERRNO | 1, 0, {"bytes": "not permitted", "sock_diag": "not permitted"}),
])
def test_a_call_that_is_refused(root, call, how, code, expected):
    before, after = look(), look(preexec_fn=refuse(call, how), code=code)
    # In a PID namespace some are not asked for.
    expected = {name: verdict for name, verdict in expected.items() if has_kernel_pids() or before[name]["verdict"] != "missing"}
    # With a filter of system calls no io_uring is asked for.
    assert verdicts(after) == {**verdicts(before), "pinned": "not permitted", **expected}


def test_limits_of_the_process():
    def lower():
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 4000))
        resource.setrlimit(resource.RLIMIT_NPROC, (50, 50))
    if os.geteuid() != 0:
        pytest.skip("only root, who is not held to it, can have so few processes")
    found = look(preexec_fn=lower)
    assert (found["descriptors"]["verdict"], found["descriptors"]["found"]) == ("low", "100, can be raised to 4000")
    assert (found["user_processes"]["verdict"], found["user_processes"]["found"]) == ("low", "50")


def test_settings_of_the_network(network):
    host = network.host("here")

    def found_with(**settings):
        script = "".join(f"echo {value} >/proc/sys/net/{name.replace('__', '/')} && " for name, value in settings.items())
        return look(prefix=[*host.prefix, "sh", "-c", script + 'exec "$@"', "sh"])

    found = found_with(core__somaxconn=128, unix__max_dgram_qlen=600, ipv4__ip_unprivileged_port_start=0,
                       ipv4__tcp_syncookies=0, ipv4__tcp_max_syn_backlog=64)
    assert (found["backlog"]["verdict"], found["backlog"]["found"]) == ("low", "at most 128; --backlog is 4096")
    assert (found["syn_backlog"]["verdict"], found["syn_backlog"]["found"]) == ("low", "64, SYN cookies off")
    assert (found["datagrams"]["verdict"], found["low_ports"]["found"]) == ("ok", "none is kept")
    found = found_with(core__somaxconn=4096, unix__max_dgram_qlen=10, ipv4__tcp_syncookies=1)
    assert (found["backlog"]["verdict"], found["syn_backlog"]["verdict"]) == ("ok", "ok")
    assert found["datagrams"]["verdict"] == "low"


def test_a_user_namespace(network):
    """Root in it, who has all that there is to be had there, but no other user, and nothing of the host."""
    del network
    prefix = ["unshare", "--user", "--map-root-user"]
    if os.geteuid() == 0:
        prefix = [*prefix, "--net"]
    found = look(prefix=prefix)
    assert verdicts(found)["users"] == "not permitted"
    assert found["owners"]["verdict"] != "ok" and found["live_owners"]["verdict"] != "ok"
    assert found["namespaces"]["found"] == "can be made"
    # Its loopback device is down, which is no reason.
    assert found["capture_live"]["verdict"] in ("ok", look()["capture_live"]["verdict"])


def test_a_pid_namespace(root):
    before = look()
    after = look(prefix=["unshare", "--pid", "--fork", "--mount-proc"])
    if before["owners"]["verdict"] != "ok":
        pytest.skip(f"this host lacks it anyway: {before['owners']['found']}")
    assert verdicts(after) == {**verdicts(before), "owners": "missing", "live_owners": "missing"}
    assert after["owners"]["found"].startswith("this is a PID namespace")


def test_a_proc_of_processes_alone(root):
    """Has no /proc/sys, where the first port that is nobody's is; a low one can be had all the same."""
    before = look()["low_ports"]
    if before["found"] != "may be used":
        pytest.skip(f"here, {before['found']}")
    script = 'mount -t proc -o subset=pid proc /proc && exec "$@"'
    assert look(prefix=["unshare", "--pid", "--fork", "--mount", "sh", "-c", script, "sh"])["low_ports"] == before


def test_libraries_that_are_not_there_or_are_none(root, public):
    """Over each libpcap of the host lies an empty file; of ours one is gone, and one is a text."""
    before = look(program=public / "forkport")
    assert [before[name]["verdict"] for name in ("preload", "preload_read")] == ["ok", "ok"]
    (public / LIBRARIES[0]).unlink()
    (public / LIBRARIES[1]).write_text("no library\n")
    script = 'for file in $(find /lib /usr/lib /usr/local/lib -name "libpcap.so*" ! -type d); do ' \
             'mount --bind /dev/null $(readlink -f $file); done; exec "$@"'
    after = look(program=public / "forkport", prefix=["unshare", "--mount", "sh", "-c", script, "sh"])
    assert after["preload"]["found"] == f"{LIBRARIES[0]}: No such file or directory"
    assert after["preload_read"]["found"].startswith(f"{LIBRARIES[1]} cannot be loaded: ")
    assert {after[name]["verdict"] for name in ("preload", "preload_read", "captures", "capture_live")} == {"missing"}


def groups(controller):
    """The folder and the names of the limits of the own control group, of version 2 and, where there is one, of 1."""
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, names, group = line.split(":", 2)
        if not names:
            yield group, {"pids": ["pids.max", "pids.current"], "memory": ["memory.max", "memory.current"]}[controller]
        elif controller in names.split(","):
            yield f"/{controller}{group}", {"pids": ["pids.max", "pids.current"],
                                            "memory": ["memory.limit_in_bytes", "memory.usage_in_bytes"]}[controller]


@pytest.mark.parametrize("controller, check, limit, used, expected", [
    ("pids", "cgroup_processes", "25", "5", "20 more"),
    ("pids", "cgroup_processes", "5", "25", "0 more"),
    ("pids", "cgroup_processes", "max", "25", "no limit"),
    ("memory", "memory", str(9 << 20), str(2 << 20), "7 MiB available in the cgroup"),
])
def test_limits_of_the_control_group(root, tmp_path, controller, check, limit, used, expected):
    """The host's groups are left alone: other files lie in the place of their limits, those of one version at a time."""
    places = list(groups(controller))
    assert places
    for number, (group, names) in enumerate(places):
        tree = tmp_path / str(number)
        folder = tree / group.strip("/")
        folder.mkdir(parents=True)
        for name, value in zip(names, (limit, used)):
            (folder / name).write_text(value + "\n")
        found = look(prefix=["unshare", "--mount", "sh", "-c", f'mount --bind {tree} /sys/fs/cgroup && exec "$@"', "sh"])
        assert found[check]["found"] == expected
        assert found[check]["verdict"] == ("ok" if limit == "max" else "low")


def test_no_place_for_the_log_s_socket(root):
    script = 'for folder in /run /tmp /dev/shm; do [ ! -d $folder ] || { ' \
             'mount --bind $folder $folder && mount -o remount,bind,ro $folder; }; done; exec "$@"'
    found = look(prefix=["unshare", "--mount", "sh", "-c", script, "sh"], env={**os.environ, "TMPDIR": "/proc"}, code=1)
    assert verdicts(found).get("standard_error") in ("missing", "not permitted")


def test_nothing_is_left_of_it(network, tmp_path):
    host = network.host("here")
    run(prefix=host.prefix, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert not list(tmp_path.iterdir())
    left = subprocess.run([*host.prefix, "cat", "/proc/net/tcp", "/proc/net/packet"], capture_output=True, text=True,
                          check=True).stdout
    assert len(left.splitlines()) == 2, left


def test_nothing_of_the_host_is_written_to(strace, tmp_path):
    del strace
    trace = tmp_path / "trace"
    run(prefix=["strace", "-f", "-o", trace, "-e", "trace=%file,mount,sethostname"],
        env={**TRACED, "TMPDIR": str(tmp_path)})
    read_trace(trace)
    for line in trace.read_text().splitlines():
        if re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|mount\(|creat\(|truncate\(|rename|link\(|mk(dir|nod)", line):
            # In /run the server's own name, which is gone again, and those of servers that were killed.
            assert f'"{tmp_path}/' in line or '"/run/forkport.' in line or "readlink" in line, line
    for name in re.findall(r'mkdir\("(/run/.*?)"', trace.read_text()):
        assert not os.path.exists(name)


@pytest.mark.parametrize("arguments", [["what"], ["--what"], ["--json=yes"]])
def test_command_lines_that_are_none(arguments):
    assert "cannot examine this host with" in run(*arguments, code=64)


def test_an_output_that_cannot_be_written():
    with open("/dev/full", "w", encoding="ascii") as full:
        result = subprocess.run([FORKPORT, "doctor"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (71, "forkport: cannot print to standard output: No space left on device\n")
