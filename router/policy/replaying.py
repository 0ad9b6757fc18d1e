"""Recorded decisions put to policies again: the very input that policy decided on then, and what these policies say of it now.

The input is sealed with each decision, and with it the time and whatever else is not the same twice. Where its subject was erased, or it
was pruned, it is gone and counted as such. What is compared is what policy said, to the last word: a denial that the gateway added
afterwards (`ADDED`), or that stood for a failure of policy, is no word of policy's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

from router.audit.questions.query import Found
from router.decision import Effect, Verdict
from router.flips import NONE, Groups, grouped
from router.policy.evaluating import ENTRIES, Policies
from router.policy.grouping import codes_between, places

ADDED = frozenset(
    {
        "route_unknown",
        "body_truncated",
        "obligation_failed",
        "mirror_unknown",
        "step_up_required",
        "step_up_impossible",
        "intent_rate_limited",
        "limits_unavailable",
        "policy_rate_limited",
        "policy_rate_limit_unavailable",
        "policy_intents_too_many",
    }
)
FAILED = "policy_"  # how the codes of a policy that gave no verdict begin
BATCH = 500
DENIED = 403  # of a denial that names no status


@dataclass(frozen=True, slots=True)
class Word:
    """What policy said: the effect, the sorted codes of its reasons, the names of its obligations, and where it sent the request. `whole`
    is all of it with every message and parameter, which may be personal and is only compared."""

    effect: str
    reasons: tuple[str, ...]
    obligations: tuple[str, ...]
    reroute: str | None
    whole: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Difference:
    """`subject` is the id of the person's key, or the name where names were asked for. `same_policies`: the very policies that decided then
    say something else now, which must not be."""

    record: int
    decision: str
    intent: str | None
    tenant: str | None
    subject: str | None
    before: Word
    after: Word
    same_policies: bool

    @property
    def flips(self) -> bool:
        return (self.before.effect, self.before.reroute) != (self.after.effect, self.after.reroute)

    @property
    def what(self) -> str:
        return f"{self.before.effect} → {self.after.effect}"

    @property
    def codes(self) -> list[str]:
        return codes_between(self.before.reasons, self.after.reasons)


@dataclass(slots=True)
class Replay:
    """`left_out` counts decisions that cannot be compared, by why: `erased`, `pruned`, `missing`, `unreadable`, `none` (policy was not
    reached), `added` and `failed`. `rules` maps a code that a flip has anew to the rules, by file and line, that gave it."""

    compared: int = 0
    differences: list[Difference] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    rules: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def flips(self) -> list[Difference]:
        return [each for each in self.differences if each.flips]

    @property
    def not_reproduced(self) -> list[Difference]:
        return [each for each in self.differences if each.same_policies]

    def groups(self) -> Groups:
        """How many decisions flip from what to what, by intent, subject, tenant and reason (`+` is given anew, `-` no longer)."""
        return grouped(
            ("intent", "subject", "tenant", "rule"),
            (
                (
                    {
                        "intent": [each.intent or NONE],
                        "subject": [each.subject or NONE],
                        "tenant": [each.tenant or NONE],
                        "rule": each.codes,
                    },
                    each.what,
                )
                for each in self.flips
            ),
        )


def replay(decisions: Iterable[Found], policies: Policies, *, names: bool = False) -> Replay:
    """`decisions` with their personal fields opened, and with the column `key_id`. `names`: subjects by name. Memory grows with what
    differs, not with what is replayed."""
    made, source = Replay(), iter(decisions)
    while batch := list(islice(source, BATCH)):
        given = [(found, document) for found in batch if (document := _input(found, made.left_out)) is not None]
        for (found, document), verdict in zip(given, policies.verdicts([document for _, document in given]), strict=True):
            made.compared += 1
            difference = _difference(found, document, verdict, names)
            if difference is not None:
                made.differences.append(difference)
                _trace(made.rules, difference, policies, document)
    return made


def _difference(found: Found, document: Mapping[str, Any], verdict: Verdict, names: bool) -> Difference | None:
    told, kind = _told(found.leaf)
    before, after = _recorded(found.leaf, kind, found.personal or {}), _said(verdict)
    if before.whole == after.whole:
        return None
    intent, tenant = found.leaf["classification"]["intent"], found.leaf["subject"]["tenant"]
    subject = (document.get("subject") or {}).get("id") if names else found.columns["key_id"]
    return Difference(found.index, found.leaf["id"], intent, tenant, subject, before, after, told["digest"] == verdict.digest)


def _trace(rules: dict[str, tuple[str, ...]], difference: Difference, policies: Policies, document: Mapping[str, Any]) -> None:
    """One flip for each code is looked into."""
    anew = [code for code in difference.codes if code.startswith("+") and code not in rules]
    if difference.flips and anew:
        reasons = policies.evaluate(document).reasons
        rules.update({code: places(reasons, code[1:]) for code in anew})


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
    reasons = _told(found.leaf)[0]["reasons"]
    if ADDED.intersection(reasons):
        return "added"
    return "failed" if any(code.startswith(FAILED) for code in reasons) else None


def _told(leaf: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Of whom the input was put to, and what that is called: admission where that refused."""
    kind = "verdict" if leaf["admission"]["effect"] == "allow" else "admission"
    return leaf[kind], kind


def _recorded(leaf: Mapping[str, Any], kind: str, personal: Mapping[str, str]) -> Word:
    """The leaf's words, and where these do not say everything the sealed ones. What a denial was answered with is its outcome's."""
    told = leaf[kind]
    reasons = _sealed(personal, f"{kind}_reasons") or [{"code": code, "message": ""} for code in told["reasons"]]
    duties = _sealed(personal, f"{kind}_obligations") or [{"name": name, "params": {}} for name in told["obligations"]]
    reroute = (personal.get("reroute") if kind == "verdict" else None) or told["reroute"]
    status = leaf["outcome"]["status"] if told["effect"] == Effect.DENY and leaf["outcome"] is not None else None
    return _word(told["effect"], reasons, duties, reroute, status)


def _sealed(personal: Mapping[str, str], name: str) -> list[dict[str, Any]] | None:
    return orjson.loads(personal[name]) if personal.get(name) else None


def _said(verdict: Verdict) -> Word:
    reasons = [{"code": each.code, "message": each.message} for each in verdict.reasons]
    duties = [{"name": each.name, "params": each.params} for each in verdict.obligations]
    status = verdict.status or DENIED if verdict.effect is Effect.DENY else None
    return _word(verdict.effect.value, reasons, duties, verdict.reroute, status)


def _word(effect: str, reasons: list[dict[str, Any]], duties: list[dict[str, Any]], reroute: str | None, status: int | None) -> Word:
    """Reasons and obligations are sets: which came first means nothing."""
    parts = [sorted(orjson.dumps(each, option=orjson.OPT_SORT_KEYS) for each in some) for some in (reasons, duties)]
    whole = b"\n".join(
        [effect.encode(), (reroute or "").encode(), str(status).encode(), *dict.fromkeys(parts[0]), b"", *dict.fromkeys(parts[1])]
    )
    codes = tuple(sorted({each["code"] for each in reasons}))
    return Word(effect, codes, tuple(sorted({each["name"] for each in duties})), reroute, whole)
