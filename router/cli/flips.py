"""How the commands show who flips from what to what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape

from router.flips import Groups

GONE = {
    "erased": "whose subject was erased",
    "pruned": "whose personal part was pruned",
    "missing": "whose key is missing",
}
"""Why there is nothing to replay, whatever is replayed."""


def show_groups(out: Console, groups: Groups, rules: Mapping[str, Sequence[str]]) -> None:
    """`rules`: by code of a reason, the rules behind it."""
    for group, names in groups.items():
        if names:
            out.print(f"by {group}:")
        for name, counts in names.items():
            flips = ", ".join(f"{what} {count:,}" for what, count in sorted(counts.items()))
            behind = "".join(f"  ({each})" for each in rules.get(name, ())) if group == "rule" else ""
            out.print(escape(f"  {name}: {flips}{behind}"))


def show_left_out(out: Console, left_out: Mapping[str, int], told: Mapping[str, str]) -> None:
    """`told`: by why, what such decisions are."""
    for why, count in sorted(left_out.items()):
        out.print(f"left out: {count:,} {GONE.get(why) or told.get(why, why)}")
