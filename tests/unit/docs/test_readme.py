"""The README's first screen is true: its commands exist, its excerpts are what the files say, its rows are the demo's."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from examples.halden.demo.requests import requests
from router.cli.main import COMMANDS
from tests.unit.docs.emitted import reason_codes
from tests.unit.docs.pages import ROOT, everything

README = (ROOT / "README.md").read_text(encoding="utf-8")
EXCERPTS = re.findall(r"^<!-- from: (\S+) -->\n```\w+\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
ROWS = README.partition("```text\nsubject")[2].partition("```")[0].splitlines()[1:]
TARGETS = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("path", "text"), EXCERPTS)
def test_excerpts_are_what_the_files_say(path: str, text: str) -> None:
    """An excerpt stands in its file, word for word."""
    assert text in (ROOT / path).read_text(encoding="utf-8")


def test_there_are_excerpts_and_rows() -> None:
    """What the tests beside this one look at was found."""
    assert len(EXCERPTS) == 3
    assert len(ROWS) > 5


@pytest.mark.parametrize("file", everything(), ids=lambda file: file.name)
def test_make_targets_exist(file: Path) -> None:
    """Whoever types a `make` command that a page names gets what it says."""
    wanted = re.findall(r"(?:`|^    |^)make ([a-z0-9-]+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(set(wanted) - set(TARGETS)) == []


def test_the_first_screen_has_the_two_commands() -> None:
    """The demo and the tests are what a stranger types first."""
    first = "\n".join(README.splitlines()[:30])
    assert "make demo" in first
    assert "make test" in first


def test_rows_are_requests_of_the_demo() -> None:
    """The table shows requests that the demo really sends, with reason codes that exist."""
    sent = [(each.who, each.shown) for each in requests()]
    for line in (line for line in ROWS if "└" not in line):
        who, said = line[:12].strip(), line[12:52].rstrip(" …")
        plain = said.partition("[")[0]
        assert [each for each in sent if each[0] == who and each[1].startswith(plain)], plain
        codes = re.findall(r"(?:allow|deny|review|asks back:) ([a-z_.]+)", line)
        assert codes, line
        assert set(codes) <= reason_codes()
    later = {word for line in ROWS if (word := line.strip(" └").partition(" at ")[0]) and "└" in line}
    assert later <= {each.expected.then for each in requests()}


def test_places_exist() -> None:
    """The folders that the README names are there."""
    named = re.findall(r"^\| `([a-z/]+/)` \|", README, re.MULTILINE)
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).is_dir()] == []


def test_the_changelog_tells_of_the_version_and_of_every_command() -> None:
    """The newest version that is told of is the project's, and no command is left out."""
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert re.findall(r"^## \[([0-9.]+)\]", changes, re.MULTILINE)[0] == version
    assert [name for name in COMMANDS if f"`{name}" not in changes and f"lockgate {name}" not in changes] == []
