"""What is wrong with a catalog by the meaning of its texts, as an encoder sees it. Needs no trained model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from router.catalog_lint import Finding, Linted, Severity, intents_only, quoted, words
from router.utterances import Utterance

# Cosines from which on two examples of different intents, and two descriptions, say the same.
ALIKE = 0.95
ALIKE_DESCRIPTIONS = 0.9
# Of both intents' examples that lie nearest to one of the other: from here on the two are said to be nearly one. Of one intent split at
# random half would. docs/classification.md has what this share finds and misses; the starter's closest pair, which is none, has a third.
OVERLAP = 0.34
LEAST_OVERLAP = 3
BLOCK = 1024

Vectors = NDArray[np.float32]


def lint_likeness(catalog: Linted, examples: Vectors, descriptions: Vectors) -> list[Finding]:
    """`examples` (n, d) in the order of `intents_only`, `descriptions` (intents, d) in that of the catalog; all of length one."""
    texts = intents_only(catalog)
    found = [*_alike_descriptions(catalog, descriptions)]
    if len({owner for owner, _ in texts}) < 2:
        return found
    own, other, row = _nearest(examples, [owner for owner, _ in texts])
    return [*_alike_examples(texts, other, row), *_near_intents(catalog, texts, own, other, row), *found]


def _nearest(vectors: Vectors, owners: Sequence[str]) -> tuple[Vectors, Vectors, NDArray[np.intp]]:
    """The highest cosine of each example to another of its own intent, to one of any other, and the row of the latter."""
    _, labels = np.unique(np.array(owners), return_inverse=True)
    own, other = np.empty(len(vectors), dtype=np.float32), np.empty(len(vectors), dtype=np.float32)
    row = np.empty(len(vectors), dtype=np.intp)
    for start in range(0, len(vectors), BLOCK):
        here = np.arange(start, min(start + BLOCK, len(vectors)))
        table = vectors[here] @ vectors.T
        same = labels[here][:, None] == labels[None, :]
        table[np.arange(len(here)), here] = -np.inf
        own[here] = np.where(same, table, -np.inf).max(axis=1)
        table[same] = -np.inf
        row[here] = table.argmax(axis=1)
        other[here] = table[np.arange(len(here)), row[here]]
    return own, other, row


def _alike_examples(texts: Sequence[tuple[str, Utterance]], other: Vectors, row: NDArray[np.intp]) -> Iterator[Finding]:
    """Once for each pair, at the later one; what is the same word by word is told elsewhere."""
    places = np.flatnonzero(other >= ALIKE)
    pairs = {(int(min(ends)), int(max(ends))): float(other[ends[0]]) for ends in zip(places, row[places], strict=True)}
    for (first, second), cosine in sorted(pairs.items()):
        (one, where), (another, utterance) = texts[first], texts[second]
        if words(where.text) != words(utterance.text):
            said = f"{quoted(utterance.text)} ({another}) and {quoted(where.text)} ({one}, {where.file}:{where.line}) say the same"
            remedy = "Keep one of them, or put what tells the intents apart into both."
            yield Finding(Severity.WARNING, "alike_examples", utterance.file, utterance.line, f"{said} (likeness {cosine:.2f}).", remedy)


def _near_intents(
    catalog: Linted, texts: Sequence[tuple[str, Utterance]], own: Vectors, other: Vectors, row: NDArray[np.intp]
) -> Iterator[Finding]:
    counts = Counter(owner for owner, _ in texts)
    places = {name: place for place, name in enumerate(catalog.parts.intents)}
    crossed: Counter[tuple[str, str]] = Counter()
    for place in np.flatnonzero(other > own).tolist():
        one, another = texts[place][0], texts[int(row[place])][0]
        crossed[(one, another) if places[one] < places[another] else (another, one)] += 1
    for (first, second), count in crossed.most_common():
        of = counts[first] + counts[second]
        if count >= max(LEAST_OVERLAP, OVERLAP * of):
            sentence = f"{first} and {second} are hard to tell apart: {count} of their {of} examples lie nearest to one of the other."
            remedy = "Merge them, or rewrite the examples so that each says what sets it apart."
            yield catalog.at(Severity.WARNING, "near_duplicate_intents", ("intents", second), sentence, remedy)


def _alike_descriptions(catalog: Linted, vectors: Vectors) -> Iterator[Finding]:
    names = list(catalog.parts.intents)
    table = np.triu(vectors @ vectors.T, k=1)
    for one, another in np.argwhere(table >= ALIKE_DESCRIPTIONS).tolist():
        first, second = (catalog.parts.intents[names[place]].description for place in (one, another))
        if words(first) != words(second):
            sentence = f"The descriptions of {names[one]} and {names[another]} say nearly the same (likeness {table[one, another]:.2f})."
            loc = ("intents", names[another], "description")
            yield catalog.at(Severity.WARNING, "alike_descriptions", loc, sentence, "Say what sets them apart.")
