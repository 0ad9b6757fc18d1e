"""What every destination that takes messages promises, as a suite that a kind's own test file runs over the real peer.

A kind's test class derives from `Promises` and gives a fixture `case`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import orjson
import pytest

from adapters.messaging.message import message
from adapters.messaging.scoped import scoped
from router.errors import DestinationError
from router.ports import Destination, Headers, Outbound

INTENT = "cancel_payment"


@dataclass(frozen=True, slots=True)
class Case:
    """`destination` is open. `arrived` gives the contents that the real peer has for a message id, waiting a moment for the first. `status`
    of an acknowledgement; `once`: the peer acts once for each id."""

    destination: Destination
    arrived: Callable[[str], Awaitable[Sequence[bytes]]]
    status: int = 202
    once: bool = True


def asked(body: bytes, more: Headers = [], *, key: str | None = None, idempotent: bool = False) -> Outbound:  # noqa: B006  # never changed
    """A decided request as it goes out."""
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"x-lockgate-decision-id", str(uuid.uuid4()).encode()),
        (b"x-lockgate-intent", INTENT.encode()),
        (b"x-lockgate-confidence", b"0.9731"),
        (b"x-lockgate-risk", b"high"),
        (b"x-lockgate-route", b"payments.flow"),
        (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ]
    given = {name for name, _ in more}
    return Outbound("POST", "/payments/cancel", [field for field in headers if field[0] not in given] + list(more), body, idempotent, key)


def own_id(outbound: Outbound) -> str:
    """The id that kinds give to work, which tells callers apart."""
    return scoped(message(outbound, b"{}", None))


def id_of(key: str) -> str:
    """The id that a message of `asked` has at a peer that acts once on ids."""
    return scoped(message(asked(b"", key=key), b"", None))


async def whole(destination: Destination, outbound: Outbound) -> tuple[int, bytes]:
    reply = await destination.send(outbound)
    try:
        return reply.status, b"".join([chunk async for chunk in reply.chunks()])
    finally:
        await reply.close()


class Promises:
    async def test_it_answers_a_ping(self, case: Case) -> None:
        await case.destination.ping()

    async def test_a_request_arrives_with_its_body(self, case: Case) -> None:
        key, body = f"k-{uuid.uuid4()}", orjson.dumps({"payment": 4711, "note": "ä🙂"})
        status, answer = await whole(case.destination, asked(body, key=key))
        assert status == case.status
        assert isinstance(orjson.loads(answer), dict)
        assert [orjson.loads(each) for each in await case.arrived(key)] == [orjson.loads(body)]

    async def test_the_same_id_twice_is_acted_on_once(self, case: Case) -> None:
        key, body = f"k-{uuid.uuid4()}", b'{"payment":1}'
        first = await whole(case.destination, asked(body, key=key))
        second = await whole(case.destination, asked(body, key=key))
        assert first[0] == second[0] == case.status
        if case.once:
            assert len(await case.arrived(key)) == 1

    async def test_many_at_once_all_arrive(self, case: Case) -> None:
        keys = [f"k-{uuid.uuid4()}" for _ in range(20)]
        sendings = (whole(case.destination, asked(orjson.dumps({"place": place}), key=key)) for place, key in enumerate(keys))
        answers = await asyncio.gather(*sendings)
        assert [status for status, _ in answers] == [case.status] * len(keys)
        for place, key in enumerate(keys):
            assert orjson.loads((await case.arrived(key))[0]) == {"place": place}

    async def test_it_takes_no_websockets(self, case: Case) -> None:
        with pytest.raises(DestinationError) as refused:
            await case.destination.connect("/", [], [])
        assert refused.value.code == "websocket_unsupported"

    async def test_closing_twice_is_harmless_and_then_nothing_is_taken(self, case: Case) -> None:
        await case.destination.close()
        await case.destination.close()
        with pytest.raises(DestinationError) as refused:
            await case.destination.send(asked(b"{}"))
        assert refused.value.code == "destination_closed"
