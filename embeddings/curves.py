"""How far confidence can be trusted, as curves: reliability by bins, and error by how much is accepted. Every share has its bound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from embeddings.binned import RELIABILITY_BINS, bin_numbers
from embeddings.numeric import Floats
from embeddings.report import Accepted, AtRisk, Bin
from embeddings.thresholds import DELTA, least_proof, threshold_for

PLACES = 200
MOST = 1e6  # times as many examples: beyond that none will be written


def upper(wrong: Floats, trials: Floats, delta: float = DELTA) -> Floats:
    """Clopper and Pearson's upper bound of a rate, by element; 1 where everything was wrong."""
    rest = np.maximum(trials - wrong, 0.0)
    bound: Floats = np.where(rest > 0, betaincinv(wrong + 1.0, np.maximum(rest, 1e-9), 1.0 - delta), 1.0)
    return bound


def interval(hits: int, trials: int) -> tuple[float, float]:
    """Clopper and Pearson's two-sided 95 % interval of a share; everything where nothing was tried."""
    if not trials:
        return 0.0, 1.0
    one_sided = np.array([trials - hits, hits], dtype=np.float64)
    below, above = upper(one_sided, np.full(2, float(trials)), DELTA / 2)
    return 1.0 - float(below), float(above)


def reliability(confidences: Floats, correct: NDArray[np.bool_], bins: int = RELIABILITY_BINS) -> tuple[Bin, ...]:
    """Equally wide bins; those without an answer are left out."""
    numbers = bin_numbers(confidences, bins)
    found = []
    for number in np.unique(numbers).tolist():
        inside = numbers == number
        hits, count = int(correct[inside].sum()), int(inside.sum())
        mean = float(confidences[inside].mean().clip(confidences[inside].min(), confidences[inside].max()))  # rounded, it could lie outside
        found.append(Bin(number / bins, (number + 1) / bins, count, mean, hits / count, *interval(hits, count)))
    return tuple(found)


def risk_coverage(confidences: Floats, correct: NDArray[np.bool_], of: int | None = None) -> tuple[Accepted, ...]:
    """At most PLACES points, from the most confident answers down. `of`: how many texts there were, where some got no answer."""
    ranked, wrong, places = _ranked(confidences, correct)
    total = len(confidences) if of is None else of
    bounds = upper(wrong[places - 1], places.astype(np.float64))
    return tuple(
        Accepted(int(place) / total, float(ranked[place - 1]), float(wrong[place - 1]) / int(place), float(bound))
        for place, bound in zip(places, bounds, strict=True)
    )


def at_risk(confidences: Floats, correct: NDArray[np.bool_], max_error: float) -> AtRisk:
    """The same threshold as serving takes for this risk."""
    least = threshold_for(confidences, correct, max_error)
    if least is None:
        return AtRisk(max_error, None, 0.0, 0, 0, None, needed(confidences, correct, max_error))
    taken = confidences >= least
    accepted, wrong = int(taken.sum()), int((taken & ~correct).sum())
    bound = float(upper(np.array([float(wrong)]), np.array([float(accepted)]))[0])
    return AtRisk(max_error, least, accepted / len(confidences), accepted, wrong, bound, len(confidences))


def needed(confidences: Floats, correct: NDArray[np.bool_], max_error: float) -> int | None:
    """About how many answers, distributed as these are, would let anything be accepted at this risk. An estimate: where the best answers
    are few, so are the errors that it knows of."""
    _, wrong, places = _ranked(confidences, correct)
    if not len(places):
        return None
    counts, errors = places.astype(np.float64), wrong[places - 1]
    low, high = np.ones(len(places)), np.full(len(places), MOST)
    possible = upper(errors * high, counts * high) <= max_error
    if not possible.any():
        return None
    for _ in range(60):
        middle = np.sqrt(low * high)
        enough = upper(errors * middle, counts * middle) <= max_error
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    times = np.where(possible, np.maximum(high, least_proof(max_error) / counts), np.inf)
    return int(np.ceil(times.min() * len(confidences) - 1e-6))


def _ranked(confidences: Floats, correct: NDArray[np.bool_]) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Confidences from the highest down, errors up to each, and the numbers accepted at which a point is drawn: equal ones together."""
    order = np.argsort(-confidences, kind="stable")
    ranked, wrong = confidences[order], np.cumsum(~correct[order]).astype(np.float64)
    ends = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True)[: len(ranked)]) + 1
    if len(ends) > PLACES:
        ends = ends[np.unique(np.linspace(0, len(ends) - 1, PLACES).astype(np.intp))]
    return ranked, wrong, ends.astype(np.intp)
