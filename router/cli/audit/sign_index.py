"""`lockgate audit sign-index`."""

from __future__ import annotations

from pathlib import Path

import click

from router.cli.audit.orders import ordering, orders
from router.cli.common import json_option, print_json


@click.command("sign-index")
@ordering
@json_option
def sign_index(config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Sign the index of the records that are in none yet, and a checkpoint over it.

    A running Lockgate does so by itself from time to time; after this, certificates about a person reach to the present.
    """
    receipt = orders(config, url, key).sign_index()
    if as_json:
        print_json(receipt)
    else:
        told = receipt["leaf"]["details"]
        click.echo(f"Record {receipt['record']} signs the index of records {told['start']} to {told['end'] - 1}.")
