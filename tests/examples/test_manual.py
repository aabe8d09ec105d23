"""Every example of the manual is run as it stands, and the manual says what the tables and --help say."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import session

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("FORKPORT_BUILD", ROOT / "build")).resolve()
# forkport-connect.1.scd has examples of another kind, which tests/scenario/test_connect.py runs.
PAGES = sorted(page for page in (ROOT / "man").glob("*.scd") if page.name != "forkport-connect.1.scd")


def sections():
    """The blocks of a section are run on one host, one after another."""
    for page in PAGES:
        found = {}
        for heading, block in session.blocks_of(page.read_text()):
            # In scdoc a backslash stands for the next character, in literal blocks too.
            block = re.sub(r"\\(.)", r"\1", block)
            if heading != "SYNOPSIS" and session.kind_of(block) != "text":
                found.setdefault(heading, []).append(block)
        for heading, blocks in found.items():
            yield pytest.param(blocks, id=f"{page.stem}-{heading.lower().replace(' ', '-')}")


@pytest.mark.parametrize("blocks", sections())
def test_the_examples_of_a_section(installed, blocks):
    if installed.sanitized and any("fp_gate()" in block for block in blocks):
        pytest.skip("a program with the sanitizer, which wants to be its first library, cannot be a template")
    installed.run_session(blocks)


def test_every_page_has_examples():
    named = {param.id.partition("-example")[0].partition("-exit-status")[0] for param in sections()}
    assert named == {page.stem for page in PAGES}


def output(*command, **more):
    return subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=True, timeout=60,
                          **more).stdout


def table(kind):
    """The rows of a table, each a list of columns, as the program that makes manual and completions has them."""
    rows = (line.split("\t") for line in output(BUILD / "man" / "options", "list").splitlines())
    return [row[1:] for row in rows if row[0] == kind]


def words(text):
    return re.sub(r"\s+", " ", text)


def page_text(installed, name):
    """A page as it is read."""
    if not shutil.which("mandoc"):
        pytest.skip("mandoc is not there to read pages with")
    text = output("mandoc", "-T", "utf8", "-O", "width=1000", installed.file(name))
    return re.sub(".\b", "", text)


def test_help_has_every_option_of_the_table():
    shown = words(output(BUILD / "forkport", "serve", "--help"))
    for name, placeholder, default, _least, _most, text in table("option"):
        usage = f"--{name}" + (f" {placeholder}" if placeholder else "") + (f" ({default})" if default else "")
        assert f" {usage} {text.replace('*', '')} " in shown + " "
    assert len(re.findall(r"^  --", output(BUILD / "forkport", "serve", "--help"), re.MULTILINE)) == len(table("option"))


@pytest.mark.parametrize("command", ["connect", "pairs", "demux", "figures", "doctor"])
def test_help_of_a_command_has_its_options(command):
    shown = output(BUILD / "forkport", command, "--help")
    for name, placeholder in table(command):
        assert f" --{name}{' ' if placeholder else ''}{placeholder} " in words(shown)
    assert set(re.findall(r"^  --([a-z-]+)", shown, re.MULTILINE)) - {"help"} == {name for name, _ in table(command)}


@pytest.mark.parametrize("command", ["connect", "pairs", "demux", "figures", "doctor"])
def test_the_manual_of_a_command_has_its_options(installed, command):
    shown = words(page_text(installed, f"forkport-{command}.1"))
    for name, placeholder in table(command):
        assert f" --{name}{' ' if placeholder else ''}{placeholder} " in shown


def test_the_manual_has_every_option_of_the_table(installed):
    shown = words(page_text(installed, "forkport-serve.1"))
    for name, placeholder, default, least, most, text in table("option"):
        end = f" Default: {default}{f', from {least} to {most}' if most else ''}." if default else ""
        assert f" --{name}{' ' if placeholder else ''}{placeholder} {text.replace('*', '')}{end} " in shown


def test_the_manual_has_every_event_and_field(installed):
    shown = words(page_text(installed, "forkport-serve.1"))
    for name, text in table("event"):
        assert f" {name} {text} " in shown
    fields = shown[shown.index(" Fields "):shown.index(" LIMITS ")]
    for name, _ in table("field"):
        assert re.search(rf"[ ,]{name}[ ,]", fields), name


def test_the_manual_has_every_check_of_the_doctor(installed):
    shown = words(page_text(installed, "forkport-doctor.1"))
    for name, title, use, without, remedy in table("check"):
        assert f" {title} ({name}) For {use}. Without: {without}. Remedy: {remedy}. " in shown


# Public headers whose pages are still to be written.
UNWRITTEN = set()


def test_the_manual_has_every_public_function(installed):
    declared = set()
    for header in (path for path in installed.root.rglob("include/forkport/*.h") if path.name not in UNWRITTEN):
        declared |= set(re.findall(r"^[a-z].*?\b(fp_\w+)\(", header.read_text(), re.MULTILINE))
    for name in declared:
        assert list(installed.root.rglob(f"{name}.3")), f"there is no page {name}(3): man/meson.build"
        # In the synopsis, and in the text.
        assert len(re.findall(rf"\b{name}\b", page_text(installed, f"{name}.3"))) > 1, name
    assert "fp_server_run" in declared


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_have_every_option(installed, shell):
    names = {"bash": "forkport", "zsh": "_forkport", "fish": "forkport.fish"}
    text = next(path for path in installed.root.rglob(names[shell]) if "share" in path.parts).read_text()
    for name, placeholder, *_ in table("option") + table("connect") + table("pairs") + table("demux") + table("figures") + \
            table("doctor"):
        assert re.search(rf"(?:-l |--){name}\b", text), name
        if re.match("[a-z]", placeholder):
            for choice in re.sub("[A-Z]", "", placeholder).split("|"):
                assert choice in text.replace("\\", "")


@pytest.mark.parametrize("name", ["_forkport", "forkport.fish"])
def test_completions_say_what_an_option_does(installed, name):
    text = next(path for path in installed.root.rglob(name) if "share" in path.parts).read_text()
    says = re.findall(r"^ +'--[^\[]+\[(.+?)(?<!\\)\]|-d '(.+)'$", text, re.MULTILINE)
    assert len(says) > 40
    for said in map("".join, says):
        assert not re.match(r"With --\S+( \w+)?$|Nothing", said), said


def test_zsh_offers_hosts_where_an_address_is_expected(installed):
    text = next(path for path in installed.root.rglob("_forkport") if "share" in path.parts).read_text()
    hosts = {name: options.count("_hosts") for name, options in re.findall(r"^    (\w+)\)\n(.*?);;$", text, re.MULTILINE | re.DOTALL)}
    assert hosts == {"serve": 1, "connect": 1, "pairs": 0, "demux": 2, "figures": 0, "doctor": 0}


BASH = r"""
source "$1"
line=$2
read -ra COMP_WORDS <<<"${line//=/ = }"
[[ $line != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_forkport
printf '%s\n' "${COMPREPLY[@]}"
"""
COMPLETIONS = {
    "forkport ": {"serve", "connect", "pairs", "demux", "figures", "doctor", "--help", "--version"},
    "forkport serve --at": {"--at-max"},
    "forkport serve --at-max ": {"queue", "refuse", "message:"},
    "forkport serve 21 --at-max=re": {"refuse"},
    "forkport serve --user roo": {"root"},
    "forkport serve 21 --log-file /etc/passw": {"/etc/passwd"},
    "forkport serve --max ": {""},
    "forkport connect localhost:21 --q": {"--quiet"},
    "forkport figures --svg /usr/bi": {"/usr/bin"},
    "forkport figures --svg /etc/passw": {""},
    "forkport serve 21 -- /usr/bin/printen": {"/usr/bin/printenv"},
    "forkport serve 21 -- ls --max /etc/passw": {"/etc/passwd"},
}


@pytest.mark.parametrize("line", COMPLETIONS)
def test_bash_completes(installed, line):
    script = installed.file("bash-completion/completions/forkport")
    found = set(output("bash", "-c", BASH, "bash", script, line).strip("\n").split("\n"))
    assert {word for word in found if not re.fullmatch(r"/etc/passwd.+", word)} == COMPLETIONS[line]


@pytest.mark.parametrize("line", ["figures --svg", "serve 21 --log-file", "serve 21 -- ls"])
def test_bash_completes_a_name_with_spaces(installed, tmp_path, line):
    (tmp_path / "pictures of today *").mkdir()
    script = installed.file("bash-completion/completions/forkport")
    found = output("bash", "-c", BASH, "bash", script, f"forkport {line} {tmp_path}/pic")
    assert found == f"{tmp_path}/pictures of today *\n"


@pytest.mark.parametrize("line", COMPLETIONS)
def test_fish_completes(installed, tmp_path, line):
    if not shutil.which("fish"):
        pytest.skip("fish is not there")
    script = installed.file("vendor_completions.d/forkport.fish")
    found = output("fish", "--no-config", "-c", f"source {script}; complete -C '{line}'",
                   env={**os.environ, "HOME": str(tmp_path)})
    found = {word.split("\t")[0].removesuffix("/") for word in found.rstrip("\n").split("\n")}
    # fish leaves options out until a dash is typed, and writes --name=value as a whole.
    wanted = {re.sub("^re", "--at-max=re", word) if "=" in line else word for word in COMPLETIONS[line]
              if line != "forkport " or not word.startswith("-")}
    assert {word for word in found if not re.fullmatch(r"/etc/passwd.+", word)} == wanted
