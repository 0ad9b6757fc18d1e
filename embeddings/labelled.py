"""Labelled texts from a CSV file with the columns `split`, `text` and `intent`; the intent `oos` marks a text that is about none."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from embeddings.errors import EmbeddingsError

COLUMNS = ("split", "text", "intent")
OUT_OF_SCOPE = "oos"
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts with their intents, in the file's order; None for what is about no intent."""

    texts: tuple[str, ...]
    intents: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def by_intent(self) -> dict[str, list[str]]:
        """In the order of the intents' names, so that no figure hangs on how a file is sorted."""
        names = sorted({intent for intent in self.intents if intent is not None})
        grouped: dict[str, list[str]] = {name: [] for name in names}
        for text, intent in zip(self.texts, self.intents, strict=True):
            if intent is not None:
                grouped[intent].append(text)
        return grouped

    @property
    def background(self) -> list[str]:
        return [text for text, intent in zip(self.texts, self.intents, strict=True) if intent is None]


def read_splits(path: Path) -> dict[str, Labelled]:
    """Raises EmbeddingsError with the file and line of the first fault."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return _splits(path, csv.reader(file))
    except OSError as error:
        raise EmbeddingsError("data_unreadable", f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise EmbeddingsError("data_unreadable", f"{path} is not UTF-8.") from error
    except csv.Error as error:
        raise EmbeddingsError("data_unreadable", f"{path} is no CSV file: {error}.") from error


def select(splits: dict[str, Labelled], wanted: Sequence[str]) -> Labelled:
    """The rows of several splits, one after the other. Raises EmbeddingsError for one that is not there."""
    for name in wanted:
        if name not in splits:
            raise EmbeddingsError("data_split", f"There is no split '{name}'; the file has {', '.join(sorted(splits))}.")
    return Labelled(_joined(splits[name].texts for name in wanted), _joined(splits[name].intents for name in wanted))


def _joined(parts: Iterable[Sequence[Item]]) -> tuple[Item, ...]:
    return tuple(item for part in parts for item in part)


def _splits(path: Path, rows: Iterable[list[str]]) -> dict[str, Labelled]:
    numbered = enumerate(rows, start=1)
    _, header = next(numbered, (1, []))
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise EmbeddingsError("data_columns", f"{path}:1: The column '{missing[0]}' is missing; wanted are {', '.join(COLUMNS)}.")
    places = [header.index(name) for name in COLUMNS]
    found: dict[str, tuple[list[str], list[str | None]]] = {}
    for number, row in numbered:
        if len(row) != len(header):
            raise EmbeddingsError("data_row", f"{path}:{number}: This row has {len(row)} fields, the header has {len(header)}.")
        split, text, intent = (row[place] for place in places)
        if not intent:
            raise EmbeddingsError("data_row", f"{path}:{number}: The intent is empty; write 'oos' for a text that is about none.")
        texts, intents = found.setdefault(split, ([], []))
        texts.append(text)
        intents.append(None if intent == OUT_OF_SCOPE else intent)
    return {split: Labelled(tuple(texts), tuple(intents)) for split, (texts, intents) in found.items()}
