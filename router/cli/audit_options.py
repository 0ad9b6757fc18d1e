"""Options that the audit trail's newer commands share. `router.cli.audit` imports those commands, so they cannot take them from there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from router.audit.canonical import timestamp
from router.cli.audit_sources import store_option
from router.settings import duration
from router.workspace import Workspace, parse, read

Command = TypeVar("Command", bound=Callable[..., Any])
SECOND = 1_000_000_000
FAULTY = 1

_state_option = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="LOCKGATE_STATE",
    help="The state directory, or a copy of it; `state` of the configuration when left out.",
)


def state_option(command: Command) -> Command:
    """Where the ledger is: `--state` and, for who asks `sources`, `--store`."""
    return _state_option(store_option(command))


class Moment(click.ParamType[str]):
    """A date, a time (UTC unless it says otherwise), or how long ago: 24h, 7d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return timestamp(time.time_ns() - int(duration(value) * SECOND))
        except (ValueError, OverflowError):
            pass
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a time such as 2026-11-24T09:45 nor a duration such as 24h.", param, ctx)
        whole = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return timestamp(int(whole.timestamp()) * SECOND + whole.microsecond * 1000)


class Seconds(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return value if isinstance(value, float) else duration(value)
        except ValueError:
            self.fail(f"{value!r} is not a duration such as 15m.", param, ctx)


def workspace_of(ctx: click.Context, state: Path | None, config: Path) -> Workspace | None:
    """Beside a state directory that was named, a configuration counts only when it was named, too."""
    named = ctx.get_parameter_source("config") is not ParameterSource.DEFAULT
    return parse(read(config, os.environ), os.environ) if named or (state is None and config.exists()) else None
