"""Thresholds by stated risk, as a file that is reviewed, checked and refused when it no longer fits."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml

from router.cli.main import run
from router.stages.llm_calibration import LlmCalibration

Out = pytest.CaptureFixture[str]
LLM = "{url: 'http://127.0.0.1:1/v1', model: small, calibration: llm.json}"
PREFIXES = ("please, ", "hello, ", "quickly: ", "could you help me? ", "my boss says: ")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A starter workspace that states a risk, trained once."""
    root = tmp_path_factory.mktemp("tune") / "demo"
    assert run(["init", str(root)]) == 0
    change(root / "lockgate.yaml", "min_confidence: 0.7 ", "max_error: 20%\n  thresholds: thresholds.yaml\n  min_confidence: 0.7 ")
    assert run(["tune", "--config", str(root)]) == 0
    return root


@pytest.fixture
def workspace(trained: Path, tmp_path: Path, capsys: Out) -> Path:
    """A copy of it, with the model that was trained for it."""
    shutil.copytree(trained, tmp_path / "demo")
    capsys.readouterr()
    return tmp_path / "demo"


@pytest.fixture
def data(workspace: Path, tmp_path: Path) -> Path:
    """Texts that the catalog does not learn from, one that it does, and one that is about nothing."""
    path = tmp_path / "texts.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["split", "text", "intent"])
        for utterances in sorted((workspace / "utterances").glob("*.txt")):
            if (intent := utterances.stem) in yaml.safe_load((workspace / "catalog.yaml").read_text())["intents"]:
                texts = [line for line in utterances.read_text().splitlines() if line and not line.startswith("#")]
                rows.writerows(["val", prefix + text, intent] for prefix in PREFIXES for text in texts)
                rows.writerow(["known", texts[0], intent])
        rows.writerow(["val", "what is the capital of France", "oos"])
    return path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def entries(workspace: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = yaml.safe_load((workspace / "thresholds.yaml").read_text())["entries"]
    return found


def tune(workspace: Path, *arguments: str) -> int:
    return run(["tune", "--config", str(workspace), *arguments])


def test_thresholds_come_with_what_they_rest_on(workspace: Path, capsys: Out) -> None:
    """Threshold, coverage, bound and number of examples are shown and written; the same inputs give the same file."""
    before = (workspace / "thresholds.yaml").read_bytes()
    assert tune(workspace) == 0
    shown = capsys.readouterr().out
    (entry,) = entries(workspace)
    assert f"threshold {entry['confidence']:.4f}, expected coverage {entry['coverage']:.1%}" in shown
    assert f"{entry['wrong']} of {entry['accepted']} accepted were wrong, so at most {entry['error_at_most']:.2%}" in shown
    assert f"{entry['held_out']} held-out texts" in shown
    assert (workspace / "thresholds.yaml").read_bytes() == before


def test_a_file_that_fits_passes(workspace: Path, capsys: Out) -> None:
    """For the workspace's check, for tune's own, and for whoever decides by it."""
    assert run(["check", "--config", str(workspace)]) == 0
    assert tune(workspace, "--check") == 0
    assert (
        run(
            [
                "explain",
                "--config",
                str(workspace),
                "--as",
                "ann",
                "--role",
                "staff",
                "--json",
                "is there a free room for six people tomorrow",
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    explained = json.loads(said[said.index("{") :])
    assert explained["classification"]["threshold"] == pytest.approx(entries(workspace)[0]["confidence"])


def test_a_changed_catalog_makes_it_stale(workspace: Path, capsys: Out) -> None:
    """Checks fail in one sentence until it is made anew."""
    change(workspace / "catalog.yaml", "name: rooms", "name: halls")
    for check in (["check"], ["tune", "--check"]):
        assert run([*check, "--config", str(workspace)]) == 1
        told = capsys.readouterr()
        assert "The thresholds are for another catalog; run `lockgate tune`" in told.out + told.err
    assert run(["train", "--config", str(workspace)]) == 0  # what it reports on may be looked at first
    assert tune(workspace) == 0
    assert tune(workspace, "--check") == 0


def test_another_encoder_makes_it_stale(workspace: Path, capsys: Out) -> None:
    """What the file says of its training is compared without training anything."""
    from router.stages.tuned import Tuned

    path = workspace / "thresholds.yaml"
    found = Tuned.from_yaml(path.read_bytes())
    path.write_bytes(Tuned(found.catalog_digest, "sha256:other", found.settings, found.data, found.entries).to_yaml())
    for check in (["check"], ["tune", "--check"]):
        assert run([*check, "--config", str(workspace)]) == 1
        told = capsys.readouterr()
        assert "The thresholds are for another encoder or version of Lockgate" in told.out + told.err
    assert run(["explain", "--config", str(workspace), "is there a room"]) == 2


def test_each_route_has_its_own_where_there_are_texts(workspace: Path, data: Path, capsys: Out) -> None:
    """Route by route; one that the texts cannot prove says how many are missing, and abstains."""
    change(workspace / "catalog.yaml", "    route: ask\n", "    route: ask\n    max_error: 0.1%\n")
    assert tune(workspace, "--data", str(data), "--calibrate", "val") == 0
    shown = capsys.readouterr().out
    strict, lax = sorted(entries(workspace), key=lambda entry: str(entry["max_error"]))
    assert (strict["route"], strict["confidence"], lax["route"]) == ("ask", None, "ask")
    assert lax["confidence"] is not None
    assert f"cannot be proved with {strict['held_out']} held-out texts; at least {strict['more_needed']:,} more" in shown
    assert "abstain" in shown
    (intent,) = strict["intents"]  # type: ignore[misc]
    examples = (workspace / f"utterances/{intent}.txt").read_text().splitlines()
    text = next(line for line in examples if line and not line.startswith("#"))
    assert run(["explain", "--config", str(workspace), "--as", "ann", "--role", "staff", "--json", text]) == 0
    said = capsys.readouterr().out
    assert json.loads(said[said.index("{") :])["classification"]["reason"] == "confidence_too_low"


def test_costs_come_with_what_a_text_costs(workspace: Path, capsys: Out) -> None:
    """Threshold, expected cost, its bound and the cost of abstaining are shown, written and checked; other costs make the file stale."""
    change(workspace / "lockgate.yaml", "max_error: 20%", "costs: {wrong: 5, abstain: 1}")
    assert run(["check", "--config", str(workspace)]) == 1
    assert "another 'classifier.costs'" in capsys.readouterr().out
    assert tune(workspace) == 0
    shown = capsys.readouterr().out
    (entry,) = entries(workspace)
    costs = entry["costs"]
    assert isinstance(costs, dict)
    assert costs["expected"] < costs["at_most"] <= costs["abstain"] == 1
    assert "a wrong decision costs 5, an abstention 1 (break-even at 20.00% wrong)" in shown
    assert f"costs {costs['expected']:.4g} a text, at most {costs['at_most']:.4g} (95 % certainty)" in shown
    assert run(["check", "--config", str(workspace)]) == tune(workspace, "--check") == 0


def test_costs_by_risk_that_cannot_be_proved_abstain(workspace: Path, capsys: Out) -> None:
    """Chosen intents of each risk have a threshold of their own; what does not pay for sure says how much is missing."""
    change(workspace / "lockgate.yaml", "max_error: 20%", "costs: {wrong: 100000, abstain: 1, wrong_by_risk: {low: 5}}")
    assert tune(workspace) == 0
    shown = capsys.readouterr().out
    cheap, dear = entries(workspace)
    assert (cheap["confidence"] is None, dear["confidence"]) == (False, None)
    assert f"that accepting costs less than abstaining\n  cannot be proved with {dear['held_out']} held-out texts" in shown
    assert f"at least {dear['more_needed']:,} more" in shown


def test_other_texts_make_it_stale(workspace: Path, data: Path, capsys: Out) -> None:
    """The file says which texts it was made with."""
    assert tune(workspace, "--data", str(data), "--calibrate", "val") == 0
    assert tune(workspace, "--check", "--data", str(data), "--calibrate", "val") == 0
    data.write_text(data.read_text() + "val,something else,oos\n")
    assert tune(workspace, "--check", "--data", str(data), "--calibrate", "val") == 1
    assert "found with other texts" in capsys.readouterr().err


def test_machines_get_the_same(workspace: Path, capsys: Out) -> None:
    """As JSON, with nothing else on standard output."""
    assert tune(workspace, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["written"] == ["thresholds.yaml"]
    assert report["thresholds"]["entries"][0]["confidence"] == entries(workspace)[0]["confidence"]


def test_nothing_is_written_where_no_file_is_named(workspace: Path, capsys: Out) -> None:
    """The thresholds are shown, and what to set."""
    (workspace / "thresholds.yaml").unlink()
    change(workspace / "lockgate.yaml", "  thresholds: thresholds.yaml\n", "")
    assert tune(workspace) == 0
    assert "Nothing is written: the configuration names no file" in capsys.readouterr().out
    assert not (workspace / "thresholds.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--calibrate", "val"], "say which with --data"),
        (["--data", "{data}"], "--data needs --calibrate, --llm or both"),
        (["--data", "{data}", "--calibrate", "vla"], "There is no split 'vla'"),
        (["--data", "{data}", "--calibrate", "known"], "have no text that the catalog does not learn from"),
        (["--data", "nowhere.csv", "--calibrate", "val"], "nowhere.csv cannot be read"),
        (["--data", "{data}", "--llm", "val"], "There is no 'classifier.llm' to be measured."),
    ],
)
def test_a_mistake_is_one_sentence(workspace: Path, data: Path, capsys: Out, arguments: list[str], sentence: str) -> None:
    """It says what is missing."""
    assert tune(workspace, *(each.format(data=data) for each in arguments)) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert len(told.splitlines()) == 1


def test_an_intent_that_the_catalog_lacks_is_a_mistake(workspace: Path, data: Path, capsys: Out) -> None:
    """Whether it is out of scope or misspelt, only its author knows."""
    data.write_text(data.read_text() + "val,something else,parking\n")
    assert tune(workspace, "--data", str(data), "--calibrate", "val") == 2
    assert "The intent 'parking' of the data is not in the catalog" in capsys.readouterr().err


def test_without_a_stated_risk_there_is_nothing_to_find(workspace: Path, capsys: Out) -> None:
    """A threshold by feel is not tuned."""
    change(workspace / "lockgate.yaml", "max_error: 20%\n  ", "")
    assert tune(workspace) == 2
    assert "states a risk ('max_error')" in capsys.readouterr().err


def test_a_measurement_needs_a_file_before_it_is_paid_for(workspace: Path, data: Path, capsys: Out) -> None:
    """Nobody is asked where the result would be lost."""
    llm = LLM.replace(", calibration: llm.json", "")
    change(workspace / "lockgate.yaml", "max_error: 20%\n", f"max_error: 20%\n  llm: {llm}\n")
    assert tune(workspace, "--data", str(data), "--llm", "val") == 2
    assert "'classifier.llm.calibration'" in capsys.readouterr().err


def test_a_language_model_s_stale_calibration_is_told(workspace: Path, capsys: Out) -> None:
    """`serve` would leave the model out; CI says so beforehand."""
    change(workspace / "lockgate.yaml", "max_error: 20%\n", f"max_error: 20%\n  llm: {LLM}\n")
    (workspace / "llm.json").write_bytes(LlmCalibration("m@1", "another prompt", "c").to_json())
    assert tune(workspace, "--check") == 1
    assert "run `lockgate tune --llm`" in capsys.readouterr().err
