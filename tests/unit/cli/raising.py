"""Commands that fail in every way a command can."""

from __future__ import annotations

import click

from router.errors import LockgateError


@click.command()
def sentence() -> None:
    raise LockgateError("The ledger is full.")


@click.command()
def elsewhere() -> None:
    raise click.ClickException("The other side says: \x1b[8mno\u202e")


@click.command()
def told() -> None:
    raise LockgateError("It is \x9b8m.")


@click.command()
def surprise() -> None:
    raise KeyError("intent")


@click.command()
def interrupt() -> None:
    raise KeyboardInterrupt
