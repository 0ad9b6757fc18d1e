"""`lockgate feedback`: what people say about decisions of a running Lockgate, over its control API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import click
from rich.table import Table
from rich.text import Text

from router.cli.common import config_option, console, json_option, print_json
from router.cli.control_client import ControlClient, control_url
from router.cli.control_options import key_option, url_option

F = TypeVar("F", bound=Callable[..., Any])
LISTED = ("decision_id", "verdict", "classified", "intent", "reason", "own", "by", "at")
VERDICTS = ("right", "wrong", "out_of_scope")
REASONS = ("looked_at", "misrouted", "rerouted", "modified")
key_needed = key_option("API key with the permission it takes.")


def connected(command: F) -> F:
    for option in (json_option, key_needed, url_option, config_option):
        command = option(command)
    return command


@click.group()
def feedback() -> None:
    """Say whether decisions of a running Lockgate were right, and see what others said."""


@feedback.command()
@click.argument("decision_id", metavar="ID")
@click.argument("verdict", type=click.Choice(VERDICTS))
@click.option("--intent", help="The right intent of a decision that was wrong.")
@click.option("--reason", type=click.Choice(REASONS), default=REASONS[0], show_default=True, help="Why you say so.")
@click.option("--comment", default="", help="Kept under your key.")
@connected
def say(
    decision_id: str,
    verdict: str,
    intent: str | None,
    reason: str,
    comment: str,
    config: Path,
    url: str | None,
    key: str,
    as_json: bool,
) -> None:
    """Say whether a decision's intent was right. Needs the permission `feedback.write`."""
    body = {"verdict": verdict, "intent": intent, "reason": reason, "comment": comment}
    found = _client(config, url, key).call("POST", _path(decision_id), body)
    if as_json:
        print_json(found)
    else:
        console().print(text(f"It is on record that the decision was {_said(found)}."))


@feedback.command()
@click.argument("decision_id", metavar="ID")
@connected
def show(decision_id: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Show what people said about one decision. Needs the permission `proposals.read`."""
    found = _client(config, url, key).call("GET", _path(decision_id))
    if as_json:
        print_json(found)
        return
    _print(found["opinions"])
    if found["disagreement"]:
        console().print("They do not all say the same, so nothing is learnt from it.")


@feedback.command("list")
@click.option("--verdict", type=click.Choice(VERDICTS), help="Only these.")
@connected
def list_feedback(verdict: str | None, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """List what people said, oldest first. Needs the permission `proposals.read`."""
    found = list(_all(_client(config, url, key), verdict))
    if as_json:
        print_json(found)
    else:
        _print(found)


def _all(client: ControlClient, verdict: str | None) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        wanted = {name: value for name, value in (("verdict", verdict), ("cursor", cursor)) if value is not None}
        page = client.call("GET", f"/v1/feedback?{urlencode(wanted)}")
        yield from page["feedback"]
        cursor = page["next"]
        if cursor is None:
            return


def _print(found: list[dict[str, Any]]) -> None:
    out = console()
    table = Table(box=None, pad_edge=False)
    for name in LISTED:
        table.add_column(name, no_wrap=name == "decision_id", overflow="fold")
    for row in found:
        table.add_row(*(text(row[name]) for name in LISTED))
    out.print(table if found else "There is none.")


def _said(found: dict[str, Any]) -> str:
    if found["verdict"] == "out_of_scope":
        return "about nothing that is served here"
    return str(found["verdict"]) + (f", and meant {found['intent']}" if found["intent"] else "")


def _path(decision_id: str) -> str:
    return f"/v1/decisions/{quote(decision_id, safe='')}/feedback"


def _client(config: Path, url: str | None, key: str) -> ControlClient:
    return ControlClient(url or control_url(config), key)


def text(value: Any) -> Text:
    """Others wrote it: a terminal must not obey it."""
    plain = "" if value is None else str(value)
    return Text("".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in plain))
