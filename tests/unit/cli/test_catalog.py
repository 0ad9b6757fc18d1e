"""`lockgate catalog lint` as its user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.cli.main import run

ROOT = Path(__file__).parents[3]
Out = pytest.CaptureFixture[str]


@pytest.fixture
def workspace(tmp_path: Path, capsys: Out) -> Path:
    assert run(["init", str(tmp_path / "demo")]) == 0
    capsys.readouterr()
    return tmp_path / "demo"


def lint(workspace: Path, *more: str) -> int:
    return run(["catalog", "lint", "--config", str(workspace), *more])


def some_examples(workspace: Path) -> Path:
    return min((workspace / "utterances").glob("*.txt"))


def add(workspace: Path, *examples: str) -> None:
    with some_examples(workspace).open("a") as file:
        file.writelines(f"{example}\n" for example in examples)


def test_the_starter_is_sound(workspace: Path, capsys: Out) -> None:
    """With its meaning looked at, and warnings counted."""
    assert lint(workspace, "--strict") == 0
    assert capsys.readouterr().out == "Nothing to find fault with.\n"


def test_the_example_company_is_sound(tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    """And shares no text with what its classifier is measured on."""
    monkeypatch.setenv("HALDEN_STATE", str(tmp_path))
    assert lint(ROOT / "examples" / "halden", "--strict", "--held-out", str(ROOT / "tests" / "golden" / "heldout.csv")) == 0
    assert capsys.readouterr().out == "Nothing to find fault with.\n"


def test_a_warning_is_told_and_only_strictly_a_failure(workspace: Path, capsys: Out) -> None:
    """Where, what, and what to do."""
    add(workspace, "write to jane.doe@mailbox.org")
    assert lint(workspace, "--words-only") == 0
    said = capsys.readouterr().out
    assert f"utterances/{some_examples(workspace).name}:" in said
    assert "[personal_data]" in said
    assert "1 warning" in said
    assert lint(workspace, "--words-only", "--strict") == 1


def test_json_has_every_part(workspace: Path, capsys: Out) -> None:
    """Severity, code, place, sentence and remedy; an example that looks like markup is text."""
    example = some_examples(workspace).read_text().splitlines()[0]
    (workspace / "held.csv").write_text(f'intent,text\nx,"{example.upper()}"\n')
    assert lint(workspace, "--json", "--held-out", str(workspace / "held.csv")) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["errors"], told["warnings"], told["notes"]) == (False, 1, 0, 0)
    (finding,) = told["findings"]
    assert set(finding) == {"severity", "code", "file", "line", "sentence", "remedy"}
    assert (finding["severity"], finding["code"]) == ("error", "leaked_example")
    assert "held.csv:2" in finding["sentence"]


def test_what_check_refuses_is_an_error_beside_the_rest(workspace: Path, capsys: Out) -> None:
    """A catalog that cannot be served is looked at all the same, as far as words go."""
    add(workspace, "write to jane.doe@mailbox.org")
    catalog = workspace / "catalog.yaml"
    catalog.write_text(catalog.read_text() + "surprise: 1\n")
    assert lint(workspace) == 1
    said = capsys.readouterr().out
    assert "[invalid]" in said
    assert "[personal_data]" in said


def test_an_example_that_the_encoder_cannot_see_whole_is_found(workspace: Path, capsys: Out) -> None:
    """And one that just fits is not."""
    add(workspace, "book room " + "a b c " * 300, "book room " + "a b c " * 60)
    assert lint(workspace, "--json") == 0
    assert [each["code"] for each in json.loads(capsys.readouterr().out)["findings"]] == ["cut_example"]


def test_examples_are_plain_text(workspace: Path, capsys: Out) -> None:
    """What looks like the terminal library's markup is shown as it is."""
    add(workspace, "[red]book it[/red]", "[red]book it[/red]")
    assert lint(workspace, "--words-only") == 0
    assert "“[red]book it[/red]”" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"a,b\n1,2\n", "The column 'text' is missing."), (b"text\n\xff\n", "is no CSV file in UTF-8"), (None, "cannot be read")],
)
def test_a_held_out_file_that_is_none_is_one_sentence(workspace: Path, capsys: Out, content: bytes | None, sentence: str) -> None:
    """With exit status 2."""
    if content is not None:
        (workspace / "held.csv").write_bytes(content)
    assert lint(workspace, "--held-out", str(workspace / "held.csv")) == 2
    assert sentence in capsys.readouterr().err
