"""`lockgate train`: prepares the intent model of a workspace ahead of time."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import click

from router.cli.bars import progress_bars
from router.workspace import parse, read


@click.command()
@click.option(
    "--config", "-c", type=click.Path(path_type=Path), default=Path("lockgate.yaml"), show_default=True, help="The configuration."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option(
    "--fine-tune",
    type=click.Choice(["none", "auto"]),
    default="none",
    show_default=True,
    help="Adapt the encoder to the examples, where held-out ones say that it pays; takes minutes.",
)
def train(config: Path, as_json: bool, fine_tune: str) -> None:
    """Train the intent model from the catalog's examples, or say that it is there already."""
    if fine_tune == "auto":
        _fine_tune(config, as_json)
        return
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
    if as_json:
        click.echo(json.dumps(report))
        return
    for name, value in report.items():
        click.echo(f"{name:>27}  {_short(value)}")


def _fine_tune(config: Path, as_json: bool) -> None:
    """A tuned encoder is not used before the configuration names it: which encoder decides is a reviewed change."""
    from router.wiring.fine_tuning import fine_tune

    workspace = parse(read(config, os.environ), os.environ)
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
