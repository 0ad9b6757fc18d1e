"""Thresholds that `lockgate tune` found for stated risks: a file to be reviewed, for one catalog, one training and one configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any

import yaml

from router.errors import ConfigError

SCHEMA = "lockgate.thresholds.v1"
HEAD = """\
# Written by `lockgate tune`, to be reviewed and committed. It counts for this catalog, training and configuration only.
# confidence: null means that nothing could be proved for the stated risk or costs: these intents abstain.
"""


@dataclass(frozen=True, slots=True)
class EntryCosts:
    """What was stated, and what a held-out text costs: on average (`expected`) and, of texts like these, with 95 % certainty at the most.
    Both are None where nothing is accepted, so that each costs `abstain`."""

    wrong: float
    abstain: float
    expected: float | None
    at_most: float | None


@dataclass(frozen=True, slots=True)
class Entry:
    """The intents of one route (None: of all) that state one risk, or one pair of costs. The counts are of held-out texts: `held_out`
    passed every other gate, `accepted` also this threshold, `wrong` of them were. `error_at_most` is Clopper and Pearson's bound at 95 %,
    with costs the one that the bound of the costs rests on, `coverage` the share of the texts about these intents that is accepted.
    `more_needed`: how many more at the least, where nothing could be proved."""

    route: str | None
    intents: tuple[str, ...]
    max_error: float | None
    confidence: float | None
    coverage: float
    held_out: int
    accepted: int
    wrong: int
    error_at_most: float | None
    more_needed: int
    costs: EntryCosts | None = None


@dataclass(frozen=True, slots=True)
class Tuned:
    """`training` is the digest of what the model is made from, `settings` those of `classifier` that the counts depend on, `data` says what
    was held out."""

    catalog_digest: str
    training: str
    settings: Mapping[str, Any]
    data: str
    entries: tuple[Entry, ...]

    @property
    def confidences(self) -> dict[str, float | None]:
        return {intent: entry.confidence for entry in self.entries for intent in entry.intents}

    @property
    def digest(self) -> str:
        return sha256(json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_yaml(self) -> bytes:
        found = {"schema": SCHEMA, **asdict(self), "entries": [_plain(entry) for entry in self.entries], "digest": self.digest}
        return (HEAD + yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=120)).encode()

    @classmethod
    def from_yaml(cls, data: bytes) -> Tuned:
        """Raises ConfigError with one sentence; also where a number is not what `tune` wrote."""
        try:
            found = yaml.safe_load(data)
            digest = found.pop("digest")
            if found.pop("schema") != SCHEMA:
                raise ValueError("another schema")
            read = cls(**{**found, "entries": tuple(_entry(entry) for entry in found["entries"])})
            same = read.digest == digest
        except (yaml.YAMLError, UnicodeDecodeError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise ConfigError("The file holds no thresholds of `lockgate tune`; run it anew.") from None
        if not same:
            raise ConfigError(
                "The thresholds were changed after they were found; state another 'max_error' or other 'costs' and run `lockgate tune`."
            )
        return read


def _plain(entry: Entry) -> dict[str, Any]:
    return {**asdict(entry), "intents": list(entry.intents)}


def _entry(found: dict[str, Any]) -> Entry:
    if sorted(found) != sorted(each.name for each in fields(Entry)):
        raise ValueError("not an entry")
    confidence = found["confidence"]
    if confidence is not None and not 0.0 <= confidence <= 1.0:
        raise ValueError("no probability")
    costs = EntryCosts(**found["costs"]) if found["costs"] is not None else None
    return Entry(**{**found, "intents": tuple(found["intents"]), "costs": costs})
