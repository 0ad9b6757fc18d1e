"""The door for Envoy where something goes wrong between a question and its answer: one outcome for each decision, and nothing kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from adapters.local_repeats import LocalRepeats
from router.delivery.judging import Terms
from router.doors.body import ClientGoneError
from router.doors.envoy import outcomes
from router.doors.envoy.cases import Case, Pass, Stop
from router.doors.envoy.judging import EnvoyDoor
from router.doors.envoy.outcomes import SEVERAL, Outcomes, Report
from router.doors.gate import Gate
from router.doors.runtime import KeptAnswers
from router.doors.under_way import UnderWay
from router.doors.websocket import WebSocketDoor
from router.errors import ReviewError
from router.ports import Clock, Entry, Headers
from router.stages.rule import Rule
from router.stages.rules import RuleIndex
from router.system import SystemClock
from tests.faults.gateway_harness import ALLOW, REVIEW, SURE, House, ScriptedTier

PATIENCE_S = 5.0
LIMITED = {**ALLOW, "obligations": [{"name": "limit_response", "params": {"bytes": 10}}]}
BODY = b'{"message": "cancel payment 4711"}'
CAME: Headers = [
    (b":method", b"POST"),
    (b":path", b"/ask"),
    (b":authority", b"halden.example"),
    (b":scheme", b"http"),
    (b"content-type", b"application/json"),
]


class Slow:
    """A tier that answers when it is told to."""

    def __init__(self) -> None:
        self.asked, self.told = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> Any:
        self.asked.set()
        await self.told.wait()
        return SURE


class Later(SystemClock):
    """As late as a test says."""

    ahead_s = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.ahead_s * 1_000_000_000


class Behind:
    """A door before a house. `most`: outcomes that may be waited for."""

    def __init__(self, house: House, most: int = 10, clock: Clock | None = None, lasting: int = 2) -> None:
        clock = clock or SystemClock()
        self.house = house
        self.gate = Gate(house.gateway, WebSocketDoor(house.gateway, clock, house.seen), house.seen, 1, 0, UnderWay())
        self.gate.runtime = house.runtime
        self.outcomes = Outcomes(self.gate, clock, house.seen, logged=True, patience_s=60, longest_s=600, most=most, lasting=lasting)
        self.door = EnvoyDoor(self.gate, house.gateway, clock, house.seen, self.outcomes, 10)

    async def opened(self, *more: tuple[bytes, bytes]) -> Case:
        await self.house.ledger.open()
        case = await self.door.open([*CAME, *more], "192.0.2.1", bodiless=False, unseen=False)
        assert isinstance(case, Case)
        return case

    async def asked(self, deadline_s: float = PATIENCE_S, after: House | None = None) -> Pass | Stop:
        """`after`: whose configuration takes the place of this one while the body is on its way."""
        case = await self.opened()
        self.gate.runtime = (after or self.house).runtime
        try:
            return await self.door.judge(case, BODY, deadline_s)
        finally:
            self.door.close(case)

    async def idle(self) -> None:
        """Returns when nobody keeps the configuration, which is when it is closed after a reload."""
        async with asyncio.timeout(PATIENCE_S):
            await self.gate.idle(self.house.runtime)

    def ends(self) -> list[tuple[str, str]]:
        leaves = (leaf["outcome"] for leaf in self.house.leaves if leaf["schema"] == "lockgate.outcome.v1")
        return [(each["result"], each["reason"]) for each in leaves]


def report(decision_id: str) -> Report:
    return Report(decision_id, 200, "", True, "192.0.2.9:80", 1, 1, 2, 7)


async def gone(behind: Behind, slow: Slow) -> None:
    """Envoy resets its stream."""
    asking = asyncio.create_task(behind.asked(after=House()))
    await slow.asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def late(behind: Behind, slow: Slow) -> None:
    answer = await behind.asked(0.01, after=House())
    assert isinstance(answer, Stop)
    assert answer.code == "decision_late"


@pytest.mark.parametrize(("leaving", "reason"), [(gone, "client_gone"), (late, "decision_late")])
async def test_a_decision_that_nobody_waits_for_keeps_its_configuration(leaving: Callable[..., Awaitable[None]], reason: str) -> None:
    """It goes on after the stream has ended, with what a reload must not have closed by then; afterwards nothing is kept."""
    slow = Slow()
    behind = Behind(House(ScriptedTier(slow), deadline_s=PATIENCE_S))
    await leaving(behind, slow)
    closing = asyncio.create_task(behind.idle())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not closing.done()
    slow.told.set()
    await closing
    assert behind.ends() == [("failed", reason)]
    assert len(behind.outcomes) == 0


async def test_a_request_is_at_hand_until_its_answer_begins() -> None:
    """A WebSocket or a stream of events, which goes on for hours after that, keeps no other request's record waiting."""
    behind = Behind(House())
    many = behind.gate.under_way
    first, second = await behind.opened(), await behind.opened()
    assert many.at_hand() == 2
    behind.door.begun(first)
    behind.door.begun(first)
    assert (many.at_hand(), behind.door.beyond) == (1, 2)
    behind.door.close(first)
    assert (many.at_hand(), behind.door.beyond) == (1, 1)
    behind.door.close(second)
    assert (many.at_hand(), behind.door.beyond) == (0, 0)


