"""`lockgate audit erase`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from router.cli.audit.orders import authority_option, case_option, ordering, orders
from router.cli.common import json_option, print_json


@click.command()
@click.option("--subject", required=True, help="Whose key is destroyed.")
@authority_option
@click.option("--reason", required=True, help="A slug, such as gdpr_art_17; it stands in the ledger for ever.")
@case_option
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@ordering
@json_option
def erase(subject: str, authority: str, reason: str, case: str, yes: bool, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Destroy the key of a subject, so that nothing personal that was ever sealed for them can be read again.

    Records, hashes and proofs stay. Prints the record of it with its proof in a checkpoint that was signed for it.
    """
    if not yes and sys.stdin.isatty():
        click.confirm(f"Everything personal about {subject} becomes unreadable for good. Erase it?", abort=True, err=True)
    receipt = orders(config, url, key).erase(subject, reason, authority, case)
    if as_json:
        print_json(receipt)
        return
    details = receipt["leaf"]["details"]
    click.echo(f"Erased: the key {details['key_id']} of {details['records']} records is destroyed. Record {receipt['record']} says so.")
    print_receipt(receipt)


def print_receipt(receipt: dict[str, Any]) -> None:
    click.echo(f"Inclusion proof of {len(receipt['inclusion'])} hashes (--json prints it) into this checkpoint:")
    click.echo((receipt["checkpoint"] or "").strip())
