"""What a worker seals and hands over."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from adapters.memory_ledger import MemorySubjectKeys
from router.decision import Obligation, Verdict
from router.dispatch import content_digest
from router.errors import LockgateError, ReviewError
from router.ports import Held
from router.review.holding import Holding, Spans
from router.review.packing import Content, open_content, pack_held, seal_content, unpack_held
from router.review.terms import NS
from tests.unit.audit.samples import SECRETS
from tests.unit.identity.parts import NOW, HandClock
from tests.unit.review.parts import REQUEST, to_review

KEY = bytes(range(32))


class Kept:
    def __init__(self) -> None:
        self.held: list[Held] = []

    async def hold(self, held: Held) -> None:
        self.held.append(held)


async def hold(**wanted: object) -> tuple[Held, bytes]:
    kept, keys = Kept(), MemorySubjectKeys()
    decision = to_review(**wanted)
    await Holding(kept, keys, HandClock(), Spans(60.0)).hold(decision, REQUEST)
    return kept.held[0], (await keys.key_for(decision.request.subject.id))[1]


async def test_the_request_comes_out_of_the_seal_as_it_went_in() -> None:
    """With the masked text and who asked beside it."""
    held, key = await hold()
    decision = to_review()
    content = open_content(key, held)
    assert replace(content, document="") == Content(REQUEST, "cancel 4711 for <name>", decision.request.subject.id)
    assert json.loads(content.document)["classification"]["intent"] == "payment.cancel"
    assert held.content_digest == content_digest(REQUEST)


async def test_nothing_that_somebody_said_lies_outside_of_the_seal() -> None:
    """Neither text nor subject nor body; a tenant's name is an organisation's."""
    held, _ = await hold()
    outside = repr(replace(held, sealed=b"", tenant=None))
    assert [secret for secret in (*SECRETS, "Zoe Quist", "4711") if secret in outside] == []


@pytest.mark.parametrize("changed", [field.name for field in fields(Held) if field.name != "sealed"])
async def test_the_seal_is_bound_to_everything_that_is_held(changed: str) -> None:
    """Whoever loosens the terms of a review in the store makes its content unreadable."""
    held, key = await hold(quorum=2)
    other = {"summary": {**held.summary, "quorum": 1}}.get(changed, "x" if isinstance(getattr(held, changed), str) else 1)
    with pytest.raises(ReviewError) as error:
        open_content(key, replace(held, **{changed: other}))
    assert error.value.code == "content_changed"


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x02" + bytes(40), bytes(60)])
async def test_what_is_no_seal_is_a_changed_content(sealed: bytes) -> None:
    """Cut short, of another form, or of zeroes."""
    held, key = await hold()
    with pytest.raises(ReviewError) as error:
        open_content(key, replace(held, sealed=sealed))
    assert error.value.code == "content_changed"


async def test_it_survives_the_way_to_the_control_process() -> None:
    """Bytes, unicode that UTF-8 cannot say, and what policy wants."""
    held, key = await hold(quorum=3, expires="8h")
    odd = replace(held, tenant="h\udc80lden", sealed=b"")
    sealed = replace(odd, sealed=seal_content(key, Content(REQUEST, "text", "\ud800"), odd))
    assert unpack_held(pack_held(sealed)) == sealed
    assert open_content(key, unpack_held(pack_held(sealed))).subject == "\ud800"


@pytest.mark.parametrize(("expires", "seconds"), [("24h", 86_400), ("90s", 90), ("250ms", 0.25), (120, 120), (0.5, 0.5)])
async def test_policy_says_how_long_it_waits(expires: object, seconds: float) -> None:
    """As a duration, or as a number of seconds."""
    held, _ = await hold(expires=expires)
    assert held.expires_ns - NOW == int(seconds * NS)


async def test_what_policy_leaves_open_is_filled_in() -> None:
    """The configured time, one approver, anybody with the permission."""
    kept = Kept()
    decision = replace(to_review(), verdict=Verdict(to_review().verdict.effect))
    await Holding(kept, MemorySubjectKeys(), HandClock(), Spans(60.0)).hold(decision, REQUEST)
    held = kept.held[0]
    assert (held.expires_ns - NOW, held.summary["quorum"], held.summary["reviewers"]) == (60 * NS, 1, [])


UNUSABLE = [
    *[{"expires": value} for value in ("soon", "0s", -1, 0, True, None, [1], float("nan"), float("inf"), "9999999d")],
    *[{"quorum": value} for value in (0, -1, 65, 1.5, True, "2", None)],
    *[{"reviewers": value} for value in ("manager", [1], [""], None, {"manager": 1})],
]


@pytest.mark.parametrize("wanted", UNUSABLE)
async def test_an_obligation_that_cannot_be_read_holds_nothing(wanted: dict[str, object]) -> None:
    """It must not become a review that is easier to pass."""
    with pytest.raises(ReviewError) as error:
        await hold(**wanted)
    assert error.value.code == "obligation_failed"


async def test_a_quorum_that_json_made_a_real_number_counts() -> None:
    """2.0 is two."""
    held, _ = await hold(quorum=2.0)
    assert held.summary["quorum"] == 2


@pytest.mark.parametrize("order", [1, -1])
async def test_of_several_obligations_the_strictest_counts(order: int) -> None:
    """The most people, the soonest end, and only reviewers whom all would take, whichever policy comes first."""
    one = Obligation("require_review", {"quorum": 1, "expires": "90m", "reviewers": ["manager", "treasurer"]})
    other = Obligation("require_review", {"quorum": 2, "expires": "2h", "reviewers": ["treasurer", "auditor"]})
    held, _ = await hold(obligations=(one, Obligation("log", {}), Obligation("require_review", {}), other)[::order])
    assert (held.summary["quorum"], held.summary["reviewers"], held.expires_ns - NOW) == (2, ["treasurer"], 5400 * NS)


async def test_how_long_the_answer_may_be_waits_with_the_request() -> None:
    """The least that policy says."""
    limits = tuple(Obligation("limit_response", {"bytes": most}) for most in (9, 5, 7))
    held, _ = await hold(obligations=limits)
    assert held.summary["response_bytes"] == 5


async def test_a_body_that_was_not_read_whole_is_not_held() -> None:
    """There would be nothing to send later."""

    async def body() -> object:
        yield b""

    with pytest.raises(LockgateError) as error:
        await Holding(Kept(), MemorySubjectKeys(), HandClock(), Spans(60.0)).hold(to_review(), replace(REQUEST, body=body()))
    assert error.value.code == "body_truncated"


async def test_a_decision_without_a_route_is_not_held() -> None:
    """Nor is there somewhere to send it."""
    with pytest.raises(ReviewError) as error:
        await Holding(Kept(), MemorySubjectKeys(), HandClock(), Spans(60.0)).hold(replace(to_review(), route=None), REQUEST)
    assert error.value.code == "route_missing"
