"""Several workers, one Lockgate: one ledger, one limit, one set of figures. And more requests than fit."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.load import load
from tests.e2e.processes import until
from tests.e2e.running import Lockgate

START = Callable[..., Lockgate]
ENOUGH = 300


def served(lockgate: Lockgate) -> dict[str, float]:
    """Requests by worker, as the control API's metrics tell."""
    counts: dict[str, float] = {}
    for line in lockgate.control("GET", "/metrics").body.decode().splitlines():
        if line.startswith("lockgate_decisions_total{") and 'worker="' in line:
            worker = line.partition('worker="')[2].partition('"')[0]
            counts[worker] = counts.get(worker, 0) + float(line.rpartition(" ")[2])
    return counts


def test_two_workers_write_one_ledger(start: START) -> None:
    """Both workers serve, and their records stand in one ledger without a gap that verifies while it is written."""
    lockgate = start("--workers", "2")
    with load(lockgate, callers=16) as seen:
        until(lambda: seen.answered > ENOUGH, "there was some load")
        assert lockgate.verify().returncode == 0
    assert set(seen.statuses) == {200}
    indexes = lockgate.indexes()
    assert indexes == list(range(len(indexes)))
    counted = served(lockgate)
    assert len(counted) == 2, counted
    assert sum(counted.values()) == len(seen.acknowledged) + 0
    assert lockgate.verify().returncode == 0
