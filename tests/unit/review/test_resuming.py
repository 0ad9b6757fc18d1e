"""Engines that are resumed when a review has ended: once it has, whatever crashed meanwhile, and only where configuration leads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from adapters import camunda_destination
from adapters.memory_destination import Answer, MemoryDestination
from adapters.memory_notices import MemoryNotices
from adapters.webhook_destination import Config, build
from router.ports import Destination, Notice, Outbound
from router.review.holding import Holding, Spans
from router.review.notifying import Notifying
from router.review.people import People
from router.review.resuming import FAR_NS, Resumer, checked
from router.review.standing import Standings
from router.system import SystemClock, SystemRandom
from tests.contract.engine_shapes import camunda
from tests.contract.webhook_receiver import SECRET, Receiver, receiving
from tests.unit.identity.parts import HandClock
from tests.unit.review.parts import REQUEST, RITA, Desk, to_review

TOKEN = "AQCEAAAAKgAAAAMAAAAA-the-engines-own"


class Engine:
    """What it was told, and how it answers."""

    def __init__(self) -> None:
        self.told: list[Outbound] = []
        self.answer: Answer | Exception = Answer(200, [], b"")

    async def handle(self, outbound: Outbound) -> Answer:
        self.told.append(outbound)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @property
    def bodies(self) -> list[Any]:
        return [orjson.loads(each.body) for each in self.told if isinstance(each.body, bytes)]


class Yard:
    def __init__(self, desk: Desk, clock: HandClock, destination: Destination) -> None:
        self.desk, self.clock, self.store = desk, clock, MemoryNotices()
        self.destination: Destination | None = destination
        self.notifying = self.node("one")

    def node(self, name: str) -> Notifying:
        made = Notifying(self.store, self.desk.store, self.clock, SystemRandom(), name, shared=True)
        people = People(self.desk.keys)
        made.resumer = Resumer(Standings(self.desk.store, people), people, lambda route, ahead: self.destination)
        return made

    async def rest(self, notice: Notice) -> None:
        await self.store.add([notice])

    async def held(self, number: int = 1, **resume: str) -> str:
        decision = to_review(number)
        holding = Holding(self.desk, self.desk.keys, self.clock, Spans(3600.0), self)
        await holding.hold(decision, REQUEST, resume or {"token": TOKEN}, 600.0)
        return decision.id

    async def rounds(self, notifying: Notifying | None = None, *changed: str) -> None:
        told = notifying or self.notifying
        for review in changed:
            told.changed(review)
        await told.round()
        await told.settled()

    def result(self) -> tuple[str, str]:
        (row,) = self.store.rows.values()
        return row.result, row.reason


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def yard(desk: Desk, clock: HandClock, engine: Engine) -> AsyncIterator[Yard]:
    destination = MemoryDestination(engine.handle)
    await destination.open()
    made = Yard(desk, clock, destination)
    yield made
    await made.notifying.close()
    await destination.close()


async def test_nothing_is_told_before_the_review_has_ended(yard: Yard, engine: Engine) -> None:
    """The token rests sealed; in what is stored and in the ledger nothing of it can be read."""
    review = await yard.held()
    await yard.rounds(None, review)
    yard.clock.forward(3000)
    await yard.rounds(None, review)
    assert engine.told == []
    (row,) = yard.store.rows.values()
    assert row.notice.due_ns == FAR_NS
    assert TOKEN.encode() not in row.notice.sealed
    assert TOKEN not in repr(await yard.desk.store.get(review))


async def test_it_is_told_with_the_answer_once_it_was_sent(yard: Yard, engine: Engine) -> None:
    """By its own token, under one key for all sendings; what it is told has no token in it."""
    review = await yard.held()
    await yard.desk.approve(review)
    await yard.desk.settled()
    await yard.rounds(None, review)
    await yard.rounds(None, review)
    (outbound,) = engine.told
    headers = dict(outbound.headers)
    assert (headers[b"resume-token"], outbound.idempotency_key) == (TOKEN.encode(), f"rsm_{review}")
    assert engine.bodies == [
        {
            "decision_id": review,
            "state": "done",
            "ahead": True,
            "status": 200,
            "reason": None,
            "answer": {"status": 200, "content_type": "text/plain", "body": "paid"},
        }
    ]
    assert yard.result() == ("sent", "")


async def test_it_is_told_of_a_rejection(yard: Yard, engine: Engine) -> None:
    """With the code that is on record."""
    review = await yard.held()
    await yard.desk.service.reject(review, RITA, "not today")
    await yard.rounds(None, review)
    (told,) = engine.bodies
    assert (told["state"], told["ahead"], told["status"], told["reason"], told["answer"]) == (
        "rejected",
        False,
        403,
        "review_rejected",
        None,
    )


async def test_it_is_told_of_an_expiry_though_nobody_saw_it(yard: Yard, engine: Engine) -> None:
    """Whoever starts next looks at what rests."""
    await yard.held()
    yard.clock.forward(3601)
    await yard.desk.service.expire_due()
    await yard.rounds(yard.node("two"))
    assert [told["state"] for told in engine.bodies] == ["expired"]


async def test_an_engine_that_is_away_is_told_later(yard: Yard, engine: Engine) -> None:
    """For as long as its route says, from the review's end on; then it is given up, with its reason."""
    review = await yard.held()
    yard.clock.forward(3000)
    await yard.desk.service.reject(review, RITA, "")
    engine.answer = Answer(503, [], b"")
    await yard.rounds(None, review)
    assert yard.result() == ("", "upstream_unavailable")
    engine.answer = Answer(200, [], b"")
    yard.clock.forward(60)
    await yard.rounds()
    assert (yard.result(), len(engine.told)) == (("sent", ""), 2)


