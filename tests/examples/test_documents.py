"""What the documents name is there."""
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "doc").glob("*.md"))]
FOLDERS = "src|tests|tools|include|doc|examples|bench|fuzz|man|dist"


def documents():
    return pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


@documents()
def test_a_path_that_is_named_is_there(document):
    for path in re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", document.read_text()):
        assert (ROOT / path).exists(), path


@documents()
def test_a_link_leads_somewhere(document):
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        assert (document.parent / target).exists() or (document.parent / f"{target}.md").exists(), target


@documents()
def test_a_command_of_make_is_there(document):
    goals = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for goal in re.findall(r"(?:`|^ {4})make ([a-z0-9-]+)", document.read_text(), re.MULTILINE):
        assert goal in goals, goal


def test_the_table_of_rooms_has_the_levels_of_the_layers():
    layers = dict(reversed(row.split()) for row in (ROOT / "src/LAYERS").read_text().splitlines()
                  if re.match(r"\d", row))
    table = dict(reversed(row) for row in re.findall(
        r"^\| (\d) \| `(\w+)` \|", (ROOT / "doc/architecture.md").read_text(), re.MULTILINE))
    assert len(table) > 10 and table.items() <= layers.items()


def test_files_in_the_picture_are_there():
    picture = (ROOT / "doc/architecture.md").read_text().split("```")[1]
    for path in re.findall(r"\b[a-z]+/\w+\.c\b", picture):
        assert (ROOT / "src" / path).exists(), path
