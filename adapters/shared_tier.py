"""A tier whose answers nodes share: asked of the others before the model is run. What is kept are its scores; thresholds apply afresh."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

from router.decision import Candidate, Classification, Status
from router.ports import SharedAnswers, Tier


class SharedTier:
    """`about` names everything but the text that the answer depends on."""

    def __init__(self, tier: Tier, answers: SharedAnswers, about: str) -> None:
        self.name = tier.name
        self._tier = tier
        self._answers = answers
        self._about = about.encode()

    async def classify(self, text: str) -> Classification:
        key = sha256(self._about + b"\0" + text.encode("utf-8", "surrogatepass")).digest()
        kept = await self._answers.get(self.name, key)
        found = unpacked(kept) if kept is not None else None
        if found is not None:
            return found
        answered = await self._tier.classify(text)
        self._answers.put(self.name, key, packed(answered))
        return answered


def packed(answer: Classification) -> bytes:
    """What one tier says; which were asked before it is of each request."""
    return json.dumps(asdict(replace(answer, stages_ns=(), rule=None, earlier_tiers=())), separators=(",", ":")).encode()


def unpacked(data: bytes) -> Classification | None:
    """None for what another release packed."""
    try:
        found: dict[str, Any] = json.loads(data)
        candidates = tuple(Candidate(str(each["intent"]), float(each["raw"]), float(each["calibrated"])) for each in found["candidates"])
        made = {"status": Status(found["status"]), "candidates": candidates, "prediction_set": tuple(found["prediction_set"])}
        return Classification(**{**found, **made, "earlier_tiers": (), "stages_ns": (), "cached": True})
    except (ValueError, TypeError, KeyError):
        return None
