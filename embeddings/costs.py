"""Thresholds by what decisions cost, from held-out scores, with bounds that hold for a finite number of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.numeric import Floats
from embeddings.thresholds import DELTA, STEPS, Proof, error_bound, proved

SHARE = DELTA / 2  # of the chance of error, half is for that accepting pays at all, half for the bound of what it costs


@dataclass(frozen=True, slots=True)
class Costs:
    """Of a wrong decision and of an abstention, in one unit, 0 < abstain < wrong. Right decisions cost nothing."""

    wrong: float
    abstain: float

    @property
    def break_even(self) -> float:
        """The share of wrong decisions at which accepting costs as much as abstaining."""
        return self.abstain / self.wrong


def cheapest(confidences: Floats, correct: NDArray[np.bool_], costs: Costs) -> Proof | None:
    """Of the thresholds at which accepting is proved to cost less than abstaining, the one that costs least on held-out texts; of equal
    ones the highest. The proof is of all of them at once, so that the choice is free."""
    found = proved(confidences, correct, costs.break_even, SHARE)
    return min(found, key=lambda each: costs.wrong * each.wrong - costs.abstain * each.accepted, default=None)


def expected_cost(found: Proof, held_out: int, costs: Costs) -> tuple[float, float, float]:
    """What a text costs at a threshold that `cheapest` chose: on average over the held-out ones; at most, with probability 1 - DELTA; and
    the share of wrong decisions that goes with the latter. Each of STEPS thresholds might have been chosen, so each pays its part for the
    share that is accepted and for the share of it that is wrong; the bound is never above what `cheapest` has proved."""
    part = SHARE / (2 * STEPS)
    error = min(error_bound(found.wrong, found.accepted, part), costs.break_even)
    coverage = 1.0 - error_bound(held_out - found.accepted, held_out, part)
    mean = (costs.abstain * (held_out - found.accepted) + costs.wrong * found.wrong) / held_out
    return mean, costs.abstain - coverage * (costs.abstain - costs.wrong * error), error
