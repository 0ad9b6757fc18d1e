"""Options that the commands of `lockgate audit` share: which records, where the ledger is, what is opened."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from router.audit.questions.columns import COLUMNS, NS, column
from router.audit.questions.conditions import Condition
from router.audit.questions.query import Query, by_default
from router.audit.questions.where import WhereError, moment, where
from router.audit.records.canonical import timestamp
from router.cli.audit.sources import Sources, store_option
from router.decision import Effect, Level, Result
from router.faults import suggestion
from router.settings import span
from router.workspace import Workspace, without_policies

LONGEST_S = 1e9
FAULTY = 1
KINDS = ("decision", "outcome", "review", "system", "evidence")

Command = TypeVar("Command", bound=Callable[..., Any])

_state_option = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="LOCKGATE_STATE",
    help="The state directory, or a copy of it; `state` of the configuration when left out.",
)


def state_option(command: Command) -> Command:
    """Where the ledger is: `--state` and, for who asks `sources`, `--store`."""
    return _state_option(store_option(command))


personal_option = click.option(
    "--personal", is_flag=True, help="Open personal fields. Needs the sealing key; without this they show as sealed."
)


class Moment(click.ParamType[str]):
    """A date, a time (UTC unless it says otherwise), or how long ago: 24h, 7d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return timestamp(moment(value, time.time_ns()))
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither a time such as 2026-11-24T09:45 nor a duration such as 24h.", param, ctx)


class Length(click.ParamType[int]):
    """A duration, in nanoseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else int(min(span(value), LONGEST_S) * NS)
        except ValueError as error:
            self.fail(f"{value!r} {error}.", param, ctx)


class Seconds(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return value if isinstance(value, float) else min(span(value), LONGEST_S)
        except ValueError as error:
            self.fail(f"{value!r} {error}.", param, ctx)


class Columns(click.ParamType[tuple[str, ...]]):
    """Names of columns with commas between."""

    name = "columns"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        found = []
        for name in filter(None, map(str.strip, value.split(","))):
            known = column(name)
            if known is None:
                self.fail(f"There is no column '{name}'.{suggestion(name, COLUMNS)}", param, ctx)
            found.append(known.name)
        return tuple(dict.fromkeys(found))


class Where(click.ParamType[Condition]):
    name = "condition"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Condition:
        try:
            return where(value)
        except WhereError as error:
            self.fail(str(error), param, ctx)


columns_option = click.option(
    "--columns", type=Columns(), default="", help="Show these columns, with commas between, instead of the usual ones."
)


def filters(command: Command) -> Command:
    for option in reversed(
        (
            click.option("--since", type=Moment(), help="From this time on: a date, a time or a duration ago such as 24h."),
            click.option("--until", type=Moment(), help="Before this time."),
            click.option("--subject", help="Whom it was about or by. Needs the sealing key, for the ledger names nobody."),
            click.option("--intent", help="Only decisions with this intent."),
            click.option("--route", help="Only what went by this route."),
            click.option(
                "--verdict", "effect", type=click.Choice([effect.value for effect in Effect]), help="Only what policy said this of."
            ),
            click.option("--reason", help="A reason code of admission, classification, policy or outcome."),
            click.option("--result", help=f"How it ended: {', '.join(Result)}; or a review's or system record's event."),
            click.option("--min-confidence", type=click.FloatRange(0, 1), help="Only decisions at least as sure of their intent."),
            click.option("--max-confidence", type=click.FloatRange(0, 1), help="Only decisions at most as sure of their intent."),
            click.option("--risk", type=click.Choice([level.value for level in Level]), help="Only decisions of this level of risk."),
            click.option("--tenant", help="Only decisions about this tenant's requests."),
            click.option("--where", type=Where(), help="A condition in SQL's own words: \"risk >= 'high' and effect <> 'review'\"."),
            click.option("--decision", "decision_id", help="Decision id."),
            click.option("--trace", "trace_id", help="Trace id, 32 hex digits."),
            click.option(
                "--kind", type=click.Choice([*KINDS, "all"]), help="decision when left out, unless --where asks for kind or event."
            ),
        )
    ):
        command = option(command)
    return command


def question(place: Sources, subject: str | None, kind: str | None, wanted: dict[str, Any]) -> Query | None:
    """None when nothing can be about this subject, which is said."""
    key_id = None if subject is None else place.key_id(subject)
    if subject is not None and key_id is None:
        click.echo("No record is about this subject, or its key was destroyed.", err=True)
        return None
    asked = Query(key_id=key_id, kind=None if kind == "all" else kind, **wanted)
    return asked if kind is not None else by_default(asked)


def workspace_of(ctx: click.Context, state: Path | None, config: Path) -> Workspace | None:
    """Beside a state directory that was named, a configuration counts only when it was named, too."""
    named = ctx.get_parameter_source("config") is not ParameterSource.DEFAULT
    return without_policies(config, os.environ) if named or (state is None and config.exists()) else None
