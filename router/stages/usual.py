"""What is unusual about a request beside what requests before it were like: its size for its intent, its caller's rate.

Each worker learns for itself, in bounded memory, and starts from nothing: until it has seen enough it says `learning`, which is neither
usual nor unusual. What was unusual is learnt too, so that a lasting change becomes the new usual, and a patient caller can make it so.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from math import exp, log2

from router.decision import Classification, Finding, Request, Signals

SIZE, RATE = "unusual.size", "unusual.rate"


class SizeSketch:
    """Sizes in buckets a fifth apart. A size is unusual when at most one in a hundred was as large and it is four times the median."""

    ENOUGH = 200
    RARE = 0.01
    TIMES = 8  # buckets: four times as large
    _PER_DOUBLING = 4
    _BUCKETS = 4 * 48
    _EVERY = 64  # sizes; the median moves slowly
    _MOST = 8192  # then every count is halved: what was long ago weighs less

    def __init__(self) -> None:
        self._counts = [0] * self._BUCKETS
        self._total = 0
        self._least = 0  # the first bucket that may be unusual

    def score(self, size: int) -> float | None:
        """0..1, the more the rarer; None until enough was seen."""
        if self._total < self.ENOUGH:
            return None
        bucket = self._bucket(size)
        if bucket < self._least:
            return 0.0
        share = (sum(self._counts[bucket:]) + 1) / (self._total + 1)
        return max(0.0, 1.0 - share / self.RARE)

    def add(self, size: int) -> None:
        self._counts[self._bucket(size)] += 1
        self._total += 1
        if self._total >= self._MOST:
            self._counts = [count // 2 for count in self._counts]
            self._total = sum(self._counts)
        if self._total % self._EVERY == 0 or self._total == self.ENOUGH:
            self._least = self._median() + self.TIMES

    def _median(self) -> int:
        left = self._total / 2
        for bucket, count in enumerate(self._counts):
            left -= count
            if left <= 0:
                return bucket
        return self._BUCKETS - 1

    def _bucket(self, size: int) -> int:
        return min(self._BUCKETS - 1, int(self._PER_DOUBLING * log2(size + 1)))


@dataclass(slots=True)
class RateCounter:
    """Requests of one caller, counted twice with old ones fading: over half a minute and over half an hour."""

    FAST_S = 30.0
    SLOW_S = 1800.0
    LEAST = 20.0  # requests within the fast window; fewer are no burst, whatever is usual
    TIMES, MOST_TIMES = 4.0, 32.0

    began_ns: int
    seen_ns: int
    fast: float = 0.0
    slow: float = 0.0

    def add(self, now_ns: int) -> None:
        passed = max(0, now_ns - self.seen_ns) / 1e9
        self.fast = self.fast * exp(-passed / self.FAST_S) + 1.0
        self.slow = self.slow * exp(-passed / self.SLOW_S) + 1.0
        self.seen_ns = max(self.seen_ns, now_ns)

    def score(self) -> float | None:
        """0 at four times the usual rate, 1 at thirty-two times; None until the caller has been known for as long as `usual` means."""
        known = (self.seen_ns - self.began_ns) / 1e9
        if known < self.SLOW_S:
            return None
        if self.fast < self.LEAST:
            return 0.0
        usual = self.slow / (self.SLOW_S * (1.0 - exp(-known / self.SLOW_S)))
        times = self.fast / self.FAST_S / usual
        return min(1.0, max(0.0, log2(times / self.TIMES) / log2(self.MOST_TIMES / self.TIMES)))


@dataclass(slots=True)
class Usual:
    """`callers`: how many are remembered, those that were seen last."""

    callers: int = 10_000
    _sizes: dict[str, SizeSketch] = field(default_factory=dict)
    _rates: OrderedDict[tuple[str, str], RateCounter] = field(default_factory=OrderedDict)

    def judge(self, request: Request, signals: Signals, classification: Classification) -> Signals:
        """The signals, with what is unusual or not yet known to be; the request is learnt."""
        scores = ((SIZE, self._size(signals.body_bytes, classification)), (RATE, self._rate(request)))
        learning = tuple(name for name, score in scores if score is None)
        unusual = tuple(Finding(name, score) for name, score in scores if score)
        if not learning and not unusual:
            return signals
        return replace(signals, findings=(*signals.findings, *unusual), learning=learning)

    def _size(self, size: int, classification: Classification) -> float | None:
        kind = _kind(classification)
        sketch = self._sizes.get(kind)
        if sketch is None:
            sketch = self._sizes[kind] = SizeSketch()
        score = sketch.score(size)
        sketch.add(size)
        return score

    def _rate(self, request: Request) -> float | None:
        subject, now = request.subject, request.received_ns
        key = (subject.id, request.client if subject.authenticated_by == "none" else "")
        counter = self._rates.get(key)
        if counter is None:
            counter = self._rates[key] = RateCounter(now, now)
            if len(self._rates) > self.callers:
                self._rates.popitem(last=False)
        else:
            self._rates.move_to_end(key)
        counter.add(now)
        return counter.score()


def _kind(classification: Classification) -> str:
    """Requests that are compared with each other. All are names from the catalog, so that there are only so many."""
    if classification.intent is not None:
        return f"intent {classification.intent}"
    return f"rule {classification.rule.rule}" if classification.rule is not None else ""
