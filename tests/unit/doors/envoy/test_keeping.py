"""What is kept of an answer that Envoy shows: only what is whole, short enough, and the service's own."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson
import pytest

from router.decision import Outcome, Result
from router.doors.envoy.keeping import VIA_UPSTREAM, Keeping
from router.doors.repeating import Claim
from router.doors.runtime import KeptAnswers
from router.ports import Turn

ROUTED = Outcome(Result.ROUTED, 200)
UNREACHED = Outcome(Result.FAILED, 503, "connect_failed", attempts=1)


@dataclass
class Told:
    said: list[str | bytes | None] = field(default_factory=list)

    async def begin(self, key: str, fingerprint: str, token: str, seconds: int) -> tuple[Turn, bytes]:
        return Turn.FIRST, b""

    async def end(self, key: str, token: str, answer: bytes | None, seconds: int) -> None:
        self.said.append(answer)

    async def release(self, key: str, token: str) -> None:
        self.said.append("released")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def keeping(told: Told) -> Keeping:
    return Keeping(Claim(told, "k", "t", KeptAnswers(False, 60, most=5)))


FIELDS = [(b":status", b"200"), (b"content-type", b"text/plain"), (b"set-cookie", b"a=1"), (b"x-envoy-upstream-service-time", b"1")]


def test_of_the_head_only_what_is_the_services_is_kept(keeping: Keeping) -> None:
    """Nothing of Envoy's, no cookie, nothing that belongs to a connection."""
    assert keeping.began(200, [*FIELDS, (b"x-lockgate-route", b"a"), (b"connection", b"close")], VIA_UPSTREAM, ended=False)
    keeping.came(b"hello", ended=True)
    assert keeping.ready
    assert orjson.loads(keeping._packed() or b"") == {"status": 200, "headers": [["content-type", "text/plain"]], "body": "aGVsbG8="}


@pytest.mark.parametrize(
    ("fields", "details", "ended", "shown"),
    [
        (FIELDS, VIA_UPSTREAM, False, True),
        (FIELDS, "", False, True),
        (FIELDS, VIA_UPSTREAM, True, False),
        (FIELDS, "upstream_reset_before_response_started", False, False),
        ([*FIELDS, (b"content-length", b"5")], VIA_UPSTREAM, False, True),
        ([*FIELDS, (b"content-length", b"6")], VIA_UPSTREAM, False, False),
    ],
)
def test_a_body_is_asked_for_where_it_may_be_kept(
    keeping: Keeping, fields: list[tuple[bytes, bytes]], details: str, ended: bool, shown: bool
) -> None:
    """Not where there is none, where it is Envoy's own, or where it says that it is too long."""
    assert keeping.began(200, fields, details, ended=ended) is shown


async def test_a_long_answer_is_not_kept(keeping: Keeping, told: Told) -> None:
    """Nor held in memory until its end."""
    keeping.began(200, FIELDS, VIA_UPSTREAM, ended=False)
    for part in (b"hel", b"lo!", b"x"):
        keeping.came(part, ended=part == b"x")
    assert (bytes(keeping.body), keeping.ready) == (b"", True)
    await keeping.keep()
    assert told.said == [None]


@pytest.mark.parametrize(
    ("details", "whole", "outcome", "reported", "kept"),
    [
        ("", True, ROUTED, True, True),
        ("", True, ROUTED, False, False),  # nobody says who answered
        (VIA_UPSTREAM, True, ROUTED, False, True),
        (VIA_UPSTREAM, False, ROUTED, True, False),
        ("direct_response", True, ROUTED, True, False),
        ("", True, Outcome(Result.FAILED, 503, "upstream_reset", attempts=1), True, False),
    ],
)
async def test_an_answer_is_kept_when_it_is_known_whose_it_is(
    keeping: Keeping, told: Told, details: str, whole: bool, outcome: Outcome, reported: bool, kept: bool
) -> None:
    """By Envoy's attribute or its access log; otherwise the key is spent."""
    keeping.began(200, FIELDS, details, ended=whole)
    await keeping.settle(outcome, reported=reported)
    assert [each is not None for each in told.said] == [kept]


async def test_a_key_is_let_go_of_only_if_no_attempt_reached_a_service(keeping: Keeping, told: Told) -> None:
    """Of several only the last one's failure is known; and what was said first counts."""
    await keeping.settle(UNREACHED, reported=True)
    await keeping.keep()
    assert told.said == ["released"]
    other = Keeping(Claim(told, "k", "t", KeptAnswers(False, 60, most=5)))
    await other.settle(Outcome(Result.FAILED, 503, "connect_failed", attempts=2), reported=True)
    assert told.said == ["released", None]