async def test_what_nobody_foresaw_after_a_decision_is_its_outcome() -> None:
    """No decision stays without an end because of a fault of ours."""
    house = House(policy={"admission": ALLOW, "decision": REVIEW})
    house.holds.failing = RuntimeError("unforeseen")  # type: ignore[assignment]  # that is the point
    behind = Behind(house)
    answer = await behind.asked()
    assert isinstance(answer, Stop)
    assert (answer.status, answer.code) == (500, "internal")
    assert behind.ends() == [("failed", "internal")]
    await behind.idle()


async def test_a_request_that_may_be_held_is_not_held_again() -> None:
    """Its answer was lost: a person would be asked about both."""
    behind = Behind(keeping_house(policy={"admission": ALLOW, "decision": REVIEW}))
    failing = behind.house.holds.failing = ReviewError("no answer")
    failing.unsettled = True
    for code in ("review_store_unavailable", "idempotency_unanswered"):
        answer = await keyed(behind)
        assert isinstance(answer, Stop)
        assert answer.code == code
    assert behind.ends() == [("failed", "review_store_unavailable"), ("denied", "idempotency_unanswered")]


async def test_a_request_that_is_held_before_it_fails_is_not_held_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a way that nobody foresaw: reviewers have it."""
    behind = Behind(keeping_house(policy={"admission": ALLOW, "decision": REVIEW}))
    hold = behind.house.holds.hold

    async def then_fails(held: Any) -> None:
        await hold(held)
        raise ZeroDivisionError

    monkeypatch.setattr(behind.house.holds, "hold", then_fails)
    for code in ("internal", "idempotency_unanswered"):
        answer = await keyed(behind)
        assert isinstance(answer, Stop)
        assert answer.code == code
    assert len(behind.house.holds.held) == 1


async def test_a_route_that_is_delivered_is_refused() -> None:
    """Envoy would have to answer for a request that it sends, so it is told no, and the outcome says so."""
    house = House()
    house.runtime = replace(house.runtime, deliveries={"pay": Terms()})
    behind = Behind(house)
    answer = await behind.asked()
    assert isinstance(answer, Stop)
    assert (answer.status, answer.code, behind.ends()) == (501, "delivery_unsupported", [("failed", "delivery_unsupported")])


async def test_a_body_that_does_not_arrive_whole_is_decided_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of it may say something else than all of it, so that the request is refused before a decision."""

    async def breaking(*_: Any) -> Any:
        raise ClientGoneError

    behind = Behind(House())
    monkeypatch.setattr(behind.house.gateway, "read_view", breaking)
    answer = await behind.asked()
    assert isinstance(answer, Stop)
    assert (answer.status, answer.code, behind.house.leaves) == (400, "body_unfinished", [])


UPGRADE: Headers = [(b":method", b"GET"), (b":path", b"/chat"), *CAME[2:4], (b"connection", b"upgrade"), (b"upgrade", b"websocket")]


async def test_a_websocket_that_no_rule_admits_is_refused_before_a_decision() -> None:
    """Its messages would be read by nobody, so the handshake alone must say where it leads."""
    behind = Behind(House())
    await behind.house.ledger.open()
    answer = await behind.door.open(UPGRADE, "192.0.2.1", bodiless=True, unseen=False)
    assert isinstance(answer, Stop)
    assert (answer.status, answer.code, behind.house.leaves) == (403, "websocket_not_routed", [])


