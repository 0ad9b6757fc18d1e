"""A text's clauses: split at sentence punctuation of any language, and at English words that join two requests. Linear, and bounded."""

from __future__ import annotations

import re
from itertools import islice, pairwise

from router.stages.courtesy import is_courtesy

MOST_CLAUSES = 4
MOST_CHARACTERS = 400  # of a clause: nobody asks for one thing at greater length, and each costs a classification
MOST_JOINTS = 64  # what comes after so many is one clause
# "salt and pepper", "Mr. Smith": what is shorter belongs to the next one, or is none.
LEAST_WORDS = 3
LEAST_UNSPACED = 4  # characters, in scripts that have no spaces between words
_UNSPACED = re.compile(r"[\u2e80-\uffdc\U0001f000-\U0003ffff]")
# Each run of marks is begun once only, so that a text of nothing else is read in linear time.
# Normalised text: full-width marks have become ASCII ones, which are then not followed by a space.
_SENTENCE = re.compile(r"(?<![.!?;])[.!?;]+ |(?<![!?;])[!?;]+(?=[^\x00-\x7f])|[\u3002\u0964\u06d4\u061f\u061b]+ ?")
_JOINT = re.compile(
    _SENTENCE.pattern + r"|,? (?:and|then|plus|also|afterwards|after that|as well as)(?:,? (?:then|also|plus|after that))?,? ",
    re.IGNORECASE,
)
_WORDS = frozenset({"and", "then", "plus", "also", "afterwards", "after", "well"})


def clauses(text: str) -> tuple[str, ...]:
    """At least two, at most MOST_CLAUSES, of normalised text, courtesies left out; none where there is nothing to split."""
    if _SENTENCE.search(text) is None and _WORDS.isdisjoint(text.lower().replace(",", " ").split()):
        return ()
    whole: list[str] = []
    start = 0
    for joint in islice(_JOINT.finditer(text), MOST_JOINTS):
        clause = text[start : joint.start()]
        if _long_enough(clause):
            start = joint.end()
            whole.append(clause)
    whole.append(text[start:])
    asking = [clause for clause in whole if _long_enough(clause) and not is_courtesy(clause)]
    return _grouped(asking) if len(asking) > 1 else ()


def _long_enough(clause: str) -> bool:
    if len(clause.split(None, LEAST_WORDS - 1)) >= LEAST_WORDS:
        return True
    return len(clause) >= LEAST_UNSPACED and _UNSPACED.search(clause) is not None


def _grouped(asking: list[str]) -> tuple[str, ...]:
    """Neighbours together, where there are too many; what is too long is cut."""
    if len(asking) <= MOST_CLAUSES:
        return tuple(clause[:MOST_CHARACTERS] for clause in asking)
    bounds = [len(asking) * number // MOST_CLAUSES for number in range(MOST_CLAUSES + 1)]
    return tuple(". ".join(asking[first:last])[:MOST_CHARACTERS] for first, last in pairwise(bounds))
