"""`lockgate explain`: every stage's values for one request, without a dispatch and without a record."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from router.cli.common import config_option
from router.cli.common import console as screen
from router.decision import ANONYMOUS, Decision, Request, Subject
from router.decision_json import decision_document, earlier_tiers
from router.earlier_tiers import why_not
from router.workspace import Workspace, parse, read

BAR = 24


@click.command()
@click.argument("text", required=False)
@click.option("--as", "subject", help="Subject who asks: the id of one with an API key, or any id together with --role.")
@click.option("--role", "roles", multiple=True, help="Role of the subject; may be given several times.")
@click.option("--tenant", help="Tenant of the subject.")
@click.option("--method", default="POST", show_default=True, help="HTTP method.")
@click.option("--path", default="/", show_default=True, help="Path.")
@click.option("--body", help="JSON body instead of TEXT.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the decision as JSON.")
def explain(
    text: str | None,
    subject: str | None,
    roles: tuple[str, ...],
    tenant: str | None,
    method: str,
    path: str,
    body: str | None,
    config: Path,
    as_json: bool,
) -> None:
    """Show what Lockgate would decide about TEXT and why. Nothing is dispatched and nothing recorded.

    Nobody knows here what sizes and rates are usual, so that `learning` adds to the risk as after a start. A language model that is
    configured is asked.
    """
    workspace = parse(read(config, os.environ), os.environ)
    who = _subject(workspace, subject, roles, tenant)
    decision = asyncio.run(_decide(workspace, who, method, path, text, body))
    if as_json:
        click.echo(json.dumps(_document(decision)))
    else:
        show(screen(), decision)


def _subject(workspace: Workspace, name: str | None, roles: tuple[str, ...], tenant: str | None) -> Subject:
    if name is None:
        return ANONYMOUS
    if not roles:
        known = _known(workspace, name)
        if known is not None:
            return known
    return Subject(name, "user", roles, (), tenant, {}, "api_key")


def _known(workspace: Workspace, name: str) -> Subject | None:
    from adapters.sqlite.api_keys import SqliteApiKeys
    from router.system import SystemClock
    from router.wiring.nodes import API_KEYS_FILE, api_keys_of

    keys = api_keys_of(workspace, SystemClock())
    if isinstance(keys, SqliteApiKeys) and not (workspace.path(workspace.config.state) / API_KEYS_FILE).exists():
        return None
    keys.open()
    try:
        return next((key.subject for key in keys.all() if key.subject.id == name), None)
    finally:
        keys.close()


async def _decide(workspace: Workspace, subject: Subject, method: str, path: str, text: str | None, body: str | None) -> Decision:
    from router.wiring.explaining import decide_only  # the encoder's libraries take a while to load

    data, content_type = ((text or "").encode(), "text/plain") if body is None else (body.encode(), "application/json")
    return await decide_only(workspace, subject, method, path, data, content_type)


def show(console: Console, decision: Decision) -> None:
    request: Request = decision.request
    who = f"{request.subject.id} ({', '.join(request.subject.roles) or 'no roles'})"
    console.print(f"[bold]{request.method} {escape(request.path)}[/] by {escape(who)}", highlight=False)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for stage, lines in _stages(decision):
        for place, line in enumerate(lines):
            table.add_row(f"[cyan]{stage}[/]" if place == 0 else "", line)
    console.print(table)
    if request.subject.type == ANONYMOUS.type:
        console.print("Nobody was named: --as SUBJECT says who asks.", style="dim")


def _document(decision: Decision) -> dict[str, Any]:
    document = decision_document(decision)
    document["classification"]["earlier_tiers"] = earlier_tiers(decision.classification)
    return document


def _stages(decision: Decision) -> list[tuple[str, list[str]]]:
    document = _document(decision)
    return [
        ("admission", _verdict(document["admission"])),
        (
            "signals",
            [f"{one['name']} score {one['score']} ×{one['count']}" for one in document["signals"]["findings"]] or ["nothing found"],
        ),
        ("text", [escape(document["signals"]["masked_text"] or "none")]),
        ("language", [_pairs(document["signals"]["language"])]),
        ("classification", _classification(document["classification"])),
        ("risk", [f"{document['risk']['level']} ({document['risk']['score']})  " + _pairs(document["risk"]["contributions"])]),
        ("policy", _verdict(document["verdict"])),
        (
            "route",
            [
                f"{document['route']['name']} → {document['route']['destination']} ({document['route']['why']})"
                if document["route"]
                else "none"
            ],
        ),
        ("outcome", [_outcome(document["outcome"])]),
        ("time", [_pairs({name: f"{spent:.0f} µs" for name, spent in document["stages_us"].items()})]),
        ("digests", [f"config {document['config_digest'][:12]}  catalog {document['catalog_digest'][:12]}"]),
    ]


def _classification(found: dict[str, Any]) -> list[str]:
    head = f"[bold]{found['status']}[/] {found['intent'] or ''}  tier {found['tier'] or 'none'}  {found['reason']}"
    if found["rule"] is not None:
        return [head, escape(f"rule {found['rule']['name']} {found['rule']['params'] or ''}")]
    numbers = {
        name: found[name] for name in ("confidence", "threshold", "margin", "scope", "novelty", "injection") if found[name] is not None
    }
    plausible = [f"plausible: {', '.join(found['prediction_set'])}"] if len(found["prediction_set"]) > 1 else []
    earlier = [line for tier in found["earlier_tiers"] for line in (f"before: {tier['tier']}, {escape(why_not(tier))}", *_bars(tier))]
    return [head, _pairs(numbers), *plausible, *_bars(found), *earlier]


def _bars(found: dict[str, Any]) -> list[str]:
    return [f"{'█' * round(each['confidence'] * BAR):<{BAR}} {each['confidence']:.3f} {each['intent']}" for each in found["candidates"]]


def _verdict(verdict: dict[str, Any]) -> list[str]:
    reasons = [escape(f"{reason['code']}: {reason['message']}") for reason in verdict["reasons"]]
    obligations = [escape(f"obligation {each['name']} {each['params'] or ''}") for each in verdict["obligations"]]
    return [f"[bold]{verdict['effect']}[/]  ({verdict['engine']})", *reasons, *obligations]


def _outcome(outcome: dict[str, Any] | None) -> str:
    return "would be dispatched" if outcome is None else f"{outcome['result']} with status {outcome['status']} ({outcome['reason']})"


def _pairs(values: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value}" for name, value in values.items())
