"""What `lockgate eval` shows: a table, and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from router.cli.common import console
from router.errors import ConfigError

FIGURES = {
    "accuracy": "in-scope texts whose first candidate is right",
    "accepted_accuracy": "accepted texts that are right; accepted out-of-scope counts as wrong",
    "coverage": "texts that are accepted at the risk target",
    "ece": "expected calibration error, 15 bins",
    "oos_auroc": "scope score: in-scope above out-of-scope",
    "oos_fpr95": "out-of-scope that passes where 95 % of in-scope does",
    "oos_recall": "out-of-scope that is turned away at the operating point",
    "in_scope_accuracy": "in-scope that passes there and is right",
}


def show(figures: dict[str, Any]) -> None:
    """With a language model, beside each figure what it is without it."""
    without = figures.get("without_llm")
    table = Table(*([""] * 3 if without is None else ["", "", "without llm", ""]), box=None, show_header=without is not None)

    def row(name: str, value: str, meaning: str, beside: str = "") -> None:
        table.add_row(name, value, *([] if without is None else [beside]), f"[dim]{meaning}[/]")

    for name, meaning in FIGURES.items():
        row(name, _figure(figures[name]), meaning, _figure(without[name]) if without is not None else "")
    sets = figures["prediction_set"]
    if sets["coverage"] is not None:
        sizes = f"of one {sets['share_of_one']:.1%}, of two {sets['share_of_two']:.1%}, mean {sets['mean_size']:.2f}"
        row("prediction_set", f"{sets['coverage']:.4f}", f"sets with the right intent ({sets['coverage_stated']} stated); {sizes}")
    latency = figures["latency_us"]
    local = ", llm left out" if without is not None else ""
    row("latency", f"{latency['p50']:,.0f} µs", f"p50; p99 {latency['p99']:,.0f}, mean {latency['mean']:,.0f}{local}")
    apart = ", " if without is None else "\n"
    row("tiers", _shares(figures, apart), "share of the texts that each answered", _shares(without, apart) if without is not None else "")
    row("training", f"{figures['train_seconds']:.1f} s", f"{figures['train_rows']:,} texts, {figures['intents']} intents")
    console().print(table)
    if "llm" in figures:
        _show_llm(figures["llm"])
    if figures["operating_point"]["confidence"] is None:
        click.echo(
            "The calibration data cannot prove this risk, so nothing would be accepted; give more of it or allow more error.", err=True
        )


def _figure(value: float | None) -> str:
    return "—" if value is None else f"{value:.4f}"


def _shares(figures: dict[str, Any], apart: str) -> str:
    return apart.join(f"{tier} {share:.1%}" for tier, share in figures["tier_share"].items())


def _show_llm(told: dict[str, Any]) -> None:
    from router.wiring.llm_measuring import shown

    held_out, test, costs = told["calibration"], told["test"], told["costs"]
    click.echo(f"\nlanguage model {shown(told['model_reported'] or told['model'])}")
    _show_asked("held-out", held_out)
    for kind in ("agree", "disagree", "none"):
        measured = held_out[kind]
        if measured is not None:
            verdict = "may override" if measured["may_override"] else "no gain found: changes nothing"
            counts = f"{measured['right']} right, {measured['wrong']} wrong ({measured['lost']} harmful)"
            click.echo(f"  {kind:>8}  {counts}  confidence {measured['confidence']:.3f}  {verdict}")
    _show_asked("test", test)
    if test["asked"]:
        click.echo(f"  {test['used']} answers used, {test['accepted']} of them accepted, {test['out_of_scope']} turned away")
    for code, count in test["unused"].items():
        click.echo(f"  {count} not used: {code}")
    tokens = f"{costs['prompt_tokens']:,} + {costs['completion_tokens']:,} tokens"
    click.echo(f"  {costs['calls']:,} calls, {tokens} (prompt + completion), {costs['seconds']:,.1f} s")
    if told["problem"] is not None:
        click.echo(f"The language model was not measured, and changes nothing: {told['problem']}", err=True)


def _show_asked(which: str, told: dict[str, Any]) -> None:
    stopped = f"; stopped, since {told['stopped']}" if told["stopped"] is not None else ""
    click.echo(f"  asked about {told['asked']} of {told['left_open']} {which} texts that were left open{stopped}")


def draw(folder: Path, figures: dict[str, Any]) -> None:
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
