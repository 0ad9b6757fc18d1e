"""What a policy does when a part of its input is missing or was not determined: an allow must not simply stay one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adapters.rego.instrument import Definition
from adapters.rego.reads import places
from router.decision import Effect, Verdict
from router.faults import Fault
from router.policy.evaluating import ENTRIES, Policies
from router.policy.folder import PolicyFolder
from router.policy.inputs import Document, Steps, put, without
from router.stages.signals import KINDS

ALIKE = 3  # allowed inputs that are taken apart of those for which the same rules held
PROBLEMS = ("undecodable", "charset_unsupported", "malformed_json", "encoded_body")
UNRESOLVED = ("ambiguous", "out_of_scope", "undetermined", "unavailable", "skipped")


@dataclass(frozen=True, slots=True)
class Robustness:
    """`faults` are ways of not knowing something under which an allow stays one without a rule that says so; `allowed` counts the inputs
    that were taken apart by entry point, `tried` what was made of them."""

    faults: tuple[Fault, ...]
    allowed: dict[str, int]
    tried: int


@dataclass(frozen=True, slots=True)
class _Change:
    path: Steps
    what: str
    document: Document


def check_robust(folder: PolicyFolder, policies: Policies, documents: Sequence[Document]) -> Robustness:
    """Of allowed inputs, everything that the rules read which were come to is taken away or made null in turn, and what may be cut off,
    unreadable, uncertain or unavailable is made so. A rule says that such a request may pass by holding for it when it did not hold
    before. What is allowed to go nowhere is no matter."""
    read = _Read(policies, folder)
    found: dict[tuple[Steps, str], Fault] = {}
    let = {entry: allowed_inputs(policies, documents, entry) for entry in ENTRIES}
    tried = 0
    for entry, inputs in let.items():
        if not inputs:
            found[((), entry)] = Fault(str(folder.path), 1, f"No input is allowed at {entry}, so that nothing was found out about it.")
        for known in inputs:
            changes = [each for each in _changes(known, read) if (each.path, each.what) not in found]
            tried += len(changes)
            verdicts = policies.verdicts([each.document for each in changes])
            for change, verdict in zip(changes, verdicts, strict=True):
                if verdict.effect is Effect.ALLOW and goes(change.document) and not rules_of(policies, change.document)[0] - known.held:
                    found[(change.path, change.what)] = _fault(entry, change, verdict, read.place(change.path))
    return Robustness(tuple(sorted(found.values())), {entry: len(inputs) for entry, inputs in let.items()}, tried)


@dataclass(frozen=True, slots=True)
class Known:
    """An allowed input, the rules that held, and all that were come to."""

    document: Document
    held: frozenset[Definition]
    come_to: frozenset[Definition]


class _Read:
    """Who reads what of the input."""

    def __init__(self, policies: Policies, folder: PolicyFolder) -> None:
        self._places = places(policies.modules)
        self._folder = folder

    def by(self, come_to: frozenset[Definition]) -> list[Steps]:
        rules = {each.rule for each in come_to}
        return sorted({each.path for each in self._places if each.rule in rules})

    def place(self, path: Steps) -> Fault:
        """Where the path is read, or else what it is a part of or has as parts; the folder, where nothing reads it."""
        near = [each for each in self._places if each.path[: len(path)] == path or path[: len(each.path)] == each.path]
        best = max(near, key=lambda each: len(each.path), default=None)
        return Fault(best.file, best.line, "") if best is not None else Fault(str(self._folder.path), 1, "")


def allowed_inputs(policies: Policies, documents: Sequence[Document], entry: str) -> list[Known]:
    """A few of each kind, the kinds being told apart by what held."""
    asked = [each for each in documents if each.get("entry") == entry and goes(each)]
    verdicts = policies.verdicts(asked)
    kinds: dict[frozenset[Definition], list[Known]] = {}
    for document, verdict in zip(asked, verdicts, strict=True):
        if verdict.effect is Effect.ALLOW:
            held, come_to = rules_of(policies, document)
            alike = kinds.setdefault(held, [])
            if len(alike) < ALIKE:
                alike.append(Known(document, held, come_to))
    return [each for alike in kinds.values() for each in alike]


def goes(document: Document) -> bool:
    """Whether an allow lets the request go anywhere."""
    return document.get("entry") == "admission" or document.get("route") is not None


def rules_of(policies: Policies, document: Document) -> tuple[frozenset[Definition], frozenset[Definition]]:
    explained = policies.explain(document)
    held = frozenset(each.definition for found in explained for each in found.held)
    return held, held.union(*(found.not_held for found in explained))


def _fault(entry: str, change: _Change, verdict: Verdict, place: Fault) -> Fault:
    code = verdict.reasons[0].code if verdict.reasons else "no reason"
    name = f"input.{'.'.join(change.path)}"
    sentence = f"A request stays allowed ({code}) at {entry} with {name} {change.what}, and no rule says that it may."
    return Fault(place.file, place.line, sentence)


def _changes(known: Known, read: _Read) -> Iterator[_Change]:
    document = known.document
    for path in read.by(known.come_to):
        lacking = without(document, path)
        if lacking != document:
            yield _Change(path, "missing", lacking)
        nothing = put(document, path, None)
        if nothing != document:
            yield _Change(path, "null", nothing)
    yield from (each for each in _degraded(document) if each.document != document)


def _degraded(document: Document) -> Iterator[_Change]:
    """What the pipeline itself could not find out."""
    if document["entry"] == "admission":  # which no request gets past with them
        body: Steps = ("request", "body")
        yield _Change((*body, "truncated"), "true", put(document, (*body, "truncated"), True))
        for problem in PROBLEMS:
            yield _Change((*body, "problem"), problem, put(document, (*body, "problem"), problem))
        return
    confidence: Steps = ("classification", "confidence")
    yield _Change(confidence, "0", put(document, confidence, 0))
    for status in UNRESOLVED:
        unresolved = put(put(document, ("classification", "status"), status), ("classification", "intent"), None)
        yield _Change(("classification", "status"), status, put(put(unresolved, confidence, None), ("intent",), None))
    for kind in KINDS:
        yield _Change(("signals", "unknown"), f"[{kind}]", put(document, ("signals", "unknown"), [kind]))
