"""Example utterances: read from the catalog or from files beside it, and checked against each other."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from router.catalog import OutOfScope, utterances
from router.catalog_checks import Parts
from router.faults import Document, Fault, Loc
from router.validation import validate
from router.yaml_source import decode

OUT_OF_SCOPE = "out_of_scope"
BACKGROUND = "(out of scope)"  # the owner of what is about no intent
MAX_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Utterance:
    text: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Source:
    """Where the utterances of one intent (or of `out_of_scope`) come from."""

    owner: str
    loc: Loc
    examples: tuple[str, ...]
    file: str | None


def beside(catalog_file: str, path: str) -> str:
    """A path in the catalog, relative to the workspace."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(catalog_file), path))


def sources_of(catalog: Parts) -> list[Source]:
    """Every intent's, then what is about none."""
    file = catalog.document.file
    sources = [
        Source(name, ("intents", name), intent.examples, intent.examples_file and beside(file, intent.examples_file))
        for name, intent in catalog.intents.items()
    ]
    outside, _ = validate(OutOfScope, catalog.document, (OUT_OF_SCOPE,), catalog.document.value.get(OUT_OF_SCOPE) or {})
    if outside is not None:
        named = outside.examples_file and beside(file, outside.examples_file)
        sources.append(Source(BACKGROUND, (OUT_OF_SCOPE,), outside.examples, named))
    return sources


def read_sources(document: Document, sources: list[Source], files: Mapping[str, bytes]) -> tuple[dict[str, list[Utterance]], list[Fault]]:
    """Utterances by owner."""
    found: dict[str, list[Utterance]] = {}
    faults: list[Fault] = []
    for source in sources:
        if source.file is None:
            lines = [document.line((*source.loc, "examples", place)) for place in range(len(source.examples))]
            found[source.owner] = [Utterance(text, document.file, line) for text, line in zip(source.examples, lines, strict=True)]
        else:
            found[source.owner], wrong = _from_file(document, source, source.file, files)
            faults += wrong
    return found, faults


def check_utterances(catalog: Parts, found: Mapping[str, list[Utterance]]) -> Iterator[Fault]:
    """Too long, and the same words under two owners: the classifier could only learn to contradict itself."""
    seen: dict[str, tuple[str, Utterance]] = {}
    for owner, texts in found.items():
        for utterance in texts:
            if len(utterance.text) > MAX_CHARS:
                yield Fault(utterance.file, utterance.line, f"The utterance is longer than {MAX_CHARS} characters.")
            key = " ".join(utterance.text.casefold().split())
            first, where = seen.setdefault(key, (owner, utterance))
            if first != owner:
                place = f"{where.file}:{where.line}"
                yield Fault(
                    utterance.file, utterance.line, f"'{utterance.text[:80]}' is an example of both '{first}' ({place}) and '{owner}'."
                )
    ruled = {rule.intent for rule in catalog.rules.values()}
    for name, intent in catalog.intents.items():
        if not intent.examples and intent.examples_file is None and name not in ruled:
            yield catalog.document.fault(
                ("intents", name), f"The intent '{name}' has neither examples nor a rule, so nothing can ever be it."
            )


def check_trainable(catalog: Parts, found: Mapping[str, list[Utterance]]) -> Iterator[Fault]:
    """A classifier learns by telling intents apart, and is calibrated on examples that it was not shown."""
    counts = {name: len({utterance.text for utterance in found.get(name, ())}) for name in catalog.names("intents")}
    learnt = [name for name, count in counts.items() if count]
    unread = (not counts[name] for name, intent in catalog.intents.items() if intent.examples or intent.examples_file)
    if not learnt or any(name not in catalog.intents for name in counts) or any(unread):
        return
    if len(learnt) == 1:
        sentence = f"Only the intent '{learnt[0]}' has examples; a classifier needs at least two intents to tell apart."
        yield catalog.document.fault(("intents",), sentence)
    elif sum(count > 1 for count in counts.values()) < 2:
        sentence = "Fewer than two intents have two or more different examples, so that confidence cannot be calibrated."
        yield catalog.document.fault(("intents",), sentence)


def _from_file(document: Document, source: Source, file: str, files: Mapping[str, bytes]) -> tuple[list[Utterance], list[Fault]]:
    loc = (*source.loc, "examples_file")
    if file not in files:
        return [], [document.fault(loc, f"The file '{file}' does not exist.")]
    text, faults = decode(file, files[file])
    found = [Utterance(line, file, number) for number, line in utterances(text)]
    if not found and not faults:
        faults = [document.fault(loc, f"The file '{file}' has no utterance in it.")]
    return found, faults
