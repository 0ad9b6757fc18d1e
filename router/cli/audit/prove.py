"""`lockgate audit prove`: evidence about one decision, for somebody who verifies it without Lockgate."""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import click
import orjson

from router.audit.checking.bundle import Bundles, Disclosure
from router.audit.questions.query import Trail
from router.audit.questions.reader import KeyLookup
from router.audit.questions.reading import told_id
from router.audit.tree.checkpoint import Checkpoint, note_checkpoint
from router.cli.audit.noting import noted
from router.cli.audit.options import state_option
from router.cli.audit.sources import Sources, note_in, sources
from router.cli.common import config_option
from router.errors import AuditError
from router.workspace import without_policies

HOW_LONG = "at the latest `audit.checkpoint.every` after it was written, or once Lockgate is stopped"


@click.command()
@click.argument("decision_id")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Where to write it; - for standard output.")
@click.option(
    "--checkpoint",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint that the receiver has: the proof that both are of one history is put in.",
)
@click.option("--personal", is_flag=True, help="Open all personal fields, for whoever gets the file. Needs the sealing key.")
@click.option("--field", "fields", multiple=True, metavar="NAME", help="Open this personal field only; may be repeated.")
@click.option(
    "--format", "form", type=click.Choice(["bundle", "tlog-proof"]), default="bundle", show_default=True, help="tlog-proof: of one record."
)
@click.option("--record", type=click.IntRange(0), help="Which record a tlog-proof is of; the decision itself when left out.")
@state_option
@config_option
def prove(
    decision_id: str,
    out: Path,
    checkpoint: Path | None,
    personal: bool,
    fields: tuple[str, ...],
    form: str,
    record: int | None,
    state: Path | None,
    config: Path,
) -> None:
    """Write the records of a decision with their proofs, to be verified by anybody (see `lockgate-verify`)."""
    if form == "tlog-proof" and (personal or fields or checkpoint):
        raise click.UsageError("A tlog-proof holds neither personal fields nor a consistency proof.")
    if form == "bundle" and record is not None:
        raise click.UsageError("A bundle is of all the decision's records; --record is for --format tlog-proof.")
    place, wanted = sources(state, config), None if personal else frozenset(fields)
    opening = wanted is None or bool(wanted)
    target = "" if str(out) == "-" else "file"
    with noted(place.state, "bundle", told_id(decision_id), opening, target) as read, _bundles(place, opening=opening) as (bundles, keys):
        try:
            if form == "tlog-proof":
                _write(out, bundles.proof(decision_id, record).encode())
                read.rows = 1
                return
            document = bundles.bundle(decision_id, _outside(checkpoint), keys and Disclosure(keys, wanted))
        except AuditError as error:
            raise (_pending(error, state, config) if error.code == "checkpoint_pending" else error) from error
        read.rows = len(document["records"])
    _write(out, orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    _tell(out, document, wanted, place.verifier())


@contextmanager
def _bundles(place: Sources, *, opening: bool) -> Iterator[tuple[Bundles, KeyLookup | None]]:
    with place.opened() as (reader, index), place.keys(opening, reader, index) as keys:
        yield Bundles(reader, Trail(reader, index)), keys


def _outside(path: Path | None) -> Checkpoint | None:
    """Whoever gets the bundle checks its signature; here it only has to be of this ledger's history."""
    note = note_in(path)
    return None if note is None else note_checkpoint(note)


def _pending(error: AuditError, state: Path | None, config: Path) -> AuditError:
    """Says when the next checkpoint is due, as far as that can be known here."""
    due = HOW_LONG
    if state is None and config.exists():
        plan = without_policies(config, os.environ).config.audit.checkpoint
        due = f"at the latest {plan.every:g} s after it was written or after {plan.records} records, or once Lockgate is stopped"
    return AuditError(f"{error} The next one is signed {due}; then ask again.", error.code)


def _write(out: Path, content: bytes) -> None:
    """Whole or not at all, and readable by its owner only: it may hold personal fields, and who else may read it is for him to say."""
    if str(out) == "-":
        click.echo(content, nl=False)
        return
    try:
        with NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}.", delete=False) as file:
            file.write(content)
        os.replace(file.name, out)
    except OSError as error:
        raise click.ClickException(f"{out} cannot be written: {error.strerror}.") from error


def _tell(out: Path, document: dict[str, Any], wanted: frozenset[str] | None, verifier: str | None) -> None:
    """`wanted` are the fields that were asked for, None for all."""
    records = document["records"]
    opened = sum(len(record.get("opened", ())) for record in records)
    erased = [str(record["index"]) for record in records if "erased" in record]
    removed = [str(record["index"]) for record in records if not record.keys() & {"opened", "erased"} and _committed(record, wanted)]
    count = "1 record" if len(records) == 1 else f"{len(records)} records"
    size = note_checkpoint(document["checkpoint"]).size
    said = [f"{count} of decision {document['decision']}, proven in the checkpoint over {size} records"]
    said.append(f"{opened} personal fields opened" if opened else "no personal field opened")
    said.extend(f"{what}: record {', '.join(them)}" for what, them in (("erased", erased), ("personal part removed", removed)) if them)
    click.echo(f"{out}: {'; '.join(said)}.", err=True)
    click.echo(f"Verify with: lockgate-verify {out} --key {verifier or 'PUBLIC-KEY'}", err=True)


def _committed(record: dict[str, Any], wanted: frozenset[str] | None) -> bool:
    """Whether the record has a field of those."""
    names = orjson.loads(b64decode(record["leaf"])).get("commitments", {}).keys()
    return bool(names if wanted is None else names & wanted)
