"""`lockgate objectives`: whether a running Lockgate meets its objectives, over its control API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from router.cli.common import config_option, console, json_option, print_json
from router.cli.control_client import ControlClient, control_url
from router.cli.control_options import key_option, url_option
from router.cli.feedback import text
from router.telemetry.objectives.judging import BROKEN, SHOWN, WORDS, percent

NONE = "–"


@click.command()
@config_option
@url_option
@key_option("API key with the permission `metrics.read`.")
@json_option
@click.pass_context
def objectives(context: click.Context, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Show whether the objectives are met, what budget is left, and how fast it burns. Ends with 1 where one is not."""
    found = ControlClient(url or control_url(config), key).call("GET", "/v1/objectives")
    if as_json:
        print_json(found)
    else:
        _print(found)
    if any(each["state"] in BROKEN for each in found["objectives"]):
        context.exit(1)


def _print(found: Mapping[str, Any]) -> None:
    out = console()
    if found["at"] is None:
        out.print("They are looked at for the first time; ask again in a moment.")
        return
    table, rates = Table(box=None, show_edge=False, header_style="bold"), Table(box=None, show_edge=False, header_style="bold")
    for heading, place in (("objective", "left"), ("state", "left"), ("measured", "right"), ("wanted", "right"), ("budget left", "right")):
        table.add_column(heading, justify=place)  # type: ignore[arg-type]  # one of rich's words
    for heading in ("burn rate over", *SHOWN):
        rates.add_column(heading, justify="left" if heading == "burn rate over" else "right")
    for each in found["objectives"]:
        shares = (_share(each[name]) for name in ("measured", "target", "budget_left"))
        table.add_row(text(each["name"]), WORDS[each["state"]], *shares)
        if each["target"] is not None:
            windows = {window["window"]: window for window in each["windows"]}
            rates.add_row(text(each["name"]), *(_rate(windows[name]) for name in SHOWN))
    out.print(text(f"As of {found['at']}"), table, rates if rates.rows else "", sep="\n")
    for each in found["objectives"]:
        out.print(text(f"{each['name']}: {each['sentence']} {each['said']} {_source(each)}"))


def _share(value: float | None) -> str:
    return NONE if value is None else percent(value)


def _rate(window: Mapping[str, Any]) -> str:
    """What is not known from its beginning on has a mark."""
    return NONE if window["burn_rate"] is None else f"{window['burn_rate']:.2f}{'' if window['whole'] else '*'}"


def _source(each: Mapping[str, Any]) -> str:
    whole = next(window["whole"] for window in each["windows"] if window["window"] == "30d")
    since = "" if whole else f", since {each['since']}"
    return ("Counted from the ledger" if each["source"] == "ledger" else "Counted by this node") + since + "."
