"""`lockgate policy replay`: recorded decisions put to these policies again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from router.audit.questions.query import Query, by_default
from router.cli.audit.noting import noted
from router.cli.audit.options import filters, question, state_option
from router.cli.audit.sources import Sources, sources
from router.cli.common import config_option, console, json_option, print_json
from router.cli.flips import show_groups, show_left_out
from router.cli.policy.options import counted, data_option
from router.durable import replace
from router.errors import AuditError
from router.policy.deciding import candidate, deciding
from router.policy.envelope import KINDS, PrivateKey, private_key, sealed_envelope
from router.policy.evaluating import Policies
from router.policy.replaying import Replay, replay
from router.policy.reporting import Replayed, described, statement

SHOWN = 20
NOT_REPRODUCED = 1
WHY = {
    "unreadable": "whose input cannot be read",
    "none": "that policy was not asked about",
    "added": "that the gateway denied after policy",
    "failed": "for which policy had failed",
}


@dataclass(frozen=True, slots=True)
class Signing:
    """Where the report goes, and whose it is."""

    out: Path
    key: PrivateKey
    key_id: str


@click.command("replay")
@filters
@click.option(
    "--policies",
    "place",
    type=click.Path(exists=True, path_type=Path),
    metavar="FOLDER|BUNDLE",
    help="In place of the workspace's.",
)
@data_option
@click.option("--names", is_flag=True, help="Name the subjects whose requests flip; otherwise they stand as the ids of their keys.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write a signed report to this file. Needs --sign-with.")
@click.option("--sign-with", type=click.Path(exists=True, dir_okay=False, path_type=Path), help=f"PEM private key: {KINDS}.")
@click.option("--key-id", default="default", show_default=True, help="What the report calls that key.")
@state_option
@config_option
@json_option
def replay_command(
    place: Path | None,
    data: Path | None,
    names: bool,
    report: Path | None,
    sign_with: Path | None,
    key_id: str,
    state: Path | None,
    config: Path,
    as_json: bool,
    subject: str | None,
    kind: str | None,
    **wanted: Any,
) -> int:
    """Say which recorded decisions would be decided otherwise today. The filters are those of `lockgate audit query`.

    Each decision's own input, as policy had it then, is opened for it, which needs the sealing key and is recorded as a reading. Without
    --policies it is put to what the workspace decides by, be it a folder or a bundle. Ends with 1 where the very policies that decided then
    say something else now.
    """
    if kind not in (None, "decision"):
        raise click.UsageError("Only decisions can be replayed.")
    signing = _signing(report, sign_with, key_id)
    folder = candidate(place, config, data) if place is not None or data is not None else deciding(config)
    policies, source = Policies(folder), sources(state, config)
    asked = question(source, subject, "decision", wanted)
    if asked is None:
        return 0
    found = _replayed(source, by_default(asked), policies, names, signing)
    if as_json:
        print_json(described(found))
    else:
        _show(console(), found)
    if not found.compared and not found.left_out:
        raise AuditError("No decision matches.", "decision_unknown")
    return NOT_REPRODUCED if found.not_reproduced else 0


def _signing(report: Path | None, sign_with: Path | None, key_id: str) -> Signing | None:
    if (report is None) != (sign_with is None):
        raise click.UsageError("--report and --sign-with go together: a report that nobody signed says nothing.")
    if report is None or sign_with is None:
        return None
    if report.exists():
        raise AuditError(f"{report} exists already; a report replaces nothing.", "export_exists")
    return Signing(report, private_key(sign_with.read_bytes(), str(sign_with)), key_id)


def _replayed(source: Sources, asked: Query, policies: Policies, names: bool, signing: Signing | None) -> Replay:
    reader = source.open_reader()
    try:
        origin, note = reader.origin(), reader.latest_checkpoint()
    finally:
        reader.close()
    with source.trail(personal=True) as trail:
        filters, exported = trail.told(asked), "file" if signing is not None else ""
        with noted(source.state, "replay", filters, personal=True, exported=exported) as read:
            records = trail.page(asked, None, 1).complete
            decisions = (each for each in trail.find(asked, newest=False) if each.index < records)
            found = replay(read.counting(decisions), policies, names=names)
            if signing is not None:
                _write(signing, statement(found, policies.digest, Replayed(origin, records, note, filters, time.time_ns())))
    return found


def _write(signing: Signing, document: dict[str, Any]) -> None:
    """Readable by its owner alone: it says whose requests flip. Raises AuditError `export_unwritable`."""
    try:
        with replace(signing.out) as file:
            file.write(sealed_envelope(document, signing.key, signing.key_id))
    except OSError as error:
        raise AuditError(f"{signing.out} cannot be written: {error.strerror}.", "export_unwritable") from error


def _show(out: Console, found: Replay) -> None:
    flips = found.flips
    out.print(f"{len(flips):,} of {counted(found.compared, 'decision')} would be decided otherwise today")
    others = len(found.differences) - len(flips)
    if others:
        out.print(f"{counted(others, 'other')} would be decided the same for other reasons")
    show_left_out(out, found.left_out, WHY)
    show_groups(out, found.groups(), found.rules)
    for each in flips[:SHOWN]:
        words = " → ".join(f"{word.effect} {', '.join(word.reasons)}" for word in (each.before, each.after))
        out.print(escape(f"  {each.decision}  {words}"))
    if len(flips) > SHOWN:
        out.print(f"  and {len(flips) - SHOWN:,} more; --json has all")
    for each in found.not_reproduced[:SHOWN]:
        out.print(f"[bold red]not reproduced[/bold red]  {escape(each.decision)}: the same policies said {each.before.effect} then")
