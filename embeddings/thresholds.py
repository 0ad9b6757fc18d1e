"""Thresholds by stated risk, from held-out scores, with a bound that holds for a finite number of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.numeric import Floats

# How likely it may be that the stated risk is exceeded all the same.
DELTA = 0.05
STEPS = 200
MOST_FORGIVEN = 20  # errors; whoever has more needs another model sooner than more examples


def threshold_for(confidences: Floats, correct: NDArray[np.bool_], max_error: float, delta: float = DELTA) -> float | None:
    """The lowest threshold at which, with probability 1 - `delta`, at most `max_error` of what is accepted is wrong; None when there is
    none: with too few held-out examples nothing can be promised (no error among fewer than 299 does not prove 1 %).

    Clopper-Pearson's bound at each of at most STEPS thresholds, from the highest down until one fails: tested in this fixed order, none of
    them has to be paid for (Learn then Test, Angelopoulos et al. 2021, fixed-sequence testing). Sequences that cannot prove anything yet,
    since too little is accepted, are passed over before the first test.
    """
    found = proved(confidences, correct, max_error, delta)
    return found[-1].confidence if found else None


@dataclass(frozen=True, slots=True)
class Proof:
    """A threshold, and how many held-out texts reach it and are wrong."""

    confidence: float
    accepted: int
    wrong: int


def proved(confidences: Floats, correct: NDArray[np.bool_], max_error: float, delta: float = DELTA) -> list[Proof]:
    """All thresholds at which the risk is kept, from the highest down, with probability 1 - `delta` each of them."""
    order = np.argsort(-confidences, kind="stable")
    ranked, wrong = confidences[order], np.cumsum(~correct[order])
    found: list[Proof] = []
    for accepted in _places(ranked, least_proof(max_error, delta)):
        errors = int(wrong[accepted - 1])
        if binomial_tail(errors, accepted, max_error) > delta:
            break
        found.append(Proof(float(ranked[accepted - 1]), accepted, errors))
    return found


def least_proof(max_error: float, delta: float = DELTA) -> int:
    """How many examples without any error prove the risk."""
    if max_error < 1e-9:
        return 2**63 - 1  # nobody has so many
    return 1 if max_error >= 1.0 else math.ceil(math.log(delta) / math.log1p(-max_error))


def error_bound(errors: int, trials: int, delta: float = DELTA) -> float:
    """Clopper and Pearson's upper bound of the share of errors, one-sided, at 1 - `delta`; 1 where nothing was seen."""
    low, high = (errors / trials if trials else 1.0), 1.0
    for _ in range(60):
        rate = (low + high) / 2
        low, high = (rate, high) if binomial_tail(errors, trials, rate) > delta else (low, rate)
    return high


def more_needed(confidences: Floats, correct: NDArray[np.bool_], max_error: float, delta: float = DELTA) -> int:
    """Where there is no threshold: how many more examples, accepted and none of them wrong, would be needed at the very least. For each
    number of errors among the most confident, what is missing from proving the risk in spite of them; the least of these."""
    errors = np.flatnonzero(~correct[np.argsort(-confidences, kind="stable")])
    ends = [*(int(place) for place in errors[:MOST_FORGIVEN]), len(correct)]
    missing = [_trials_for(count, max_error, delta) - end for count, end in enumerate(ends)]
    return max(1, min(missing))


def _trials_for(errors: int, max_error: float, delta: float) -> int:
    """The fewest trials at which so many errors keep the risk."""
    low, high = errors, max(errors, least_proof(max_error, delta))
    if high >= 2**62:
        return high
    while binomial_tail(errors, high, max_error) > delta:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if binomial_tail(errors, middle, max_error) > delta else (low, middle)
    return high


def _places(ranked: Floats, least: int) -> list[int]:
    """Numbers of accepted examples at which a threshold is tried. Equal confidences stand or fall together."""
    last_of_run = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True)[: len(ranked)]) + 1
    possible = last_of_run[last_of_run >= least]
    if len(possible) <= STEPS:
        return [int(place) for place in possible]
    return [int(possible[number]) for number in np.unique(np.linspace(0, len(possible) - 1, STEPS).astype(np.intp))]


def binomial_tail(errors: int, trials: int, rate: float) -> float:
    """P(at most `errors` of `trials`) where each fails with `rate`."""
    if rate >= 1.0:
        return 1.0 if errors >= trials else 0.0
    log_rate, log_rest = math.log(rate), math.log1p(-rate)
    terms = [_log_choose(trials, count) + count * log_rate + (trials - count) * log_rest for count in range(errors + 1)]
    most = max(terms)
    return min(1.0, math.exp(most) * math.fsum(math.exp(term - most) for term in terms))


def _log_choose(trials: int, count: int) -> float:
    return math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1)


def scope_threshold_for(in_scope: Floats, max_rejected: float) -> float:
    """The highest threshold that rejects at most `max_rejected` of held-out in-scope probabilities (n,)."""
    ranked = np.sort(in_scope)
    return float(ranked[int(np.floor(max_rejected * (len(ranked) - 1)))])
