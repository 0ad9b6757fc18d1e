"""A second engine that judges live requests again: what is compared, what is told, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from adapters.memory_policy import MemoryPolicy
from router.config import AdapterBlock
from router.config.opa import CompareConfig
from router.decision import Effect, Obligation, Reason, Verdict
from router.errors import AuditError, ConfigError, PolicyError
from router.ports import Intents, PolicyEngine
from router.stages.comparison import Comparison, differences
from router.system import SystemClock, SystemRandom

ALLOWED = Verdict(Effect.ALLOW, (Reason("a.b", "because"),), revision="r", digest="1" * 64, engine="embedded")
SAME = {"effect": "allow", "reasons": [{"code": "a.b", "message": "because"}]}
DENYING = {"effect": "deny", "reasons": [{"code": "a.c", "message": "jane.doe may not"}]}


class Seen:
    """See `ports.PolicyObserver`; and takes the records."""

    def __init__(self) -> None:
        self.results: list[str] = []
        self.records: list[Mapping[str, Any]] = []
        self.broken = False

    def policy_asked(self, result: str) -> None:
        raise AssertionError(result)

    def policy_process(self, what: str) -> None:
        raise AssertionError("nothing compares processes")

    def policy_health(self, healthy: bool) -> None:
        raise AssertionError(healthy)

    def policy_compared(self, result: str) -> None:
        self.results.append(result)

    async def record(self, details: Mapping[str, Any]) -> None:
        if self.broken:
            raise AuditError("no room")
        self.records.append(details)


class Slow(MemoryPolicy):
    """Answers when it is let."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__(answers)
        self.let = asyncio.Event()
        self.at_once = self.most = 0

    async def evaluate(self, entry: str, intent: Intents, document: Mapping[str, Any]) -> Verdict:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.let.wait()
        self.at_once -= 1
        return await super().evaluate(entry, intent, document)


class Late(MemoryPolicy):
    """Away at first."""

    async def open(self) -> None:
        self.away = not getattr(self, "away", False)
        if self.away:
            raise ConfigError("It is away.")


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Any]]:
    opened: list[Comparison] = []

    async def make(answer: Any, seen: Seen, every_s: float = 60.0, engine: PolicyEngine | None = None, **settings: Any) -> Comparison:
        config = CompareConfig(engine=AdapterBlock(adapter="embedded"), **{"share": "100%", **settings})
        second = engine or MemoryPolicy({"decision": answer, "admission": answer})
        opened.append(Comparison(second, config, SystemRandom(), SystemClock(), seen.record, seen, every_s))
        await opened[-1].open()
        return opened[-1]

    yield make
    for each in opened:
        await each.close()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  # the tasks under test are what is waited for
            await asyncio.sleep(0.005)


async def told(seen: Seen, count: int) -> None:
    await until(lambda: len(seen.results) >= count)
    await asyncio.sleep(0.01)  # whatever is ready has run before this is over


async def test_what_agrees_is_counted_and_nothing_else(make, caplog) -> None:
    """No log line and no record."""
    seen = Seen()
    comparison = await make(SAME, seen)
    comparison.offer("d1", "decision", None, {}, ALLOWED)
    comparison.offer("d1", "admission", None, {}, ALLOWED)
    await told(seen, 2)
    assert (seen.results, seen.records, caplog.text) == (["same", "same"], [], "")


async def test_a_difference_is_counted_logged_and_recorded(make, caplog) -> None:
    """By ids, effects and digests; what the reasons say stays untold."""
    seen = Seen()
    comparison = await make(DENYING, seen)
    with caplog.at_level(logging.ERROR):
        comparison.offer("d1", "decision", None, {"subject": {"id": "jane.doe"}}, ALLOWED)
        await told(seen, 1)
    assert seen.results == ["different"]
    assert caplog.messages == [
        "two policy engines differ in effect, reasons on decision d1 (decision): embedded says allow, memory says deny"
    ]
    expected = {"decision_id": "d1", "entry": "decision", "differing": ["effect", "reasons"], "effect": "allow", "engine": "embedded"}
    expected |= {"digest": "1" * 64, "second_effect": "deny", "second_engine": "memory", "second_digest": "0" * 64}
    assert seen.records == [expected | {"different": 1, "compared": 1}]


async def test_records_are_bounded_in_time_and_count_what_they_stand_for(make) -> None:
    """The first is recorded at once, the others together, at the end of the time or when this ends."""
    seen = Seen()
    comparison = await make(DENYING, seen, concurrency=1)
    for number in range(5):
        comparison.offer(f"d{number}", "decision", None, {}, ALLOWED)
        await told(seen, number + 1)
    assert [each["different"] for each in seen.records] == [1]
    await comparison.close()
    assert [(each["decision_id"], each["different"], each["compared"]) for each in seen.records] == [("d0", 1, 1), ("d1", 4, 4)]


