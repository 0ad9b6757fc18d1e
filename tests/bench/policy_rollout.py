"""What a rollout adds to a decision while it runs: the candidate judges every request, too. Both versions' verdicts remembered, and
afresh."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from router.audit.recorder import LedgerRecorder
from router.decision import Request
from router.doors.runtime import Deciding
from router.pipeline import Pipeline
from router.rollout.rolling import Rolling
from router.rollout.stage import Stage
from router.wiring.candidate import Candidate, make_rolling
from tests.bench.parts import Parts
from tests.bench.report import Figure, Report, median, spread
from tests.bench.stages import Sample, scope

TURNS = 300
ROUNDS = 9
SOME = "\n# Another version, which says the same.\n"


async def measure(report: Report, parts: Parts, key: str) -> None:
    sample = Sample(parts, scope("GET", "/payments/4711", key), b"")
    await sample.prepare()
    stages, services = sample.stages, parts.services
    recorder = LedgerRecorder(services.ledger, services.keys, services.clock, services.ledger)
    pipeline = partial(Pipeline, recorder=recorder, clock=services.clock, ids=services.ids)
    policies = {path: text + SOME for path, text in parts.workspace.policies.items()}
    theirs = Candidate("bench", policies, parts.workspace.policy_data, None, "bench", "0" * 64, 1.0, Stage())
    rolling = await make_rolling(parts.workspace, stages, theirs, services, pipeline)
    plain = pipeline(stages)
    took: dict[str, list[float]] = {}
    try:
        for turn in range(ROUNDS):
            for name, deciding, stage in (("plain", plain, 0.0), ("shadow", rolling, 0.0), ("all", rolling, 1.0)):
                rolling.stage = Stage(stage)
                for kind in ("remembered", "afresh"):
                    requests = _requests(sample.request, f"{turn}-{name}", afresh=kind == "afresh")
                    took.setdefault(f"{name} {kind}", []).append(await _microseconds(deciding, rolling, requests))
    finally:
        await rolling.close()
    _tell(report, took)


def _requests(like: Request, name: str, *, afresh: bool) -> Iterator[Request]:
    """Afresh: from callers that policy never saw, so that no verdict is remembered."""
    for number in range(TURNS):
        subject = replace(like.subject, id=f"{name}-{number}") if afresh else like.subject
        yield replace(like, subject=subject)


async def _microseconds(deciding: Deciding, rolling: Rolling, requests: Iterator[Request]) -> float:
    """Of CPU a decision, until the last one was judged by the other version, too."""
    began, count = time.process_time(), 0
    for request in requests:
        await deciding.decide(request)
        count += 1
        await asyncio.sleep(0)
    while rolling.waiting:  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0)
    return (time.process_time() - began) / count * 1e6


def _tell(report: Report, took: dict[str, list[float]]) -> None:
    figures = []
    for kind in ("remembered", "afresh"):
        plain = took[f"plain {kind}"]
        figures.append(Figure(f"a decision, verdicts {kind}", median(plain), "µs", noise=spread(plain)))
        for name, said in (("shadow", "with a candidate in shadow"), ("all", "decided by the candidate")):
            ratios = [more / less for more, less in zip(took[f"{name} {kind}"], plain, strict=True)]
            figures.append(Figure(f"{said}, over that", median(ratios), "×", noise=spread(ratios)))
    report.section("A rollout, on a worker's core: decision and record, and the other version's judgement", figures)
