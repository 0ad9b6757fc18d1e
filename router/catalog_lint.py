"""What is wrong with a catalog though it is valid: told by the words alone, before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from router.catalog import Intent, Route
from router.catalog_checks import Parts, check_reachable, parts
from router.config import Config
from router.errors import ConfigError
from router.faults import Fault, Loc
from router.snapshot import Snapshot
from router.stages.classification import normalise
from router.stages.folding import Folded
from router.stages.patterns import Patterns
from router.stages.pii import pii
from router.stages.secrets import secrets
from router.stages.signals import SignalDetector
from router.utterances import BACKGROUND, Utterance, beside, read_sources, sources_of
from router.validation import validate
from router.yaml_source import read_yaml

# RFC 2606: addresses that can be nobody's.
NOBODYS = re.compile(rb"(?i)[@.](?:example|test|invalid|localhost|example\.(?:com|net|org))$")


# Findings about what `lockgate check` refuses too.
REFUSED = frozenset(("same_example", "shadowed_rule", "unreachable_intent", "no_route"))


class Severity(StrEnum):
    """An `error` makes the catalog worse than it looks or gives something away; a `note` costs nothing."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """`sentence` says what is there, `remedy` what to do about it. `line` is 1-based."""

    severity: Severity
    code: str
    file: str
    line: int
    sentence: str
    remedy: str

    def described(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class HeldOutText:
    """A text that the classifier is to be measured on, and where it stands."""

    text: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Linted:
    """A catalog's valid parts, its utterances by owner, and the route that the listener sends abstentions to, if it names one."""

    parts: Parts
    utterances: Mapping[str, Sequence[Utterance]]
    abstentions: str | None = None

    def examples(self) -> Iterator[tuple[str, Utterance]]:
        """Every intent's, with its name; what is about no intent comes last."""
        for owner, found in self.utterances.items():
            yield from ((owner, utterance) for utterance in found)

    def at(self, severity: Severity, code: str, loc: Loc, sentence: str, remedy: str) -> Finding:
        return Finding(severity, code, self.parts.document.file, self.parts.document.line(loc), sentence, remedy)


def opened(snapshot: Snapshot, environment: Mapping[str, str]) -> Linted:
    """Raises ConfigError for a catalog that is not there or no YAML; what is faulty in one entry does not hide the others."""
    config = _config(snapshot, environment)
    file = beside(snapshot.config, config.catalog)
    if file not in snapshot.files:
        raise ConfigError(f"{file}:1: The file does not exist.")
    document, faults = read_yaml(file, snapshot.files[file], environment)
    if document is None or not isinstance(document.value, dict):
        raise ConfigError(*(map(str, faults) if faults else [f"{file}:1: The file must be a mapping of keys to values."]))
    pieces = parts(document)
    utterances, _ = read_sources(document, sources_of(pieces), snapshot.files)
    return Linted(pieces, utterances, config.gateway.on_abstain.route)


def _config(snapshot: Snapshot, environment: Mapping[str, str]) -> Config:
    """A faulty one counts as its defaults: its faults are told elsewhere."""
    document, _ = read_yaml(snapshot.config, snapshot.files[snapshot.config], environment)
    if document is None:
        return Config(version=1)
    config, _ = validate(Config, document, value=document.value or {})
    return config or Config(version=1)


def lint_words(catalog: Linted, held_out: Sequence[HeldOutText] = ()) -> list[Finding]:
    return [
        *_same_examples(catalog),
        *_leaks(catalog, held_out),
        *_sensitive(catalog),
        *_descriptions(catalog),
        *_shadowed(catalog),
        *_unused(catalog),
    ]


def as_findings(faults: Iterable[str], known: Iterable[Finding]) -> list[Finding]:
    """What `lockgate check` refuses, where no finding says the same of that line already."""
    told = {(finding.file, finding.line) for finding in known if finding.code in REFUSED}
    found = []
    for fault in faults:
        place, _, sentence = fault.partition(": ")
        file, _, line = place.rpartition(":")
        where = (file, int(line)) if line.isdigit() else ("", 0)
        if where not in told:
            found.append(Finding(Severity.ERROR, "invalid", *where, sentence if where[1] else fault, "Mend it; nothing is served before."))
    return found


def words(text: str) -> str:
    """What two texts share that differ in case, spacing and punctuation only."""
    return " ".join(re.findall(r"\w+", normalise(text).casefold())) or normalise(text)


def quoted(text: str, most: int = 80) -> str:
    """The text as a finding may show it, without what is personal or secret in it."""
    shown = _detector().mask(text)
    return f"“{shown if len(shown) <= most else shown[: most - 1] + '…'}”"


@cache
def _detector() -> SignalDetector:
    return SignalDetector()


def _same_examples(catalog: Linted) -> Iterator[Finding]:
    seen: dict[str, tuple[str, Utterance]] = {}
    for owner, utterance in catalog.examples():
        first, where = seen.setdefault(words(utterance.text), (owner, utterance))
        if where is utterance:
            continue
        place = f"{where.file}:{where.line}"
        if first == owner:
            sentence = f"{quoted(utterance.text)} stands in {owner} already, at {place}."
            yield _about(Severity.NOTE, "repeated_example", utterance, sentence, "Leave one out: it counts once, or nearly so.")
        else:
            sentence = f"{quoted(utterance.text)} is an example of {owner} and, at {place}, of {first}."
            yield _about(Severity.ERROR, "same_example", utterance, sentence, "Keep it under the intent that it should have.")


