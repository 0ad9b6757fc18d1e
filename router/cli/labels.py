"""`lockgate labels`: what sampled decisions are about, said over the control API of a running Lockgate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click
from rich.table import Table

from router.cli.common import console, print_json
from router.cli.control_client import ControlClient, control_url
from router.cli.feedback import connected, text

FIGURES = ("unsure", "agreement", "kappa", "known_right", "too_quick")
DECIDING = ("rejected", "agreement")
TOO_FEW = "too few"


@click.group()
def labels() -> None:
    """Say what sampled decisions are about, without seeing what was decided."""


@labels.command("list")
@connected
def list_labels(config: Path, url: str | None, key: str, as_json: bool) -> None:
    """List the first hundred that you may label. Needs the permission `labels.write`."""
    found = _client(config, url, key).call("GET", "/v1/labels")["labels"]
    if as_json:
        print_json(found)
        return
    for each in found:
        console().print(text(f"{each['id']}{'  yours' if each['mine'] else ''}"))
    if not found:
        console().print("There is none.")


@labels.command()
@connected
def claim(config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Claim the next and show its text, masked. Needs the permission `labels.write`."""
    found = _client(config, url, key).call("POST", "/v1/labels/claim")["claimed"]
    if as_json:
        print_json(found)
    elif not found:
        console().print("There is none.")
    else:
        console().print(text(f"{found['id']}, yours until {found['until']}"))
        console().print(text(found["text"]))
        console().print(text(f"One of: {', '.join(each['name'] for each in found['intents'])}, out_of_scope, unsure"))


@labels.command()
@click.argument("task_id", metavar="ID")
@click.argument("label", metavar="LABEL")
@connected
def answer(task_id: str, label: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Say what it is about: an intent, out_of_scope or unsure. Needs the permission `labels.write`."""
    _told(_client(config, url, key).call("POST", _path(task_id, "answer"), {"label": label}), as_json, f"It is on record as {label}.")


@labels.command()
@click.argument("task_id", metavar="ID")
@connected
def skip(task_id: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Leave it to others. Needs the permission `labels.write`."""
    _told(_client(config, url, key).call("POST", _path(task_id, "skip")), as_json, "It is left to others.")


@labels.command()
@click.argument("decision_id", metavar="DECISION")
@click.argument("label", metavar="LABEL")
@connected
def know(decision_id: str, label: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Name what a decision is about, so that answers of others can be checked by it. Needs the permission `labels.seed`."""
    body = {"decision_id": decision_id, "label": label}
    _told(_client(config, url, key).call("POST", "/v1/labels/known", body), as_json, f"It is known to be {label}.")


@labels.command()
@click.argument("decision_id", metavar="DECISION")
@connected
def unknow(decision_id: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Check nobody's answers by it any more, whoever named it. Needs the permission `labels.seed`."""
    path = f"/v1/labels/known/{quote(decision_id, safe='')}"
    _told(_client(config, url, key).call("DELETE", path), as_json, "It is not seeded any more.")


@labels.command()
@connected
def known(config: Path, url: str | None, key: str, as_json: bool) -> None:
    """List the first hundred that were named. Needs the permission `labels.seed`."""
    found = _client(config, url, key).call("GET", "/v1/labels/known")["known"]
    if as_json:
        print_json(found)
        return
    for each in found:
        console().print(text(f"{each['decision_id']}  {each['label'] or each['state']}"))
    if not found:
        console().print("There is none.")


@labels.command()
@click.option("--since", help="RFC 3339; 30 days before the end unless told otherwise.")
@click.option("--until", help="RFC 3339; now unless told otherwise.")
@connected
def reviewers(since: str | None, until: str | None, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """How people labelled, and decided about held requests, by the keys that stand for them. Needs the permission `reviewers.read`;
    that you looked is on record."""
    asked = urlencode({name: value for name, value in (("since", since), ("until", until)) if value})
    found = _client(config, url, key).call("GET", f"/v1/labels/reviewers{f'?{asked}' if asked else ''}")
    if as_json:
        print_json(found)
        return
    out, table = console(), Table(box=None, pad_edge=False)
    for name in ("reviewer", "labelled", *FIGURES, "median", "90 %"):
        table.add_column(name, no_wrap=True)
    for row in found["reviewers"]:
        times = (TOO_FEW if row[name] is None else f"{row[name]:.1f} s" for name in ("median_s", "p90_s"))
        table.add_row(row["reviewer"], str(row["labelled"]), *(_figure(row[name], name != "kappa") for name in FIGURES), *times)
    out.print(table if found["reviewers"] else "Nobody labelled anything in that time.")
    out.print(_deciding(found["deciding"]) if found["deciding"] else "Nobody decided about a held request in that time.")


def _deciding(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("reviewer", "decided", *DECIDING, "claimed", "median", "90 %"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        times = (TOO_FEW if row[name] is None else f"{row[name]:.1f} s" for name in ("median_s", "p90_s"))
        table.add_row(row["reviewer"], str(row["decided"]), *(_figure(row[name], True) for name in DECIDING), str(row["claimed"]), *times)
    return table


def _figure(told: Mapping[str, Any], percent: bool) -> str:
    """`93.3 % (70-99) of 15`."""
    if told["value"] is None:
        return f"{TOO_FEW} ({told['of']})"
    if percent:
        return f"{told['value']:.1%} ({100 * told['low']:.0f}-{100 * told['high']:.0f}) of {told['of']}"
    return f"{told['value']:.2f} ({told['low']:.2f} to {told['high']:.2f}) of {told['of']}"


@labels.command()
@connected
def sampled(config: Path, url: str | None, key: str, as_json: bool) -> None:
    """How many were sampled, or left out and why. Needs the permission `proposals.read`."""
    found = _client(config, url, key).call("GET", "/v1/labels/sampled")
    if as_json:
        print_json(found)
        return
    for name, count in found.items():
        console().print(text(f"{name}: {count}"))
    if not found:
        console().print("There is none.")


def _told(found: object, as_json: bool, sentence: str) -> None:
    if as_json:
        print_json(found)
    else:
        console().print(text(sentence))


def _path(task_id: str, step: str) -> str:
    return f"/v1/labels/{quote(task_id, safe='')}/{step}"


def _client(config: Path, url: str | None, key: str) -> ControlClient:
    return ControlClient(url or control_url(config), key)
