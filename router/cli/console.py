"""`lockgate console`: for who can read the workspace's keys, and is an administrator by that."""

from __future__ import annotations

import os
from pathlib import Path

import click

from router.cli.common import config_option
from router.config import ControlConfig
from router.errors import ConfigError
from router.identity.break_glass import MOST_MINUTES
from router.settings import Address
from router.system import SystemClock
from router.wiring.sign_in import break_glass, break_glass_url, link_url, local_links
from router.workspace import without_policies


@click.group()
def console() -> None:
    """Sign in to the console of this machine's Lockgate."""


@console.command()
@config_option
@click.option("--port", type=click.IntRange(1, 65535), help="Where the control API listens, if `control.listen` leaves that to the system.")
def link(config: Path, port: int | None) -> None:
    """Print a link that makes a browser of this machine an administrator. It works once, within 15 minutes."""
    workspace = without_policies(config, os.environ)
    control = workspace.config.control
    links = local_links(workspace, SystemClock())
    if links is None:
        raise ConfigError(
            "'control' lets nobody sign in by a link: it must listen on a loopback address, with 'sign_in.local: true' and without "
            "'sign_in.oidc'."
        )
    click.echo(link_url(control, _address(control, port), links.token()))


@console.command("break-glass")
@config_option
@click.option("--case", required=True, help="Id of the incident; it goes into the ledger as it is.")
@click.option("--minutes", type=click.IntRange(1, MOST_MINUTES), default=60, show_default=True, help="How long the session lasts.")
@click.option("--port", type=click.IntRange(1, 65535), help="Where the control API listens, if `control.listen` leaves that to the system.")
def break_glass_link(config: Path, case: str, minutes: int, port: int | None) -> None:
    """Print a link that makes a browser an administrator for a short while, whatever the provider and the policy of the control API do.
    It works once, within 15 minutes; it is recorded and alarms."""
    workspace = without_policies(config, os.environ)
    control = workspace.config.control
    glass = break_glass(workspace, SystemClock())
    if glass is None:
        raise ConfigError("'control.sign_in.break_glass' is off in the configuration.")
    try:
        token = glass.token(case, minutes)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--case") from None
    click.echo(break_glass_url(control, _address(control, port), token))


def _address(control: ControlConfig, port: int | None) -> Address:
    address = control.listen if port is None else control.listen.at(port)
    if address.port == 0:
        raise ConfigError("'control.listen' leaves the port to the system; name the one that `lockgate serve` printed with --port.")
    return address
