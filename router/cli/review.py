"""`lockgate review`: held requests of a running Lockgate, over its control API."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.table import Table

from router.cli.common import config_option, console, json_option, print_json
from router.cli.control_client import control_url
from router.cli.control_options import key_option, url_option
from router.cli.review_client import ReviewClient
from router.cli.review_output import cells_of, print_whole, tell, text_of, told
from router.review.service import OPEN
from router.review.state import State

F = TypeVar("F", bound=Callable[..., Any])
LISTED = ("id", "state", "intent", "risk", "approvals", "reviewers", "expires")

key_needed = key_option("API key with the role `reviewer`.")


def connected(command: F) -> F:
    for option in (json_option, key_needed, url_option, config_option):
        command = option(command)
    return command


def misrouting(command: F) -> F:
    """What a reviewer may say of the classification besides."""
    command = click.option("--intent", help="The right intent; says that another one was wrong.")(command)
    return click.option("--misrouted", is_flag=True, help="Say that the classification was wrong.")(command)


@click.group()
def review() -> None:
    """List, show, approve and reject held requests of a running Lockgate."""


@review.command("list")
@click.option(
    "--state", type=click.Choice([OPEN, *(each.value for each in State), "any"]), default=OPEN, show_default=True, help="Only these."
)
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
        cells = cells_of(row)
        table.add_row(*(text_of(cells[name]) for name in LISTED))
    nothing = "No request waits for a reviewer." if state == OPEN else "There is none."
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
        print_whole(console(), found)


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
    tell(client.attempt(review_id, "approve", {"content_digest": digest or seen["content_digest"], "comment": comment}), as_json)


@review.command()
@click.argument("review_id", metavar="ID")
@click.option("--comment", default="", help="Why; kept with the rejection.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@misrouting
@connected
def reject(
    review_id: str,
    comment: str,
    yes: bool,
    misrouted: bool,
    intent: str | None,
    config: Path,
    url: str | None,
    key: str,
    as_json: bool,
) -> None:
    """Reject a held request for good."""
    client = _client(config, url, key)
    seen = client.show(review_id)
    _ask(seen, "Reject it for good?", yes)
    tell(client.attempt(review_id, "reject", {"comment": comment, **_said(misrouted, intent)}, seen["version"]), as_json)


@review.command()
@click.argument("review_id", metavar="ID")
@click.option("--comment", default="", help="Why; kept with the claim.")
@connected
def claim(review_id: str, comment: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Keep others from deciding while you look; once more, and the claim lasts anew."""
    tell(_client(config, url, key).attempt(review_id, "claim", {"comment": comment}), as_json)


