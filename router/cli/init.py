"""`lockgate init`: a commented workspace that runs as it is, with its keys and a first API key."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path

import click

import router
from adapters.sqlite.api_keys import SqliteApiKeys
from router.cli.common import console
from router.control.key_orders import key_order
from router.errors import ConfigError
from router.identity.key_service import KeyService
from router.library import BESIDE
from router.system import SystemClock
from router.wiring.ledger_keys import open_sealing_key, open_signing_key
from router.wiring.nodes import API_KEYS_FILE
from router.workspace import Workspace, parse, read

POLICIES = "policies"
SUBJECT, ROLES = "starter", ("employee",)
RENAMED = {"gitignore": ".gitignore"}


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("."))
def init(folder: Path) -> None:
    """Write a starter workspace into FOLDER: configuration, catalog, policies with tests, a small service, keys."""
    with ExitStack() as stack:
        starter = stack.enter_context(as_file(files("router.cli").joinpath("starter")))
        wanted = {**starter_files(starter), **policy_sources(policies_folder())}
        refuse_to_overwrite(folder, wanted)
        write(folder, wanted)
    workspace = parse(read(folder, os.environ), os.environ)
    make_keys(workspace)
    _say(folder, len(wanted), make_api_key(workspace))


def starter_files(starter: Path) -> dict[str, Path]:
    found = (path for path in sorted(starter.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {_renamed(path.relative_to(starter).as_posix()): path for path in found}


def policies_folder() -> Path:
    """The policies that were installed with Lockgate, beside its packages. Not looked for by import: the folder that one stands in may have
    policies of its own. Raises ConfigError."""
    place = Path(router.__file__).parents[1] / POLICIES
    if not any(place.rglob("*.rego")):
        raise ConfigError(f"{place}:1: The policies that belong to Lockgate are not there; install Lockgate again.")
    return place


def policy_sources(policies: Path) -> dict[str, Path]:
    return {f"{POLICIES}/{path.relative_to(policies).as_posix()}": path for path in _policy_files(policies)}


def refuse_to_overwrite(folder: Path, wanted: dict[str, Path]) -> None:
    """Raises ConfigError that names every file in the way; nothing has been written then."""
    there = [relative for relative in wanted if (folder / relative).exists()]
    if there:
        raise ConfigError(*(f"{folder / relative}:1: The file is already there, and init overwrites nothing." for relative in there))


def write(folder: Path, wanted: dict[str, Path]) -> None:
    """Raises ConfigError where the file system refuses."""
    for relative, source in wanted.items():
        target = folder / relative
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        except OSError as error:
            raise ConfigError(f"{target}:1: The file cannot be written: {error.strerror}.") from error


def make_keys(workspace: Workspace) -> None:
    """The ledger's key and the sealing key, mode 0600."""
    audit = workspace.config.audit
    open_signing_key(audit.key, workspace.root, create=True)
    open_sealing_key(audit.sealing_key, workspace.root, create=True)


def make_api_key(workspace: Workspace) -> str:
    """A key for the gateway and the decide API. Its plain form exists nowhere else than in the answer."""
    clock = SystemClock()
    store = SqliteApiKeys(workspace.path(workspace.config.state) / API_KEYS_FILE, clock)
    try:
        store.open()
        order = key_order(SUBJECT, SUBJECT, roles=ROLES, scopes=("gateway", "decide"))
        return KeyService(store, clock).create(order, f"cli:uid{os.getuid()}")[1]
    finally:
        store.close()


def _policy_files(policies: Path) -> Iterator[Path]:
    for path in sorted(policies.rglob("*")):
        parts = path.relative_to(policies).parts
        hidden = any(part.startswith((".", "__")) for part in parts)
        if path.is_file() and not hidden and path.suffix != ".py" and parts[0] not in BESIDE:
            yield path


def _renamed(relative: str) -> str:
    return RENAMED.get(relative, relative)


def _say(folder: Path, count: int, key: str) -> None:
    out = console(error=True)
    out.print(f"[green]{count} files are in {folder}.[/] README.md says what each is for.")
    out.print(f"An API key for the subject '{SUBJECT}' follows; it is shown this once. Keep it:")
    click.echo(key)
    out.print("Next, in two terminals:")
    inside = "" if folder == Path() else f"cd {folder} && "
    out.print(f"  {inside}python service.py")
    out.print(f"  {inside}lockgate serve")
