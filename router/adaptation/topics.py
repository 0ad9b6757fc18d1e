"""What people ask for and nobody serves: groups of texts without an intent, told by words that several people used, never by a text."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

WORD = re.compile(r"[^\W\d_]{3,}", re.UNICODE)
LABEL = re.compile(r"\[[a-z_]+\]")  # in the place of what was masked
MOST_TERMS, IN_NAME = 6, 2
NAME = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A decision without an intent. `subject` is the key of the one who asked, `text` is masked."""

    decision_id: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Topic:
    """`name` is suggested; empty where no word of it may be told. `decisions` are the newest first."""

    name: str
    terms: tuple[str, ...]
    texts: int
    people: int
    decisions: tuple[str, ...]


def told(groups: Sequence[Sequence[int]], asked: Sequence[Unanswered], least_people: int) -> list[Topic]:
    """Groups of fewer people are left out: a topic of one person would tell of that person."""
    everywhere = Counter(word for each in asked for word in words(each.text))
    found = []
    for group in groups:
        members = [asked[place] for place in group]
        people = {each.subject for each in members}
        if len(people) >= least_people:
            terms = salient(members, everywhere, len(asked), least_people)
            decisions = tuple(sorted((each.decision_id for each in members), reverse=True))
            found.append(Topic(name_of(terms), terms, len(members), len(people), decisions))
    return found


def salient(members: Sequence[Unanswered], everywhere: Counter[str], texts: int, least_people: int) -> tuple[str, ...]:
    """Words of the group that are rarer elsewhere, each used by as many different people as a topic needs."""
    counts: Counter[str] = Counter()
    users: dict[str, set[str]] = {}
    for each in members:
        for word in words(each.text):
            counts[word] += 1
            users.setdefault(word, set()).add(each.subject)
    worth = {
        word: count / len(members) * math.log((1 + texts) / (1 + everywhere[word] - count))
        for word, count in counts.items()
        if len(users[word]) >= least_people
    }
    return tuple(sorted(worth, key=lambda word: (-worth[word], word))[:MOST_TERMS])


def words(text: str) -> set[str]:
    return {word.casefold() for word in WORD.findall(LABEL.sub(" ", text))}


def name_of(terms: Sequence[str]) -> str:
    """As an intent may be called."""
    return "_".join([term for term in terms if NAME.fullmatch(term)][:IN_NAME])[:64]
