"""The few counters of a worker that objectives are told from, and what they grew by, though workers end and begin again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from router.telemetry.objectives.rules import ABSTAINED, REFUSALS, UNCLASSIFIED, VERDICTS

Indicators = Mapping[str, Any]
"""`born`: tells a worker from the one before it; `counts` by name."""
Labelled = Iterable[tuple[str, float]]


def indicators(
    born: int, ended: Labelled, refusals: Labelled, verdicts: Labelled, classifications: Labelled, durations: Sequence[tuple[float, int]]
) -> Indicators:
    """`ended` by result, `refusals` and `verdicts` by reason, `classifications` by status; `durations`: how many decisions took no longer,
    by bound, the last of which is infinite."""
    every, turned_away = list(ended), list(refusals)
    finished, refused = _sum(every), _sum(turned_away)
    unjudged = sum(count for reason, count in turned_away if REFUSALS.fullmatch(reason))
    unjudged += sum(count for reason, count in verdicts if VERDICTS.fullmatch(reason))
    unjudged += sum(count for status, count in classifications if status == UNCLASSIFIED)
    counts = {
        "requests": finished + refused,
        "unjudged": unjudged,
        "ended": finished,
        "abstained": sum(count for result, count in every if result == ABSTAINED),
        **{within(bound): count for bound, count in durations},
    }
    return {"born": born, "counts": {name: int(count) for name, count in counts.items()}}


def within(bound: float) -> str:
    """The name of the count of decisions that took no longer; of all of them with an infinite bound."""
    return f"within_{bound:g}"


def _sum(labelled: Labelled) -> float:
    return sum(count for _, count in labelled)


@dataclass(slots=True)
class Growth:
    """Of counters of several processes. What a process counted after the last look before it ended is not known."""

    _seen: dict[int, Indicators] = field(default_factory=dict)

    def since_last(self, told: Mapping[int, Indicators]) -> dict[str, int]:
        """By name, since each was last looked at. One that is new began at nothing, and so did one that has become less."""
        grown: dict[str, int] = defaultdict(int)
        for process, now in told.items():
            before = self._seen.get(process)
            known: Mapping[str, int] = before["counts"] if before is not None and before["born"] == now["born"] else {}
            for name, count in now["counts"].items():
                earlier = known.get(name, 0)
                grown[name] += count - earlier if count >= earlier else count
            self._seen[process] = now
        return dict(grown)
