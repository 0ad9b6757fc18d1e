"""`lockgate audit`: questions to the ledger's files. Works beside a running server and on a copy of the state directory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import Progress

from router.audit.canonical import timestamp
from router.audit.query import Page, Query, Trail
from router.audit.verify import Plan, Report, verify
from router.audit.witness_policy import WitnessPolicy, verifying_policy
from router.cli.audit_certificate import check_certificate_command, write_certificate
from router.cli.audit_erase import erase
from router.cli.audit_export import FORMATS, print_manifest, run_export
from router.cli.audit_hold import hold
from router.cli.audit_migrate import migrate
from router.cli.audit_output import (
    found_document,
    json_line,
    print_report,
    print_story,
    proven_document,
    record_table,
    report_document,
)
from router.cli.audit_project import project_command
from router.cli.audit_prove import prove
from router.cli.audit_prune import prune
from router.cli.audit_reconcile import reconcile_command
from router.cli.audit_recover import recover_command
from router.cli.audit_rotate_key import rotate_key
from router.cli.audit_sources import Sources, sources, store_option
from router.cli.audit_tiles import tiles
from router.cli.common import config_option, console, json_option
from router.decision import Effect, Level, Result
from router.errors import AuditError
from router.settings import duration

SECOND = 1_000_000_000
FAULTY = 1

Command = TypeVar("Command", bound=Callable[..., Any])

_state_option = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="LOCKGATE_STATE",
    help="The state directory, or a copy of it; `state` of the configuration when left out.",
)


def state_option(command: Command) -> Command:
    """Where the ledger is: `--state` and, for who asks `sources`, `--store`."""
    return _state_option(store_option(command))


personal_option = click.option(
    "--personal", is_flag=True, help="Open personal fields. Needs the sealing key; without this they show as sealed."
)


class Moment(click.ParamType[str]):
    """A date, a time (UTC unless it says otherwise), or how long ago: 24h, 7d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return timestamp(time.time_ns() - int(duration(value) * SECOND))
        except ValueError:
            pass
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a time such as 2026-11-24T09:45 nor a duration such as 24h.", param, ctx)
        whole = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return timestamp(int(whole.timestamp()) * SECOND + whole.microsecond * 1000)


@click.group()
def audit() -> None:
    """Query, show and verify the audit trail."""


def filters(command: Command) -> Command:
    for option in reversed(
        (
            click.option("--since", type=Moment(), help="From this time on: a date, a time or a duration ago such as 24h."),
            click.option("--until", type=Moment(), help="Before this time."),
            click.option("--subject", help="Whom it was about or by. Needs the sealing key, for the ledger names nobody."),
            click.option("--intent"),
            click.option("--route"),
            click.option("--verdict", "effect", type=click.Choice([effect.value for effect in Effect])),
            click.option("--reason", help="A reason code of admission, classification, policy or outcome."),
            click.option("--result", help=f"How it ended: {', '.join(Result)}; or a review's or system record's event."),
            click.option("--min-confidence", type=click.FloatRange(0, 1)),
            click.option("--max-confidence", type=click.FloatRange(0, 1)),
            click.option("--risk", type=click.Choice([level.value for level in Level])),
            click.option("--tenant"),
            click.option("--decision", "decision_id", help="Decision id."),
            click.option("--trace", "trace_id", help="Trace id, 32 hex digits."),
            click.option(
                "--kind",
                type=click.Choice(["decision", "outcome", "review", "evidence", "system", "all"]),
                default="decision",
                show_default=True,
            ),
        )
    ):
        command = option(command)
    return command


@audit.command()
@filters
@click.option("--limit", type=click.IntRange(1), help="At most so many rows. A table shows 50 when left out, JSON shows all.")
@click.option("--cursor", type=click.IntRange(0), help="Continue after this record, as the end of a page says.")
@click.option("--oldest-first", is_flag=True)
@click.option("--certificate", type=click.Path(dir_okay=False, path_type=Path), help="Write a proof that the answer is whole to this file.")
@personal_option
@state_option
@config_option
@json_option
def query(
    limit: int | None,
    cursor: int | None,
    oldest_first: bool,
    certificate: Path | None,
    personal: bool,
    state: Path | None,
    config: Path,
    as_json: bool,
    subject: str | None,
    kind: str,
    **wanted: Any,
) -> None:
    """List records, newest first. Every filter that is given must hold."""
    place = sources(state, config)
    key_id = None if subject is None else place.key_id(subject)
    if subject is not None and key_id is None:
        click.echo("No record is about this subject, or its key was destroyed.", err=True)
        return
    question = Query(key_id=key_id, kind=None if kind == "all" else kind, **wanted)
    with place.trail(personal) as trail:
        if as_json:
            _print_lines(trail, question, cursor, limit, not oldest_first)
        else:
            _print_table(trail.page(question, cursor, limit or 50, not oldest_first))
    if certificate is not None:
        write_certificate(place, question, certificate)
    elif not as_json:
        click.echo("Complete by this server's word; --certificate FILE proves it.", err=True)


