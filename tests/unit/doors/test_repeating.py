"""What an idempotency key is called where it is remembered, and what is told again of what was kept under it."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from router.decision import ANONYMOUS, Obligation, Outcome, Result, Subject
from router.doors.repeating import Recorded, own_key, unpacked
from router.errors import DestinationError
from router.ports import Headers
from tests.unit.doors.parts import decision

LIMITED = decision(Obligation("limit_response", {"bytes": 3}))


def named(who: str, tenant: str, key: str) -> str:
    return own_key(Subject(who, "user", tenant=tenant or None, authenticated_by="token"), "192.0.2.1", key)


def test_no_two_callers_have_a_key_in_common() -> None:
    """Whatever stands in their names, tenants and keys, and however these run together."""
    parts = ["".join(each) for length in range(4) for each in product("1 ", repeat=length)]
    assert len({named(*each) for each in product(parts, repeat=3)}) == len(parts) ** 3


def test_most_names_are_those_of_earlier_releases() -> None:
    """So that nodes of two releases tell each other's repetitions while one takes the place of the other."""
    assert named("alice", "acme", "x k") == "subject:alice acme x k"
    assert named("alice", "", "k") == "subject:alice  k"
    assert own_key(ANONYMOUS, "192.0.2.1", "k") == "client:192.0.2.1  k"


async def recorded(status: int, headers: Headers, outcome: Outcome) -> bytes:
    async def send(_: Any) -> None:
        return None

    made = Recorded(send, 1000)
    await made({"type": "http.response.start", "status": status, "headers": headers})
    await made({"type": "http.response.body", "body": b"said"})
    return made.packed(outcome) or b""


async def test_a_held_requests_end_is_a_services_answer() -> None:
    """Where its caller waited for it, that is kept; more than policy allows is not told again. That it waits always is."""
    held = Outcome(Result.HELD, 202)
    status, _, body = unpacked(await recorded(202, [], held), LIMITED)
    assert (status, body) == (202, b"said")
    with pytest.raises(DestinationError) as refused:
        unpacked(await recorded(202, [(b"x-lockgate-review", b"done")], held), LIMITED)
    assert (refused.value.code, refused.value.status) == ("response_too_large", 502)
