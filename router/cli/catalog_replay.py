"""`lockgate catalog replay`: recorded decisions classified again."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from router.adaptation.replaying import TOLERANCE, Answer, Difference, Replay, replay
from router.audit.questions.query import Query, by_default
from router.cli.audit.noting import noted
from router.cli.audit.options import filters, question, state_option
from router.cli.audit.sources import Sources, sources
from router.cli.common import config_option, console, json_option, print_json
from router.cli.flips import show_groups, show_left_out
from router.cli.policy.options import counted
from router.errors import AuditError
from router.workspace import Workspace, parse, read

SHOWN = 20
NOT_REPRODUCED = 1
WHY = {
    "unreadable": "whose personal part cannot be read",
    "none": "that have no personal part",
    "admission": "that were refused before they were classified",
    "unseen": "whose text was not seen whole",
    "unavailable": "for which the classifier failed, then or now",
    "llm": "where a language model had the last word",
    "body": "that a rule would have to see the body of, which is not kept",
}


@click.command("replay")
@filters
@click.option(
    "--workspace",
    "candidate",
    type=click.Path(exists=True, path_type=Path),
    metavar="FOLDER",
    help="In place of the one that has the ledger: with another catalog, encoder, thresholds or rules.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=TOLERANCE,
    show_default=True,
    help="How far a confidence, margin or probability of being in scope may be from what is on record.",
)
@click.option("--names", is_flag=True, help="Name the subjects whose requests flip; otherwise they stand as the ids of their keys.")
@state_option
@config_option
@json_option
def replay_command(
    candidate: Path | None,
    tolerance: float,
    names: bool,
    state: Path | None,
    config: Path,
    as_json: bool,
    subject: str | None,
    kind: str | None,
    **wanted: Any,
) -> int:
    """Say which recorded decisions would be classified otherwise today. The filters are those of `lockgate audit query`.

    Each decision's own text is opened for it, which needs the sealing key and is recorded as a reading. Nothing is dispatched, no language
    model is asked, and a model that is not there yet is trained. Ends with 1 where the very model, calibration and catalog that answered
    then give other numbers now: beyond the tolerance, of rules and the static tier by more than 0.001, or of more than half of 20 and more
    by more than 0.02.
    """
    if kind not in (None, "decision"):
        raise click.UsageError("Only decisions can be replayed.")
    source = sources(state, config)
    workspace = parse(read(candidate if candidate is not None else config, os.environ), os.environ)
    asked = question(source, subject, "decision", wanted)
    if asked is None:
        return 0
    found = _replayed(source, by_default(asked), workspace, tolerance, names)
    if as_json:
        print_json(described(found))
    else:
        _show(console(), found)
    if not found.compared and not found.left_out:
        raise AuditError("No decision matches.", "decision_unknown")
    return 0 if found.reproduced else NOT_REPRODUCED


def _replayed(source: Sources, asked: Query, workspace: Workspace, tolerance: float, names: bool) -> Replay:
    from router.wiring.classifying import open_classifier  # what needs the encoder takes a while to load

    with (
        open_classifier(workspace) as classifier,
        source.trail(personal=True) as trail,
        noted(source.state, "replay", trail.told(asked), personal=True) as reading,
    ):
        decisions = reading.counting(trail.find(asked, newest=False))
        return asyncio.run(replay(decisions, classifier, workspace.digests.catalog, tolerance=tolerance, names=names))


def described(found: Replay) -> dict[str, Any]:
    """As `--json` prints it."""
    return {
        "compared": found.compared,
        "flips": len(found.flips),
        "not_reproduced": [each.decision for each in found.not_reproduced],
        "same_classifier": {
            "decisions": found.same,
            "tolerance": found.tolerance,
            "largest": round(found.largest, 6),
            "median": round(found.median, 6),
            "encoded": len(found.moved),
        },
        "left_out": dict(sorted(found.left_out.items())),
        "by": found.groups(),
        "differences": [_described(each) for each in found.differences],
    }


def _described(each: Difference) -> dict[str, Any]:
    return {
        "record": each.record,
        "decision": each.decision,
        "tenant": each.tenant,
        "subject": each.subject,
        "before": _answer(each.before),
        "after": _answer(each.after),
        "flips": each.flips,
        "same_classifier": each.same,
        "moved": None if each.moved is None else round(each.moved, 6),
    }


def _answer(each: Answer) -> dict[str, Any]:
    confidence = None if each.confidence is None else round(each.confidence, 6)
    return {
        "status": each.status,
        "intent": each.intent,
        "rule": each.rule,
        "reason": each.reason,
        "tier": each.tier,
        "confidence": confidence,
        **dict(zip(("model_digest", "calibration_digest", "catalog_digest"), each.digests, strict=True)),
    }


def _show(out: Console, found: Replay) -> None:
    flips = found.flips
    out.print(f"{len(flips):,} of {counted(found.compared, 'decision')} would be classified otherwise today")
    if found.same:
        out.print(f"{counted(found.same, 'decision')} by the same model, calibration and catalog")
    if found.moved:
        differ = f"numbers differ by {found.largest:.6f} at most, in half of them by {found.median:.6f} at most"
        out.print(f"  of {len(found.moved):,} by an encoder {differ}")
    show_left_out(out, found.left_out, WHY)
    show_groups(out, found.groups(), {})
    for each in flips[:SHOWN]:
        out.print(escape(f"  {each.decision}  {_told(each.before)} → {_told(each.after)}"))
    if len(flips) > SHOWN:
        out.print(f"  and {len(flips) - SHOWN:,} more; --json has all")
    for each in found.not_reproduced[:SHOWN]:
        moved = "no number explains it" if each.moved is None else f"a number differs by {each.moved:.6f}"
        out.print(f"[bold red]not reproduced[/bold red]  {escape(each.decision)}: {escape(_told(each.before))} then; {moved}")
    if not found.reproduced and not found.not_reproduced:
        out.print(
            "[bold red]not reproduced[/bold red]  more than half of them differ: another model, or other weights, gave what is on record"
        )


def _told(each: Answer) -> str:
    sure = "" if each.confidence is None else f" {each.confidence:.2f}"
    return f"{each.said}{sure} ({each.tier or each.reason or '-'})"
