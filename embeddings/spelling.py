"""Slips of the finger: a word that the encoder would have to spell out is read as the examples' word that is one slip away."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping

# Shorter words have too many neighbours; longer ones are no words.
_WORD = re.compile(r"\b[a-zA-Z]{4,24}\b")
MOST_SLIPS = 16  # words of one text that are looked at more closely, less than a hundred microseconds each


class Spelling:
    """`words`: the examples' words with how often these occur; `known`: words that an encoder has as such. Without known words nobody can
    tell a slip from a word, and nothing is corrected."""

    def __init__(self, words: Mapping[str, int], known: frozenset[str]) -> None:
        self._words = words if known else {}
        self._right = known.union(words)

    def corrected(self, text: str) -> str:
        if not self._words:
            return text
        typed = _WORD.findall(text.lower())
        if self._right.issuperset(typed):
            return text
        slips = [word for word in dict.fromkeys(typed) if word not in self._right][:MOST_SLIPS]
        meant = {word: found for word in slips if (found := self._nearest(word)) is not None}
        return _WORD.sub(lambda word: meant.get(word[0].lower(), word[0]), text) if meant else text

    def _nearest(self, word: str) -> str | None:
        """The most frequent word that begins with the same letter and is one letter more, less, other, or swapped with its neighbour."""
        found = [each for each in _one_slip_from(word) if each in self._words]
        return max(found, key=lambda each: (self._words[each], each)) if found else None


def words_of(texts: Iterable[str]) -> dict[str, int]:
    """In the order of the alphabet, so that it does not hang on the order of the texts."""
    return dict(sorted(Counter(word.lower() for text in texts for word in _WORD.findall(text)).items()))


def whole_words(vocabulary: Iterable[str]) -> frozenset[str]:
    """Those of a WordPiece vocabulary; none of another kind, whose pieces are no words."""
    tokens = frozenset(vocabulary)
    if not any(token.startswith("##") for token in tokens) or any(token.startswith("▁") for token in tokens):
        return frozenset()
    return frozenset(token.lower() for token in tokens if _WORD.fullmatch(token))


def _one_slip_from(word: str) -> set[str]:
    splits = [(word[:place], word[place:]) for place in range(1, len(word) + 1)]
    letters = string.ascii_lowercase
    less = {start + end[1:] for start, end in splits if end}
    swapped = {start + end[1] + end[0] + end[2:] for start, end in splits if len(end) > 1}
    other = {start + letter + end[1:] for start, end in splits if end for letter in letters}
    more = {start + letter + end for start, end in splits for letter in letters}
    return less | swapped | other | more
