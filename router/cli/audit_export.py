"""`lockgate audit export`: what matches, as a file for other systems, with a manifest beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import click
from rich.markup import escape

from adapters.parquet_file import ParquetRows, require
from router.audit.export import Manifest, Order, export
from router.audit.formats import Csv, JsonArray, JsonLines, Rows, Writer, cloud_event
from router.audit.ocsf import ocsf_event
from router.audit.query import Query
from router.audit.table import COLUMNS, LEAF, PERSONAL
from router.cli.audit_sources import Sources
from router.cli.common import console

FORMATS = ("cloudevents", "csv", "jsonl", "ocsf", "parquet")


def run_export(place: Sources, question: Query, form: str, out: Path, personal: bool) -> Manifest:
    if form == "parquet":
        require()
    with place.trail(personal) as trail:
        reader = place.open_reader()
        try:
            origin, note = reader.origin(), reader.latest_checkpoint()
        finally:
            reader.close()
        order = Order(form, question, out, _maker(form, origin, personal), personal, origin, note, time.time_ns())
        return export(trail, order, _noted)


def print_manifest(manifest: Manifest, out: Path) -> None:
    console().print(f"{manifest.rows} records, out of {manifest.complete_to} in the ledger, in {escape(str(out))}")
    console().print(f"  sha256 {manifest.sha256}")
    covered = f"the first {manifest.checkpoint_size} are signed by the checkpoint in it" if manifest.checkpoint else "no checkpoint yet"
    console().print(f"  {escape(str(out))}.manifest.json; {covered}")


def _noted(manifest: Manifest) -> None:
    """Where an export becomes a record. From the files alone nobody can append to the ledger, so that it is said instead."""
    click.echo(f"This export ({manifest.rows} records) was read from the files and is not on record in the ledger.", err=True)


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