@review.command()
@click.argument("review_id", metavar="ID")
@connected
def release(review_id: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Give a claim of yours back."""
    tell(_client(config, url, key).attempt(review_id, "release", {}), as_json)


@review.command()
@click.argument("review_id", metavar="ID")
@connected
def values(review_id: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Show what `modify` could change, as it is now and unmasked; that you read it is on record."""
    found = _client(config, url, key).values(review_id)
    if as_json:
        print_json(found)
        return
    for each in found["values"]:
        console().print(text_of(f"{each['pointer']}={json.dumps(each['value'], ensure_ascii=False)}"), soft_wrap=True)
    if found["more"]:
        console(error=True).print("There is more that may be changed than is shown here.")


@review.command()
@click.argument("review_id", metavar="ID")
@click.option("--set", "changes", multiple=True, required=True, metavar="POINTER=JSON", help="Such as `/amount=100`; may be repeated.")
@click.option("--comment", default="", help="Why; kept with the change.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@misrouting
@connected
def modify(
    review_id: str,
    changes: tuple[str, ...],
    comment: str,
    yes: bool,
    misrouted: bool,
    intent: str | None,
    config: Path,
    url: str | None,
    key: str,
    as_json: bool,
) -> None:
    """Approve a held request with other values, where policy lets a reviewer change some."""
    client, wanted = _client(config, url, key), _changes(changes)
    seen = client.show(review_id)
    _ask(seen, "Change and approve it?", yes)
    body = {"content_digest": seen["content_digest"], "comment": comment, "changes": wanted, **_said(misrouted, intent)}
    tell(client.attempt(review_id, "modify", body, seen["version"]), as_json)


@review.command()
@click.argument("review_id", metavar="ID")
@click.argument("route")
@click.option("--comment", default="", help="Why; kept with the approval.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@misrouting
@connected
def reroute(
    review_id: str,
    route: str,
    comment: str,
    yes: bool,
    misrouted: bool,
    intent: str | None,
    config: Path,
    url: str | None,
    key: str,
    as_json: bool,
) -> None:
    """Approve a held request for another route, of those that policy names."""
    client = _client(config, url, key)
    seen = client.show(review_id)
    _ask(seen, f"Approve it for the route '{route}'?", yes)
    body = {"content_digest": seen["content_digest"], "comment": comment, "route": route, **_said(misrouted, intent)}
    tell(client.attempt(review_id, "reroute", body, seen["version"]), as_json)


@review.command()
@click.argument("review_id", metavar="ID")
@click.argument("question")
@connected
def ask(review_id: str, question: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Ask whoever asked for the request; it waits for the answer."""
    tell(_client(config, url, key).attempt(review_id, "ask", {"question": question}), as_json)


@review.command()
@click.argument("review_id", metavar="ID")
@click.option("--comment", default="", help="Why; kept with the step.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@connected
def escalate(review_id: str, comment: str, yes: bool, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Leave a held request to the next level; what was approved before does not count there."""
    client = _client(config, url, key)
    seen = client.show(review_id)
    _ask(seen, "Escalate it?", yes)
    tell(client.attempt(review_id, "escalate", {"comment": comment}, seen["version"]), as_json)


@review.command()
@click.argument("review_id", metavar="ID")
@connected
def question(review_id: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Show what a reviewer asks about a request of yours."""
    found = _client(config, url, key).question(review_id)
    if as_json:
        print_json(found)
        return
    until = f" (answer by {found['respond_by']})" if found["respond_by"] else ""
    console().print(text_of("Nobody has asked anything." if found["question"] is None else f"{found['question']}{until}"))


@review.command()
@click.argument("review_id", metavar="ID")
@click.argument("text")
@connected
def answer(review_id: str, text: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Answer a reviewer's question about a request of yours."""
    told(_client(config, url, key).attempt(review_id, "answer", {"text": text}), as_json)


@review.command()
@click.argument("review_id", metavar="ID")
@click.option("--comment", default="", help="Why; kept with the step.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@connected
def cancel(review_id: str, comment: str, yes: bool, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Take a request of yours back for good."""
    if not yes and sys.stdin.isatty():
        click.confirm("Take it back for good?", abort=True, err=True)
    told(_client(config, url, key).attempt(review_id, "cancel", {"comment": comment}), as_json)


def _said(misrouted: bool, intent: str | None) -> dict[str, str | None]:
    """Left out where nothing is said, as an older Lockgate wants it."""
    return {"reason": "misrouted" if misrouted else None, "intent": intent} if misrouted or intent else {}


def _client(config: Path, url: str | None, key: str) -> ReviewClient:
    return ReviewClient(url or control_url(config), key)


def _ask(seen: dict[str, Any], question: str, yes: bool) -> None:
    """What is decided about is shown first, beside the answer and not in it."""
    out = console(error=True)
    print_whole(out, seen)
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)


def _changes(told: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in told:
        pointer, sign, value = each.partition("=")
        try:
            if not sign or not pointer.startswith("/"):
                raise ValueError
            found[pointer] = json.loads(value)
        except ValueError:
            raise click.BadParameter(f"'{each}' is not a JSON pointer, '=' and JSON, such as /amount=100", param_hint="--set") from None
    return found