def _leaks(catalog: Linted, held_out: Sequence[HeldOutText]) -> Iterator[Finding]:
    measured = {words(each.text): each for each in reversed(held_out)}
    for owner, utterance in catalog.examples():
        leaked = measured.get(words(utterance.text))
        if leaked is not None:
            sentence = f"{quoted(utterance.text)}, an example of {owner}, is a held-out text too ({leaked.file}:{leaked.line})."
            remedy = "Take it out of one of both: what was learnt says nothing when it is measured."
            yield _about(Severity.ERROR, "leaked_example", utterance, sentence, remedy)


def _sensitive(catalog: Linted) -> Iterator[Finding]:
    """Never quotes what it found."""
    personal, secret = pii(), secrets()
    for owner, utterance in catalog.examples():
        folded = Folded(utterance.text)
        for kind in _kinds(secret, folded):
            sentence = f"An example of {owner} holds what looks like a credential ({kind})."
            remedy = "Write something that is none in its place; if it is real, revoke it."
            yield _about(Severity.ERROR, "secret", utterance, sentence, remedy)
        for kind in _kinds(personal, folded):
            sentence = f"An example of {owner} holds what looks like personal data ({kind})."
            remedy = "Write what can be nobody's, such as an address under .example or an account number with wrong check digits."
            yield _about(Severity.WARNING, "personal_data", utterance, sentence, remedy)


def _kinds(patterns: Patterns, folded: Folded) -> list[str]:
    hits = (hit for hit in patterns.find(folded.data) if not NOBODYS.search(folded.data[hit.start : hit.end]))
    return sorted({hit.name.partition(".")[2] for hit in hits})


def _descriptions(catalog: Linted) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for name, intent in catalog.parts.intents.items():
        loc, said = ("intents", name, "description"), words(intent.description)
        first = seen.setdefault(said, name)
        if first != name:
            sentence = f"The descriptions of {first} and {name} are the same."
            yield catalog.at(Severity.WARNING, "same_description", loc, sentence, "Say what sets them apart.")
        if said == words(re.sub(r"[_.-]", " ", name)):
            sentence = f"The description of {name} says no more than its name."
            yield catalog.at(Severity.WARNING, "empty_description", loc, sentence, "Say in a sentence what people want who mean it.")


def _shadowed(catalog: Linted) -> Iterator[Finding]:
    for fault in check_reachable(catalog.parts):
        yield _fault(Severity.ERROR, "shadowed_rule", fault, "Move it before the other, or take it out.")


def _unused(catalog: Linted) -> Iterator[Finding]:
    """Intents that nothing can lead to, routes that nothing takes, destinations that no route leads to."""
    pieces = catalog.parts
    ruled = {rule.intent for rule in pieces.rules.values()}
    for name, intent in pieces.intents.items():
        if not _learnt(intent) and name not in ruled:
            sentence = f"The intent {name} has neither examples nor a rule, so nothing can ever be it."
            yield catalog.at(Severity.ERROR, "unreachable_intent", ("intents", name), sentence, "Give it examples or a rule.")
        if pieces.names("routes") and intent.route not in pieces.names("routes"):
            sentence = f"The intent {name} goes by the route {intent.route}, which there is not."
            yield catalog.at(Severity.ERROR, "no_route", ("intents", name, "route"), sentence, "Name a route that there is.")
    taken = {rule.route for rule in pieces.rules.values()} | {intent.route for intent in pieces.intents.values()}
    holders: list[Intent | Route] = [*pieces.intents.values(), *pieces.routes.values()]
    taken |= {holder.on_abstain.route for holder in holders if holder.on_abstain is not None} | {catalog.abstentions}
    remedy = "Take it out, unless a policy reroutes there."
    for name in sorted(pieces.routes.keys() - taken):
        sentence = f"No intent, rule or abstention leads to the route {name}."
        yield catalog.at(Severity.NOTE, "unused_route", ("routes", name), sentence, remedy)
    for name in sorted(pieces.destinations.keys() - {route.destination for route in pieces.routes.values()}):
        sentence = f"No route leads to the destination {name}."
        yield catalog.at(Severity.WARNING, "unused_destination", ("destinations", name), sentence, "Take it out, or give it a route.")


def _learnt(intent: Intent) -> bool:
    return bool(intent.examples or intent.examples_file)


def _about(severity: Severity, code: str, utterance: Utterance, sentence: str, remedy: str) -> Finding:
    return Finding(severity, code, utterance.file, utterance.line, sentence, remedy)


def _fault(severity: Severity, code: str, fault: Fault, remedy: str) -> Finding:
    return Finding(severity, code, fault.file, fault.line, fault.sentence, remedy)


def intents_only(catalog: Linted) -> list[tuple[str, Utterance]]:
    return [(owner, utterance) for owner, utterance in catalog.examples() if owner != BACKGROUND]
