"""What an evaluation found, against what the configuration lets a proposal make worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Bounds:
    """Largest losses, as shares; `least` held-out texts, below which nothing is said of an intent, nor of all together."""

    accuracy: float
    intent: float
    ece: float
    flips: float
    least: int


def faults(figures: Mapping[str, Any], bounds: Bounds) -> list[str]:
    """A sentence for each bound that is not kept; where too little was measured, that is one, too."""
    return list(_faults(figures, bounds))


def _faults(figures: Mapping[str, Any], bounds: Bounds) -> Iterator[str]:
    before, after = figures["before"], figures["after"]
    if after["texts"] < bounds.least:
        yield f"Only {after['texts']} held-out texts were there to measure it on, and {bounds.least} are wanted."
        return
    if before["accuracy"] - after["accuracy"] > bounds.accuracy:
        yield f"Of the held-out texts {_percent(after['accuracy'])} are right instead of {_percent(before['accuracy'])}."
    for name, was in before["intents"].items():
        now = after["intents"][name]
        if was["texts"] >= bounds.least and (was["right"] - now["right"]) / was["texts"] > bounds.intent:
            yield f"Of those about '{name}' {now['right']} of {now['texts']} are right instead of {was['right']}."
    if after["ece"] is not None and before["ece"] is not None and after["ece"] - before["ece"] > bounds.ece:
        yield f"The calibration error is {after['ece']:.3f} instead of {before['ece']:.3f}."
    replay = figures["replay"]
    if replay["decisions"] and replay["flips"] / replay["decisions"] > bounds.flips:
        yield f"Of {replay['decisions']} recorded decisions {replay['flips']} would be classified differently."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