async def test_a_websocket_that_policy_holds_is_denied() -> None:
    """It cannot wait for a reviewer, so that nobody is asked, and the outcome says why."""
    house = House(policy={"admission": ALLOW, "decision": REVIEW})
    stages = replace(house.runtime.pipeline.stages, rules=RuleIndex([Rule("chat", intent="cancel", route="pay", path="/chat")]))
    house.runtime.pipeline.stages = stages
    house.runtime = replace(house.runtime, options=replace(house.runtime.options, websockets=frozenset(("pay",))))
    behind = Behind(house)
    await house.ledger.open()
    case = await behind.door.open(UPGRADE, "192.0.2.1", bodiless=True, unseen=False)
    assert isinstance(case, Case)
    answer = await behind.door.judge(case, b"", PATIENCE_S)
    behind.door.close(case)
    assert isinstance(answer, Stop)
    assert (answer.status, answer.code, house.holds.held) == (403, "websocket_cannot_be_held", [])
    assert behind.ends() == [("denied", "websocket_cannot_be_held")]


async def test_a_report_that_comes_twice_is_one_outcome() -> None:
    """Nor does the end of the stream add another, in whichever order they come."""
    behind = Behind(House())
    first, second = await behind.asked(), await behind.asked()
    assert isinstance(first, Pass)
    assert isinstance(second, Pass)
    assert [behind.outcomes.told(report(first.decision.id)) for _ in range(2)] == [True, False]
    behind.outcomes.over(first.awaited)
    behind.outcomes.over(second.awaited)
    assert behind.outcomes.told(report(second.decision.id))
    assert not behind.outcomes.told(report("of-somebody-else"))
    await behind.outcomes.close()
    assert behind.ends() == [("routed", ""), ("routed", "")]
    await behind.idle()


async def test_beyond_what_can_be_waited_for_the_oldest_is_given_up() -> None:
    """With what is known of it, and a report that comes afterwards adds nothing."""
    behind = Behind(House(), most=1)
    first, second = await behind.asked(), await behind.asked()
    assert isinstance(first, Pass)
    assert isinstance(second, Pass)
    assert not behind.outcomes.told(report(first.decision.id))
    assert behind.outcomes.told(report(second.decision.id))
    await behind.outcomes.close()
    assert sorted(behind.ends()) == [("failed", "envoy_unreported"), ("routed", "")]
    await behind.idle()


@pytest.mark.parametrize(
    ("key", "kept", "code"),
    [
        (None, KeptAnswers(True, 60, 1000), "idempotency_key_missing"),
        (b"once", KeptAnswers(True, 60, 1000), "idempotency_unavailable"),
        (b"once", KeptAnswers(False, 60, 1000), "idempotency_unavailable"),
        (b"once", KeptAnswers(True, 60, 1000, open=True), None),
        (None, KeptAnswers(False, 60, 1000), None),
        (b"", KeptAnswers(False, 60, 1000, open=True), "idempotency_key_invalid"),
        (b"k" * 256, KeptAnswers(False, 60, 1000, open=True), "idempotency_key_invalid"),
    ],
)
async def test_a_route_that_remembers_keys_does_not_pretend_to_here(key: bytes | None, kept: KeptAnswers, code: str | None) -> None:
    """A filter that is not shown answers: what the route says of a memory that cannot be asked holds, and the outcome says it."""
    house = House()
    house.runtime = replace(house.runtime, options=replace(house.runtime.options, keeping={"pay": kept}))
    behind = Behind(house)
    case = await behind.opened(*([(b"idempotency-key", key)] if key is not None else []))
    answer = await behind.door.judge(case, BODY, PATIENCE_S, blind=True)
    behind.door.close(case)
    assert (answer.code if isinstance(answer, Stop) else None) == code
    if code is not None:
        assert behind.ends() == [("denied", code)]
    await behind.outcomes.close()
    await behind.idle()


def keeping_house(**more: Any) -> House:
    house = House(**more)
    options = replace(house.runtime.options, keeping={"pay": KeptAnswers(False, 60, 1000)})
    house.runtime = replace(house.runtime, options=options, repeats=LocalRepeats(SystemClock()))
    return house


async def keyed(behind: Behind, deadline_s: float = PATIENCE_S) -> Pass | Stop:
    case = await behind.opened((b"idempotency-key", b"once"))
    try:
        return await behind.door.judge(case, BODY, deadline_s)
    finally:
        behind.door.close(case)


