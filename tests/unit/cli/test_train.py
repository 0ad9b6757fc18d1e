"""`lockgate train`: the model, and what was found out about its examples; in a terminal, as JSON and as a page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from router.cli.main import run

STRANGE = "<script>alert('[red]book a room[/red]')</script>"


class Page(HTMLParser):
    """The elements of a page, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter's, with a strange example that is in the wrong place."""
    folder = tmp_path_factory.mktemp("train") / "demo"
    assert run(["init", str(folder)]) == 0
    catalog = yaml.safe_load((folder / "catalog.yaml").read_text())
    file = next(intent["examples_file"] for intent in catalog["intents"].values() if "examples_file" in intent)
    with (folder / file).open("a") as examples:
        examples.write(STRANGE + "\n")
    return folder


@pytest.fixture(scope="module")
def page(workspace: Path) -> str:
    assert run(["train", "--config", str(workspace), "--report", str(workspace / "report.html")]) == 0
    return (workspace / "report.html").read_text()


def test_the_report_is_beside_the_model(workspace: Path, page: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` is the whole of it, and the page names its digest and the model's."""
    assert run(["train", "--json", "--config", str(workspace)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["report"] == json.loads(Path(told["model"] + ".report.json").read_text())
    assert told["report"]["model"] == "sha256:" + Path(told["model"]).name
    assert told["report"]["digest"] in page
    assert told["report"]["model"] in page
    assert told["held_out_accuracy"] == told["report"]["accuracy"]


def test_a_terminal_gets_the_worst_in_a_few_lines(workspace: Path, page: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Coverage for each risk and the advice; nothing in an example is taken for markup."""
    assert run(["train", "--config", str(workspace)]) == 0
    said = capsys.readouterr().out
    assert all(f"\n{risk}%" in said for risk in ("0.5", "1", "2", "5"))
    assert "Suggestions" in said
    assert len(said.splitlines()) < 120


def test_the_page_loads_nothing_and_runs_nothing(page: str) -> None:
    """No address, no script, and a policy that would not let one run; an example is text."""
    found = Page(page)
    assert not found.all("script")
    assert not [name for _, attributes in found.elements for name in attributes if name in ("src", "href", "onload", "onclick")]
    assert "url(" not in page
    assert "@import" not in page
    assert found.all("meta")[1]["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_the_page_can_be_read_without_seeing_it(page: str) -> None:
    """Language, title, one main heading, tables with captions and named columns and rows, pictures with words."""
    found = Page(page)
    assert found.all("html")[0]["lang"] == "en"
    assert len(found.all("h1")) == len(found.all("main")) == 1
    assert len(found.all("table")) == len(found.all("caption")) > 1
    assert {each.get("scope") for each in found.all("th")} == {"col", "row"}
    ids = [attributes["id"] for _, attributes in found.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert all(set((each["aria-labelledby"] or "").split()) <= set(ids) for each in found.all("svg"))
    assert len(found.all("svg")) == 2


def test_an_altered_report_is_refused(workspace: Path, page: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the file's name, and nothing is shown."""
    (path,) = (workspace / "state" / "models" / "by-digest").glob("*.report.json")
    content = path.read_text()
    path.write_text(content.replace('"examples": ', '"examples": 1', 1))
    assert run(["train", "--config", str(workspace)]) == 2
    path.write_text(content)
    assert path.name in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_one_sentence(workspace: Path, page: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit status 2."""
    assert run(["train", "--config", str(workspace), "--report", str(workspace / "no" / "where.html")]) == 2
    assert "where.html cannot be written" in capsys.readouterr().err