def _print_lines(trail: Trail, question: Query, cursor: int | None, limit: int | None, newest: bool) -> None:
    left = limit
    while True:
        page = trail.page(question, cursor, min(200, left or 200), newest)
        for found in page.rows:
            click.echo(json_line(found_document(found)))
        cursor = page.cursor
        left = None if left is None else left - len(page.rows)
        if cursor is None or left == 0:
            return


def _print_table(page: Page) -> None:
    screen = console()
    screen.print(record_table(page.rows, screen.width))
    more = f"; more with --cursor {page.cursor}" if page.cursor is not None else ""
    screen.print(f"{len(page.rows)} records, out of {page.complete} in the ledger{more}")


@audit.command()
@click.argument("decision_id")
@personal_option
@state_option
@config_option
@json_option
def show(decision_id: str, personal: bool, state: Path | None, config: Path, as_json: bool) -> None:
    """Tell the whole story of a decision: what was decided, how it ended, reviews, and the proof of each record."""
    with sources(state, config).trail(personal) as trail:
        story = trail.show(decision_id)
    if as_json:
        for proven in story:
            click.echo(json_line(proven_document(proven)))
        return
    print_story(console(), story)


@audit.command("verify")
@click.option(
    "--checkpoint",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint that was kept outside this machine: the only thing that a rewritten ledger cannot agree with.",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    help="The ledger's public key (name+keyid+base64) as noted elsewhere, be it an earlier one; the key on this machine when left out. May "
    "be repeated.",
)
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A witness policy (C2SP tlog-policy), best from elsewhere: a checkpoint must have the cosignatures that it asks for.",
)
@click.option("--personal", is_flag=True, help="Also open every personal part and check its commitments. Needs the sealing key.")
@click.option("--processes", type=click.IntRange(1), help="Check so many runs of records side by side; one per core when left out.")
@state_option
@config_option
@json_option
@click.pass_context
def verify_command(
    ctx: click.Context,
    checkpoint: Path | None,
    keys: tuple[str, ...],
    policy: Path | None,
    personal: bool,
    processes: int | None,
    state: Path | None,
    config: Path,
    as_json: bool,
) -> None:
    """Recompute the whole ledger and hold it against its checkpoints. Ends with 1 when anything is wrong."""
    place = sources(state, config)
    verifier, *more = keys or (place.verifier(),)
    witnesses = None if policy is None else verifying_policy(policy, verifier)
    report = _verified(place, verifier, _note(checkpoint), personal, processes, tuple(key for key in more if key), witnesses)
    if as_json:
        click.echo(json_line(report_document(report, verifier)))
    else:
        print_report(console(), report, verifier)
    if not report.ok:
        ctx.exit(FAULTY)


def _note(checkpoint: Path | None) -> str | None:
    try:
        return None if checkpoint is None else checkpoint.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AuditError(f"{checkpoint} cannot be read as a checkpoint.", "checkpoint_invalid") from error


def _verified(
    place: Sources,
    verifier: str | None,
    outside: str | None,
    personal: bool,
    processes: int | None,
    more: tuple[str, ...],
    policy: WitnessPolicy | None,
) -> Report:
    open_keys = place.open_keys if personal else None
    with Progress(console=Console(stderr=True), transient=True, disable=not Console(stderr=True).is_terminal) as bar:
        task = bar.add_task("verifying", total=None)
        told = lambda done, total: bar.update(task, completed=done, total=total)  # noqa: E731  # one line, once
        plan = Plan(place.open_reader, verifier, outside, open_keys, place.newest_checkpoint(), processes, told, more, policy)
        return verify(plan)


@audit.command("export")
@filters
@click.option("--format", "form", type=click.Choice(FORMATS), required=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file; one that is there is not replaced.")
@personal_option
@state_option
@config_option
@json_option
def export_command(
    form: str, out: Path, personal: bool, state: Path | None, config: Path, as_json: bool, subject: str | None, kind: str, **wanted: Any
) -> None:
    """Write everything that matches into a file, oldest first, with a manifest beside it."""
    place = sources(state, config)
    key_id = None if subject is None else place.key_id(subject)
    if subject is not None and key_id is None:
        click.echo("No record is about this subject, or its key was destroyed.", err=True)
        return
    question = Query(key_id=key_id, kind=None if kind == "all" else kind, **wanted)
    manifest = run_export(place, question, form, out, personal)
    if as_json:
        click.echo(json_line(asdict(manifest)))
    else:
        print_manifest(manifest, out)


audit.add_command(check_certificate_command)
audit.add_command(project_command)
audit.add_command(reconcile_command)
audit.add_command(recover_command)
audit.add_command(migrate)
audit.add_command(erase)
audit.add_command(hold)
audit.add_command(prune)
audit.add_command(rotate_key)
audit.add_command(tiles)
audit.add_command(prove)
