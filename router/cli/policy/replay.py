"""`lockgate policy replay`: recorded decisions put to these policies again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from router.audit.questions.query import by_default
from router.cli.audit.noting import noted
from router.cli.audit.options import filters, question, state_option
from router.cli.audit.sources import sources
from router.cli.common import config_option, console, json_option, print_json
from router.cli.policy.options import counted, data_option
from router.errors import AuditError
from router.policy.evaluating import Policies
from router.policy.folder import find
from router.policy.replaying import Difference, Replay, replay

SHOWN = 20
NOT_REPRODUCED = 1
WHY = {
    "erased": "whose subject was erased",
    "pruned": "whose personal part was pruned",
    "missing": "whose key is missing",
    "unreadable": "whose input cannot be read",
    "none": "that policy was not asked about",
    "added": "that the gateway denied after policy",
    "failed": "for which policy had failed",
}


@click.command("replay")
@filters
@click.option("--policies", "folder", type=click.Path(path_type=Path), metavar="FOLDER", help="Policies in place of the workspace's.")
@data_option
@state_option
@config_option
@json_option
def replay_command(
    folder: Path | None,
    data: Path | None,
    state: Path | None,
    config: Path,
    as_json: bool,
    subject: str | None,
    kind: str | None,
    **wanted: Any,
) -> int:
    """Say which recorded decisions would be decided otherwise today. The filters are those of `lockgate audit query`.

    Each decision's own input, as policy had it then, is opened for it, which needs the sealing key and is recorded as a reading. Ends with
    1 where the very policies that decided then say something else now.
    """
    if kind not in (None, "decision"):
        raise click.UsageError("Only decisions can be replayed.")
    policies, place = Policies(find(folder, config, data)), sources(state, config)
    asked = question(place, subject, "decision", wanted)
    if asked is None:
        return 0
    with place.trail(personal=True) as trail, noted(place.state, "replay", trail.told(asked), personal=True) as read:
        found = replay(trail.find(by_default(asked), newest=False), policies)
        read.rows = found.compared
    if as_json:
        print_json(described(found))
    else:
        _show(console(), found)
    if not found.compared and not found.left_out:
        raise AuditError("No decision matches.", "decision_unknown")
    return NOT_REPRODUCED if found.not_reproduced else 0


def described(found: Replay) -> dict[str, Any]:
    return {
        "compared": found.compared,
        "flips": len(found.flips),
        "not_reproduced": [each.decision for each in found.not_reproduced],
        "left_out": dict(found.left_out),
        "differences": [_difference(each) for each in found.differences],
    }


def _difference(each: Difference) -> dict[str, Any]:
    words = {
        name: {"effect": word.effect, "reasons": list(word.reasons)} for name, word in (("before", each.before), ("after", each.after))
    }
    return {"record": each.record, "decision": each.decision, "intent": each.intent, "tenant": each.tenant, **words}


def _show(out: Console, found: Replay) -> None:
    flips = found.flips
    out.print(f"{len(flips):,} of {counted(found.compared, 'decision')} would be decided otherwise today")
    others = len(found.differences) - len(flips)
    if others:
        out.print(f"{counted(others, 'other')} would be decided the same for other reasons")
    for why, count in sorted(found.left_out.items()):
        out.print(f"left out: {count:,} {WHY.get(why, why)}")
    groups = Counter((each.before.effect, each.after.effect, each.intent or "", each.tenant or "") for each in flips)
    if groups:
        table = Table("from", "to", "intent", "tenant", "decisions", box=None, pad_edge=False)
        for group, count in groups.most_common():
            table.add_row(*map(escape, group), f"{count:,}")
        out.print(table)
    for each in flips[:SHOWN]:
        words = " → ".join(f"{word.effect} {', '.join(word.reasons)}" for word in (each.before, each.after))
        out.print(escape(f"  {each.decision}  {words}"))
    if len(flips) > SHOWN:
        out.print(f"  and {len(flips) - SHOWN:,} more; --json has all")
    for each in found.not_reproduced[:SHOWN]:
        out.print(f"[bold red]not reproduced[/bold red]  {escape(each.decision)}: the same policies said {each.before.effect} then")
