"""`lockgate console`: for who can read the workspace's keys, and is an administrator by that."""

from __future__ import annotations

import os
from pathlib import Path

import click

from router.cli.common import config_option
from router.errors import ConfigError
from router.system import SystemClock
from router.wiring.sign_in import link_url, local_links
from router.workspace import parse, read


@click.group()
def console() -> None:
    """Sign in to the console of this machine's Lockgate."""


@console.command()
@config_option
@click.option("--port", type=click.IntRange(1, 65535), help="Where the control API listens, if `control.listen` leaves that to the system.")
def link(config: Path, port: int | None) -> None:
    """Print a link that makes a browser of this machine an administrator. It works once, within 15 minutes."""
    workspace = parse(read(config, os.environ), os.environ)
    control = workspace.config.control
    links = local_links(workspace, SystemClock())
    if links is None:
        raise ConfigError(
            "'control' lets nobody sign in by a link: it must listen on a loopback address, with 'sign_in.local: true' and without "
            "'sign_in.oidc'."
        )
    address = control.listen if port is None else control.listen.at(port)
    if address.port == 0:
        raise ConfigError("'control.listen' leaves the port to the system; name the one that `lockgate serve` printed with --port.")
    click.echo(link_url(control, address, links.token()))
