"""How the audit trail is shown: tables for people, one JSON object per line for machines."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from router.audit.checking.verify import Report
from router.audit.questions.query import Found, Proven
from router.audit.records.canonical import timestamp
from router.audit.witnesses.policy import shown
from router.cli.harmless import harmless_json
from router.earlier_tiers import why_not

HEADINGS = ("time", "record", "decision", "subject", "intent", "confidence", "risk", "verdict", "reason", "route", "result")
WIDE = 170
SECOND = 1_000_000_000
LEFT_OUT = ("time", "subject", "risk", "reason", "route")
WHOLE = ("decision", "record")


def json_line(value: Any) -> str:
    return harmless_json(orjson.dumps(value).decode())


def found_document(found: Found) -> dict[str, Any]:
    document = {"index": found.index, "leaf": found.leaf, "index_columns": found.columns, "sealed": found.sealed, "gone_by": found.gone_by}
    return document if found.personal is None else {**document, "personal": found.personal}


def proven_document(proven: Proven) -> dict[str, Any]:
    return {**found_document(proven.found), "checkpoint": proven.checkpoint, "inclusion": [step.hex() for step in proven.proof]}


def report_document(report: Report, verifier: str | None) -> dict[str, Any]:
    faults = [{"index": one.index, "until": one.until, "kind": one.kind, "message": one.message} for one in report.faults]
    first = report.first_bad
    return {
        "ok": report.ok,
        "origin": report.origin,
        "records": report.size,
        "root": report.root.hex(),
        "first_bad": None if first is None else first.index,
        "faults": faults,
        "checkpoints": report.held_against,
        "outside_checkpoint": report.outside,
        "witnessed": witnessed_document(report),
        "opened": report.opened,
        "erased": report.erased,
        "pruned": report.pruned,
        "sections": len(report.sections),
        "predecessor": None if report.predecessor is None else asdict(report.predecessor),
        "not_proven": report.unproven,
        "public_key": verifier,
        "keys": [{"key": term.line, "after": term.after, "until": term.until, "followed": term.followed} for term in report.terms],
    }


def witnessed_document(report: Report) -> dict[str, Any] | None:
    """What was confirmed last, and since when anything was."""
    if not report.witnessed:
        return None
    first, last = report.witnessed[0], report.witnessed[-1]
    return {
        "records": last.size,
        "as_of": _seconds(last.by.as_of),
        "witnesses": [shown(name) for name in last.by.names],
        "since": {"records": first.size, "as_of": _seconds(first.by.as_of)},
    }


def _seconds(at: int) -> str:
    return f"{timestamp(at * SECOND)[:19]}Z"


def record_table(rows: list[Found], width: int) -> Table:
    """As many columns as fit into `width` characters; what is left out is in `--json` and in `audit show`."""
    shown = [place for place, name in enumerate(HEADINGS) if width >= WIDE or name not in LEFT_OUT]
    table = Table(box=None, pad_edge=False)
    for place in shown:
        table.add_column(HEADINGS[place], no_wrap=HEADINGS[place] in WHOLE)
    for found in rows:
        cells = _cells(found)
        table.add_row(*(escape(cells[place]) for place in shown))
    return table


def _cells(found: Found) -> list[str]:
    columns = found.columns
    confidence = columns["confidence"]
    return [
        (columns["time"] or "")[:19].replace("T", " "),
        str(found.index) if columns["kind"] == "decision" else f"{found.index} {columns['kind']}",
        columns["decision_id"] or "",
        _subject(found),
        columns["intent"] or "",
        "" if confidence is None else f"{confidence:.3f}",
        columns["risk"] or "",
        columns["effect"] or "",
        " ".join(_reasons(found.leaf)),
        columns["route"] or "",
        columns["result"] or "",
    ]


def _subject(found: Found) -> str:
    return found.personal.get("subject", "") if found.personal is not None else {"none": ""}.get(found.sealed, sealed_text(found))


def sealed_text(found: Found) -> str:
    """`erased by record 71`"""
    return found.sealed if found.gone_by is None else f"{found.sealed} by record {found.gone_by}"


def _reasons(leaf: dict[str, Any]) -> list[str]:
    reasons = [*leaf.get("verdict", {}).get("reasons", ()), (leaf.get("outcome") or {}).get("reason", "")]
    return list(dict.fromkeys(reason for reason in reasons if reason))


def print_story(console: Console, story: list[Proven]) -> None:
    for proven in story:
        _print_record(console, proven)
    last = story[-1]
    if last.checkpoint is not None:
        console.print("[bold]latest checkpoint[/bold]")
        console.print(escape(last.checkpoint.strip()))


def _print_record(console: Console, proven: Proven) -> None:
    found = proven.found
    console.print(f"[bold]record {found.index}[/bold]  {found.columns['kind']}  {escape(found.leaf.get('time', ''))}")
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _flat(found.leaf):
        table.add_row(f"  {name}", escape(value))
    for name, value in (found.personal or {}).items():
        table.add_row(f"  {name} (personal)", escape(value))
    console.print(table)
    console.print(f"  personal part: {sealed_text(found)}   {_proof(proven)}\n")


def _proof(proven: Proven) -> str:
    if proven.checkpoint is None:
        return "no checkpoint covers this record yet"
    return f"inclusion proof of {len(proven.proof)} hashes into the latest checkpoint (--json prints it)"


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    if name.endswith(".candidates") and isinstance(value, list):
        return [(name, _candidates(value))] if value else []
    if name.endswith(".earlier_tiers") and isinstance(value, list):
        return [line for tier in value for line in _passed(tier, f"{name}.{tier['tier']}")]
    if isinstance(value, dict) and value:
        return [line for key, item in value.items() if key != "commitments" for line in _flat(item, f"{name}.{key}" if name else key)]
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [line for place, item in enumerate(value) for line in _flat(item, f"{name}[{place}]")]
    if isinstance(value, list):
        return [(name, ", ".join(map(str, value)))] if value else []
    return [] if value in (None, "", {}) else [(name, str(value))]


def _candidates(listed: list[Any]) -> str:
    """What they are worth, the likeliest first; raw scores are in `--json`."""
    return ", ".join(f"{each['intent']} {each['calibrated']}" for each in listed)


def _passed(tier: dict[str, Any], name: str) -> list[tuple[str, str]]:
    told = ", ".join(part for part in (tier.get("reason"), why_not(tier)) if part)
    held = _candidates(tier.get("candidates") or []) or str(tier["intent"] or "nothing")
    return [*([(name, told)] if told else []), (f"{name}.likeliest", held)]


def print_report(console: Console, report: Report, verifier: str | None) -> None:
    first = report.first_bad
    if first is None:
        console.print(f"[bold green]verified[/bold green]  {report.size} records of {escape(report.origin)}")
    else:
        where = f"record {first.index}" if first.until in (None, first.index + 1) else f"within records {first.index} to {first.until - 1}"
        console.print(f"[bold red]NOT verified[/bold red]  {report.size} records of {escape(report.origin)}; first bad: {where}")
    for fault in sorted(report.faults, key=lambda one: one.index)[:20]:
        console.print(f"  [red]{fault.kind}[/red]  {escape(fault.message)}")
    if len(report.faults) > 20:
        console.print(f"  and {len(report.faults) - 20} more; --json prints all")
    console.print(f"  root {report.root.hex()}")
    console.print(f"  held against {len(report.held_against)} checkpoints in the ledger{_outside(report)}")
    if (found := witnessed_document(report)) is not None:
        console.print(
            escape(f"  witnessed: the first {found['records']} records, by {', '.join(found['witnesses'])}, as of {found['as_of']}")
        )
    if report.opened or report.erased:
        console.print(f"  {report.opened} personal parts opened and compared with their commitments, {report.erased} erased")
    if report.pruned:
        console.print(f"  {report.pruned} personal parts pruned, as signed records say")
    if report.sections:
        console.print(f"  {len(report.sections)} sections of the signed index are of these records")
    for sentence in report.unproven:
        console.print(f"  [yellow]not proven[/yellow]  {escape(sentence)}")
    for term in report.terms:
        until = "" if term.until is None else f" and at most {term.until}"
        console.print(f"  {escape(term.line)} signs checkpoints of more than {term.after}{until} records")
    if verifier is not None:
        console.print(f"  public key {escape(verifier)}")


def _outside(report: Report) -> str:
    return "" if report.outside is None else f" and one from outside over {report.outside} records"
