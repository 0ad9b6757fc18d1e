"""`lockgate review`: held requests of a running Lockgate, over its control API."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from router.cli.common import config_option, console, json_option, print_json
from router.cli.control_client import control_url
from router.cli.review_client import ReviewClient
from router.review.state import State

F = TypeVar("F", bound=Callable[..., Any])
LISTED = ("id", "state", "intent", "risk", "approvals", "reviewers", "expires")
PIPED_WIDTH = 240
PROBLEMS = {
    "removed": "removed, since it is of no more use; its digest stays",
    "erased": "erased with the key of the one who asked",
    "content_changed": "altered after it was held; it will not be sent",
}

url_option = click.option("--url", envvar="LOCKGATE_CONTROL_URL", show_envvar=True, help="The control API, instead of the configuration's.")
key_option = click.option("--key", envvar="LOCKGATE_KEY", show_envvar=True, required=True, help="API key with the role `reviewer`.")


def connected(command: F) -> F:
    for option in (json_option, key_option, url_option, config_option):
        command = option(command)
    return command


@click.group()
def review() -> None:
    """List, show, approve and reject held requests of a running Lockgate."""


@review.command("list")
@click.option("--state", type=click.Choice([*(each.value for each in State), "any"]), default=State.PENDING.value, show_default=True)
@connected
def list_reviews(state: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """List held requests, oldest first."""
    found = list(_client(config, url, key).all(None if state == "any" else state))
    if as_json:
        print_json(found)
        return
    out = console()
    table = Table(box=None, pad_edge=False)
    for name in LISTED:
        # An id is for copying: it stays in one piece, however narrow the terminal is.
        table.add_column(name, no_wrap=name == "id", overflow="fold")
    for row in found:
        cells = _cells(row)
        table.add_row(*(_text(cells[name]) for name in LISTED))
    if not out.is_terminal:
        out.width = PIPED_WIDTH
    nothing = "No request waits for a reviewer." if state == State.PENDING else "There is none."
    out.print(table if found else nothing)


@review.command()
@click.argument("review_id", metavar="ID")
@connected
def show(review_id: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Show one held request, what became of it, and what the upstream answered."""
    found = _client(config, url, key).show(review_id)
    if as_json:
        print_json(found)
    else:
        _print_whole(console(), found)


@review.command()
@click.argument("review_id", metavar="ID")
@click.option("--comment", default="", help="Why; kept with the approval.")
@click.option("--digest", default=None, help="Approve only this content: the digest that `show` printed.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@connected
def approve(review_id: str, comment: str, digest: str | None, yes: bool, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Approve a held request as it is shown now. With the last approval that policy wants it is sent, once."""
    client = _client(config, url, key)
    seen = client.show(review_id)
    _ask(seen, "Approve and send it?", yes)
    _tell(client.approve(review_id, digest or seen["content_digest"], comment), as_json)


@review.command()
@click.argument("review_id", metavar="ID")
@click.option("--comment", default="", help="Why; kept with the rejection.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@connected
def reject(review_id: str, comment: str, yes: bool, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Reject a held request for good."""
    client = _client(config, url, key)
    _ask(client.show(review_id), "Reject it for good?", yes)
    _tell(client.reject(review_id, comment), as_json)


def _client(config: Path, url: str | None, key: str) -> ReviewClient:
    return ReviewClient(url or control_url(config), key)


def _ask(seen: dict[str, Any], question: str, yes: bool) -> None:
    """What is decided about is shown first, beside the answer and not in it."""
    out = console(error=True)
    _print_whole(out, seen)
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)


def _tell(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    out, reply = console(), found["reply"]
    left = found["quorum"] - found["approvals"]
    more = f"; {left} more approval(s) needed" if found["state"] == State.PENDING else ""
    out.print(Text.assemble(("The request is ", ""), (found["state"], "bold"), (more, "")))
    if reply is not None:
        _print_reply(out, reply)


def _cells(row: dict[str, Any]) -> dict[str, str]:
    plain = {name: row[name] or "" for name in ("id", "state", "created", "expires", "intent", "risk", "route", "destination", "tenant")}
    approvals = f"{row['approvals']} of {row['quorum']}"
    if row.get("left_to_asker"):
        plain["destination"] = "none: the service that asked does it once it is approved"
    return {**plain, "reasons": " ".join(row["reasons"]), "approvals": approvals, "reviewers": ", ".join(row["reviewers"])}


def _print_whole(out: Console, found: dict[str, Any]) -> None:
    request = found["request"]
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in {**_cells(found), "content digest": found["content_digest"]}.items():
        table.add_row(name, _text(value))
    if "problem" in request:
        table.add_row("request", _text(PROBLEMS.get(request["problem"], request["problem"])))
    else:
        table.add_row("subject", _text(request["subject"]))
        table.add_row("request", _text(f"{request['method']} {request['target']}"))
        table.add_row("text, masked", _text(request["text"]))
    out.print(table)
    for step in found["history"]:
        by = f" by {step['by']}" if step["by"] else ""
        comment = f": {step['comment']}" if step["comment"] else ""
        unrecorded = "" if step["recorded"] else " (not in the audit trail yet)"
        out.print(_text(f"  {step['time']}  {step['event']}{by}{comment}{unrecorded}"))
    if found["reply"] is not None:
        _print_reply(out, found["reply"])


def _print_reply(out: Console, reply: dict[str, Any]) -> None:
    if "problem" in reply:
        out.print(_text(f"The upstream's answer is {PROBLEMS.get(reply['problem'], reply['problem'])}."))
        return
    out.print(
        _text(f"The upstream answered {reply['status']} {reply['content_type']}{'' if reply['whole'] else ', of which this is a part'}")
    )
    if reply["body"]:
        out.print(_text(reply["body"]))


def _text(text: str) -> Text:
    """Others wrote it: a terminal must not obey it, and nothing in it may hide."""
    return Text("".join(each if each.isprintable() or each == "\n" else f"\\u{ord(each):04x}" for each in text))
