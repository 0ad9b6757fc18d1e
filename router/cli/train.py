"""`lockgate train`: prepares the intent model of a workspace ahead of time."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from router.cli.bars import progress_bars
from router.workspace import parse, read


@click.command()
@click.option(
    "--config", "-c", type=click.Path(path_type=Path), default=Path("lockgate.yaml"), show_default=True, help="The configuration."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def train(config: Path, as_json: bool) -> None:
    """Train the intent model from the catalog's examples, or say that it is there already."""
    from router.wiring.encoder import ensure_model, load_model, load_static  # the encoder's libraries take a while to load

    workspace = parse(read(config, os.environ), os.environ)
    with progress_bars() as progress:
        path = ensure_model(workspace, progress)
    if path is None:
        raise click.ClickException("The catalog has no intent with examples, so there is nothing to train.")
    model = load_model(workspace, path)
    static = load_static(workspace, model, path)
    share = static.acceptance.share if static is not None else 0.0
    report = {"model": str(path), "intents": len(workspace.catalog.intents), **model.report, "static_share": share}
    coverage = workspace.config.classifier.coverage
    if model.least_probability(coverage) is None:
        click.echo(f"Too few examples for the coverage {coverage:.10g}: every text would abstain. Give more, or state less.", err=True)
    if as_json:
        click.echo(json.dumps(report))
        return
    for name, value in report.items():
        click.echo(f"{name:>27}  {_short(value)}")


def _short(value: object) -> str:
    return f"{value:.4f}".removesuffix(".0000") if isinstance(value, float) else str(value)