async def test_a_late_decision_lets_go_of_its_key() -> None:
    """Nothing went on, so that the request may be made again under the same key."""
    slow = Slow()
    behind = Behind(keeping_house(tier=ScriptedTier(slow), deadline_s=PATIENCE_S))
    late = await keyed(behind, 0.01)
    assert isinstance(late, Stop)
    assert late.code == "decision_late"
    slow.told.set()
    await behind.door.decided(PATIENCE_S)
    await behind.outcomes.close()
    assert isinstance(await keyed(behind), Pass)
    await behind.outcomes.close()


@pytest.mark.parametrize(("most", "told"), [(4, (200, b"done", "idempotency_replayed")), (3, (502, None, "response_too_large"))])
async def test_of_a_kept_answer_no_more_is_told_than_policy_allows_by_now(most: int, told: tuple[int, bytes | None, str]) -> None:
    """As at the gateway."""
    limited = {**ALLOW, "obligations": [{"name": "limit_response", "params": {"bytes": most}}]}
    behind, later = Behind(keeping_house()), Behind(keeping_house(policy={"admission": ALLOW, "decision": limited}))
    later.house.runtime = later.gate.runtime = replace(later.house.runtime, repeats=behind.house.runtime.repeats)
    first = await keyed(behind)
    assert isinstance(first, Pass)
    assert first.awaited.keeping is not None
    first.awaited.keeping.began(200, [(b"content-type", b"text/plain")], "via_upstream", ended=False)
    first.awaited.keeping.came(b"done", ended=True)
    await first.awaited.keeping.keep()
    again = await keyed(later)
    assert isinstance(again, Stop)
    assert (again.status, again.body if again.status == 200 else None, again.code) == told
    assert later.ends() == [("routed" if again.status == 200 else "failed", again.code)]
    await behind.outcomes.close()


async def test_what_cannot_be_obliged_lets_go_of_its_key() -> None:
    """It is denied twice, for the same reason."""
    behind = Behind(keeping_house(policy={"admission": ALLOW, "decision": LIMITED}))
    for _ in range(2):
        answer = await keyed(behind)
        assert isinstance(answer, Stop)
        assert answer.code == "obligation_failed"


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (report, "idempotency_replayed"),
        (lambda given: replace(report(given), routed=False, reason="upstream_reset"), "idempotency_unanswered"),
        (lambda given: replace(report(given), routed=False, reason="connect_failed"), None),
        (None, "idempotency_unanswered"),
    ],
)
async def test_how_a_request_ended_decides_what_the_next_hears(told: Callable[[str], Report] | None, code: str | None) -> None:
    """As at the gateway; without any report, as of an answer that was not kept."""
    behind = Behind(keeping_house())
    first = await keyed(behind)
    assert isinstance(first, Pass)
    early = await keyed(behind)
    assert isinstance(early, Stop)
    assert (early.status, early.code) == (409, "idempotency_under_way")
    assert first.awaited.keeping is not None
    first.awaited.keeping.began(200, [(b"content-type", b"text/plain")], "", ended=True)
    if told is None:
        await behind.outcomes.close()
    else:
        behind.outcomes.told(told(first.decision.id))
        await behind.outcomes.close()
    again = await keyed(behind)
    assert (again.code if isinstance(again, Stop) else None) == code
    await behind.outcomes.close()
    await behind.idle()


async def answered(behind: Behind, *, status: int = 200, **said: bool) -> Pass:
    """Envoy has shown that much of an answer, and has ended the stream."""
    answer = await behind.asked()
    assert isinstance(answer, Pass)
    answer.awaited.status = status
    for name, value in said.items():
        setattr(answer.awaited, name, value)
    behind.outcomes.over(answer.awaited)
    return answer


async def swept(behind: Behind, clock: Later, seconds: int) -> list[tuple[str, str]]:
    clock.ahead_s += seconds
    behind.outcomes.sweep()
    await asyncio.sleep(0.05)
    return behind.ends()


async def test_a_response_that_goes_on_is_waited_for_as_long_as_a_request_may_last() -> None:
    """Envoy ends its stream with the response's head, so that it is no end of the request; the log's word counts whenever it comes. Of its
    body nothing is kept."""
    clock = Later()
    behind = Behind(House(), clock=clock)
    told, untold = await answered(behind), await answered(behind, status=101)
    assert told.awaited.decision.request.body.data
    assert await swept(behind, clock, 61) == []
    assert await swept(behind, clock, 500) == []
    assert not told.awaited.decision.request.body.data
    assert told.awaited.decision.signals.masked_text is None
    assert behind.door.beyond == 2
    await behind.idle()
    assert behind.outcomes.told(replace(report(told.decision.id), reason="client_gone"))
    assert await swept(behind, clock, 101) == [("failed", "client_gone"), ("routed", "")]
    assert not behind.outcomes.told(report(untold.decision.id))
    await behind.idle()


