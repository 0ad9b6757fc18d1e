"""`lockgate eval`: measures the classifier on labelled texts. What it reads, and the figures' names, are a contract for others."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from router.cli.bars import progress_bars
from router.errors import ConfigError

RUNS = "eval-runs.jsonl"
TIERS = ("static", "encoder")
ELSEWHERE = {"llm": "what a language model may change hangs on a catalog, its routes and a server; `lockgate tune --llm` measures that"}


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
    pictures: Path | None,
    out: Path | None,
) -> None:
    """Train on some splits of a file, calibrate on others, and measure on a third lot.

    Everything is chosen from the training and calibration splits. Each run is noted in eval-runs.jsonl beside the JSON file, since a test
    split that is looked at again and again stops being one.
    """
    from embeddings.errors import EmbeddingsError  # numpy and what comes with it take a while to load

    used = _usable(tiers)
    try:
        figures = _measure(data, train, calibrate, (*test, *oos_test), max_error, coverage, encoder, "static" in used, fine_tune)
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error
    asked: dict[str, Any] = {"data": str(data), "train": train, "calibrate": calibrate, "test": test, "oos_test": oos_test}
    asked |= {"max_error": max_error, "coverage": coverage}
    figures |= {"tiers": used, "fine_tune": {"asked": fine_tune, **figures["fine_tune"]}, "asked": asked}
    if out is not None:
        _write(out, figures, asked)
    if pictures is not None:
        _draw(pictures, figures)
    _show(figures)


def _usable(tiers: tuple[str, ...]) -> list[str]:
    """The tiers that can be measured; the others are named, so that nobody takes these figures for theirs."""
    known = [tier for tier in tiers if tier in TIERS]
    if known == ["static"]:
        raise ConfigError("The static tier leaves to the encoder what it is not sure of; ask for static,encoder.")
    if not known:
        raise ConfigError(f"None of the tiers {', '.join(tiers)} can be measured; there is {', '.join(TIERS)}.")
    for tier in tiers:
        if tier not in TIERS:
            click.echo(f"The tier '{tier}' is not measured: {ELSEWHERE.get(tier, 'there is none of that name')}.", err=True)
    return known


def _measure(
    data: Path,
    train: tuple[str, ...],
    calibrate: tuple[str, ...],
    test: tuple[str, ...],
    max_error: float,
    coverage: float,
    encoder: Path | None,
    static: bool,
    fine_tune: str,
) -> dict[str, Any]:
    from embeddings.evaluation import FineTune, Splits, Stated
    from embeddings.evaluation import evaluate as measure
    from embeddings.labelled import read_splits, select
    from embeddings.minilm import minilm_directory
    from embeddings.onnx_encoder import OnnxEncoder
    from embeddings.static_encoder import StaticEncoder

    splits = read_splits(data)
    chosen = Splits(select(splits, train), select(splits, calibrate) if calibrate else None, select(splits, test))
    folder = minilm_directory() if encoder is None else encoder
    loaded, first = OnnxEncoder(folder), StaticEncoder(folder) if static else None
    with progress_bars() as progress, TemporaryDirectory(prefix="lockgate-eval-") as aside:
        tune = FineTune(folder, Path(aside)) if fine_tune == "auto" and _can_fine_tune() else None
        return measure(chosen, loaded, Stated(max_error, coverage), progress, first, tune)


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
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), **asked, "model": figures["model_digest"], **kept}
        with (out.parent / RUNS).open("a") as runs:
            runs.write(json.dumps(line) + "\n")
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}.") from error


def _draw(folder: Path, figures: dict[str, Any]) -> None:
    from embeddings.report import Accepted, AtRisk, Bin
    from router.cli.markup import svg
    from router.cli.pictures import reliability_diagram, risk_coverage_curve

    points = [Accepted(**each) for each in figures["risk_coverage"]]
    drawn = {
        "reliability.svg": reliability_diagram([Bin(**each) for each in figures["reliability"]]),
        "risk-coverage.svg": risk_coverage_curve(points, AtRisk(**figures["chosen"])),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in drawn.items():
            (folder / name).write_text(svg(picture), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}.") from error


SHOWN = {
    "accuracy": "in-scope texts whose first candidate is right",
    "accepted_accuracy": "accepted texts that are right; accepted out-of-scope counts as wrong",
    "coverage": "texts that are accepted at the risk target",
    "ece": "expected calibration error, 15 bins",
    "oos_auroc": "scope score: in-scope above out-of-scope",
    "oos_fpr95": "out-of-scope that passes where 95 % of in-scope does",
    "oos_recall": "out-of-scope that is turned away at the operating point",
    "in_scope_accuracy": "in-scope that passes there and is right",
}


def _show(figures: dict[str, Any]) -> None:
    table = Table(box=None, show_header=False)
    for name, meaning in SHOWN.items():
        value = figures[name]
        table.add_row(name, "—" if value is None else f"{value:.4f}", f"[dim]{meaning}[/]")
    sets = figures["prediction_set"]
    if sets["coverage"] is not None:
        sizes = f"of one {sets['share_of_one']:.1%}, of two {sets['share_of_two']:.1%}, mean {sets['mean_size']:.2f}"
        table.add_row(
            "prediction_set", f"{sets['coverage']:.4f}", f"[dim]sets with the right intent ({sets['coverage_stated']} stated); {sizes}[/]"
        )
    latency = figures["latency_us"]
    table.add_row("latency", f"{latency['p50']:,.0f} µs", f"[dim]p50; p99 {latency['p99']:,.0f}, mean {latency['mean']:,.0f}[/]")
    shares = ", ".join(f"{tier} {share:.1%}" for tier, share in figures["tier_share"].items())
    table.add_row("tiers", shares, "[dim]share of the texts that each answered[/]")
    table.add_row("training", f"{figures['train_seconds']:.1f} s", f"[dim]{figures['train_rows']:,} texts, {figures['intents']} intents[/]")
    Console().print(table)
    if figures["operating_point"]["confidence"] is None:
        click.echo(
            "The calibration data cannot prove this risk, so nothing would be accepted; give more of it or allow more error.", err=True
        )
