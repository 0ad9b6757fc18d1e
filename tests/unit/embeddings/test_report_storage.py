from __future__ import annotations

import json
from pathlib import Path

import pytest

from embeddings.errors import EmbeddingsError
from embeddings.report import Report
from embeddings.report_storage import described, load_report, save_report
from embeddings.reporting import make_report
from tests.unit.embeddings.fitted import fit_and_judge


@pytest.fixture(scope="module")
def report(catalog: dict[str, tuple[str, ...]]) -> Report:
    odd = {**catalog, "it.laptop": (*catalog["it.laptop"], "pay — ſ")}
    artefact, judged = fit_and_judge(odd)
    return make_report(artefact.digest, judged)


def test_a_report_is_found_by_its_models_digest(report: Report, tmp_path: Path) -> None:
    """What is loaded equals what was saved."""
    path = save_report(report, tmp_path)
    assert path.name == report.model.removeprefix("sha256:") + ".report.json"
    assert load_report(tmp_path, report.model) == report
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_without_a_file_there_is_none(tmp_path: Path) -> None:
    """Nothing is an answer too."""
    assert load_report(tmp_path, "sha256:0") is None


@pytest.mark.parametrize("change", [{"accuracy": 0.99}, {"intents": []}, {"digest": "sha256:0"}, {"surprise": 1}, {"model": "sha256:1"}])
def test_an_altered_report_is_refused(report: Report, tmp_path: Path, change: dict[str, object]) -> None:
    """Every field is covered by the digest in it."""
    path = save_report(report, tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(EmbeddingsError, match=r"report\.json is not as it was saved") as caught:
        load_report(tmp_path, report.model)
    assert caught.value.code == "report_altered"


def test_another_models_report_is_refused(report: Report, tmp_path: Path) -> None:
    """A sound report under another model's name is about that other model all the same."""
    save_report(report, tmp_path).rename(tmp_path / "00.report.json")
    with pytest.raises(EmbeddingsError):
        load_report(tmp_path, "sha256:00")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schema": 1}'])
def test_what_is_no_report_is_refused(report: Report, tmp_path: Path, content: str) -> None:
    """With one sentence."""
    save_report(report, tmp_path).write_text(content)
    with pytest.raises(EmbeddingsError) as caught:
        load_report(tmp_path, report.model)
    assert "\n" not in caught.value.message


def test_a_report_of_another_version_is_none(report: Report, tmp_path: Path) -> None:
    """It is made anew, which costs seconds and loses nothing."""
    path = save_report(report, tmp_path)
    path.write_text(json.dumps({"schema": 0}))
    assert load_report(tmp_path, report.model) is None


def test_a_place_that_cannot_be_written_is_one_sentence(report: Report, tmp_path: Path) -> None:
    """A file where the directory should be."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(EmbeddingsError, match="cannot be written"):
        save_report(report, tmp_path / "taken")


def test_the_digest_is_that_of_the_content(report: Report) -> None:
    """The same report has the same digest, another has another."""
    assert described(report) == described(report)
    assert described(report)["digest"].startswith("sha256:")
