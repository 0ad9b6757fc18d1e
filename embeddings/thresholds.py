"""Thresholds by stated risk, from held-out scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embeddings.numeric import Floats


def threshold_for(confidences: Floats, correct: NDArray[np.bool_], max_error: float) -> float | None:
    """The lowest threshold at which at most `max_error` of what is accepted is wrong; None when there is none.

    Counted as (wrong + 1) / (accepted + 1), so that a handful of right answers proves nothing: a stated risk of 1 %
    needs at least 99 held-out examples above the threshold.
    """
    order = np.argsort(-confidences, kind="stable")
    ranked = confidences[order]
    accepted = np.arange(1, len(ranked) + 1)
    risk = (np.cumsum(~correct[order]) + 1) / (accepted + 1)
    # Equal confidences stand or fall together: only the last of a run can be the threshold.
    last_of_run = np.append(ranked[1:] < ranked[:-1], True)[: len(ranked)]
    allowed = np.flatnonzero((risk <= max_error) & last_of_run)
    return float(ranked[allowed[-1]]) if len(allowed) else None


def scope_threshold_for(in_scope: Floats, max_rejected: float) -> float:
    """The highest threshold that rejects at most `max_rejected` of held-out in-scope probabilities (n,)."""
    ranked = np.sort(in_scope)
    return float(ranked[int(np.floor(max_rejected * (len(ranked) - 1)))])
