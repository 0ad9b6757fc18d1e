"""`lockgate policy push`: the workspace's policies and data, compared with what an OPA server holds and put there."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from pydantic import ValidationError

from router.cli.common import config_option, console, json_option, print_json
from router.config.opa import OpaEngine
from router.errors import ConfigError
from router.secret import Secret
from router.workspace import Workspace, parse, read

if TYPE_CHECKING:
    from adapters.opa.managing import Difference

DIFFERS = 1


@click.command()
@config_option
@click.option("--url", help="The server; the one of the configuration when left out.")
@click.option("--token-file", type=click.Path(dir_okay=False, path_type=Path), help="File with the bearer token for that server.")
@click.option("--delete", is_flag=True, help="Also remove policies that only the server has.")
@click.option("--dry-run", is_flag=True, help="Only say what would change; the exit status is 1 when something would.")
@json_option
def push(config: Path, url: str | None, token_file: Path | None, delete: bool, dry_run: bool, as_json: bool) -> int:
    """Put the workspace's policies and data on an OPA server, and say what changed.

    OPA takes one policy after the other, and a server that decides meanwhile decides by a mixture: use bundles where that must not be.
    Where one is refused, what was there before is put back."""
    try:
        from adapters.opa.managing import Managed, Stored, difference
    except ModuleNotFoundError as error:
        raise ConfigError("`lockgate policy push` needs more packages: pip install 'lockgate[opa]'.") from error
    workspace = parse(read(config, os.environ), os.environ)
    if not workspace.policies:
        raise ConfigError(f"The folder '{workspace.config.policy.path}' has no policy in it.")
    settings = _server(workspace, url, token_file)
    token = settings.token.reveal(workspace.root) if settings.token is not None else None
    wanted = Stored(workspace.policies, workspace.policy_data.get("lockgate", {}).get("config"))
    server = Managed(settings, workspace.root, token)
    try:
        there = server.stored()
        changes = difference(wanted, there, delete=delete)
        if changes.any and not dry_run:
            server.bring(wanted, there, changes)
    finally:
        server.close()
    _show(settings.url, changes, dry_run, as_json)
    return DIFFERS if dry_run and changes.any else 0


def _server(workspace: Workspace, url: str | None, token_file: Path | None) -> OpaEngine:
    """Token and certificates of the configuration go only to the server that they are for."""
    configured = [each for each in (workspace.engine, workspace.second_engine) if isinstance(each, OpaEngine)]
    found = next((each for each in configured if url is None or each.url == url.rstrip("/")), None)
    if found is None:
        if url is None:
            raise ConfigError("The configuration names no OPA server; say which with --url.")
        try:
            found = OpaEngine(url=url)
        except ValidationError as error:
            raise ConfigError(f"--url {error.errors()[0]['msg'].removeprefix('Value error, ')}.") from None
    return found if token_file is None else found.model_copy(update={"token": Secret(file=str(token_file.absolute()))})


def _show(url: str, changes: Difference, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json({"url": url, "dry_run": dry_run, **asdict(changes)})
        return
    out = console()
    for sign, names in (("+", changes.added), ("~", changes.changed), ("-", changes.removed)):
        for name in names:
            out.print(f"{sign} {name}", markup=False)
    if changes.data:
        out.print("~ data.lockgate.config")
    for name in changes.kept:
        out.print(f"  {name} is on the server alone and stays; --delete removes it", markup=False)
    count = len(changes.added) + len(changes.changed) + len(changes.removed) + changes.data
    said = "would change" if dry_run else "changed"
    out.print(f"{count} {said} on {url}, {len(changes.same)} policies are the same" if count else f"{url} holds the same already")