async def test_an_engine_that_says_no_is_not_asked_again(yard: Yard, engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """Its step is gone: another sending gets the same answer."""
    review = await yard.held()
    await yard.desk.service.reject(review, RITA, "")
    engine.answer = Answer(404, [], b"")
    await yard.rounds(None, review)
    assert yard.result() == ("failed", "upstream_refused")
    assert TOKEN not in caplog.text


async def test_a_route_that_leads_nowhere_any_more_is_waited_for(yard: Yard, engine: Engine) -> None:
    """Configuration may come back."""
    review = await yard.held()
    await yard.desk.service.reject(review, RITA, "")
    yard.destination = None
    await yard.rounds(None, review)
    assert yard.result() == ("", "destination_unknown")


async def test_of_whom_was_erased_nobody_is_resumed(yard: Yard, engine: Engine) -> None:
    """The token went with the key."""
    review = await yard.held()
    held = (await yard.desk.store.get(review)).held  # type: ignore[union-attr]  # it was just held
    await yard.desk.service.reject(review, RITA, "")
    await yard.desk.keys.destroy(held.subject_key_id)  # type: ignore[attr-defined]  # the twin's
    await yard.rounds(None, review)
    assert (engine.told, yard.result()) == ([], ("failed", "subject_erased"))


@pytest.mark.parametrize("path", ["/hook/resume/1", "//evil.example/x"])
async def test_a_url_to_be_resumed_at_goes_where_configuration_lets_it(desk: Desk, clock: HandClock, path: str) -> None:
    """As engines have it that give a URL (n8n, Camunda's connectors): to one of the hosts, signed; anywhere else is refused for good."""
    async with receiving(Receiver()) as receiver:
        settings = {"url": "{{ request.headers['resume-url'] }}", "hosts": ["127.0.0.1"], "secrets": [SECRET]}
        config = Config.model_validate({**settings, "insecure": True, "allow_networks": ["127.0.0.0/8"], "retries": {"attempts": 1}})
        destination = build(config, name="hooks", clock=SystemClock(), random=SystemRandom())
        await destination.open()
        yard = Yard(desk, clock, destination)
        review = await yard.held(url=receiver.url + path if path.startswith("/hook") else f"https:{path}")
        await yard.desk.service.reject(review, RITA, "")
        await yard.rounds(None, review)
        await destination.close()
        if path.startswith("/hook"):
            ((arrived,), result) = receiver.arrivals, ("sent", "")
            assert (arrived["path"], orjson.loads(arrived["body"])["state"]) == (path, "rejected")
        else:
            assert receiver.arrivals == []
            result = ("failed", "endpoint_refused")
        assert yard.result() == result


@pytest.mark.parametrize(
    "told", [{}, {f"n{number}": "v" for number in range(9)}, {"A": "v"}, {"a b": "v"}, {"a": ""}, {"a": "\u00e9"}, {"a": "b\r\nc: d"}]
)
def test_what_cannot_be_a_token_is_refused(told: dict[str, str]) -> None:
    """In a sentence that does not repeat it."""
    with pytest.raises(ValueError, match="resume"):
        checked(told)


async def test_a_process_of_camunda_that_waits_for_a_message_is_resumed(desk: Desk, clock: HandClock) -> None:
    """By the correlation key that its step gave, once however often it is sent; what became of the review are the message's variables."""
    server, runs = camunda()
    await server.start()
    settings = {
        "url": server.url,
        "action": "message",
        "message": "reviewed",
        "correlation_key": "{{ request.headers['resume-key'] }}",
        "oauth": {"url": f"{server.url}/oauth/token", "client_id": "lockgate", "client_secret": "hush", "audience": "zeebe"},
    }
    destination = camunda_destination.build(
        camunda_destination.Config.model_validate(settings), name="goes-on", clock=SystemClock(), random=SystemRandom()
    )
    await destination.open()
    try:
        yard = Yard(desk, clock, destination)
        review = await yard.held(key="order-4711")
        await yard.desk.service.reject(review, RITA, "")
        await yard.rounds(None, review)
        assert yard.result() == ("sent", "")
        (told,) = [each.body for each in server.asked if each.template == "/v2/messages/publication"]
        assert (told["name"], told["correlationKey"]) == ("reviewed", "order-4711")
        assert (told["variables"]["decision_id"], told["variables"]["state"], told["variables"]["ahead"]) == (review, "rejected", False)
        assert [list(runs.made), server.mistakes] == [[told["messageId"]], []]
    finally:
        await destination.close()
        await server.stop()
