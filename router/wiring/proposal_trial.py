"""`python -P -m router.wiring.proposal_trial`: measures a catalog with a proposal against the one without it, in a process of its own with
limits; also which topics texts have, and what policies would say. Reads one msgpack document on standard input, and prints one line of
JSON: figures, or `{"error"}`."""

from __future__ import annotations

import asyncio
import json
import math
import os
import resource
import signal
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from adapters.rego.embedded import load
from embeddings.binned import expected_calibration_error
from embeddings.topics import topics
from router.decision import Classification
from router.errors import LockgateError
from router.policy.evaluating import entry_of, intents_of
from router.ports import PolicyEngine
from router.stages.classification import Cascade, normalise
from router.stages.policy import judge
from router.system import SystemClock
from router.wiring.encoder import ensure_model, load_encoder, load_model, make_tiers
from router.wiring.stages import UNHURRIED_S, make_cascade
from router.workspace import Snapshot, Workspace, parse

NICE = 10  # requests come first
LEAST_P = 1e-6
MOST_FLIPS = 20
POLICY_S = 10.0  # nobody waits for one answer
Held = Sequence[tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class _Answer:
    scored: Classification
    judged: Classification

    @property
    def said(self) -> str:
        return self.judged.intent or self.judged.status.value


def measure(told: Mapping[str, Any]) -> dict[str, Any]:
    """`before` and `after` are snapshots, `held_out` pairs of text and intent, `recorded` texts of decisions. Raises LockgateError."""
    before, after = (parse(Snapshot.from_bytes(told[name]), os.environ, measured=False) for name in ("before", "after"))
    learnt = {normalise(text) for each in (before, after) for text in _examples(each)}
    held = [(text, intent) for text, intent in told["held_out"] if normalise(text) not in learnt]
    texts = [*(text for text, _ in held), *told["recorded"]]
    was, now = _answers(before, texts), _answers(after, texts)
    count = len(held)
    return {
        "before": _figures(held, was[:count]),
        "after": _figures(held, now[:count]),
        "replay": _flips(was[count:], now[count:]),
        "left_out": len(told["held_out"]) - count,
    }


def grouped(told: Mapping[str, Any]) -> dict[str, Any]:
    """Places of the `texts` that are about the same. Raises LockgateError."""
    encoder = load_encoder(parse(Snapshot.from_bytes(told["before"]), os.environ, measured=False))
    return {"groups": topics(told["texts"], encoder, told["likeness"], told["least"])}


def asked(told: Mapping[str, Any]) -> dict[str, Any]:
    """What these policies say of each of the `documents`, as (effect, route). Raises LockgateError."""
    engine = load(told["policies"], told["data"], deadline_s=POLICY_S, remember=False)
    return {"said": asyncio.run(_said(engine, [json.loads(each) for each in told["documents"]]))}


async def _said(engine: PolicyEngine, documents: Sequence[Mapping[str, Any]]) -> list[tuple[str, str | None]]:
    verdicts = [await judge(engine, entry_of(each), intents_of(each), each) for each in documents]
    return [(each.effect.value, each.reroute) for each in verdicts]


def _examples(workspace: Workspace) -> list[str]:
    catalog = workspace.catalog
    return [*(text for intent in catalog.intents.values() for text in intent.examples), *catalog.out_of_scope.examples]


def _answers(workspace: Workspace, texts: Sequence[str]) -> list[_Answer]:
    path = ensure_model(workspace)
    model = load_model(workspace, path) if path is not None else None
    tiers = make_tiers(workspace, model, path)
    try:
        return asyncio.run(_asked(make_cascade(workspace, tiers, model, SystemClock(), deadline_s=UNHURRIED_S), texts))
    finally:
        for tier in tiers:
            tier.close()


async def _asked(cascade: Cascade, texts: Sequence[str]) -> list[_Answer]:
    return [_Answer(*await cascade.tiers_say(normalise(text))) for text in texts]


def _figures(held: Held, answers: Sequence[_Answer]) -> dict[str, Any]:
    """`accuracy`: the share of texts that end as they should: with their intent or, where they have none, without. `ece` and `nll` are
    of the first candidates of texts about intents, accepted or not."""
    right = [answer.judged.intent == intent for (_, intent), answer in zip(held, answers, strict=True)]
    accepted = [answer.judged.intent is not None for answer in answers]
    intents: dict[str, dict[str, int]] = {}
    for (_, intent), correct in zip(held, right, strict=True):
        row = intents.setdefault(intent or "(out of scope)", {"texts": 0, "right": 0})
        row["texts"] += 1
        row["right"] += correct
    taken = sum(accepted)
    wrong = sum(took and not correct for took, correct in zip(accepted, right, strict=True))
    return {
        "texts": len(held),
        "accuracy": sum(right) / len(held) if held else None,
        "accepted": taken / len(held) if held else None,
        "wrong": wrong / taken if taken else None,
        **_calibration([(intent, answer.scored) for (_, intent), answer in zip(held, answers, strict=True) if intent is not None]),
        "intents": dict(sorted(intents.items())),
    }


def _calibration(inside: Sequence[tuple[str, Classification]]) -> dict[str, float | None]:
    scored = [(intent, each) for intent, each in inside if each.candidates and each.candidates[0].calibrated is not None]
    if not scored:
        return {"ece": None, "nll": None}
    confidences = np.array([each.candidates[0].calibrated for _, each in scored], dtype=np.float64)
    correct = np.array([each.candidates[0].intent == intent for intent, each in scored], dtype=bool)
    losses = [-math.log(max(_probability(intent, each), LEAST_P)) for intent, each in scored]
    return {"ece": float(expected_calibration_error(confidences, correct)), "nll": sum(losses) / len(losses)}


def _probability(intent: str, scored: Classification) -> float:
    return next((each.calibrated or 0.0 for each in scored.candidates if each.intent == intent), 0.0)


def _flips(was: Sequence[_Answer], now: Sequence[_Answer]) -> dict[str, Any]:
    changed = Counter((one.said, other.said) for one, other in zip(was, now, strict=True) if one.said != other.said)
    most = [{"from": one, "to": other, "count": count} for (one, other), count in changed.most_common(MOST_FLIPS)]
    return {"decisions": len(was), "flips": changed.total(), "most": most}


def _limit(memory: int, seconds: int) -> None:
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(what, (most, most))
    signal.alarm(2 * seconds)  # where whoever started this is gone
    os.nice(NICE)


def main() -> None:
    told = msgpack.unpackb(sys.stdin.buffer.read())
    _limit(told["memory"], told["seconds"])
    try:
        said = asked(told) if "documents" in told else grouped(told) if "texts" in told else measure(told)
    except LockgateError as error:
        said = {"error": str(error)}
    print(json.dumps(said), flush=True)  # noqa: T201  # this is the channel


if __name__ == "__main__":
    main()
