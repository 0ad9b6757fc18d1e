"""`lockgate train`: prepares the intent model of a workspace ahead of time, and says what was found out about its examples."""

from __future__ import annotations

import json
import os
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.bars import progress_bars
from router.cli.common import config_option
from router.errors import ConfigError
from router.workspace import parse, read

if TYPE_CHECKING:
    from embeddings.report import AtRisk, Report

STATED = 0.01


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the result and the whole report as JSON.")
@click.option("--report", "page", type=click.Path(path_type=Path), metavar="FILE.html", help="Write the whole report as an HTML page.")
@click.option(
    "--fine-tune",
    type=click.Choice(["none", "auto"]),
    default="none",
    show_default=True,
    help="Adapt the encoder to the examples, where held-out ones say that it pays; takes minutes.",
)
def train(config: Path, as_json: bool, page: Path | None, fine_tune: str) -> None:
    """Train the intent model from the catalog's examples, or say that it is there already, and report on the examples.

    The report is about answers to examples by classifiers that had not seen them. It is kept beside the model.
    """
    if fine_tune == "auto":
        _fine_tune(config, as_json)
        return
    from embeddings.report_storage import described
    from router.wiring.encoder import ensure_model, load_model, load_static, load_training_report  # they take a while to load

    workspace = parse(read(config, os.environ), os.environ, measured=False)
    with progress_bars() as progress:
        path = ensure_model(workspace, progress)
        if path is None:
            raise click.ClickException("The catalog has no intent with examples, so there is nothing to train.")
        with closing(load_model(workspace, path)) as model:
            report = load_training_report(workspace, model, path, progress)
            static = load_static(workspace, model, path)
    share = static.acceptance.share if static is not None else 0.0
    facts = {"model": str(path), "intents": len(workspace.catalog.intents), **model.report, "static_share": share}
    told = described(report)
    if page is not None:
        _write(page, report, workspace.catalog.name, told["digest"], workspace.config.classifier.max_error or STATED)
    coverage = workspace.config.classifier.coverage
    if model.least_probability(coverage) is None:
        click.echo(f"Too few examples for the coverage {coverage:.10g}: every text would abstain. Give more, or state less.", err=True)
    if as_json:
        click.echo(json.dumps({**facts, "report": told}))
        return
    for name, value in facts.items():
        click.echo(f"{name:>27}  {_short(value)}")
    from router.cli.train_output import show

    show(report)


def _write(page: Path, report: Report, name: str, digest: str, max_error: float) -> None:
    from router.cli.report_page import report_page

    try:
        page.write_text(report_page(report, name, digest, _chosen(report, max_error)), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{page} cannot be written: {error.strerror}.") from error


def _chosen(report: Report, max_error: float) -> AtRisk:
    """The report's point for the listener's own risk, or for the next stricter one that it has."""
    stricter = [each for each in report.coverage if each.max_error <= max_error]
    return max(stricter or report.coverage[:1], key=lambda each: each.max_error)


def _fine_tune(config: Path, as_json: bool) -> None:
    """A tuned encoder is not used before the configuration names it: which encoder decides is a reviewed change."""
    from router.wiring.fine_tuning import fine_tune

    workspace = parse(read(config, os.environ), os.environ, measured=False)
    with progress_bars() as progress:
        found = fine_tune(workspace, progress)
    if as_json:
        click.echo(json.dumps({**asdict(found), "directory": None if found.directory is None else str(found.directory)}))
        return
    click.echo(f"right before  {found.accuracy_before:.4f} of {found.held_out} held-out examples")
    click.echo(f"right after   {found.accuracy_after:.4f}")
    if found.directory is None:
        click.echo("Fine-tuning does not pay for these examples; the encoder stays as it is.")
        return
    directory = os.path.relpath(found.directory, workspace.root)
    click.echo(f"To use it, write into the configuration:\n\nclassifier:\n  encoder:\n    adapter: onnx\n    directory: {directory}")
    click.echo(f"    digest: {found.digest}")


def _short(value: object) -> str:
    return f"{value:.4f}".removesuffix(".0000") if isinstance(value, float) else str(value)
