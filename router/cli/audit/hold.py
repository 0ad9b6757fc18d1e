"""`lockgate audit hold`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.markup import escape
from rich.table import Table

from router.cli.audit.erase import print_receipt
from router.cli.audit.orders import ordering, orders
from router.cli.common import console, json_option, print_json
from router.errors import LockgateError

F = TypeVar("F", bound=Callable[..., Any])
TARGETS = ("subject", "decision", "intent")


@click.group()
def hold() -> None:
    """Keep evidence from being erased or pruned, as long as a case needs it."""


def case_required(command: F) -> F:
    for option in (
        click.option("--case", required=True, help="Which case needs it. May name people: it is sealed."),
        click.option("--authority", default="", help="On whose word. May name people: it is sealed."),
    ):
        command = option(command)
    return command


def target(command: F) -> F:
    for option in (
        click.option("--intent", help="Everything that an intent is about, also in future."),
        click.option("--decision", help="One decision, by its id."),
        click.option("--subject", help="Everything about somebody."),
    ):
        command = option(command)
    return command


@hold.command()
@target
@case_required
@ordering
@json_option
def add(case: str, authority: str, config: Path, url: str | None, key: str, as_json: bool, **targets: str | None) -> None:
    """Put a subject, a decision or an intent on hold."""
    receipt = orders(config, url, key).hold(*_named(targets), authority, case)
    _tell(receipt, f"On hold since record {receipt['record']}; `lockgate audit hold release {receipt['record']}` ends it.", as_json)


@hold.command()
@click.argument("record", type=click.IntRange(0), required=False)
@target
@case_required
@ordering
@json_option
def release(
    record: int | None, case: str, authority: str, config: Path, url: str | None, key: str, as_json: bool, **targets: str | None
) -> None:
    """End the hold that RECORD added, as `hold list` shows it, or the only one on a target. Others stay."""
    carried_out = orders(config, url, key)
    if record is None:
        record = _only(carried_out.holds(*_named(targets)))
    elif any(targets.values()):
        raise click.UsageError("Name a record or a target, not both.")
    receipt = carried_out.release(record, authority, case)
    _tell(receipt, f"Released: record {receipt['record']} ends the hold of record {record}.", as_json)


@hold.command("list")
@target
@ordering
@json_option
def list_holds(config: Path, url: str | None, key: str, as_json: bool, **targets: str | None) -> None:
    """List the holds that are in force, or those on one target. Subjects are shown by their key's id, for the ledger names nobody."""
    wanted = _named(targets) if any(targets.values()) else (None, None)
    found = orders(config, url, key).holds(*wanted)
    if as_json:
        print_json(found)
        return
    table = Table("record", "on", "target", "since", box=None, pad_edge=False)
    for each in found:
        table.add_row(str(each["record"]), each["on"], escape(each["target"]), each["since"][:19].replace("T", " "))
    console().print(table if found else "Nothing is on hold.")


def _named(targets: Mapping[str, str | None]) -> tuple[str, str]:
    given = [(on, named) for on in TARGETS if (named := targets[on]) is not None]
    if len(given) != 1:
        raise click.UsageError("Name one of --subject, --decision and --intent.")
    return given[0]


def _only(holds: list[dict[str, Any]]) -> int:
    if len(holds) == 1:
        return int(holds[0]["record"])
    if not holds:
        raise LockgateError("Nothing holds this target.", "audit_hold_unknown")
    records = ", ".join(str(each["record"]) for each in holds)
    raise click.UsageError(f"{len(holds)} holds are on this target, of the records {records}: name the one that ends.")


def _tell(receipt: dict[str, Any], sentence: str, as_json: bool) -> None:
    if as_json:
        print_json(receipt)
        return
    click.echo(sentence)
    print_receipt(receipt)
