"""The encoder tier (text to classification) over the bare ONNX forward of the same text, turn by turn."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from adapters.encoder_tier import EncoderTier
from embeddings.onnx_encoder import OnnxEncoder
from tests.bench.parts import Parts
from tests.bench.report import Figure, Report, median, spread
from tests.bench.workspace import fresh_text

TARGET = 1.15


async def measure(report: Report, parts: Parts, rounds: int) -> None:
    encoder = parts.encoder
    ratios, tier, bare = [], [], []
    tokens = [len(encoder.token_ids(fresh_text(number))) for number in range(50)]
    for start in range(0, rounds * 50, 50):
        ours, theirs = await _round(parts.tier, encoder, start)
        ratios.append(ours / theirs)
        tier.append(ours)
        bare.append(theirs)
    note = f"{median(tier):.0f} µs over {median(bare):.0f} µs; {min(tokens)}–{max(tokens)} tokens"
    report.section("Encoder tier — p50 over the bare ONNX forward", [Figure("ratio", median(ratios), "×", TARGET, spread(ratios), note)])


async def _round(tier: EncoderTier, encoder: OnnxEncoder, start: int) -> tuple[float, float]:
    """p50 of both over fifty texts, in microseconds. Turn by turn: who comes second finds warm caches."""
    ours, theirs = [], []
    for number in range(start, start + 50):
        text = fresh_text(number)
        ids = np.array([encoder.token_ids(text)], dtype=np.int64)
        if number % 2:
            theirs.append(_forward(encoder, ids))
        began = time.perf_counter_ns()
        await tier.classify(text)
        ours.append((time.perf_counter_ns() - began) / 1000)
        if not number % 2:
            theirs.append(_forward(encoder, ids))
    return median(ours), median(theirs)


def _forward(encoder: OnnxEncoder, ids: NDArray[np.int64]) -> float:
    began = time.perf_counter_ns()
    encoder.forward(ids)
    return (time.perf_counter_ns() - began) / 1000