@pytest.mark.parametrize(
    ("ended", "outcome"),
    [
        ({"status": 0}, ("failed", "envoy_unreported")),
        ({"whole": True}, ("routed", "")),
        ({"shown": True}, ("routed", "")),
        ({"local": True}, ("failed", "envoy_local_reply")),
    ],
)
async def test_what_has_ended_is_waited_for_with_patience(ended: dict[str, Any], outcome: tuple[str, str]) -> None:
    """No head at all, one that nothing follows, a body that is shown while it passes, an answer of Envoy's own: the stream ended with the
    request."""
    clock = Later()
    behind = Behind(House(), clock=clock)
    await answered(behind, **ended)
    assert await swept(behind, clock, 59) == []
    assert await swept(behind, clock, 2) == [outcome]


async def test_a_log_that_says_nothing_of_what_ended_is_not_waited_for() -> None:
    """Nobody sends it here: all outcomes are what the heads told, after an outcome's patience; until one report comes."""
    clock = Later()
    behind = Behind(House(), clock=clock)
    await answered(behind)
    assert await swept(behind, clock, 61) == []
    await answered(behind, whole=True)
    await answered(behind)
    assert await swept(behind, clock, 61) == [("routed", "")] * 3
    heard = await answered(behind)
    await answered(behind)
    assert behind.outcomes.told(report(heard.decision.id))
    assert len(await swept(behind, clock, 61)) == 4
    assert len(behind.outcomes) == 1
    await behind.outcomes.close()


async def test_a_log_that_says_nothing_at_all_is_not_waited_for() -> None:
    """Of so many answers some would have ended, and been told of."""
    clock = Later()
    behind = Behind(House(), most=100, clock=clock, lasting=100)
    for _ in range(SEVERAL):
        await answered(behind)
    assert await swept(behind, clock, 61) == []
    assert await swept(behind, clock, 290) == []
    assert await swept(behind, clock, 10) == [("routed", "")] * SEVERAL


async def test_sockets_that_are_open_for_long_are_no_silence() -> None:
    """Nor are streams of events: nobody would think that one of them has ended."""
    clock = Later()
    behind = Behind(House(), most=100, clock=clock, lasting=100)
    open_ones = [await answered(behind, stays=True) for _ in range(SEVERAL + 2)]
    for _ in range(8):
        assert await swept(behind, clock, 61) == []
    assert all(behind.outcomes.told(report(each.decision.id)) for each in open_ones)
    await behind.outcomes.close()


async def test_a_log_that_told_once_is_not_silent_for_being_quiet() -> None:
    """Envoy does send it here: what goes on is waited for, whatever it is, and also where a report was lost."""
    clock = Later()
    behind = Behind(House(), most=100, clock=clock, lasting=100)
    heard, *others = [await answered(behind) for _ in range(SEVERAL + 2)]
    assert behind.outcomes.told(report(heard.decision.id))
    await answered(behind, whole=True)
    assert len(await swept(behind, clock, 61)) == 2
    assert len(await swept(behind, clock, 500)) == 2
    assert all(behind.outcomes.told(report(each.decision.id)) for each in others)
    await behind.outcomes.close()


async def test_a_log_that_told_once_is_silent_after_several_reports_are_missing() -> None:
    clock = Later()
    behind = Behind(House(), most=100, clock=clock, lasting=100)
    heard, other = await answered(behind), await answered(behind)
    assert behind.outcomes.told(report(heard.decision.id))
    for _ in range(SEVERAL - 1):
        await answered(behind, whole=True)
    assert len(await swept(behind, clock, 61)) == SEVERAL
    await answered(behind, whole=True)
    assert len(await swept(behind, clock, 61)) == SEVERAL + 2
    assert not behind.outcomes.told(report(other.decision.id))
    await behind.outcomes.close()


