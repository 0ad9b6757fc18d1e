"""`lockgate audit`: questions to the ledger's files. Works beside a running server and on a copy of the state directory."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import click

from router.audit.checking.verify import Plan, Report, verify
from router.audit.questions.reading import told_id
from router.audit.witnesses.policy import WitnessPolicy, verifying_policy
from router.cli.audit.ask import ask
from router.cli.audit.certificate import check_certificate_command, write_certificate
from router.cli.audit.degraded import degraded
from router.cli.audit.erase import erase
from router.cli.audit.export import export_command
from router.cli.audit.hold import hold
from router.cli.audit.migrate import migrate
from router.cli.audit.noting import Read, noted
from router.cli.audit.options import columns_option, filters, personal_option, question, state_option
from router.cli.audit.output import json_line, print_report, print_story, proven_document, report_document
from router.cli.audit.project import project_command
from router.cli.audit.prove import prove
from router.cli.audit.prune import prune
from router.cli.audit.reading import reading
from router.cli.audit.reconcile import reconcile_command
from router.cli.audit.records import print_lines, print_table
from router.cli.audit.recover import recover_command
from router.cli.audit.reviews import reviews
from router.cli.audit.rotate_key import rotate_key
from router.cli.audit.sign_index import sign_index
from router.cli.audit.sources import Sources, note_in, sources
from router.cli.audit.stats import stats
from router.cli.audit.tiles import tiles
from router.cli.bars import progress_bars
from router.cli.common import config_option, console, json_option

FAULTY = 1


@click.group()
def audit() -> None:
    """Query, show and verify the audit trail."""


@audit.command()
@filters
@click.option("--limit", type=click.IntRange(1), help="At most so many rows. A table shows 50 when left out, JSON shows all.")
@click.option("--cursor", type=click.IntRange(0), help="Continue after this record, as the end of a page says.")
@click.option("--oldest-first", is_flag=True, help="In the order of the ledger; the newest first when left out.")
@click.option("--certificate", type=click.Path(dir_okay=False, path_type=Path), help="Write a proof that the answer is whole to this file.")
@columns_option
@personal_option
@state_option
@config_option
@json_option
def query(
    limit: int | None,
    cursor: int | None,
    oldest_first: bool,
    certificate: Path | None,
    columns: tuple[str, ...],
    personal: bool,
    state: Path | None,
    config: Path,
    as_json: bool,
    subject: str | None,
    kind: str | None,
    **wanted: Any,
) -> None:
    """List records, newest first. Every filter that is given must hold."""
    place = sources(state, config)
    asked = question(place, subject, kind, wanted)
    if asked is None:
        return
    with place.trail(personal) as trail, noted(place.state, "records", trail.told(asked), personal) as read:
        if as_json:
            print_lines(trail, asked, read, limit, not oldest_first, cursor, columns)
        else:
            print_table(trail, asked, read, limit or 50, not oldest_first, cursor, columns)
    if certificate is not None:
        write_certificate(place, asked, certificate, personal)
    elif not as_json:
        click.echo("Complete by this server's word; --certificate FILE proves it.", err=True)


@audit.command()
@click.argument("identifier", metavar="ID")
@personal_option
@state_option
@config_option
@json_option
def show(identifier: str, personal: bool, state: Path | None, config: Path, as_json: bool) -> None:
    """Tell the whole story of a decision: what was decided, how it ended, reviews, and the proof of each record. ID is the decision's, the
    request's or the trace's."""
    place = sources(state, config)
    with place.trail(personal) as trail, noted(place.state, "decision", told_id(identifier), personal) as read:
        story = trail.show(identifier)
        read.rows = len(story)
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
@click.option(
    "--answers/--no-answers",
    default=True,
    show_default=True,
    help="Also hold the index that answers come from against the records, which takes several times as long.",
)
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
    answers: bool,
    processes: int | None,
    state: Path | None,
    config: Path,
    as_json: bool,
) -> None:
    """Recompute the whole ledger and hold it against its checkpoints. Ends with 1 when anything is wrong."""
    place = sources(state, config)
    verifier, *more = keys or (place.verifier(),)
    witnesses = None if policy is None else verifying_policy(policy, verifier)
    with noted(place.state, "verify", "", personal=True) if personal else nullcontext(Read()) as read:
        others = tuple(key for key in more if key)
        report = _verified(place, verifier, note_in(checkpoint), personal, processes, others, witnesses, answers=answers)
        read.rows = report.opened
    if as_json:
        click.echo(json_line(report_document(report, verifier)))
    else:
        print_report(console(), report, verifier)
    if not report.ok:
        ctx.exit(FAULTY)


def _verified(
    place: Sources,
    verifier: str | None,
    outside: str | None,
    personal: bool,
    processes: int | None,
    more: tuple[str, ...],
    policy: WitnessPolicy | None,
    *,
    answers: bool,
) -> Report:
    open_keys = place.open_keys if personal else None
    with progress_bars() as bar:
        told = partial(bar, "verifying")
        held = (lambda reader: place.answers_differ(reader, partial(bar, "index of answers"))) if answers else None
        plan = Plan(place.open_reader, verifier, outside, open_keys, place.kept_checkpoints, processes, told, more, policy, held)
        return verify(plan)


audit.add_command(recover_command)
audit.add_command(migrate)
audit.add_command(erase)
audit.add_command(hold)
audit.add_command(prune)
audit.add_command(rotate_key)
audit.add_command(tiles)
audit.add_command(prove)
audit.add_command(stats)
audit.add_command(ask)
audit.add_command(reviews)
audit.add_command(reading)
audit.add_command(degraded)
audit.add_command(export_command)
audit.add_command(check_certificate_command)
audit.add_command(sign_index)
audit.add_command(project_command)
audit.add_command(reconcile_command)
