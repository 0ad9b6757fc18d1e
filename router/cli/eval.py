"""`lockgate eval`: measures the classifier on labelled texts. What it reads, and the figures' names, are a contract for others."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from router.cli.bars import progress_bars
from router.cli.eval_output import draw, show
from router.errors import ConfigError

if TYPE_CHECKING:  # numpy and what comes with it take a while to load
    from embeddings.evaluation import Trial
    from embeddings.ports import Progress
    from router.wiring.llm_evaluating import LlmEvaluation

RUNS = "eval-runs.jsonl"
LLM = "llm"
TIERS = ("static", "encoder", LLM)
UNMEASURED = 1
BESIDE = (
    "accuracy",
    "accepted_accuracy",
    "coverage",
    "ece",
    "oos_auroc",
    "oos_fpr95",
    "oos_recall",
    "in_scope_accuracy",
    "oos_accepted",
    "chosen",
    "tier_share",
    "static_share",
)


@dataclass(frozen=True, slots=True)
class Asked:
    data: Path
    train: tuple[str, ...]
    calibrate: tuple[str, ...]
    test: tuple[str, ...]
    max_error: float
    coverage: float
    encoder: Path | None
    static: bool
    fine_tune: str


def names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip()) if value else ()


@click.command("eval")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="CSV file with the columns split, text, intent (oos: none).")
@click.option("--train", callback=names, required=True, metavar="SPLIT,…", help="Splits to learn from; nothing else is learnt from.")
@click.option("--test", callback=names, required=True, metavar="SPLIT,…", help="Splits to measure on.")
@click.option("--calibrate", callback=names, metavar="SPLIT,…", help="Splits to calibrate on, else cross-validation of --train.")
@click.option("--oos-test", callback=names, metavar="SPLIT,…", help="More splits to measure on, of texts about no intent.")
@click.option(
    "--tiers", callback=names, default="static,encoder", show_default=True, metavar="TIER,…", help="Tiers of the cascade, in order."
)
@click.option(
    "--max-error", type=click.FloatRange(0, 1), default=0.01, show_default=True, help="Share of accepted answers that may be wrong."
)
@click.option(
    "--coverage",
    type=click.FloatRange(0, 1),
    default=0.95,
    show_default=True,
    help="How often prediction sets are to have the right intent.",
)
@click.option(
    "--fine-tune",
    type=click.Choice(["none", "auto"]),
    default="none",
    show_default=True,
    help="Adapt the encoder to the training splits, where held-out texts say that it pays.",
)
@click.option("--encoder", type=click.Path(path_type=Path), help="Directory of another ONNX encoder than the installed one.")
@click.option(
    "--llm", "server", type=click.Path(path_type=Path), metavar="FILE.yaml", help="The language model, as 'classifier.llm' has it."
)
@click.option("--most", type=click.IntRange(min=1), default=500, show_default=True, help="Most held-out texts to ask it about.")
@click.option(
    "--tokens",
    type=click.IntRange(min=1),
    default=500_000,
    show_default=True,
    help="Tokens after which it is asked no more, of held-out and of test texts each.",
)
@click.option("--pictures", type=click.Path(path_type=Path), metavar="DIR", help="Draw reliability and risk-coverage as SVG into it.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures as JSON to this file.")
def evaluate(
    data: Path,
    train: tuple[str, ...],
    test: tuple[str, ...],
    calibrate: tuple[str, ...],
    oos_test: tuple[str, ...],
    tiers: tuple[str, ...],
    max_error: float,
    coverage: float,
    fine_tune: str,
    encoder: Path | None,
    server: Path | None,
    most: int,
    tokens: int,
    pictures: Path | None,
    out: Path | None,
) -> int:
    """Train on some splits of a file, calibrate on others, and measure on a third lot.

    Everything is chosen from the training and calibration splits. Each run is noted in eval-runs.jsonl beside the JSON file, since a test
    split that is looked at again and again stops being one.
    """
    from embeddings.errors import EmbeddingsError  # numpy and what comes with it take a while to load

    used = _usable(tiers, server)
    llm = _llm(server, most, tokens) if server is not None else None
    wanted = Asked(data, train, calibrate, (*test, *oos_test), max_error, coverage, encoder, "static" in used, fine_tune)
    try:
        figures = _measure(wanted, llm)
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error
    asked: dict[str, Any] = {"data": str(data), "train": train, "calibrate": calibrate, "test": test, "oos_test": oos_test}
    asked |= {"max_error": max_error, "coverage": coverage}
    figures |= {"tiers": used, "fine_tune": {"asked": fine_tune, **figures["fine_tune"]}, "asked": asked}
    if out is not None:
        _write(out, figures, asked)
    if pictures is not None:
        draw(pictures, figures)
    show(figures)
    return UNMEASURED if llm is not None and figures["llm"]["problem"] is not None else 0


def _usable(tiers: tuple[str, ...], server: Path | None) -> list[str]:
    """The tiers that can be measured; the others are named, so that nobody takes these figures for theirs."""
    known = [tier for tier in dict.fromkeys(tiers) if tier in TIERS]
    if not known:
        raise ConfigError(f"None of the tiers {', '.join(tiers)} can be measured; there is {', '.join(TIERS)}.")
    if "encoder" not in known:
        sentences = {
            "static": "The static tier leaves to the encoder what it is not sure of",
            LLM: "The language model chooses among the encoder's candidates",
        }
        raise ConfigError(f"{sentences[known[0]]}; ask for {','.join(tier for tier in TIERS if tier in (*known, 'encoder'))}.")
    for tier in tiers:
        if tier not in TIERS:
            click.echo(f"The tier '{tier}' is not measured: there is none of that name.", err=True)
    if LLM not in known and server is not None:
        raise ConfigError("--llm says which language model is the tier 'llm'; name that among the --tiers, as the last one.")
    if LLM in known and known[-1] != LLM:
        raise ConfigError("The language model is asked where the other tiers abstain, so 'llm' is the last of the --tiers.")
    if LLM in known and server is None:
        click.echo("The tier 'llm' is not measured: --llm FILE.yaml has to say which server is asked for which model.", err=True)
        known.remove(LLM)
    return known


def _llm(server: Path, most: int, tokens: int) -> LlmEvaluation:
    from router.system import SystemClock
    from router.wiring.llm_evaluating import LlmEvaluation, read_llm
    from router.wiring.llm_measuring import Bounds

    return LlmEvaluation(read_llm(server, os.environ), server.parent, Bounds(most, tokens), SystemClock())


def _measure(asked: Asked, llm: LlmEvaluation | None) -> dict[str, Any]:
    from embeddings.cascade import FineTune, Recipe
    from embeddings.evaluation import Splits, try_out
    from embeddings.labelled import read_splits, select
    from embeddings.minilm import minilm_directory
    from embeddings.onnx_encoder import OnnxEncoder
    from embeddings.static_encoder import StaticEncoder

    splits = read_splits(asked.data)
    calibrate = select(splits, asked.calibrate) if asked.calibrate else None
    chosen = Splits(select(splits, asked.train), calibrate, select(splits, asked.test))
    folder = minilm_directory() if asked.encoder is None else asked.encoder
    loaded, first = OnnxEncoder(folder), StaticEncoder(folder) if asked.static else None
    with progress_bars() as progress, TemporaryDirectory(prefix="lockgate-eval-") as aside:
        tune = FineTune(folder, Path(aside)) if asked.fine_tune == "auto" and _can_fine_tune() else None
        trial = try_out(chosen, Recipe(loaded, first, tune, asked.coverage), asked.max_error, progress)
        return trial.figures() if llm is None else _with_llm(trial, llm, progress)


def _with_llm(trial: Trial, llm: LlmEvaluation, progress: Progress) -> dict[str, Any]:
    """The figures of the whole cascade, and beside them those that the language model may have changed."""
    found = asyncio.run(llm.evaluate(trial, progress))
    without = trial.figures()
    beside = {name: without[name] for name in BESIDE}
    return {**trial.figures_with(found.opinions, LLM), "without_llm": beside, "llm": dict(found.told)}


def _can_fine_tune() -> bool:
    from embeddings.fine_tuning.published import missing

    lacking = missing()
    if lacking is not None:
        click.echo(f"{lacking} The encoder is measured as it is.", err=True)
    return lacking is None


def _write(out: Path, figures: dict[str, Any], asked: dict[str, Any]) -> None:
    try:
        out.write_text(json.dumps(figures, indent=2) + "\n")
        kept = {name: figures[name] for name in ("accuracy", "accepted_accuracy", "coverage", "ece", "oos_auroc", "oos_recall")}
        line = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            **asked,
            "tiers": figures["tiers"],
            "model": figures["model_digest"],
            **kept,
        }
        with (out.parent / RUNS).open("a") as runs:
            runs.write(json.dumps(line) + "\n")
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}.") from error
