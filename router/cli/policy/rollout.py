"""`lockgate policy rollout`: a candidate for the policies of a running Lockgate, over its control API."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click
import orjson
import yaml
from rich.markup import escape
from rich.table import Table

from router.bundle.archive import MAX_PACKED, pack
from router.bundle.build import collect
from router.bundle.documents import JSON_DATA
from router.cli.common import console, print_json
from router.cli.harmless import one_line
from router.cli.policy.rollout_client import client, comment_option, connected
from router.errors import ConfigError
from router.policy.folder import find
from router.rollout.state import OPEN, State

LISTED = ("id", "state", "step", "stage", "revision", "created", "reason")
LOOK_S = 1.0
NOT_IN_FORCE, NOT_YET = 1, 3
WELL = frozenset((State.PROMOTED, State.COMPLETED))
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
id_argument = click.argument("rollout_id", metavar="ID")


@click.group()
def rollout() -> None:
    """Bring other policies in over those in force: proposed by one person, approved by another, step by step, and taken back by itself."""


@rollout.command()
@click.argument("place", required=False, type=click.Path(exists=True, path_type=Path), metavar="[FOLDER|BUNDLE]")
@click.option("--plan", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="YAML, as `policy.rollout` has it.")
@comment_option
@connected
def propose(place: Path | None, plan: Path | None, comment: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Propose the policies of a folder (the workspace's when left out) or of a bundle. They must fit, and their tests must pass. Nothing
    happens before somebody else approves."""
    files = {"bundle": _archive(place, config), "comment": comment.encode()}
    if plan is not None:
        files["plan"] = _plan(plan)
    _tell(client(config, url, key).propose(files), as_json)


@rollout.command("list")
@connected
def list_rollouts(config: Path, url: str | None, key: str, as_json: bool) -> None:
    """List rollouts, newest first."""
    found = client(config, url, key).all()
    if as_json:
        print_json(found)
        return
    out, table = console(), Table(box=None, pad_edge=False)
    for name in LISTED:
        table.add_column(name, no_wrap=name == "id", overflow="fold")
    for each in found:
        cells = {**each, "step": f"{each['step']} of {each['steps']}"}
        table.add_row(*(escape(str(cells[name] or "")) for name in LISTED))
    out.print(table if found else "There is none.")


