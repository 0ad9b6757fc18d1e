"""`lockgate audit export`: what matches, as a file for other systems, with a manifest beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import click
from rich.markup import escape

from adapters.parquet_file import ParquetRows, require
from router.audit.copies.export import Manifest, Order, export
from router.audit.copies.formats import Csv, JsonArray, JsonLines, Rows, Writer, cloud_event
from router.audit.copies.ocsf import ocsf_event
from router.audit.questions.query import Query
from router.audit.records.table import COLUMNS, LEAF, PERSONAL
from router.cli.audit.noting import noted
from router.cli.audit.options import filters, personal_option, question, state_option
from router.cli.audit.output import json_line
from router.cli.audit.sources import Sources, sources
from router.cli.common import config_option, console, json_option

FORMATS = ("cloudevents", "csv", "jsonl", "ocsf", "parquet")


@click.command("export")
@filters
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="What reads it.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file; one that is there is not replaced.")
@personal_option
@state_option
@config_option
@json_option
def export_command(
    form: str,
    out: Path,
    personal: bool,
    state: Path | None,
    config: Path,
    as_json: bool,
    subject: str | None,
    kind: str | None,
    **wanted: Any,
) -> None:
    """Write everything that matches into a file, oldest first, with a manifest beside it."""
    place = sources(state, config)
    asked = question(place, subject, kind, wanted)
    if asked is None:
        return
    manifest = _exported(place, asked, form, out, personal)
    if as_json:
        click.echo(json_line(asdict(manifest)))
    else:
        _print_manifest(manifest, out)


def _exported(place: Sources, asked: Query, form: str, out: Path, personal: bool) -> Manifest:
    if form == "parquet":
        require()
    with place.trail(personal) as trail:
        reader = place.open_reader()
        try:
            origin, note = reader.origin(), reader.latest_checkpoint()
        finally:
            reader.close()
        order = Order(form, asked, out, _maker(form, origin, personal), personal, origin, note, time.time_ns())
        with noted(place.state, "export", trail.told(asked), personal, exported="file") as read:
            return export(trail, order, lambda manifest: setattr(read, "rows", manifest.rows))


def _print_manifest(manifest: Manifest, out: Path) -> None:
    console().print(f"{manifest.rows} records, out of {manifest.complete_to} in the ledger, in {escape(str(out))}")
    console().print(f"  sha256 {manifest.sha256}")
    covered = f"the first {manifest.checkpoint_size} are signed by the checkpoint in it" if manifest.checkpoint else "no checkpoint yet"
    console().print(f"  {escape(str(out))}.manifest.json; {covered}")


def _maker(form: str, origin: str, personal: bool) -> Callable[[IO[bytes]], Writer]:
    if form == "csv":
        return lambda file: Csv(file.write, personal)
    if form == "cloudevents":
        return lambda file: JsonArray(file.write, cloud_event(origin))
    if form == "ocsf":
        return lambda file: JsonArray(file.write, ocsf_event(origin))
    if form == "parquet":
        columns = (*COLUMNS, *(PERSONAL if personal else ()), *LEAF)
        return lambda file: Rows(ParquetRows(file, columns, {"lockgate.origin": origin}), personal)
    return lambda file: JsonLines(file.write)
