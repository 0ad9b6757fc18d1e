"""The index's dictionaries: codes of words, and the records where an id stands first."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.sqlite.connection import StandardConnection
from router.audit.questions.columns import COLUMNS, NAMES, WORDLY, Kind
from router.audit.questions.conditions import Among, Compare, Like, Test

Word = str | tuple[str, ...]
_APART = "\x1f"  # between several words of one record
_UNKNOWN = -1
_TOGETHER = 500
_HEX = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Words:
    """A column's different words, kept in memory as well; of several words of a record, each set of them is one."""

    def __init__(self, connection: StandardConnection) -> None:
        self._connection = connection
        self._codes: dict[str, dict[Word, int]] = {}
        self._listed: dict[str, list[Word]] = {}

    def forget(self) -> None:
        self._codes.clear()
        self._listed.clear()

    def listed(self, name: str) -> list[Word]:
        """By code. Another process may have added some since."""
        known = self._listed.setdefault(name, [""])
        found = self._connection.execute(
            "SELECT word FROM words WHERE kept = ? AND code >= ? ORDER BY code", (NAMES.index(name), len(known))
        )
        several = COLUMNS[name].kind is Kind.WORDS
        known += [tuple(word.split(_APART)) if several else word for (word,) in found]
        return known

    def word(self, name: str, code: int) -> Word:
        known = self._listed.get(name, [])
        return known[code] if code < len(known) else self.listed(name)[code]

    def refreshed(self) -> dict[str, dict[Word, int]]:
        """Codes by column and word, read anew before a batch is added: with what another process added, and nothing that was rolled back.
        `add` keeps them up to date."""
        self.forget()
        worded = [name for name in NAMES if COLUMNS[name].kind in WORDLY]
        self._codes = {name: {word: code for code, word in enumerate(self.listed(name)) if code} for name in worded}
        return self._codes

    def add(self, name: str, word: Word) -> int:
        listed = self._listed[name]
        code = self._codes[name][word] = len(listed)
        listed.append(word)
        text = word if isinstance(word, str) else _APART.join(word)
        self._connection.execute("INSERT INTO words VALUES (?,?,?)", (NAMES.index(name), code, text))
        return code

    def chosen(self, test: Test) -> NDArray[np.bool_]:
        """By code: whether a record with this word passes. Code 0 never does."""
        passes = _passes(test)
        wanted = getattr(test, "wanted", True) if not isinstance(test, Compare) else test.operator == "="
        known = self.listed(test.column)
        found = [any(passes(single) for single in (word if isinstance(word, tuple) else (word,))) == wanted for word in known]
        return np.array([False, *found[1:]], dtype=np.bool_)


class Ids:
    """An id's code is one more than the number of the record that has it first: codes grow with the ledger, so that few segments can
    have a given one."""

    def __init__(self, connection: StandardConnection) -> None:
        self._connection = connection

    def find(self, name: str, value: str) -> int:
        """The code, or one that no record has."""
        found = self._connection.execute(f"SELECT code FROM {name} WHERE value = ?", (_short(value),))  # noqa: S608 - a column's name
        return found[0][0] if found else _UNKNOWN

    def value(self, name: str, code: int) -> str | None:
        found = self._connection.execute(f"SELECT value FROM {name} WHERE code = ?", (code,))  # noqa: S608 - names of ours
        return _long(found[0][0]) if found else None

    def codes(self, name: str, firsts: Mapping[str, int]) -> dict[str, int]:
        """Those of many; `firsts` says which record has each first, should none have had it before."""
        short = {_short(value): value for value in firsts}
        wanted, found = list(short), dict[str, int]()
        for start in range(0, len(wanted), _TOGETHER):
            some = wanted[start : start + _TOGETHER]
            sql = f"SELECT value, code FROM {name} WHERE value IN ({','.join('?' * len(some))})"  # noqa: S608 - names of ours
            found.update((short[value], code) for value, code in self._connection.execute(sql, some))
        fresh = {value: firsts[value] + 1 for value in firsts if value not in found}
        rows = [(fresh[value], kept) for kept, value in short.items() if value in fresh]
        self._connection.execute_many(f"INSERT INTO {name} VALUES (?,?)", rows)  # noqa: S608 - names of ours
        return {**found, **fresh}


def _short(value: str) -> bytes:
    """32 hex digits, with or without a UUID's hyphens, in 16 bytes; they differ from each other in the first byte's place."""
    if _HEX.fullmatch(value) is None:
        return b"t" + value.encode("utf-8", "surrogatepass")
    return (b"u" if "-" in value else b"x") + bytes.fromhex(value.replace("-", ""))


def _long(short: bytes) -> str:
    if short[:1] == b"t":
        return short[1:].decode("utf-8", "surrogatepass")
    digits = short[1:].hex()
    return digits if short[:1] == b"x" else "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _passes(test: Test) -> Callable[[str], Any]:
    match test:
        case Compare(_, _, value):
            return lambda word: word == value
        case Among(_, values, _):
            return frozenset(values).__contains__
        case Like(_, pattern, _):
            return _like(pattern)
        case _:
            raise ValueError(f"{test.column} is looked at without its words")


def _like(pattern: str) -> Callable[[str], bool]:
    """Each part between two `%` at the first place where it fits: no pattern can take longer than its length times the word's, which a
    regular expression could not promise."""
    head, *rest = pattern.split("%")

    def passes(word: str) -> bool:
        if not rest:
            return len(word) == len(head) and _fits(head, word, 0)
        *middle, tail = rest
        at = len(head) if _fits(head, word, 0) else None
        for part in middle:
            if at is None:
                return False
            place = next((place for place in range(at, len(word) - len(part) + 1) if _fits(part, word, place)), None)
            at = None if place is None else place + len(part)
        end = len(word) - len(tail)
        return at is not None and end >= at and _fits(tail, word, end)

    return passes


def _fits(part: str, word: str, at: int) -> bool:
    piece = word[at : at + len(part)]
    return len(piece) == len(part) and all(wanted in ("_", given) for wanted, given in zip(part, piece, strict=True))
