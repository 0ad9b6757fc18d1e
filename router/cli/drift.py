"""`lockgate drift`: what is asked for and how it is understood, beside an earlier time, over the control API of a running Lockgate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click
from rich.table import Table

from router.cli.common import console, print_json
from router.cli.control_client import ControlClient, control_url
from router.cli.feedback import connected, text

SHOWN = 12
NONE = "–"


@click.command()
@click.option("--span", default="24h", show_default=True, metavar="LENGTH", help="How long the time is that is looked at.")
@click.option("--reference", default="7d", show_default=True, metavar="LENGTH", help="How long the time is that it is compared with.")
@click.option("--until", metavar="TIME", help="When it ends (RFC 3339); now without.")
@click.option("--reference-until", metavar="TIME", help="When the earlier time ends; where the other begins without.")
@click.option(
    "--samples",
    type=click.Choice(["random", "weighted"]),
    default="random",
    show_default=True,
    help="Which labelled samples count: random ones, or unsure ones as well, weighted.",
)
@connected
def drift(
    span: str,
    reference: str,
    until: str | None,
    reference_until: str | None,
    samples: str,
    config: Path,
    url: str | None,
    key: str,
    as_json: bool,
) -> None:
    """Show how requests and their understanding changed, and how often labelled ones were right. Needs the permission `audit.read`."""
    asked = {"span": span, "reference": reference, "until": until, "reference_until": reference_until, "samples": samples}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    found = ControlClient(url or control_url(config), key).call("GET", f"/v1/drift?{query}")
    if as_json:
        print_json(found)
        return
    present, before = found["present"], found["reference"]
    console().print(text(f"{present['since']} to {present['until']}, beside {before['since']} to {before['until']}"))
    console().print(_moved(found), _mix(found["mix"]["intents"]))
    if found["quality"] is not None:
        console().print(_quality(found["quality"]), _intents(found["quality"]))


def _moved(found: Mapping[str, Any]) -> Table:
    table = _table("", "now", "before", "")
    table.add_row("decisions", *(f"{count:,}" for count in found["decisions"]))
    for name, title in (("abstained", "without an intent"), ("out_of_scope", "out of scope")):
        table.add_row(title, *map(_percent, found[name]["shares"]), _alert(found[name]))
    for name, title in (("mix", "mix of intents, distance"), ("confidence", "confidences, distance")):
        table.add_row(title, _percent(found[name]["distance"]), f"chance {_percent(found[name]['by_chance'])}", _alert(found[name]))
    return table


def _mix(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What changed most."""
    table = _table("intent", "now", "before", "change")
    for row in rows[:SHOWN]:
        now, before = row["shares"]
        table.add_row(text(row["name"] or "(none)"), _percent(now), _percent(before), f"{100 * (now - before):+.1f}")
    return table


def _quality(both: Sequence[Mapping[str, Any]]) -> Table:
    table = _table(f"labelled ({both[0]['basis']})", "now", "before", "")
    table.add_row("counted of sampled", *(f"{each['counted']:,} of {each['sampled']:,}" for each in both))
    for name, title in (("waiting", "nobody labelled yet"), ("unsure", "nobody could tell"), ("full_days", "full days")):
        table.add_row(title, *(f"{each[name]:,}" for each in both))
    for name, title in (("accuracy", "ended as it should"), ("accepted_accuracy", "right of those with an intent")):
        table.add_row(title, *(_figure(each[name], each) for each in both))
    table.add_row("confidence minus that, points", *(_gap((each["calibration"] or {}).get("gap"), each) for each in both))
    table.add_row("ECE", *(_ece(each["calibration"]) for each in both))
    return table


def _intents(both: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("intent", "labelled", "right", "confidence minus that, points", "ECE")
    for each in both[0]["intents"][:SHOWN]:
        table.add_row(
            text(each["intent"]),
            f"{each['labelled']:,}",
            _figure(each["right"], both[0]),
            _gap((each["calibration"] or {}).get("gap"), both[0]),
            _ece(each["calibration"]),
        )
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, show_edge=False, header_style="bold", title_justify="left")
    for place, heading in enumerate(headings):
        table.add_column(text(heading), justify="right" if 0 < place < len(headings) - (headings[-1] == "") else "left")
    return table


def _figure(found: Mapping[str, Any] | None, of: Mapping[str, Any]) -> str:
    if found is None:
        return f"under {of['least']} labelled"
    return f"{100 * found['value']:.1f} % ({100 * found['low']:.1f} to {100 * found['high']:.1f})"


def _gap(found: Mapping[str, Any] | None, of: Mapping[str, Any]) -> str:
    if found is None:
        return f"under {of['least']} labelled"
    return f"{100 * found['value']:+.1f} ({100 * found['low']:+.1f} to {100 * found['high']:+.1f})"


def _ece(found: Mapping[str, Any] | None) -> str:
    return NONE if found is None else f"{found['ece']:.3f} (chance {found['ece_by_chance']:.3f})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _alert(found: Mapping[str, Any]) -> str:
    return "moved" if found["moved"] else ""
