"""Recorded decisions put to policies again: the very input that policy decided on then, and what these policies say of it now.

The input is sealed with each decision. Where its subject was erased, or it was pruned, it is gone and counted as such. What is compared is
what policy said: a denial that the gateway added afterwards (`ADDED`), or that stood for a failure of policy, is no word of policy's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

from router.audit.questions.query import Found
from router.decision import Verdict
from router.policy.evaluating import ENTRIES, Policies

ADDED = frozenset(
    {
        "route_unknown",
        "body_truncated",
        "obligation_failed",
        "mirror_unknown",
        "step_up_required",
        "step_up_impossible",
        "policy_rate_limited",
        "policy_rate_limit_unavailable",
        "policy_intents_too_many",
    }
)
FAILED = "policy_"  # how the codes of a policy that gave no verdict begin
BATCH = 500


@dataclass(frozen=True, slots=True)
class Word:
    """What policy said: the effect and the sorted codes of its reasons."""

    effect: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """`same_policies`: the very policies that decided then say something else now, which must not be."""

    record: int
    decision: str
    intent: str | None
    tenant: str | None
    before: Word
    after: Word
    same_policies: bool

    @property
    def flips(self) -> bool:
        return self.before.effect != self.after.effect


@dataclass(slots=True)
class Replay:
    """`left_out` counts decisions that cannot be compared, by why: `erased`, `pruned`, `missing`, `unreadable`, `none` (policy was not
    reached), `added` and `failed`."""

    compared: int = 0
    differences: list[Difference] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def flips(self) -> list[Difference]:
        return [each for each in self.differences if each.flips]

    @property
    def not_reproduced(self) -> list[Difference]:
        return [each for each in self.differences if each.same_policies]


def replay(decisions: Iterable[Found], policies: Policies) -> Replay:
    """`decisions` with their personal fields opened. Memory grows with what differs, not with what is replayed."""
    made, source = Replay(), iter(decisions)
    while batch := list(islice(source, BATCH)):
        given = [(found, document) for found in batch if (document := _input(found, made.left_out)) is not None]
        for (found, _), verdict in zip(given, policies.verdicts([document for _, document in given]), strict=True):
            made.compared += 1
            made.differences += _differences(found, verdict)
    return made


def _differences(found: Found, verdict: Verdict) -> Iterator[Difference]:
    told = _told(found.leaf)
    before, after = _word(told["effect"], told["reasons"]), _word(verdict.effect.value, [reason.code for reason in verdict.reasons])
    if before != after:
        intent, tenant = found.leaf["classification"]["intent"], found.leaf["subject"]["tenant"]
        yield Difference(found.index, found.leaf["id"], intent, tenant, before, after, told["digest"] == verdict.digest)


def _input(found: Found, left_out: Counter[str]) -> dict[str, Any] | None:
    why = _why_not(found)
    if why is None:
        try:
            document = orjson.loads((found.personal or {})["policy_input"])
        except (KeyError, orjson.JSONDecodeError):
            why = "none"
        else:
            if isinstance(document, dict) and document.get("entry") in ENTRIES:
                return document
            why = "unreadable"
    left_out[why] += 1
    return None


def _why_not(found: Found) -> str | None:
    if found.personal is None:
        return found.sealed
    reasons = _told(found.leaf)["reasons"]
    if ADDED.intersection(reasons):
        return "added"
    return "failed" if any(code.startswith(FAILED) for code in reasons) else None


def _told(leaf: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of whom the input was put to: admission where that refused."""
    admission: Mapping[str, Any] = leaf["admission"]
    verdict: Mapping[str, Any] = leaf["verdict"]
    return verdict if admission["effect"] == "allow" else admission


def _word(effect: str, reasons: Iterable[str]) -> Word:
    return Word(effect, tuple(sorted(set(reasons))))
