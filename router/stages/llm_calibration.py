"""What a language model's answers were found to be worth on held-out texts, for one version of it, one prompt and one catalog."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Any

from router.decision import Classification, Status
from router.errors import ClassifierError, ConfigError

SCHEMA = "lockgate.llm_calibration.v1"
MOST_COUNTED = 1_000_000
DELTA = 0.05  # how likely it may be that a bound does not hold; the same as for thresholds by a stated risk


class Kind(StrEnum):
    AGREE = "agree"  # the encoder's first candidate
    DISAGREE = "disagree"  # another candidate
    NONE = "none"  # none of these


@dataclass(frozen=True, slots=True)
class Measured:
    """Held-out answers of one kind. `lost` are those of the wrong ones that would do harm: all that name an intent, since the encoder
    abstained; of NONE those where the encoder's first candidate was right, which the caller could have been asked about."""

    right: int = 0
    wrong: int = 0
    lost: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.lost <= self.wrong <= MOST_COUNTED and 0 <= self.right <= MOST_COUNTED):
            raise ValueError("counts must not be negative or above a million, and 'lost' not larger than 'wrong'")

    @property
    def confidence(self) -> float:
        """What share of such answers is right, with 95 % certainty at least."""
        return least_share(self.right, self.wrong)

    @property
    def gain(self) -> float:
        """Right answers less harmful ones, as a share of both, with 95 % certainty at least: an exact sign test."""
        return 2.0 * least_share(self.right, self.lost) - 1.0

    @property
    def may_override(self) -> bool:
        return self.gain > 0.0


@dataclass(frozen=True, slots=True)
class LlmCalibration:
    """`model_reported` is what the server calls the version that was measured, which need not be what it was asked for."""

    model_reported: str
    prompt_digest: str
    catalog_digest: str
    agree: Measured = Measured()
    disagree: Measured = Measured()
    none: Measured = Measured()

    def of(self, kind: Kind) -> Measured:
        return {Kind.AGREE: self.agree, Kind.DISAGREE: self.disagree, Kind.NONE: self.none}[kind]

    @property
    def may_override(self) -> bool:
        return any(self.of(kind).may_override for kind in Kind)

    @property
    def digest(self) -> str:
        return sha256(json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_json(self) -> bytes:
        return json.dumps({"schema": SCHEMA, **asdict(self), "digest": self.digest}, indent=2).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> LlmCalibration:
        """Raises ConfigError with one sentence; also where the counts are not those that the digest was made for."""
        try:
            found = json.loads(data)
            digest = found.pop("digest")
            if found.pop("schema") != SCHEMA:
                raise ValueError("another schema")
            read = cls(**_checked(found))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise ConfigError("The file is no calibration of a language model; make it anew.") from None
        if read.digest != digest:
            raise ConfigError("The calibration was changed after it was measured; make it anew.")
        return read


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    for kind in Kind:
        counts = found[kind]
        if sorted(counts) != sorted(each.name for each in fields(Measured)) or any(type(count) is not int for count in counts.values()):
            raise ValueError("no counts")
        found[kind] = Measured(**counts)
    for name in ("model_reported", "prompt_digest", "catalog_digest"):
        if not isinstance(found[name], str) or not found[name]:
            raise ValueError("no text")
    return found


@lru_cache(maxsize=64)
def least_share(hits: int, misses: int) -> float:
    """Clopper and Pearson's lower bound at 1 - DELTA, one-sided; 0 where nothing was seen. By bisection, rounded down: scipy has it too,
    and takes a quarter of a second to load for every command that reads a configuration."""
    low, high = 0.0, hits / max(1, hits + misses)
    for _ in range(60):
        share = (low + high) / 2
        low, high = (low, share) if _tail(hits, misses, share) > DELTA else (share, high)
    return low


def _tail(hits: int, misses: int, share: float) -> float:
    """How likely so many hits or more are when each is one with this probability."""
    total = hits + misses
    if not 0.0 < share < 1.0:
        return 0.0 if hits and share <= 0.0 else 1.0
    ways = [math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1) for count in range(hits, total + 1)]
    log_hit, log_miss = math.log(share), math.log1p(-share)
    return math.fsum(math.exp(way + count * log_hit + (total - count) * log_miss) for count, way in enumerate(ways, hits))


@dataclass(frozen=True, slots=True)
class Observed:
    """One held-out text that was asked about: its true intent, the encoder's first candidate, the model's choice. None: about no intent.
    `outside`: the encoder took it for out of scope."""

    truth: str | None
    first: str
    chosen: str | None
    outside: bool = False


def kind_of(first: str, chosen: str | None) -> Kind:
    if chosen is None:
        return Kind.NONE
    return Kind.AGREE if chosen == first else Kind.DISAGREE


def measure(observed: Iterable[Observed], model_reported: str, prompt_digest: str, catalog_digest: str) -> LlmCalibration:
    """None of these is right only for a text about no intent: that the right one was not offered does not make it out of scope."""
    counts = dict.fromkeys(Kind, Measured())
    for each in observed:
        if each.outside and each.chosen is None:
            continue  # that is what the encoder had said: no gain, and no harm
        kind, right = kind_of(each.first, each.chosen), each.chosen == each.truth
        lost = not right and (kind is not Kind.NONE or each.first == each.truth)
        before = counts[kind]
        counts[kind] = Measured(before.right + right, before.wrong + (not right), before.lost + lost)
    return LlmCalibration(model_reported, prompt_digest, catalog_digest, counts[Kind.AGREE], counts[Kind.DISAGREE], counts[Kind.NONE])


def merge(scored: Classification, chosen: str | None, model_reported: str, calibration: LlmCalibration) -> Classification:
    """The model's choice as an answer. Raises ClassifierError with the reason why it may not be one. The margin is the encoder's and says
    nothing of this answer, so it goes."""
    if model_reported != calibration.model_reported:
        raise ClassifierError(f"the calibration is not for the model version '{model_reported[:100]}'", "llm_version_unknown")
    measured = calibration.of(kind_of(scored.candidates[0].intent, chosen))
    if not measured.may_override:
        raise ClassifierError("answers of this kind were not found to be a gain", "llm_no_gain")
    digest = sha256(model_reported.encode("utf-8", "surrogatepass")).hexdigest()
    answer = replace(scored, margin=None, tier="llm", reason="", model_digest=digest, calibration_digest=calibration.digest)
    if chosen is None:
        return replace(answer, status=Status.OUT_OF_SCOPE, intent=None, confidence=None, reason="out_of_scope")
    return replace(answer, status=Status.CLASSIFIED, intent=chosen, confidence=measured.confidence)
