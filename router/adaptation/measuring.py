"""How often the classifier is right, and whether its confidences mean what they say, told from samples that people labelled.

Shares and their intervals as `estimating` says. Where two people labelled the same and differ, it counts as half right. What nobody could
tell (`unsure`), and what can no longer be opened, counts as nothing and is counted beside.

The gap is mean confidence minus the share that is right, of accepted decisions whose confidence was calibrated. Its interval is that of
the share, turned around: confidences are known, and how right they are is what was drawn. Of texts with different confidences that is
rather too wide than too narrow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from embeddings.binned import RELIABILITY_BINS, bin_numbers, error_by_chance, expected_calibration_error
from router.adaptation.estimating import Drawn, Estimate, estimate
from router.adaptation.samples import Basis, Sample, drawn

Pair = tuple[Sample, Drawn]
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Bin:
    """Accepted decisions with a confidence of `low`..`high`, on the average `confidence`."""

    low: float
    high: float
    confidence: float
    right: Estimate


@dataclass(frozen=True, slots=True)
class Calibration:
    """`gap` above 0: surer than right. `ece_by_chance`: about what `error` would be of so few if nothing were amiss."""

    confidence: float
    gap: Estimate
    ece: float
    ece_by_chance: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Accepted decisions of one intent, or of one version. Figures are None where fewer were labelled than are wanted."""

    name: tuple[str, ...]
    labelled: int
    right: Estimate | None
    calibration: Calibration | None


@dataclass(frozen=True, slots=True)
class Measured:
    """`accuracy`: the share of all that ended as they should, with their intent or, where they have none, without. `accepted_accuracy`: of
    those that got an intent, the share that got theirs. None where fewer than `least` were labelled.

    `sampled` = counted + `waiting` + `unsure` + `gone` + `left_out` (which the basis does not count)."""

    basis: Basis
    least: int
    sampled: int
    counted: int
    waiting: int
    unsure: int
    gone: int
    left_out: int
    differing: int
    full_days: int
    accuracy: Estimate | None
    accepted: int
    accepted_accuracy: Estimate | None
    calibration: Calibration | None
    intents: tuple[Part, ...]
    versions: tuple[Part, ...]

    def document(self) -> dict[str, Any]:
        told = asdict(self)
        told["intents"] = [_named(part, ("intent",)) for part in told["intents"]]
        told["versions"] = [_named(part, ("model_digest", "catalog_digest")) for part in told["versions"]]
        return {**told, "basis": self.basis.value}


def measure(samples: Sequence[Sample], basis: Basis, least: int, full: frozenset[tuple[str, str]]) -> Measured:
    """`full`: days on which a cap was reached."""
    counted = drawn(samples, basis, full)
    accepted = [pair for pair in counted if pair[0].accepted]
    labelled = sum(bool(each.labels) for each in samples)
    unsure, gone = sum(each.unsure for each in samples), sum(each.gone and not each.unsure for each in samples)
    return Measured(
        basis=basis,
        least=least,
        sampled=len(samples),
        counted=len(counted),
        waiting=len(samples) - labelled - unsure - gone,
        unsure=unsure,
        gone=gone,
        left_out=labelled - len(counted),
        differing=sum(len(each.labels) > 1 for each, _ in counted),
        full_days=len(full),
        accuracy=_share(counted, least),
        accepted=len(accepted),
        accepted_accuracy=_share(accepted, least),
        calibration=_calibration(accepted, least),
        intents=_parts(accepted, lambda each: (each.intent,), least),
        versions=_parts(accepted, lambda each: (each.model, each.catalog), least),
    )


def _share(pairs: Sequence[Pair], least: int) -> Estimate | None:
    return estimate([each for _, each in pairs]) if len(pairs) >= least else None


def _gap(pairs: Sequence[Pair], least: int) -> tuple[float, Estimate] | None:
    """(mean confidence, gap) of those with a confidence that was calibrated."""
    sure = [pair for pair in pairs if pair[0].confidence is not None]
    right = _share(sure, least)
    if right is None:
        return None
    weights = [1 / each.probability for _, each in sure]
    mean = sum((each.confidence or 0.0) * weight for (each, _), weight in zip(sure, weights, strict=True)) / sum(weights)
    return mean, Estimate(mean - right.value, mean - right.high, mean - right.low, right.count)


def _calibration(pairs: Sequence[Pair], least: int) -> Calibration | None:
    found = _gap(pairs, least)
    if found is None:
        return None
    sure = [pair for pair in pairs if pair[0].confidence is not None]
    confidences = np.array([each.confidence for each, _ in sure], dtype=np.float64)
    hits = np.array([each.hit for _, each in sure], dtype=np.float64)
    weights = np.array([1 / each.probability for _, each in sure], dtype=np.float64)
    ece = expected_calibration_error(confidences, hits, weights=weights)
    by_bin = _grouped(list(zip(bin_numbers(confidences, RELIABILITY_BINS).tolist(), sure, strict=True)))
    bins = tuple(_bin(number, inside) for number, inside in sorted(by_bin.items()))
    return Calibration(*found, ece, error_by_chance(confidences, weights=weights), bins)


def _bin(number: int, inside: Sequence[Pair]) -> Bin:
    weights = [1 / each.probability for _, each in inside]
    mean = sum((each.confidence or 0.0) * weight for (each, _), weight in zip(inside, weights, strict=True)) / sum(weights)
    return Bin(number / RELIABILITY_BINS, (number + 1) / RELIABILITY_BINS, mean, estimate([each for _, each in inside]))


def _parts(pairs: Sequence[Pair], name: Callable[[Sample], tuple[str, ...]], least: int) -> tuple[Part, ...]:
    """The ones with the most labels first."""
    found = []
    for key, inside in _grouped([(name(pair[0]), pair) for pair in pairs]).items():
        found.append(Part(key, len(inside), _share(inside, least), _calibration(inside, least)))
    return tuple(sorted(found, key=lambda part: (-part.labelled, part.name)))


def _grouped(keyed: Sequence[tuple[K, Pair]]) -> dict[K, list[Pair]]:
    groups: dict[K, list[Pair]] = defaultdict(list)
    for key, pair in keyed:
        groups[key].append(pair)
    return groups


def _named(part: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {**dict(zip(names, part.pop("name"), strict=True)), **part}
