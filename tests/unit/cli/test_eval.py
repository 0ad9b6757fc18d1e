"""`lockgate eval`: the figures have the names that others rely on, and nothing is learnt from a test split."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest

from router.cli.main import run

VERBS = {"cancel": ("cancel", "stop", "withdraw"), "status": ("where is", "track", "what became of"), "create": ("send", "make", "enter")}
THINGS = ("payment", "transfer", "payment order", "wire", "remittance")
OTHER = ("what a lovely day", "tell me a joke", "who won the match", "how tall is the tower", "sing me a song", "is it raining in Rome")
FRACTIONS = ("accuracy", "ece", "oos_auroc", "oos_fpr95", "oos_recall", "in_scope_accuracy", "coverage")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chance = random.Random(3)
    path = tmp_path_factory.mktemp("data") / "texts.csv"
    rows = [
        (f"{verb} my {thing} {tail}", intent)
        for intent, verbs in VERBS.items()
        for verb in verbs
        for thing in THINGS
        for tail in ("", "please", "now")
    ]
    chance.shuffle(rows)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("split", "text", "intent"))
        for number, (text, intent) in enumerate(rows):
            writer.writerow((("train", "train", "val", "test")[number % 4], text, intent))
        for number in range(90):
            writer.writerow((("oos_train", "oos_val", "oos_test")[number % 3], f"{OTHER[number % 6]} {number}", "oos"))
    return path


def evaluate(data: Path, out: Path, *more: str) -> dict:
    assert (
        run(
            [
                "eval",
                "--data",
                str(data),
                "--train",
                "train,oos_train",
                "--test",
                "test",
                "--oos-test",
                "oos_test",
                "--json",
                str(out),
                *more,
            ]
        )
        == 0
    )
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def figures(data, tmp_path_factory) -> dict:
    return evaluate(data, tmp_path_factory.mktemp("out") / "out.json", "--calibrate", "val,oos_val", "--max-error", "0.2")


def test_the_figures_have_their_names_and_units(figures):
    """Fractions in 0..1, times in microseconds and seconds, and what was asked."""
    assert all(0.0 <= figures[name] <= 1.0 for name in FRACTIONS)
    assert set(figures["latency_us"]) == {"p50", "p99", "mean"}
    assert figures["latency_us"]["p50"] > 10
    assert sum(figures["tier_share"].values()) == pytest.approx(1.0)
    assert figures["train_seconds"] > 0
    assert figures["peak_rss_mib"] > 50
    assert figures["asked"]["train"] == ["train", "oos_train"]


def test_prediction_sets_are_held_to_what_was_stated(figures):
    """Easy texts have sets of one, and these have the right intent."""
    sets = figures["prediction_set"]
    assert sets["coverage_stated"] == 0.95
    assert sets["coverage"] > 0.93
    assert sets["share_of_one"] + sets["share_of_two"] <= 1.0 <= sets["mean_size"]
    assert sets["share_of_one"] > 0.8


def test_a_coverage_that_cannot_be_stated_has_no_figures(data, tmp_path):
    """None of them is a number, rather than one that looks like knowledge."""
    sets = evaluate(data, tmp_path / "out.json", "--coverage", "0.999")["prediction_set"]
    assert sets == {"coverage_stated": 0.999, "coverage": None, "mean_size": None, "share_of_one": None, "share_of_two": None}


def test_easy_texts_are_told_apart(figures):
    """Intents from each other and from what is about none; accepted texts are mostly right."""
    assert figures["accuracy"] > 0.9
    assert figures["oos_auroc"] > 0.95
    assert figures["accepted_accuracy"] > 0.8
    assert figures["coverage"] > 0.2


def test_without_calibration_texts_training_is_cross_validated(data, tmp_path):
    """And a risk that so few texts cannot prove accepts nothing."""
    found = evaluate(data, tmp_path / "out.json", "--max-error", "0.001")
    assert found["accuracy"] > 0.9
    assert (found["coverage"], found["accepted_accuracy"]) == (0.0, None)


def test_the_test_split_changes_nothing_but_its_figures(data, tmp_path):
    """The same model comes of the same training splits, whatever is measured."""
    first = evaluate(data, tmp_path / "one.json")
    lines = data.read_text().replace("test,", "other,").splitlines()
    (tmp_path / "changed.csv").write_text("\n".join([*lines, "test,something else,status", "oos_test,nothing,oos"]) + "\n")
    assert evaluate(tmp_path / "changed.csv", tmp_path / "two.json")["model_digest"] == first["model_digest"]
    runs = [json.loads(line) for line in (tmp_path / "eval-runs.jsonl").read_text().splitlines()]
    assert [each["test"] for each in runs] == [["test"], ["test"]]


def test_pictures_are_drawn_of_the_same_figures(data, tmp_path):
    """Two files; the figures behind them stand in the JSON, and accepting all that the gate lets through is the curve's end."""
    found = evaluate(data, tmp_path / "out.json", "--max-error", "0.2", "--pictures", str(tmp_path / "drawn"))
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["reliability.svg", "risk-coverage.svg"]
    assert (
        sum(each["count"] for each in found["reliability"]) == found["test_rows"] - 30
    )  # texts about none have no right answer to be sure of
    assert found["chosen"]["coverage"] == pytest.approx(found["coverage"])
    assert 1 - found["chosen"]["wrong"] / found["chosen"]["accepted"] == pytest.approx(found["accepted_accuracy"])
    assert found["risk_coverage"][-1]["coverage"] >= found["coverage"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--train", "nothing"], "There is no split 'nothing'"),
        (["--tiers", "magic"], "None of the tiers magic can be measured"),
        (["--calibrate", "oos_val"], "no text about any of the intents"),
        (["--encoder", "/nowhere"], "cannot be read"),
    ],
)
def test_mistakes_are_one_sentence(data, capsys, change, sentence):
    """With exit status 2."""
    assert run(["eval", "--data", str(data), "--train", "train", "--test", "test", *change]) == 2
    assert sentence in capsys.readouterr().err


def test_a_language_model_needs_a_server(data, tmp_path, capsys):
    """One sentence says which option names it; the figures are of the other tiers."""
    found = evaluate(data, tmp_path / "out.json", "--tiers", "encoder,llm")
    assert found["tiers"] == ["encoder"]
    assert found["tier_share"] == {"encoder": 1.0}
    assert "The tier 'llm' is not measured: --llm FILE.yaml has to say which server" in capsys.readouterr().err
