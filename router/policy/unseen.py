"""Signals that could not be computed: an allow must not rest on that something was not found where nobody could look.

Much of what `robust` finds may be meant so; this never is. What a finding of some kind would stop must be stopped too while that kind is
unknown, unless a rule says, by holding then, that such a request may pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adapters.rego.reads import Place, places
from router.decision import Effect
from router.faults import Fault
from router.policy.evaluating import Policies
from router.policy.folder import PolicyFolder
from router.policy.inputs import Document, generated, put, words_of
from router.policy.robust import SIGNALS, Known, allowed_inputs, rules_of

FINDINGS, UNKNOWN = ("signals", "findings"), ("signals", "unknown")
CERTAIN = {"score": 1, "count": 1}


def unseen_faults(folder: PolicyFolder, policies: Policies, documents: Sequence[Document] | None = None) -> tuple[Fault, ...]:
    """Where a request that a finding would stop passes also while findings of that kind are unknown. `documents` are inputs to try; else
    they are made. Policies that read no findings cost nothing."""
    reading = [each for each in places(policies.modules) if each.path[: len(FINDINGS)] == FINDINGS]
    if not reading:
        return ()
    tried = documents if documents is not None else generated(folder, plain=True)
    names = {kind: _names(kind, folder, reading) for kind in SIGNALS}
    found: dict[str, Fault] = {}
    for known in allowed_inputs(policies, [each for each in tried if _seen(each)], "decision"):
        for kind, place in _asked(known, reading):
            if kind not in found and (code := _passes(policies, known, kind)) and _stops(policies, known, names[kind]):
                found[kind] = _fault(place, kind, code)
    return tuple(sorted(found.values()))


def _names(kind: str, folder: PolicyFolder, reading: Sequence[Place]) -> list[str]:
    """Of findings of a kind: those that policies and their data name, and any other."""
    named = {each.path[len(FINDINGS)] for each in reading if len(each.path) > len(FINDINGS)}
    return sorted({kind, f"{kind}.any", *(name for name in (*named, *words_of([folder.data])) if _kind(name) == kind)})


def _seen(document: Document) -> bool:
    """Everything was looked at."""
    return document.get("entry") == "decision" and document["signals"]["unknown"] == []


def _asked(known: Known, reading: Sequence[Place]) -> Iterator[tuple[str, Place]]:
    """Kinds that rules ask for which were come to, of which nothing was found."""
    rules = {each.rule for each in known.come_to}
    for kind in SIGNALS:
        if any(_kind(name) == kind for name in known.document["signals"]["findings"]):
            continue
        for place in reading:
            if place.rule in rules and (len(place.path) == len(FINDINGS) or _kind(place.path[len(FINDINGS)]) == kind):
                yield kind, place
                break


def _kind(name: str) -> str:
    return name.partition(".")[0]


def _passes(policies: Policies, known: Known, kind: str) -> str:
    """While the kind is unknown: the reason of an allow that stays one without a rule that says so, else nothing."""
    blind = put(known.document, UNKNOWN, [kind])
    (verdict,) = policies.verdicts([blind])
    if verdict.effect is not Effect.ALLOW or rules_of(policies, blind)[0] - known.held:
        return ""
    return verdict.reasons[0].code if verdict.reasons else "no reason"


def _stops(policies: Policies, known: Known, names: Sequence[str]) -> bool:
    """Whether a finding under one of these names would."""
    before = known.document["signals"]["findings"]
    verdicts = policies.verdicts([put(known.document, FINDINGS, {**before, name: CERTAIN}) for name in names])
    return any(each.effect is not Effect.ALLOW for each in verdicts)


def _fault(place: Place, kind: str, code: str) -> Fault:
    sentence = f"A request that a finding of the kind '{kind}' would stop passes ({code}) also where input.signals.unknown has '{kind}'."
    return Fault(place.file, place.line, f"{sentence} Nobody could look for it there: ask that nothing is unknown, too.")
