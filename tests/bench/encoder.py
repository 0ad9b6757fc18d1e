"""The encoder tier (text to classification) over the bare ONNX forward of the same text, turn by turn."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from tests.bench.parts import Parts
from tests.bench.report import Figure, Report, median, spread
from tests.bench.workspace import fresh_text

TARGET = 1.15


async def measure(report: Report, parts: Parts, rounds: int) -> None:
    tokens = [len(parts.encoder.token_ids(fresh_text(number))) for number in range(50)]
    turns = [await _round(parts, start) for start in range(0, rounds * 50, 50)]
    bare, model, tier, alone = zip(*turns, strict=True)
    figures = [
        _ratio("text to prediction", model, bare),
        _ratio("the same through the tier, alone", alone, bare),
        _ratio("the same through the tier's thread", tier, bare),
    ]
    report.section(f"Encoder — p50 over the bare ONNX forward, {min(tokens)}–{max(tokens)} tokens", figures)


def _ratio(name: str, ours: Sequence[float], bare: Sequence[float]) -> Figure:
    ratios = [one / other for one, other in zip(ours, bare, strict=True)]
    note = f"{median(ours):.0f} µs over {median(bare):.0f} µs"
    return Figure(name, median(ratios), "×", TARGET, spread(ratios), note)


async def _round(parts: Parts, start: int) -> tuple[float, ...]:
    """p50 in microseconds of the bare forward, of the model, of the tier beside others and alone, over fifty texts; who is first changes,
    for who comes later finds warm caches."""
    spent: list[list[float]] = [[], [], [], []]
    for number in range(start, start + 50):
        text = fresh_text(number)
        ids = np.array([parts.encoder.token_ids(text)], dtype=np.int64)
        for turn in ((number + step) % 4 for step in range(4)):
            began = time.perf_counter_ns()
            if turn == 0:
                parts.encoder.forward(ids)
            elif turn == 1:
                parts.model.predict(text)
            elif turn == 2:
                await parts.tier.classify(text)
            else:
                await parts.alone.classify(text)
            spent[turn].append((time.perf_counter_ns() - began) / 1000)
    return tuple(map(median, spent))
