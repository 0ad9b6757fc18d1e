"""How commands say things."""

from __future__ import annotations

import io
import json
from unicodedata import category

import click
import pytest
from rich.markup import escape
from rich.table import Table

from router.cli.audit.output import json_line
from router.cli.common import Screen, console, print_json
from router.cli.harmless import OBEYED, say
from router.cli.policy.rollout import _print


def test_a_table_that_is_piped_or_kept_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Who reads a list of readers from a file has their ids and times, on a line for each."""
    table = Table("time", "reader", "asked for", box=None)
    row = (
        "2026-11-30 17:56:16",
        "903283d5a4bc73403705b83f8f032c2d",
        "time >= '2026-11-23' and kind = 'decision' by intent, classification",
    )
    table.add_row(*row)
    console().print(table)
    _, line = capsys.readouterr().out.splitlines()
    assert [each.strip() for each in line.split("  ") if each.strip()] == list(row)


HOSTILE = "a\x1b[8mhidden\x1b[0m \x9b2J \u202eb\u2066 \u2028 \r over\nnext \u00a0 ünd µs 日本"
SHOWN = "a\\u001b[8mhidden\\u001b[0m \\u009b2J \\u202eb\\u2066 \\u2028 \\u000d over\nnext \u00a0 ünd µs 日本\n"


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("error", [False, True])
def test_a_terminal_obeys_nothing_that_others_wrote(
    terminal: bool, error: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comment could hide the lines below it from whoever has to say yes, or what it says itself."""
    monkeypatch.setenv("NO_COLOR", "1")
    made = console(error=error)
    monkeypatch.setattr(made, "_force_terminal", terminal)
    made.print(escape(HOSTILE), soft_wrap=True)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row(escape(HOSTILE.partition("\n")[0]))
    made.print(table, width=200)
    out, err = capsys.readouterr()
    first = SHOWN.partition("\n")[0]
    said = err if error else out
    assert said.startswith(SHOWN)
    assert said.removeprefix(SHOWN).strip() == first


def test_json_has_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    """And says the same to whoever reads it as JSON."""
    value = {"comment": HOSTILE + "\x7f \U000e0041 \U0001f600 \x00", "rows": [HOSTILE]}
    print_json(value)
    click.echo(json_line(value))
    said = capsys.readouterr().out
    assert [each for each in said if each != "\n" and category(each) in OBEYED] == []
    assert "ünd µs 日本" in said
    document, _, line = said.rstrip().rpartition("\n")
    assert json.loads(document) == json.loads(line) == value


def test_what_others_wrote_within_a_line_makes_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    """A comment to a rollout could tell of an approval that there was none of."""
    step = {"at": "now", "event": "rollout_proposed", "by": "ada", "comment": "ok)\n  now  approved by pat (fine"}
    plain = dict.fromkeys(("id", "state", "step", "steps", "stage", "revision", "policy_digest", "over_policy_digest", "digest"), "x")
    people = dict.fromkeys(("author", "approver", "seen"))
    _print({**plain, **people, "plan": [], "guards": {}, "promote": True, "history": [step]})
    say("revision 1\n2")
    *_, history, revision = capsys.readouterr().out.splitlines()
    assert history == "  now  proposed by ada (ok)\\u000a  now  approved by pat (fine)"
    assert revision == "revision 1\\u000a2"


def test_colours_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is orders to the terminal of ours is no text."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    made = Screen(file=io.StringIO(), force_terminal=True, color_system="standard")
    made.print("[red]no[/red]")
    assert made.file.getvalue() == "\x1b[31mno\x1b[0m\n"  # type: ignore[attr-defined]  # it is one in memory
