"""`lockgate keys`: API keys in the file itself, or in the database that nodes share. Who can write there is trusted; no running Lockgate is
needed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.table import Table

from adapters.sqlite.api_keys import SqliteApiKeys
from router.cli.common import config_option, console
from router.control.key_orders import key_order
from router.control.key_views import shown
from router.control.permissions import ROLES, SCOPES
from router.errors import ConfigError, LockgateError
from router.identity.key_service import KeyService
from router.settings import duration
from router.system import SystemClock
from router.wiring.nodes import OpenApiKeys, api_keys_of
from router.workspace import without_policies
from router.yaml_source import read_yaml

FILE = "identity.sqlite"
SECOND = 1_000_000_000

F = TypeVar("F", bound=Callable[..., Any])


def placed(command: F) -> F:
    state = click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="LOCKGATE_STATE",
        show_envvar=True,
        help="Directory that holds the state; when left out, where the nodes of the configuration share their keys, else its `state`.",
    )
    return config_option(state(command))


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def keys() -> None:
    """Make, list and revoke API keys. A running Lockgate notices changes within a second or two."""


@keys.command()
@placed
@click.option("--name", default="", help="What the key is for; the subject when left out.")
@click.option("--subject", required=True, help="Id of whom the key speaks for.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["user", "service"]),
    default="user",
    show_default=True,
    help="What policies see as the subject's type.",
)
@click.option("--role", "roles", multiple=True, help=f"May be repeated. In the control API: {', '.join(ROLES)}.")
@click.option("--group", "groups", multiple=True, help="May be repeated.")
@click.option("--tenant", default=None, help="The subject's tenant.")
@click.option(
    "--scope", "scopes", multiple=True, default=("gateway",), show_default=True, help=f"May be repeated: {', '.join(sorted(SCOPES))}."
)
@click.option("--expires", default=None, help="How long it is good, such as 12h or 30d; for ever when left out.")
@json_option
def create(state: Path | None, config: Path, name: str, expires: str | None, as_json: bool, **wanted: Any) -> None:
    """Make a key. It is printed this once; only its digest is kept."""
    clock = SystemClock()
    with _service(state, config, clock, new=True) as service:
        order = key_order(name or wanted["subject"], expires_ns=_expiry(expires, clock.now_ns()), **wanted)
        key, plain = service.create(order, f"cli:uid{os.getuid()}")
    if as_json:
        _print_json({**shown(key), "key": plain})
        return
    click.echo(plain)
    click.echo(f"Key {key.id} for {key.subject.id} ({', '.join(sorted(key.scopes))}). Keep it now: it cannot be shown again.", err=True)


@keys.command("list")
@placed
@json_option
def list_keys(state: Path | None, config: Path, as_json: bool) -> None:
    """Show every key, without its secret."""
    clock = SystemClock()
    try:
        with _service(state, config, clock) as service:
            rows = [shown(key) for key in service.all()]
    except NoKeysYet as error:
        rows = []
        click.echo(error.message, err=True)
    if as_json:
        _print_json(rows)
        return
    if not rows:
        console().print("There is none.")
        return
    table = Table("id", "name", "subject", "roles", "scopes", "created", "state", box=None)
    for row in rows:
        table.add_row(*_cells(row, clock.now_ns()))
    console().print(table)


@keys.command()
@placed
@click.argument("key_id")
def revoke(state: Path | None, config: Path, key_id: str) -> None:
    """Revoke a key for good, by its id (the 8 characters after `lgk_`)."""
    with _service(state, config, SystemClock()) as service:
        if not service.revoke(key_id):
            raise click.ClickException(f"there is no key {key_id}; `lockgate keys list` shows them.")
    click.echo(f"Key {key_id} is revoked.")


class NoKeysYet(click.ClickException):
    """Nobody has made one there."""


@contextmanager
def _service(state: Path | None, config: Path, clock: SystemClock, new: bool = False) -> Iterator[KeyService]:
    """Translates our failures into one sentence. Only `create` makes the file."""
    store: OpenApiKeys | None = None
    try:
        store = _configured(config, clock, new) if state is None else _file(_there(state, new), clock, new)
        store.open()
        yield KeyService(store, clock)
    except LockgateError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename} cannot be used: {error.strerror}.") from None
    finally:
        if store is not None:
            store.close()


def _there(state: Path, new: bool) -> Path:
    """A folder that somebody names and that is not there is a mistake, and not one without keys."""
    if not new and not state.is_dir():
        raise click.BadParameter(f"there is no folder {state}.", param_hint="--state")
    return state


def _file(state: Path, clock: SystemClock, new: bool) -> SqliteApiKeys:
    path = state / FILE
    if not new and not _is_there(path):
        raise NoKeysYet(
            f"there is no key store {path}: `lockgate keys create` makes it with the first key; where there is one elsewhere, name its"
            " folder with --state, or its workspace with --config."
        )
    return SqliteApiKeys(path, clock)


def _is_there(path: Path) -> bool:
    """Raises OSError where that cannot be told."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _configured(config: Path, clock: SystemClock, new: bool) -> OpenApiKeys:
    """The file, or what nodes share. Only of a configuration with `nodes` is everything looked at: to make keys in a file takes none that
    could be used. Raises ConfigError."""
    file = config / "lockgate.yaml" if config.is_dir() else config
    try:
        document, faults = read_yaml(file.name, file.read_bytes(), os.environ)
    except FileNotFoundError:
        return _file(Path("state"), clock, new)
    except OSError as error:
        raise ConfigError(f"{file}:1: The file cannot be read: {error.strerror}.") from error
    written = document.value if document is not None else None
    state = written.get("state", "state") if isinstance(written, dict) else None
    if not isinstance(written, dict) or not isinstance(state, str) or not state:
        told = [str(each) for each in faults] or [f"{file.name}:1: It does not say where the state is."]
        raise ConfigError(*told, "So nobody can tell where the keys are; put it right, or name the folder with --state.")
    if written.get("nodes") is None:
        return _file(file.parent / state, clock, new)
    workspace = without_policies(config, os.environ)
    found = api_keys_of(workspace, clock)
    return _file(workspace.path(workspace.config.state), clock, new) if isinstance(found, SqliteApiKeys) else found


def _expiry(expires: str | None, now_ns: int) -> int | None:
    if expires is None:
        return None
    try:
        return now_ns + int(duration(expires) * SECOND)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--expires") from None


def _cells(row: dict[str, Any], now_ns: int) -> list[str]:
    created = row["created"].strftime("%Y-%m-%d %H:%M")
    return [row["id"], row["name"], row["subject"], ", ".join(row["roles"]), ", ".join(row["scopes"]), created, _state(row, now_ns)]


def _state(row: dict[str, Any], now_ns: int) -> str:
    if row["revoked"] is not None:
        return "revoked"
    expires: datetime | None = row["expires"]
    if expires is None:
        return "good"
    return "expired" if expires.timestamp() * SECOND <= now_ns else f"good until {expires:%Y-%m-%d %H:%M}"


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=lambda moment: moment.isoformat()))
