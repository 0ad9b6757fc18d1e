"""A body that passes through the door part by part."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from router.doors.body import BodyLimits
from router.doors.envoy.duplex import Duplex
from router.doors.envoy.messages.envoy_pb2 import HttpBody, HttpHeaders, HttpTrailers, ProcessingRequest
from router.errors import RefusedError

LIMITS = BodyLimits(body=8, view=4)
ANSWERED = ProcessingRequest(response_headers=HttpHeaders())
TRAILERS = ProcessingRequest(request_trailers=HttpTrailers())


class Shown:
    """A stream on which Envoy sends these, and then nothing more."""

    def __init__(self, *messages: ProcessingRequest) -> None:
        self._messages: Sequence[ProcessingRequest] = messages

    async def read(self) -> ProcessingRequest | None:
        first, self._messages = next(iter(self._messages), None), self._messages[1:]
        return first


class Sent(Shown):
    """A stream on which Envoy is answered."""

    async def write(self, message: Any, /) -> None:
        pass

    def invocation_metadata(self) -> list[tuple[str, str | bytes]]:
        return []


def part(body: bytes, *, end: bool = False) -> ProcessingRequest:
    return ProcessingRequest(request_body=HttpBody(body=body, end_of_stream=end))


async def test_a_body_is_read_to_its_end_or_beyond_what_is_judged() -> None:
    """A trailer is an end as well."""
    assert await Duplex(LIMITS).read(Shown(part(b"ab"), part(b"c", end=True))) == b"abc"
    assert await Duplex(LIMITS).read(Shown(part(b"abc"), part(b"de"), part(b"f", end=True))) == b"abcde"
    assert await Duplex(LIMITS).read(Shown(part(b"ab"), TRAILERS)) == b"ab"


async def test_an_answer_that_envoy_gives_meanwhile_is_no_part_of_it() -> None:
    """It is handed back, so that it is let go at once: Envoy waits for that."""
    assert await Duplex(LIMITS).read(Shown(part(b"ab"), ANSWERED)) == ANSWERED
    assert await Duplex(LIMITS).read(Shown(part(b"ab"))) is None


async def test_a_body_that_is_larger_than_it_may_be_is_refused() -> None:
    with pytest.raises(RefusedError) as refused:
        await Duplex(LIMITS).read(Shown(part(b"abcdefghi")))
    assert refused.value.code == "body_too_large"


async def test_a_body_that_a_trailer_ends_has_its_digest() -> None:
    """It comes with the outcome, however long the body is and however its end is said."""
    answer = cast(Any, SimpleNamespace(awaited=SimpleNamespace(request_digest=None), changes=SimpleNamespace(body=None)))
    duplex, sent = Duplex(LIMITS), Sent()
    assert await duplex.read(Shown(part(b"abcde"))) == b"abcde"
    await duplex.let_go(sent, answer)
    await duplex.pass_on(sent, HttpBody(body=b"fg"), answer)
    assert answer.awaited.request_digest is None
    duplex.trailers(answer)
    assert answer.awaited.request_digest == hashlib.sha256(b"abcdefg").hexdigest()