async def test_a_log_that_told_once_is_silent_after_it_told_of_none_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of these is known to have ended, where all answers have a body, or ext_authz asks: but one of so many would have."""
    monkeypatch.setattr(outcomes, "MANY", 20)
    clock = Later()
    behind = Behind(House(), most=100, clock=clock, lasting=100)
    heard = await answered(behind)
    assert behind.outcomes.told(report(heard.decision.id))
    for ask in (answered, asked_once):
        for _ in range(10):
            await ask(behind)
    assert len(await swept(behind, clock, 61)) == 1
    assert len(await swept(behind, clock, 290)) == 1
    assert len(await swept(behind, clock, 10)) == 21


async def test_who_left_before_an_answer_is_no_sign_of_silence() -> None:
    """Envoy may not have heard of the decision any more, and tells nobody of a request without one."""
    clock = Later()
    behind = Behind(House(), clock=clock)
    await answered(behind, status=0)
    await answered(behind)
    assert await swept(behind, clock, 61) == [("failed", "envoy_unreported")]
    assert len(behind.outcomes) == 1
    await behind.outcomes.close()


async def asked_once(behind: Behind) -> Pass:
    """By ext_authz, which shows nothing more."""
    case = await behind.opened()
    answer = await behind.door.judge(case, BODY, PATIENCE_S, asked_once=True, blind=True)
    behind.door.close(case)
    assert isinstance(answer, Pass)
    return answer


async def test_what_is_asked_once_is_kept_without_its_body_and_keeps_no_configuration() -> None:
    """As what goes on: its end may be an hour away, and nobody may ever tell of it."""
    clock = Later()
    behind = Behind(House(), clock=clock)
    told, untold = await asked_once(behind), await asked_once(behind)
    assert told.awaited.decision.request.body.data
    assert await swept(behind, clock, 61) == []
    assert not told.awaited.decision.request.body.data
    await behind.idle()
    assert await swept(behind, clock, 500) == []
    assert behind.outcomes.told(report(told.decision.id))
    assert await swept(behind, clock, 40) == [("routed", ""), ("failed", "envoy_unreported")]
    assert not behind.outcomes.told(report(untold.decision.id))


async def test_of_what_is_asked_once_only_so_many_are_waited_for() -> None:
    clock = Later()
    behind = Behind(House(), clock=clock)
    for _ in range(3):
        await asked_once(behind)
    assert await swept(behind, clock, 61) == [("failed", "envoy_unreported")]
    await behind.outcomes.close()


async def test_no_more_outcomes_are_given_up_at_once_than_the_ledger_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses everybody's records while too many wait: neither a sweep nor a worker's end is to bring that about."""
    monkeypatch.setattr(outcomes, "AT_ONCE", 3)
    clock = Later()
    behind = Behind(House(), most=100, clock=clock, lasting=100)
    for _ in range(20):
        await answered(behind)
    assert await swept(behind, clock, 61) == []
    assert len(await swept(behind, clock, 600)) == 3
    together, at_once, append = 0, 0, behind.house.ledger.append

    async def counted(entry: Entry) -> int:
        nonlocal together, at_once
        together += 1
        at_once = max(at_once, together)
        await asyncio.sleep(0)
        together -= 1
        return await append(entry)

    monkeypatch.setattr(behind.house.ledger, "append", counted)
    await behind.outcomes.close()
    assert (at_once, len(behind.ends())) == (3, 20)


