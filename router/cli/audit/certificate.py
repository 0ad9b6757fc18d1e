"""Completeness certificates on the command line: writing one beside an answer, and checking one."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from router.audit.checking.answers import certificate, check
from router.audit.checking.certificate import Checked, lines_of
from router.audit.lookups.upkeep import Sections
from router.audit.questions.query import Query
from router.cli.audit.output import json_line
from router.cli.audit.sources import Sources, note_in
from router.cli.common import console, json_option
from router.durable import replace
from router.errors import AuditError
from router.wiring.indexing import FOLDER


def write_certificate(place: Sources, question: Query, out: Path, personal: bool) -> None:
    """Raises AuditError: `certificate_impossible`, `checkpoint_missing`, `export_exists`, `export_unwritable`."""
    if out.exists():
        raise AuditError(f"{out} exists already; a certificate replaces nothing.", "export_exists")
    try:
        with place.opened() as (reader, index), place.keys(personal, reader, index) as keys, place.folder() as state, replace(out) as file:
            for line in certificate(Sections(reader, index, state / FOLDER), question, keys):
                file.write(line)
    except OSError as error:
        raise AuditError(f"{out} cannot be written: {error.strerror}.", "export_unwritable") from error
    click.echo(f"{out} proves the answer up to its checkpoint; what is newer is complete by this server's word.", err=True)


@click.command("check-certificate")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", required=True, help="The ledger's public key (name+keyid+base64) as noted elsewhere.")
@click.option(
    "--checkpoint",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint that was kept elsewhere: the certificate must be for this one.",
)
@json_option
@click.pass_context
def check_certificate_command(ctx: click.Context, file: Path, key: str, checkpoint: Path | None, as_json: bool) -> None:
    """Check an answer against nothing but a signed checkpoint: no ledger, no server. Ends with 1 when it does not hold."""
    try:
        checked, found = _checked(file, key, checkpoint)
    except AuditError as error:
        if error.code == "verifier_key_invalid":
            raise
        _print_wrong(error, as_json)
        ctx.exit(1)
    for index, leaf in found:
        click.echo(json_line({"index": index, "leaf": leaf}))
    if as_json:
        click.echo(json_line(_document(checked)))
    else:
        _print(checked)


def _checked(file: Path, key: str, checkpoint: Path | None) -> tuple[Checked, list[tuple[int, object]]]:
    with file.open("rb") as opened:
        checked, found = check(lines_of(opened), key, note_in(checkpoint))
        return checked, list(found)


def _document(checked: Checked) -> dict[str, object]:
    return {
        "ok": True,
        "origin": checked.checkpoint.origin,
        "checkpoint_size": checked.checkpoint.size,
        "from": checked.start,
        "until": checked.end,
        "filters": checked.filters,
        "matches": checked.matches,
        "not_proven": checked.words,
    }


def _print(checked: Checked) -> None:
    checkpoint = checked.checkpoint
    asked = ", ".join(f"{name} {value}" for name, value in checked.filters.items()) or "everything"
    screen = console(error=True)
    run = f"records {checked.start} to {checked.end - 1}" if checked.end > checked.start else "no records"
    screen.print(f"[bold green]complete[/bold green]  {checked.matches} matches among {run} of {escape(checkpoint.origin)}")
    screen.print(f"  asked for: {escape(asked)}")
    screen.print(f"  by its checkpoint of {checkpoint.size} records; nothing is said of newer ones")
    for sentence in checked.words:
        screen.print(f"  [yellow]not proven[/yellow]  {escape(sentence)}")


def _print_wrong(error: AuditError, as_json: bool) -> None:
    if as_json:
        click.echo(json_line({"ok": False, "code": error.code, "message": str(error)}))
    else:
        console(error=True).print(f"[bold red]does not hold[/bold red]  {escape(str(error))}")
