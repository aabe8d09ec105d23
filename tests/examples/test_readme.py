"""The README's examples are run as they stand, and its table of commands starts what it says."""
import pathlib
import re

import pytest

import session

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def sections():
    found = {}
    for heading, block in session.blocks_of(README):
        if session.kind_of(block) != "text":
            found.setdefault(heading, []).append(block)
    return found


@pytest.mark.parametrize("heading", sections())
def test_the_examples_of_a_section(installed, heading):
    installed.run_session(sections()[heading])


def rows():
    """The commands of the table "Coming from"."""
    return re.findall(r"^\|.*\| `(forkport serve [^`]*)` \|$", README[README.index("## Coming from"):], re.MULTILINE)


@pytest.mark.parametrize("command", sorted(set(rows())))
def test_a_command_of_the_table_serves(installed, command):
    address = "192.0.2.1" if "192.0.2.1" in command else "127.0.0.1"
    installed.run_session([f"$ {command.replace('PROGRAM', 'cat')}\n"
                           f"$ echo hello | forkport connect --quiet {address}:79\nhello"])


def test_each_row_of_the_table_has_a_command():
    table = README[README.index("| what you have |"):].split("\n\n")[0].split("\n")[2:]
    assert len(rows()) == len(table) == 10
