"""The runner itself: nothing that failed, crashed or was skipped may come out as passed; deps says what it does."""
import importlib.machinery
import importlib.util
import os
import pathlib
import shutil
import subprocess

import pytest

TOOLS = pathlib.Path(__file__).parents[2] / "tools"


def load(name):
    loader = importlib.machinery.SourceFileLoader(name, str(TOOLS / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


def tap(script):
    return subprocess.run([TOOLS / "tap", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=60)


@pytest.mark.parametrize("skip", ["not ok 2 # SKIP b", "ok 2 # SKIP b", "ok 2 - b # SKIP", "not ok 2 - b # SKIP"])
def test_tap_gives_a_skip_its_reason(skip):
    done = tap(f"echo 1..2; echo ok 1 - a; echo no IPv6 here; echo '{skip}'")
    assert done.stdout.splitlines() == ["1..2", "ok 1 - a", "# no IPv6 here", "ok 2 - b # SKIP no IPv6 here"]
    assert done.returncode == 0


def test_tap_keeps_a_failure_and_shows_it():
    done = tap("echo 1..2; echo ok 1 - a; echo not ok 2 - b; echo '# 1 != 2'; exit 1")
    assert "not ok 2 - b" in done.stdout
    assert done.stderr.splitlines() == ["1..2", "not ok 2 - b", "# 1 != 2"]
    assert done.returncode == 1


def test_tap_tells_of_a_signal():
    assert tap("kill -SEGV $$").returncode == 128 + 11


MESON = """<testsuites><testsuite name="p.good">
<testcase name="1 - a" classname="p.good"/><testcase name="2 - b" classname="p.good"><skipped/></testcase>
<testcase name="3 - c" classname="p.good"><failure/></testcase>
<system-out>1..3
ok 1 - a
ok 2 - b # SKIP no IPv6 here
not ok 3 - c</system-out></testsuite></testsuites>"""

PYTEST = """<testsuites><testsuite name="pytest">
<testcase classname="m" name="a"/><testcase classname="m" name="b"><skipped message="no namespaces"/></testcase>
<testcase classname="m" name="c"><failure message="assert 1 == 2&#10;more"/></testcase>
<testcase classname="m" name="d"><error message="fixture"/></testcase></testsuite></testsuites>"""


@pytest.mark.parametrize("text, expected", [
    (MESON, [("p.good 1 - a", "passed", ""), ("p.good 2 - b", "skipped", "no IPv6 here"),
             ("p.good 3 - c", "failed", "see above")]),
    (PYTEST, [("m a", "passed", ""), ("m b", "skipped", "no namespaces"), ("m c", "failed", "assert 1 == 2"),
              ("m d", "failed", "fixture")]),
], ids=["meson", "pytest"])
def test_reports_are_read(tmp_path, text, expected):
    report = tmp_path / "report.xml"
    report.write_text(text)
    assert list(load("test").read_report(str(report))) == expected


@pytest.mark.parametrize("code, outcomes", [(0, []), (1, ["failed"]), (124, ["failed"])])
def test_a_suite_that_ends_badly_is_a_failure(tmp_path, code, outcomes):
    cases = []
    load("test").add_up("unit", code, str(tmp_path / "none.xml"), cases)
    assert [outcome for _, outcome, _ in cases] == outcomes


MANAGERS = {
    "apt-get": "apt-get -qq -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 install --no-install-recommends ",
    "dnf": "dnf -q -y install ",
    "apk": "apk -q add ",
    "pacman": "pacman -S --needed --noconfirm ",
}


@pytest.fixture(params=MANAGERS)
def bare_machine(request, tmp_path):
    """PATH with little more than a package manager that writes down how it was called, and installs nothing."""
    folder, calls = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    for tool in ("sh", "tr", "sort", "grep", "cat", "env"):
        (folder / tool).symlink_to(shutil.which(tool))
    for name, script in ((request.param, f'echo "{request.param} $*" >>{calls}'), ("sudo", f'echo "sudo $*" >>{calls}; exec "$@"'),
                         ("id", "echo 1000")):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    calls.touch()
    return request.param, folder, calls


def deps(folder, **more):
    return subprocess.run([TOOLS / "deps", "build"], env={"PATH": str(folder), **more},
                          stderr=subprocess.PIPE, text=True, timeout=60)


def test_deps_says_what_it_installs_and_what_stays_missing(bare_machine):
    manager, folder, calls = bare_machine
    done = deps(folder)
    assert done.returncode == 1
    said = done.stderr.splitlines()
    assert said[0].startswith("deps: missing: ") and " meson " in said[0]
    assert said[1].startswith("deps: will run: ") and "DEPS=no" in said[1]
    assert said[-1].startswith("deps: still missing: ") and " meson " in said[-1]
    as_root, call = calls.read_text().splitlines()[-2:]
    assert as_root.startswith("sudo ") and call in as_root
    assert call.startswith(MANAGERS[manager]) and " meson " in call


def test_deps_no_installs_nothing(bare_machine):
    _, folder, calls = bare_machine
    done = deps(folder, DEPS="no")
    assert (done.returncode, calls.read_text()) == (1, "")
    assert done.stderr.startswith("deps: missing: ") and done.stderr.endswith("(DEPS=no: nothing is installed)\n")


def test_deps_is_silent_where_all_is_there():
    done = deps(os.environ["PATH"])
    assert (done.returncode, done.stderr) == (0, "")


def test_files_are_run_side_by_side_and_none_is_lost(tmp_path, monkeypatch, capfd):
    runner = load("test")
    monkeypatch.setattr(runner, "ROOT", str(tmp_path))
    (tmp_path / "tests").mkdir()
    for name, text in {"good": "def test_a(): pass", "bad": "def test_b(): assert 0, 'for a reason'", "none": "",
                       "gone": "import os\ndef test_c(): os._exit(3)"}.items():
        (tmp_path / "tests" / f"test_{name}.py").write_text(text + "\n")
    cases = []
    for name, code, report in runner.run_files(runner.python_with_pytest(), str(tmp_path / "build"), os.environ):
        runner.add_up(name, code, report, cases)
    assert sorted((name.split(".")[-1], outcome) for name, outcome, _ in cases) == [
        ("py", "failed"), ("test_bad test_b", "failed"), ("test_good test_a", "passed")]
    assert ("tests/test_gone.py", "failed", "ended with exit code 3") in cases
    shown = capfd.readouterr().out
    assert "tests/test_good.py: 1 passed" in shown and "for a reason" in shown