async def test_what_the_ledger_does_not_take_goes_with_what_it_takes_next(make) -> None:
    """Nothing is lost by a full disk."""
    seen = Seen()
    comparison = await make(DENYING, seen, every_s=0.05)
    seen.broken = True
    comparison.offer("d1", "decision", None, {}, ALLOWED)
    await told(seen, 1)
    seen.broken = False
    await until(lambda: seen.records)
    assert [(each["decision_id"], each["different"]) for each in seen.records] == [("d1", 1)]


async def test_offering_waits_for_nobody_and_is_bounded(make) -> None:
    """What comes beyond the queue is skipped, and no more than `concurrency` are asked at once."""
    seen, engine = Seen(), Slow({"decision": SAME})
    comparison = await make(SAME, seen, engine=engine, queue=3, concurrency=2, deadline="1m")
    for number in range(3):
        comparison.offer(f"d{number}", "decision", None, {}, ALLOWED)
    await until(lambda: engine.at_once == 2)
    for number in range(50):  # the engine does not answer: who waited for it would wait for good
        comparison.offer(f"e{number}", "decision", None, {}, ALLOWED)
    assert seen.results == ["skipped"] * 48
    engine.let.set()
    await told(seen, 53)
    assert seen.results[48:] == ["same"] * 5
    assert engine.most == 2


async def test_a_second_engine_that_is_away_keeps_nobody_from_starting(make, monkeypatch, caplog) -> None:
    """It is said in the log, and compared as soon as it is there."""
    monkeypatch.setattr("router.stages.comparison.OPEN_EVERY_S", 0.05)
    seen, engine = Seen(), Late({"decision": SAME})
    comparison = await make(SAME, seen, engine=engine)
    comparison.offer("d1", "decision", None, {}, ALLOWED)
    await told(seen, 1)
    assert (seen.results, caplog.messages) == (["same"], ["policy engines are not compared: It is away."])


async def test_only_the_share_is_put_to_the_second_engine(make) -> None:
    """A tenth of many, more or less; none of none."""
    seen = Seen()
    for share, low, high in (("0%", 0, 0), ("10%", 100, 320)):
        comparison = await make(SAME, seen, share=share, queue=2000)
        for number in range(2000):
            comparison.offer(f"d{number}", "decision", None, {}, ALLOWED)
        assert low <= comparison._second.waiting <= high


@pytest.mark.parametrize(
    "code", ["policy_late", "policy_unavailable", "policy_unauthorized", "policy_circuit_open"], ids=lambda code: code.partition("_")[2]
)
async def test_an_engine_that_gives_no_answer_differs_from_nobody(make, code) -> None:
    """Neither the second nor the first."""
    seen = Seen()
    comparison = await make(PolicyError("gone", code), seen)
    comparison.offer("d1", "decision", None, {}, ALLOWED)
    comparison = await make(SAME, seen)
    comparison.offer("d2", "decision", None, {}, Verdict(Effect.DENY, (Reason(code),), digest="1" * 64))
    await told(seen, 2)
    assert (seen.results, seen.records) == (["unavailable", "unavailable"], [])


async def test_a_failure_of_one_policy_only_is_a_difference(make) -> None:
    """An evaluation that stops in one engine and not in the other is what this is for."""
    seen = Seen()
    comparison = await make(PolicyError("stopped", "policy_error"), seen)
    comparison.offer("d1", "decision", None, {}, ALLOWED)
    comparison.offer("d2", "decision", None, {}, Verdict(Effect.DENY, (Reason("policy_error", "another sentence"),)))
    await told(seen, 2)
    assert seen.results == ["different", "same"]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (Verdict(Effect.ALLOW, (Reason("a.b", "because"),), revision="x", digest="2" * 64, engine="opa", opa_decision_id="1"), []),
        (Verdict(Effect.ALLOW, (Reason("a.b", "so"),), engine="opa"), ["reasons"]),
        (Verdict(Effect.ALLOW, (Reason("a.b", "because"),), (Obligation("mask_body"),), engine="opa"), ["obligations"]),
        (Verdict(Effect.REROUTE, (Reason("a.b", "because"),), reroute="safe", engine="opa"), ["effect", "route"]),
        (Verdict(Effect.DENY, engine="opa"), ["effect", "reasons"]),
    ],
)
def test_what_is_compared(other, expected) -> None:
    """What the verdict does and says, and not who gave it."""
    assert differences(ALLOWED, other) == expected
