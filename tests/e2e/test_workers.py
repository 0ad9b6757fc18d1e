"""Several workers, one Lockgate: one ledger, one limit, one set of figures. And more requests than fit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.load import load
from tests.e2e.processes import until
from tests.e2e.running import Lockgate
from tests.e2e.wire import Answer

START = Callable[..., Lockgate]
ENOUGH = 300
RATE, BURST = 5, 10


def routed(lockgate: Lockgate) -> Mapping[str, float]:
    """Requests by worker, as the control API's metrics tell."""
    counts: dict[str, float] = {}
    for family in text_string_to_metric_families(lockgate.control("GET", "/metrics").body.decode()):
        for sample in family.samples:
            if sample.name == "lockgate_requests_total" and sample.labels["result"] == "routed":
                counts[sample.labels["worker"]] = counts.get(sample.labels["worker"], 0) + sample.value
    return counts


def test_two_workers_write_one_ledger(start: START) -> None:
    """Both workers serve, the metrics tell of both, and their records stand in one ledger that verifies, also while it is written."""
    lockgate = start("--workers", "2")
    with load(lockgate, callers=8, keep=False) as seen:
        until(lambda: seen.answered > ENOUGH, "there was some load")
        assert lockgate.verify().returncode == 0
    assert set(seen.statuses) == {200}
    counted = until(lambda: (found := routed(lockgate)) and sum(found.values()) >= len(seen.acknowledged) and found, "all were counted")
    assert sum(counted.values()) == len(seen.acknowledged)
    assert len(counted) == 2
    assert min(counted.values()) > 0
    indexes = lockgate.indexes()
    assert indexes == list(range(len(indexes)))
    assert lockgate.verify().returncode == 0


def test_a_limit_holds_over_all_workers(start: START) -> None:
    """Two workers together never admit more than the rate and burst of a subject; who is over it gets 429 and when to come back, and
    others are not touched."""
    lockgate = start("--workers", "2", limits=[{"name": "each", "by": "subject", "rate": f"{RATE}/s", "burst": BURST}])
    began = time.monotonic()
    answers = [lockgate.ask("ann", "GET", "/echo/x") for _ in range(60)]
    most = BURST + RATE * (time.monotonic() - began)
    admitted = [each for each in answers if each.status == 200]
    refused = [each for each in answers if each.status == 429]
    assert len(admitted) + len(refused) == len(answers)
    assert BURST / 2 <= len(admitted) <= most
    assert {each.code for each in refused} == {"rate_limited"}
    assert all(int(each.fields["retry-after"]) >= 1 for each in refused)
    assert len(lockgate.arrived("/echo/x")) == len(admitted)
    assert lockgate.ask("bob", "GET", "/echo/x").status == 200
    lockgate.process.stop()
    assert sum(each.get("rate_limited", 0) for each in lockgate.system("refused")) == len(refused)


def test_what_does_not_fit_is_shed(start: START) -> None:
    """With room for two and a queue of two, of eight requests four are answered 503 at once, with when to come back; the others are all
    served, and the refusals are one counted record."""
    lockgate = start(gateway={"limits": {"concurrency": 2, "queue": 2}})
    with ThreadPoolExecutor(8) as callers:
        asked = [callers.submit(lockgate.ask, "ann", "GET", "/hold/x") for _ in range(8)]
        try:
            shed = until(lambda: (done := finished(asked)) and len(done) == 4 and done, "half of them were answered")
            until(lambda: len(lockgate.arrived("/hold/x")) == 2, "two were at the service")
            assert lockgate.ready()
        finally:
            lockgate.release()
    assert {(each.status, each.code, each.fields["retry-after"]) for each in shed} == {(503, "overloaded", "1")}
    assert sorted(each.result().status for each in asked) == [200] * 4 + [503] * 4
    assert lockgate.ask("ann", "GET", "/echo/again").status == 200
    assert lockgate.process.stop() == 0
    assert sum(each.get("overloaded", 0) for each in lockgate.system("refused")) == 4


def finished(asked: list[Future[Answer]]) -> list[Answer]:
    return [each.result() for each in asked if each.done()]
