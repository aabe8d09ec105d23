"""forkport figures: section 2.10 played on real sockets, with and without privileges, and nothing left of it."""
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import xml.etree.ElementTree

import pytest

from forkport import DEADLINE, FORKPORT, SANITIZED, children, until

NOBODY = 65534
AS_NOBODY = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
SCENES = ["2.11", "2.12", "2.13", "2.14", "end"]
SVG = "{http://www.w3.org/2000/svg}"


# Others may play the same meanwhile, such as the manual's examples.
OURS = f"PLAYED_FOR={os.getpid()}"


def marked(env=None):
    name, _, value = OURS.partition("=")
    return {**(os.environ if env is None else env), name: value}


def run(*arguments, prefix=(), code=0, env=None, **more):
    result = subprocess.run([*prefix, FORKPORT, "figures", *map(str, arguments)], capture_output=True, text=True,
                            timeout=DEADLINE, check=False, env=marked(env), **more)
    assert result.returncode == code, result
    return result.stdout if code < 64 else result.stderr


@pytest.fixture(name="public_forkport")
def forkport_where_nobody_may_run_it(monkeypatch):
    """The program where every user may run it; the build and pytest's folders may lie behind closed doors."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        program = pathlib.Path(folder) / "forkport"
        shutil.copy(FORKPORT, program)
        program.chmod(0o755)
        monkeypatch.setitem(globals(), "FORKPORT", program)
        yield program


def left():
    """The processes of this program that play for these tests; without any, their namespaces and sockets are gone too."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().startswith(os.fsencode(FORKPORT) + b"\0figures\0") and \
                    OURS.encode() in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(int(pid))
        except OSError:
            pass
    return found


def check_story(story):
    assert story["failed"] == 0, [claim for claim in story["claims"] if not claim["holds"]]
    assert len({claim["says"] for claim in story["claims"]}) == 21
    assert all(claim["holds"] and claim["proof"] for claim in story["claims"])
    assert list(story["figures"]) == SCENES
    counts = [(len(story["figures"][scene]["server"]), len(story["figures"][scene]["client"])) for scene in SCENES]
    assert counts == [(1, 0), (2, 1), (2, 1), (3, 2), (4, 3)]
    for scene in SCENES:
        listening = story["figures"][scene]["server"][0]
        assert listening["state"] == "LISTEN" and len(listening["processes"]) == 1
    waiting = [[row["waiting"] for row in story["figures"][scene]["server"]] for scene in SCENES]
    assert waiting == [[False], [False, True], [False, False], [False] * 3, [False, False, False, True]]
    children_of_2_14 = [row["processes"] for row in story["figures"]["2.14"]["server"][1:]]
    assert [[process["role"] for process in row] for row in children_of_2_14] == [["child 1"], ["child 2"]]


def check_segments(story, port):
    """Those of three handshakes and two lines with their answers; each with its receiver."""
    sockets = {row["cookie"]: row for host in story["figures"]["end"].values() for row in host}
    listening = next(row["cookie"] for row in sockets.values() if row["state"] == "LISTEN")
    assert len(story["segments"]) >= 15
    for segment in story["segments"]:
        receiver = sockets[segment["received_by"]]
        if segment["flags"] == "SYN":
            assert receiver["cookie"] == listening
        else:
            assert receiver["pair"] == segment["pair"]
    assert len([segment for segment in story["segments"] if segment["flags"] == "SYN"]) == 3
    answer = len(f"process {story['figures']['2.14']['server'][1]['processes'][0]['pid']} has read it\n")
    assert [segment["bytes"] for segment in story["segments"] if segment["bytes"]][:2] == [len("from port 1500\n"), answer]
    assert {int(re.search(r":(\d+)", segment["pair"])[1]) for segment in story["segments"]} == {port, 1500, 1501, 1502}


def test_as_root_it_is_two_network_namespaces(root):
    story = json.loads(run("--json"))
    assert story["stage"] == "network namespaces"
    check_story(story)
    check_segments(story, 21)
    assert story["figures"]["2.11"]["server"][0]["pair"] == "{*:21, *:*}"
    assert [row["pair"] for row in story["figures"]["2.14"]["server"]] == [
        "{*:21, *:*}", "{12.106.32.254:21, 206.168.112.219:1500}", "{12.106.32.254:21, 206.168.112.219:1501}"]
    assert not left()


def test_without_privileges_it_is_the_same_in_a_user_namespace(public_forkport, network):
    del public_forkport, network  # the latter says whether the kernel gives namespaces
    prefix = AS_NOBODY if os.geteuid() == 0 else []
    story = json.loads(run("--json", prefix=prefix, cwd="/"))
    assert story["stage"] == "network namespaces of a user namespace"
    check_story(story)
    check_segments(story, 21)
    assert not left()


@pytest.fixture(name="own_loopback")
def command_prefix_of_a_loopback_of_its_own(network):
    """Ports that nobody else has: those of a host of its own."""
    return network.host("here").prefix