async def test_who_remembers_a_key_is_there_until_it_heard_how_its_request_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload closes the connection to it once nobody needs the former configuration; the record may be there first."""
    behind, told = Behind(keeping_house()), asyncio.Event()
    first = await keyed(behind)
    assert isinstance(first, Pass)

    async def slow(*_: Any) -> None:
        await told.wait()

    monkeypatch.setattr(behind.house.runtime.repeats, "end", slow)
    assert behind.outcomes.told(report(first.decision.id))
    await asyncio.sleep(0.05)
    assert behind.ends() == [("routed", "")]
    idle = asyncio.create_task(behind.idle())
    await asyncio.sleep(0.05)
    assert not idle.done()
    told.set()
    await idle
    await behind.outcomes.close()


async def test_an_answer_that_goes_on_has_spent_its_key() -> None:
    """It is not shown, and so not kept; a claim lasts an hour, and after that whoever repeats the request would be the first again."""
    clock = Later()
    behind = Behind(keeping_house(), clock=clock)
    first = await keyed(behind)
    assert isinstance(first, Pass)
    assert first.awaited.keeping is not None
    length = (b"content-length", b"100000")
    assert not first.awaited.keeping.began(200, [length], "via_upstream", ended=False)
    first.awaited.status = 200
    behind.outcomes.over(first.awaited)
    assert await swept(behind, clock, 61) == []
    again = await keyed(behind)
    assert isinstance(again, Stop)
    assert again.code == "idempotency_unanswered"
    await behind.idle()
    assert behind.outcomes.told(report(first.decision.id))
    await behind.outcomes.close()


async def stood_still(behind: Behind, clock: Later, seconds: int) -> None:
    """While it waits for its next sweep."""
    sweeping = asyncio.create_task(behind.outcomes.keep())
    await asyncio.sleep(0)
    clock.ahead_s += seconds
    await asyncio.sleep(0.1)
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)


async def test_while_the_process_stood_still_nothing_was_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports came meanwhile and are read after it goes on: neither is a request given up that they tell of, nor is the log silent, and
    what is open stays open."""
    monkeypatch.setattr(outcomes, "SWEEP_S", 0.01)
    clock = Later()
    behind = Behind(House(), most=100, clock=clock, lasting=100)
    open_one = await answered(behind, stays=True)
    assert await swept(behind, clock, 61) == []
    ended = [await answered(behind, whole=True) for _ in range(SEVERAL)]
    await stood_still(behind, clock, 120)
    assert behind.ends() == []
    assert all(behind.outcomes.told(report(each.decision.id)) for each in (*ended, open_one))
    await behind.outcomes.close()


async def test_responses_that_go_on_are_no_silence_after_a_time_in_which_the_process_stood_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many should have ended in it, and what says that they did is still to be read. What was waited for before counts."""
    monkeypatch.setattr(outcomes, "SWEEP_S", 0.01)
    clock = Later()
    behind = Behind(House(), most=100, clock=clock, lasting=100)
    asked = [await answered(behind) for _ in range(SEVERAL)]
    assert await swept(behind, clock, 61) == []
    await stood_still(behind, clock, 600)
    assert behind.ends() == []
    assert behind.outcomes.told(report(asked[0].decision.id))
    assert len(await swept(behind, clock, 310)) == 1
    await behind.outcomes.close()


async def test_what_was_waited_for_before_and_after_a_standstill_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the standstill is not: a log that is silent is found so that much later."""
    monkeypatch.setattr(outcomes, "SWEEP_S", 0.01)
    clock = Later()
    behind = Behind(House(), most=100, clock=clock, lasting=100)
    for _ in range(SEVERAL):
        await answered(behind)
    assert await swept(behind, clock, 61) == []
    await stood_still(behind, clock, 600)
    assert behind.ends() == []
    assert await swept(behind, clock, 200) == []
    assert len(await swept(behind, clock, 110)) == SEVERAL
    await behind.outcomes.close()


@pytest.mark.parametrize("status", [200, 0])
async def test_the_digest_of_what_was_sent_is_on_record_whoever_tells_of_the_end(status: int) -> None:
    """Of a body longer than what is judged nothing else has it; also where no report comes, as without an access log."""
    clock = Later()
    behind = Behind(House(), clock=clock)
    answer = await behind.asked()
    assert isinstance(answer, Pass)
    answer.awaited.request_digest, answer.awaited.status, answer.awaited.whole = "cd" * 32, status, status != 0
    behind.outcomes.over(answer.awaited)
    await swept(behind, clock, 61)
    (leaf,) = [each for each in behind.house.leaves if each["schema"] == "lockgate.outcome.v1"]
    assert "request_digest" in leaf["commitments"]


async def test_one_report_that_was_lost_is_no_silence() -> None:
    """Others came since."""
    clock = Later()
    behind = Behind(House(), clock=clock)
    await answered(behind)
    await answered(behind, whole=True)
    heard = await answered(behind)
    assert behind.outcomes.told(report(heard.decision.id))
    assert await swept(behind, clock, 61) == [("routed", "")] * 2
    assert len(behind.outcomes) == 1
    await behind.outcomes.close()


async def test_of_responses_that_go_on_only_so_many_are_waited_for() -> None:
    """The oldest are given up; and a worker that ends gives all of them up."""
    clock = Later()
    behind = Behind(House(), clock=clock)
    first, *_ = [await answered(behind) for _ in range(3)]
    assert await swept(behind, clock, 61) == [("routed", "")]
    assert not behind.outcomes.told(report(first.decision.id))
    await behind.outcomes.close()
    assert behind.ends() == [("routed", "")] * 3
    await behind.idle()
