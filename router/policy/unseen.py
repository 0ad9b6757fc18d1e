"""Signals that could not be computed: an allow must not rest on that something was not found where nobody could look.

Much of what `robust` finds may be meant so; this never is. What a finding of some kind would stop, or change on its way, must not pass as
it is while that kind is unknown, unless a rule says that such a request may pass: one that holds then, did not hold before, and without
which it would not pass. A rule that only notes that something is unknown lets nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from adapters.rego.instrument import Definition
from adapters.rego.reads import may_read, places
from router.decision import Effect, Verdict
from router.faults import Fault
from router.policy.evaluating import Left, Policies
from router.policy.folder import PolicyFolder
from router.policy.inputs import Document, generated, put, words_of
from router.policy.robust import goes, rules_of
from router.stages.pii import pii
from router.stages.secrets import secrets
from router.stages.signals import KINDS

SIGNALS, FINDINGS, UNKNOWN = ("signals",), ("signals", "findings"), ("signals", "unknown")
SHIPPED = ("injection", "text.hidden_characters", "text.mixed_script", *sorted({*pii().names, *secrets().names}))
ONCE, OFTEN = {"score": 1, "count": 1}, {"score": 1, "count": 1_000_000_000}
MOST = 3000  # requests that pass, of as many as there are
MOST_EXPLAINED = 200  # of those that findings of a kind would stop; a rule is looked for that lets them
MOST_LEFT_OUT = 40  # sets of rules that are left out, to see whether they let a request pass
TOGETHER = 3  # rules that are left out at once
SINGLY = 20  # requests with which findings are tried one by one, and not only all together
PASSING = (Effect.ALLOW, Effect.REROUTE)
PROTECTING = frozenset(("mask_body", "redact_fields", "require_review", "require_step_up"))
MOST_ENDS = 500  # of names that are made up
END = re.compile(r"\.?[a-z0-9_]{1,40}")
LITERAL = re.compile(r'"([\w.-]{1,100})"|`([\w.-]{1,100})`')


OTHER_WORDS = "lockgate.left_out"
Said = Mapping[Definition, Sequence[Any]]  # what held, with its values
How = tuple[Effect, str | None, frozenset[tuple[str, str]]]  # with the duties that protect what is sent, each with its params


@dataclass(frozen=True, slots=True)
class _Passing:
    document: Document
    verdict: Verdict


def unseen_faults(folder: PolicyFolder, policies: Policies, documents: Sequence[Document] | None = None) -> tuple[Fault, ...]:
    """Where a request that a finding would stop, send elsewhere or have masked passes as it is also while findings of that kind are
    unknown. `documents` are inputs to try; else they are made. Policies that cannot read findings cost nothing."""
    if not may_read(policies.modules, FINDINGS):
        return ()
    tried = [each for each in (documents if documents is not None else generated(folder, plain=True)) if _seen(each)]
    passing = [_Passing(each, verdict) for each, verdict in zip(tried, policies.verdicts(tried), strict=True) if verdict.effect in PASSING]
    passing = passing[:: -(-len(passing) // MOST) or 1]
    literals, found = _literals(folder), dict[str, Fault]()
    for unknown in (*([kind] for kind in KINDS), list(KINDS)):  # each alone, and together what a body that was cut off hides
        verdicts = policies.verdicts([put(each.document, UNKNOWN, unknown) for each in passing])
        alike = [each for each, verdict in zip(passing, verdicts, strict=True) if _how(verdict) == _how(each.verdict)]
        for kind in unknown:
            if kind not in found and (fault := _first(policies, alike, unknown, kind, literals)) is not None:
                found[kind] = fault
    return tuple(sorted(found.values()))


def _seen(document: Document) -> bool:
    """It goes somewhere, and everything was looked at."""
    signals = document.get("signals")
    looked = isinstance(signals, dict) and signals.get("unknown") == [] and isinstance(signals.get("findings"), dict)
    return looked and document.get("entry") == "decision" and goes(document)


def _first(policies: Policies, alike: Sequence[_Passing], unknown: Sequence[str], kind: str, literals: Sequence[str]) -> Fault | None:
    """Of those that pass in the same way also while that is unknown, the first that no rule lets."""
    free = [each for each in alike if not any(_kind(name) == kind for name in each.document["signals"]["findings"])]
    for each in islice(_stopped(policies, free, kind, literals), MOST_EXPLAINED):
        held, come_to = rules_of(policies, each.document)
        blind = put(each.document, UNKNOWN, list(unknown))
        if not _let(policies, each.document, blind, _said(policies, each.document), _how(each.verdict)):
            return _fault(_place(policies, kind, come_to, held), kind, each.verdict)
    return None


def _let(policies: Policies, known: Document, blind: Document, before: Said, how: How) -> bool:
    """Whether it passes so because of rules that did not hold while all was known: without them it is kept from it. Of several of which
    each is enough the others are come to only without the first."""
    ahead, tried = [frozenset[Left]()], 0
    for lacking in ahead:
        now = _said(policies.lacking(lacking), blind)
        new = [each for each in now if each not in before and not _is_left_over(policies, known, each)]
        for each in _apart(new, now, before):
            more = lacking | each
            if more in ahead:
                continue
            if tried == MOST_LEFT_OUT:
                return False
            tried += 1
            (verdict,) = policies.lacking(more).verdicts([blind])
            if _kept(how, _how(verdict)):
                return True
            if len({definition.rule for definition, _ in more}) < TOGETHER:
                ahead.append(more)
    return False


def _is_left_over(policies: Policies, known: Document, each: Definition) -> bool:
    """Of an `else`: it is for whatever is left, and says nothing of such a request, though nothing may come out without it. It has no
    condition, or one that is met while all is known as well: only something else comes before it then."""
    if each.always:
        return True
    before = frozenset[Left]()
    while each.body:
        held = rules_of(policies.lacking(before), known)[0]
        if each in held:
            return True
        earlier = {other for other in held if (other.rule, other.file) == (each.rule, each.file) and other.body < each.body}
        if not earlier:
            return False
        before |= {(other, None) for other in earlier}
    return False


def _apart(new: Iterable[Definition], now: Said, before: Said) -> Iterator[frozenset[Left]]:
    """What holds only now: each by itself, and each rule with all of its bodies."""
    found = [(each, _in_place(each, now, before)) for each in sorted(new, key=lambda each: (each.file, each.line, each.rule))]
    yield from (frozenset((each,)) for each in found)
    for rule in dict.fromkeys(each.rule for each, _ in found):
        bodies = frozenset(each for each in found if each[0].rule == rule)
        if len(bodies) > 1:
            yield bodies


def _said(policies: Policies, document: Document) -> Said:
    found: dict[Definition, list[Any]] = {}
    for each in (held for explained in policies.explain(document) for held in explained.held):
        found.setdefault(each.definition, []).append(each.value)
    return found


def _in_place(body: Definition, now: Said, before: Said) -> str | None:
    """What is said in its place where its rule said something before, too: without it there would be nothing, which keeps a request from
    passing whether it lets it or only notes. None where it is just left out: it says what another body said, or no words."""
    others = [value for each, values in before.items() if each.rule == body.rule for value in values]
    values = now[body]
    if not others or any(value in others for value in values):
        return None
    words = _other_words(values[0])
    return None if words is None else json.dumps(words)


def _other_words(value: Any) -> Any:
    """As a code or a message has them, and nobody asks for; None for what has no words, or decides by itself."""
    if isinstance(value, str):
        return OTHER_WORDS
    if isinstance(value, list):
        words = [_other_words(each) for each in value]
        return words if words and None not in words else None
    if isinstance(value, dict) and "code" in value and "effect" not in value:
        return {**value, "code": OTHER_WORDS}
    return None


def _how(verdict: Verdict) -> How:
    """In which way it passes, or that it does not."""
    protecting = (each for each in verdict.obligations if each.name in PROTECTING)
    duties = frozenset((each.name, json.dumps(each.params, sort_keys=True, default=dict)) for each in protecting)
    return verdict.effect, verdict.reroute, duties


def _kept(before: How, after: How) -> bool:
    """Whether what passed in one way does not pass so any more: it is stopped, sent elsewhere, or protected where it was not."""
    elsewhere = after[:2] != before[:2] and after[0] is not Effect.ALLOW
    return elsewhere or bool(after[2] - before[2])


def _stopped(policies: Policies, passing: Sequence[_Passing], kind: str, literals: Sequence[str]) -> Iterator[_Passing]:
    """Those that findings of the kind would keep from passing in that way: all that there are, often, or for some one by one."""
    every = dict.fromkeys(_names(kind, literals), OFTEN)
    yield from (each for each, changed in _changed(policies, [(each, every) for each in passing]) if changed)
    singly = [(each, {name: ONCE}) for each in passing[:SINGLY] for name in _known(kind, literals)]
    yield from (each for each, changed in _changed(policies, singly) if changed)


def _changed(policies: Policies, tried: Sequence[tuple[_Passing, Mapping[str, Any]]]) -> Iterator[tuple[_Passing, bool]]:
    verdicts = policies.verdicts([_finding(each.document, more) for each, more in tried])
    for (each, _), verdict in zip(tried, verdicts, strict=True):
        yield each, _kept(_how(each.verdict), _how(verdict))


def _finding(document: Document, more: Mapping[str, Any]) -> Document:
    return put(document, FINDINGS, {**document["signals"]["findings"], **more})


def _literals(folder: PolicyFolder) -> list[str]:
    """What policies and their data may compare names with, or make them of."""
    written = {one or other for text in folder.policies.values() for one, other in LITERAL.findall(text)}
    return sorted(written.union(words_of([folder.data])))


def _names(kind: str, literals: Sequence[str]) -> list[str]:
    """Also those that policies may make up, of which a recogniser of personal data may have any."""
    ends = [each.strip(".") for each in literals if kind == "pii" and END.fullmatch(each)]
    return [*_known(kind, literals), *(f"pii.{each}" for each in ends[:MOST_ENDS])]


def _known(kind: str, literals: Sequence[str]) -> list[str]:
    """Names of findings of a kind: those that the detectors give, and that policies and data have."""
    return sorted({name for name in (*SHIPPED, *literals) if _kind(name) == kind})


def _kind(name: str) -> str:
    return name.partition(".")[0]


def _place(policies: Policies, kind: str, come_to: frozenset[Definition], held: frozenset[Definition]) -> tuple[str, int]:
    """Where one of the rules asks for it, as exactly as can be told; else the one that decided."""
    rules = {each.rule for each in come_to}
    reading = [each for each in places(policies.modules) if each.rule in rules and each.path[:1] == SIGNALS]
    exact = [each for each in reading if each.path[:2] == FINDINGS and len(each.path) > 2 and _kind(each.path[2]) == kind]
    around = [each for each in reading if each.path in (SIGNALS, FINDINGS)]
    decided = sorted((each.file, each.line) for each in held if each.rule[-1] == "result")
    return next(((each.file, each.line) for each in (*exact, *around)), decided[0] if decided else ("", 1))


def _fault(place: tuple[str, int], kind: str, verdict: Verdict) -> Fault:
    code = verdict.reasons[0].code if verdict.reasons else "no reason"
    sentence = f"A request that a finding of the kind '{kind}' would stop passes ({code}) also where input.signals.unknown has '{kind}'."
    return Fault(*place, f"{sentence} Nobody could look for it there: ask that nothing is unknown, too.")