@rollout.command()
@id_argument
@connected
def show(rollout_id: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Show one: whose it is, where it is, and what was seen so far."""
    _tell(client(config, url, key).show(rollout_id), as_json)


@rollout.command()
@id_argument
@comment_option
@yes_option
@connected
def approve(rollout_id: str, comment: str, yes: bool, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Approve what somebody else proposed, as it is shown; its first step begins."""
    there = client(config, url, key)
    seen = there.show(rollout_id)
    _ask(seen, "Begin with it?", yes)
    _tell(there.approve(rollout_id, seen["digest"], comment), as_json)


@rollout.command()
@id_argument
@comment_option
@connected
def reject(rollout_id: str, comment: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Reject what somebody else proposed."""
    _tell(client(config, url, key).move(rollout_id, "reject", comment), as_json)


@rollout.command()
@id_argument
@comment_option
@connected
def withdraw(rollout_id: str, comment: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Withdraw one's own proposal."""
    _tell(client(config, url, key).move(rollout_id, "withdraw", comment), as_json)


@rollout.command()
@id_argument
@comment_option
@yes_option
@connected
def advance(rollout_id: str, comment: str, yes: bool, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Go on to the next step at once; after the last the policies are in force."""
    there = client(config, url, key)
    _ask(there.show(rollout_id), "Go on to the next step?", yes)
    _tell(there.move(rollout_id, "advance", comment), as_json)


@rollout.command("rollback")
@id_argument
@comment_option
@connected
def roll_back(rollout_id: str, comment: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """End it now: the candidate decides nothing any more."""
    _tell(client(config, url, key).move(rollout_id, "rollback", comment), as_json)


@rollout.command()
@id_argument
@click.option("--timeout", type=click.FloatRange(0), metavar="SECONDS", help="How long to wait; for ever when left out.")
@connected
def wait(rollout_id: str, timeout: float | None, config: Path, url: str | None, key: str, as_json: bool) -> int:
    """Wait until it has ended. The exit status is 0 when the policies are in force (or were only to be tried, and that went well), 1 when
    they are not, and 3 when it has not ended in time."""
    there, said, until = client(config, url, key), "", None if timeout is None else time.monotonic() + timeout
    while True:
        found = there.show(rollout_id)
        at = f"{found['state']}, step {found['step']} of {found['steps']} {found['stage']}".rstrip()
        if at != said:
            said = at
            click.echo(at, err=True)
        if found["state"] not in OPEN:
            _tell(found, as_json)
            return 0 if found["state"] in WELL else NOT_IN_FORCE
        if until is not None and time.monotonic() >= until:
            return NOT_YET
        time.sleep(LOOK_S)


def _archive(place: Path | None, config: Path) -> bytes:
    """Raises ConfigError, BundleError."""
    if place is not None and place.is_file():
        with place.open("rb") as file:
            return file.read(MAX_PACKED + 1)
    sources = collect(place if place is not None else find(None, config).path)
    data = {JSON_DATA: orjson.dumps(sources.data, option=orjson.OPT_SORT_KEYS)} if sources.data else {}
    return pack({**sources.texts, **data})


def _plan(file: Path) -> bytes:
    try:
        return orjson.dumps(yaml.safe_load(file.read_bytes()))
    except (yaml.YAMLError, TypeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}:1: The file is no YAML that a plan can be read from.") from error


def _ask(seen: dict[str, Any], question: str, yes: bool) -> None:
    """What is decided about is shown first, beside the answer and not in it."""
    _print(seen, error=True)
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)


def _tell(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any], *, error: bool = False) -> None:
    out, table = console(error=error), Table(box=None, show_header=False, pad_edge=False)
    for name, value in _rows(found):
        table.add_row(name, escape(value))
    out.print(table)
    for each in found["history"]:
        by = f" by {each['by']}" if each["by"] else ""
        said = "".join(f" ({one_line(each[name])})" for name in ("sentence", "reason", "comment") if each.get(name))
        out.print(escape(f"  {each['at']}  {each['event'].removeprefix('rollout_').replace('_', ' ')}{by}{said}"))
    for each in (found["seen"] or {}).get("flipped", ())[:20]:
        out.print(escape(f"  {each['requests']:,} × {each['intent']}: {each['what']} ({each['reason']})"))


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    steps = ", ".join(f"{each['stage']} for {each['for']}" if each["for"] else f"{each['stage']} until by hand" for each in found["plan"])
    guards = ", ".join(f"{name} {value:g}" for name, value in found["guards"].items() if value is not None)
    rows = [
        ("rollout", found["id"]),
        ("state", f"{found['state']}, step {found['step']} of {found['steps']} {found['stage']}".rstrip()),
        ("policies", f"{found['revision']} ({found['policy_digest'][:12]} over {found['over_policy_digest'][:12]})"),
        ("proposed by", _who(found["author"])),
        ("approved by", _who(found["approver"])),
        ("plan", f"{steps}; then {'in force' if found['promote'] else 'nothing'}"),
        ("guards", guards),
        ("digest", found["digest"]),
    ]
    seen = found["seen"]
    if seen is not None:
        counted = (
            f"{seen['compared']:,} compared, {seen['flips']:,} flip ({seen['looser']:,} laxer), {seen['otherwise']:,} for other reasons"
        )
        more = f"{seen['decided']:,} decided by it, {seen['failures']:,} failures, {seen['skipped']:,} not compared"
        rows += [("seen", counted), ("", more), ("95 % within", f"{seen['slow_ms']} ms, {seen['slow_ms_in_force']} ms in force")]
    return rows


def _who(person: dict[str, Any] | None) -> str:
    return "" if person is None else person["name"] or f"key {person['key_id']}"