def test_on_the_loopback_device(own_loopback):
    story = json.loads(run("--loopback", "--json", prefix=own_loopback))
    assert story["stage"] == "loopback addresses"
    check_story(story)
    check_segments(story, 2121)
    # Nothing waits in TIME-WAIT, so it can be played again at once.
    left = subprocess.run([*own_loopback, "cat", "/proc/net/tcp"], capture_output=True, text=True, check=True).stdout
    assert len(left.splitlines()) == 1, left
    text = run("--loopback", prefix=own_loopback)
    assert text.endswith("21 claims, 0 failed\n") and "with port 2121 in place of 21" in words(text)


def test_on_the_loopback_device_without_any_privilege(own_loopback, public_forkport):
    """No namespaces are to be had, no segments to be captured; it says so, and the rest is as ever."""
    del public_forkport
    limits = subprocess.run([*own_loopback, "sh", "-c", "cat /proc/sys/user/max_user_namespaces"],
                            capture_output=True, text=True, check=True).stdout
    assert int(limits) > 0
    # In a user namespace that may have no others below it, and with no capability left.
    prefix = [*own_loopback, "unshare", "--user", "--map-root-user", "sh", "-c",
              "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"", "sh",
              "setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    text = run("--ascii", prefix=prefix, cwd="/")
    assert "on loopback addresses (no network namespace: " in words(text)
    assert "The segments cannot be captured here: Operation not permitted." in text
    assert "not seen: segments cannot be captured here" in words(text)
    assert text.endswith("21 claims, 0 failed\n")
    assert "FAILED" not in text


def words(text):
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("locale, drawn", [("C.UTF-8", "┌─ server, pid "), ("C", "+- server, pid ")])
def test_text_fits_the_terminal_in_the_locale_s_characters(network, locale, drawn):
    del network
    env = {**{name: value for name, value in os.environ.items() if not name.startswith("LC_")}, "LC_ALL": locale}
    text = run(env=env)
    assert drawn in text and max(map(len, text.splitlines())) <= 80
    assert text.isascii() == (locale == "C")
    assert run("--ascii", env=env).isascii()
    figures = re.findall(r"^Figure (2\.\d\d)\. (.*)\.$", text, re.MULTILINE)
    assert figures == [("2.11", "TCP server with a passive open on port 21"),
                       ("2.12", "Connection request from client to server"),
                       ("2.13", "Concurrent server has child handle client"),
                       ("2.14", "Second client connection with same server")]
    assert len(re.findall(r"^holds  (?:2\.1[1-4]|end ) ", text, re.MULTILINE)) == 21


def test_each_segment_is_told_with_its_receiver(network):
    """Of a handshake the request is the server's, and its last segment comes while the connection is in the queue."""
    del network
    text = run("--ascii")
    told = re.findall(r"^ *(\d+) to (\d+) +(\S+) +(\d+)  (\S+(?: \d)?) +\{", text, re.MULTILINE)
    assert told[:3] == [("1500", "21", "SYN", "0", "server"), ("21", "1500", "SYN,ACK", "0", "client 1"),
                        ("1500", "21", "ACK", "0", "queue")]
    assert [(source, receiver) for source, _, _, length, receiver in told if length != "0"] == [
        ("1500", "child 1"), ("21", "client 1"), ("1501", "child 2"), ("21", "client 2")]
    assert told[-1] == ("1502", "21", "ACK", "0", "queue")
    assert not re.search(r"^and \d+ more$", text, re.MULTILINE) and "in place of" not in text


def test_output_is_the_same_but_for_processes_and_cookies(network):
    del network

    def plain():
        text = words(run("--ascii").replace("-", ""))
        text = re.sub(r"(pid|process|by) \d+|socket [0-9a-f]+ of|sockets [0-9a-f]+, [0-9a-f]+ and [0-9a-f]+", "", text)
        # How often TCP acknowledges, and when, is its own business.
        return re.sub(r" \d+ to \d+ ACK 0 \S+(?: \d)? \{[^}]*\}|\d+ of \d+ captured", "", text)

    assert plain() == plain()


def test_pictures_are_well_formed_and_say_what_they_show(network, tmp_path):
    del network
    run("--svg", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "figure-2.11.svg", "figure-2.12.svg", "figure-2.13.svg", "figure-2.14.svg", "figure-other.svg"]
    for path in tmp_path.iterdir():
        picture = xml.etree.ElementTree.parse(path).getroot()
        assert picture.tag == f"{SVG}svg" and picture.get("role") == "img"
        ids = {element.get("id"): "".join(element.itertext()) for element in picture.iter() if element.get("id")}
        assert all(ids[name].strip() for name in picture.get("aria-labelledby").split())
        assert "{*:21, *:*} listening socket" in ids["description"]
        width, height = map(int, picture.get("viewBox").split()[2:])
        for box in picture.iter(f"{SVG}rect"):
            x, y, wide, high = (int(box.get(name)) for name in ("x", "y", "width", "height"))
            assert 0 <= x and x + wide <= width and 0 <= y and y + high <= height
        for label in picture.iter(f"{SVG}text"):
            # A character of 14 pixels' monospaced font is 8.43 pixels wide.
            assert int(label.get("x")) + 8.43 * len("".join(label.itertext())) < width


def test_pictures_from_a_user_namespace_are_one_s_own(public_forkport, network):
    del network
    folder = public_forkport.parent / "pictures"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    run("--svg", folder, prefix=AS_NOBODY if os.geteuid() == 0 else [], cwd="/")
    assert {path.stat().st_uid for path in folder.iterdir()} == {folder.stat().st_uid} and list(folder.iterdir())


@pytest.mark.skipif(SANITIZED, reason="its stack is not that of the program")
@pytest.mark.parametrize("arguments", [[], ["--json"], ["--loopback"]])
def test_a_small_stack(own_loopback, tmp_path, arguments):
    """Of 64 KiB, which the program's environment is in as well."""
    run(*arguments, "--svg", tmp_path, prefix=[*own_loopback, "prlimit", "--stack=65536"])


def test_pictures_that_cannot_be_written(network, tmp_path):
    del network
    missing = tmp_path / "missing"
    assert f"cannot write {missing}/figure-2.11.svg: No such file or directory" in run("--svg", missing, code=66)
    (tmp_path / "figure-2.12.svg").symlink_to("/dev/full")
    assert f"cannot write {tmp_path}/figure-2.12.svg: No space left on device" in run("--svg", tmp_path, code=71)


@pytest.mark.parametrize("arguments", [["what"], ["--svg"], ["--what"]])
def test_command_lines_that_are_none(arguments):
    assert "cannot draw the figures with" in run(*arguments, code=64)


def test_a_port_that_is_taken_is_said_with_its_holder(network):
    host = network.host("here")
    taken = host.socket()
    with taken:
        taken.bind(("0.0.0.0", 2121))
        taken.listen()
        error = run("--loopback", prefix=host.prefix, code=69)
        assert "cannot listen on 127.168.42.1:2121: Address already in use" in error


@pytest.mark.skipif(SANITIZED, reason="a sanitizer needs /proc")
@pytest.mark.parametrize("arguments", [[], ["--loopback"]])
def test_processes_that_are_not_shown_are_no_claim_that_fails(network, mounted, arguments):
    prefix = [*network.host("here").prefix, *mounted("umount --lazy /proc")]
    assert re.search(r"^forkport: cannot find the processes of \{.*:21.*, \*:\*\}: /proc does not show them$",
                     run(*arguments, prefix=prefix, code=77))


@pytest.mark.parametrize("arguments", [[], ["--loopback"]])
def test_processes_of_other_numbers_are_no_claim_that_fails(network, arguments):
    """In a PID namespace with the /proc of the host."""
    prefix = [*network.host("here").prefix, "unshare", "--pid", "--fork"]
    assert re.search(r"^forkport: cannot find the processes of \{.*:21.*, \*:\*\}: /proc is that of another PID namespace$",
                     run(*arguments, prefix=prefix, code=77))


def test_a_claim_that_does_not_hold_is_said_and_is_1(network):
    """Somebody else's connection with the server's local port is there before the story begins."""
    host = network.host("here")
    with host.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.9", 2121))
        listening.listen()
        client = host.connect("127.0.0.9", 2121)
        accepted, _ = listening.accept()
    with client, accepted:
        text = run("--loopback", "--ascii", prefix=host.prefix, code=1)
        assert "FAILED 2.14 There are three sockets with the same local port." in text
        assert "2121 = 2121 = 2121 = 2121; they are 4" in words(text)
        assert re.search(r"^21 claims, [1-9]\d* failed\n\Z", text, re.MULTILINE)
        story = json.loads(run("--loopback", "--json", prefix=host.prefix, code=1))
        assert story["failed"] == len([claim for claim in story["claims"] if not claim["holds"]])


def test_it_takes_less_than_three_seconds(network):
    del network
    start = time.monotonic()
    run()
    assert time.monotonic() - start < (10 if SANITIZED else 3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_it_is_ended(network, number):
    """It is ended while its processes are at work: as soon as there are any, and later and later."""
    del network
    for later in range(0, 30, 3):
        process = subprocess.Popen([FORKPORT, "figures", "--json"], stdout=subprocess.PIPE, env=marked())
        with process:
            until(lambda: process.poll() is not None or children(process.pid) or None, "an actor")
            select.select([], [], [], later / 1000)
            process.send_signal(number)
            # The end of standard output is the end of all that had it.
            process.stdout.read()
        assert process.returncode in (0, -number)
        until(lambda: not left(), "its processes have gone")
