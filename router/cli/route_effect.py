"""What another route would do, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from router.cli.common import console
from router.cli.feedback import text

COLUMNS = ("route", "before", "after", "known", "failed", "succeed", "p95", "cost")


def print_effect(effect: Mapping[str, Any]) -> None:
    out = console()
    out.print(text(f"{effect['intent']}: {effect['from']} → {effect['to']}"))
    if not effect["requests"]:
        out.print(text("No request of this time would take another route, so nothing is known of what it would do."))
        return
    moved = f"Of {effect['requests']} requests {share(effect['moved'])} would go elsewhere"
    out.print(text(f"{moved}."))
    for name, what in (("stopped", "stop"), ("let_through", "let through")):
        if effect[name]:
            out.print(text(f"Policy would {what} {effect[name]} of them, otherwise than now."))
    if effect["too_few"]:
        few = ", ".join(effect["too_few"])
        out.print(text(f"Too few outcomes are known of {few} (of {effect['least']}): nothing is said of how requests would fare."))
    else:
        success = effect["success"]
        out.print(text(f"Would succeed: {between(success['after'])} instead of {between(success['before'])};"))
        out.print(text(f"  the difference is {between(success['difference'], signed=True)}."))
    for name, told, unit in (("cost", "Cost of a request", ""), ("latency_p95_ms", "95 of 100 within", " ms")):
        pair = effect[name]
        if pair["before"] is not None and pair["after"] is not None:
            out.print(text(f"{told}: {pair['after']:.4g}{unit} instead of {pair['before']:.4g}{unit}."))
    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "route" else "right")
    for row in effect["routes"]:
        table.add_row(*map(text, _cells(row)))
    out.print(table)
    for each in effect["assumed"]:
        out.print(text(f"Assumed: {each}"))


def _cells(row: Mapping[str, Any]) -> tuple[Any, ...]:
    latency = "" if row["latency_p95_ms"] is None else f"{row['latency_p95_ms']:.0f} ms"
    succeed = "too few" if row["too_few"] else between(row["success"])
    cost = "" if row["cost"] is None else f"{row['cost']:g}"
    return (row["route"], row["before"], row["after"], row["outcomes"], row["failed"], succeed, latency, cost)


def share(value: float) -> str:
    return f"{100 * value:.1f} %"


def between(found: Mapping[str, float] | None, *, signed: bool = False) -> str:
    if found is None:
        return "unknown"
    mean, low, high = (f"{100 * found[name]:{'+' if signed else ''}.1f}" for name in ("mean", "low", "high"))
    return f"{mean} % ({low} to {high})"
