"""Which decisions people label: by a keyed hash of the decision's id, so that the same are taken whenever it is asked again, and nobody who
lacks the key can tell or steer which.

How a sample came to be stays with it. Only `random` ones say how often the classifier is right; `uncertain` ones and those of
which tiers `disagree` show where it is not.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from router.decision import Status

JUDGED = (Status.CLASSIFIED, Status.OUT_OF_SCOPE, Status.AMBIGUOUS, Status.UNDETERMINED)
UNSURE = (Status.AMBIGUOUS, Status.UNDETERMINED)
LLM = "llm"
BITS = 64
SPAN = float(1 << BITS)


class Strategy(StrEnum):
    RANDOM = "random"
    UNCERTAIN = "uncertain"
    DISAGREE = "disagree"


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares; of a sample `people` label it by `overlap`. Below `confidence` or `margin` a decision was unsure."""

    random: float
    uncertain: float
    confidence: float
    margin: float
    a_day: int
    overlap: float
    people: int = 2
    disagree: float = 0.0


def draw(key: bytes, what: str, decision_id: str) -> float:
    """0 included, 1 excluded; another one for each purpose."""
    digest = hmac.digest(key, f"{what}:{decision_id}".encode(), "sha256")
    return int.from_bytes(digest[: BITS // 8], "big") / SPAN


def task_id(key: bytes, decision_id: str) -> str:
    """Who labels must not find the decision by it."""
    return hmac.digest(key, f"task:{decision_id}".encode(), "sha256").hex()[:32]


def unsure(classification: Mapping[str, Any], rates: Rates) -> bool:
    if classification.get("status") in UNSURE:
        return True
    bounds = (("confidence", rates.confidence), ("margin", rates.margin))
    return any(classification.get(name) is not None and float(classification[name]) < bound for name, bound in bounds)


def disagree(classification: Mapping[str, Any]) -> bool:
    """Whether tiers that were asked held different things likeliest. One that a sure answer made needless was not asked; records from
    before the earlier tiers were kept say nothing of them. Of what the encoder holds to be about no intent the likeliest one is noise."""
    by_llm = classification.get("tier") == LLM  # then the candidates are still those of the encoder
    if classification.get("status") == Status.OUT_OF_SCOPE and not by_llm:
        return False
    said = {each["intent"] for each in classification.get("earlier_tiers") or () if each["intent"]}
    said |= {each["intent"] for each in (classification.get("candidates") or ())[:1]}
    return len({*said, classification.get("intent")} if by_llm else said) > 1


def strategies(key: bytes, decision_id: str, classification: Mapping[str, Any], rates: Rates) -> tuple[Strategy, ...]:
    """None of a decision that is not sampled."""
    if classification.get("status") not in JUDGED:
        return ()
    wanted = [(Strategy.RANDOM, rates.random)]
    if unsure(classification, rates):
        wanted.append((Strategy.UNCERTAIN, rates.uncertain))
    if disagree(classification):
        wanted.append((Strategy.DISAGREE, rates.disagree))
    return tuple(name for name, rate in wanted if draw(key, name, decision_id) < rate)


def probability(classification: Mapping[str, Any], rates: Rates) -> float:
    """That a decision such as this is sampled by any of them, as long as the day's cap is not reached."""
    missed = 1 - rates.random
    missed *= 1 - (rates.uncertain if unsure(classification, rates) else 0.0)
    return 1 - missed * (1 - (rates.disagree if disagree(classification) else 0.0))
