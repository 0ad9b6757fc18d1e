"""`lockgate policy check-report`: what a signed report of a replay says, and whether it holds. Needs neither a ledger nor a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from router.cli.common import config_option, console, json_option, print_json
from router.cli.flips import show_groups
from router.cli.policy.options import counted, data_option
from router.errors import AuditError
from router.policy.deciding import candidate
from router.policy.envelope import opened_statement, public_key
from router.policy.evaluating import Policies
from router.policy.reporting import Reported, checked

DOES_NOT_HOLD = 1


@click.command("check-report")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The signer's PEM public key.")
@click.option(
    "--policies", "place", type=click.Path(exists=True, path_type=Path), metavar="FOLDER|BUNDLE", help="It must be about these policies."
)
@data_option
@click.option("--ledger-key", help="The ledger's public key (name+keyid+base64), which must have signed the report's checkpoint.")
@config_option
@json_option
def check_report(file: Path, key: Path, place: Path | None, data: Path | None, ledger_key: str | None, config: Path, as_json: bool) -> int:
    """Check a report that `policy replay --report` wrote, and show what it says. Ends with 1 when it does not hold."""
    signer = public_key(key.read_bytes(), str(key))
    digest = Policies(candidate(place, config, data)).digest if place is not None else None
    try:
        found = checked(opened_statement(file.read_bytes(), signer), digest, ledger_key)
    except AuditError as error:
        if error.code == "verifier_key_invalid":
            raise
        _print_wrong(error, as_json)
        return DOES_NOT_HOLD
    if as_json:
        print_json({"ok": True, "policies": found.digest, "not_proven": list(found.words), **found.predicate})
    else:
        _show(console(), found)
    return 0


def _show(out: Console, found: Reported) -> None:
    told: Any = found.predicate
    out.print(f"[bold green]signed[/bold green]  policies {escape(found.digest)}")
    out.print(escape(f"  {told['flips']:,} of {counted(told['compared'], 'decision')} would be decided otherwise"), end="")
    out.print(escape(f"; {told['ledger']['origin']}, {told['ledger']['records']:,} records, {told['made']}"))
    out.print(escape(f"  asked for: {told['filters'] or 'everything'}"))
    for why, count in sorted(told["left_out"].items()):
        out.print(escape(f"  left out: {count:,} {why}"))
    for each in told["not_reproduced"]:
        out.print(f"  [bold red]not reproduced[/bold red]  {escape(each)}")
    show_groups(out, told["by"], told["rules"])
    for sentence in found.words:
        out.print(f"  [yellow]not proven[/yellow]  {escape(sentence)}")


def _print_wrong(error: AuditError, as_json: bool) -> None:
    if as_json:
        print_json({"ok": False, "code": error.code, "message": str(error)})
    else:
        console(error=True).print(f"[bold red]does not hold[/bold red]  {escape(str(error))}")
