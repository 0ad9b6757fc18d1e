"""Obligations are met exactly or the request does not go out; an approval is bound to everything that does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.memory_destination import Answer, MemoryDestination
from router.decision import BodyView, Decision, Obligation, Result
from router.dispatch import Dispatcher, content_digest, failure
from router.errors import DestinationError, PolicyError
from router.ports import Headers, Outbound
from router.stages.signals import SignalDetector
from tests.unit.doors.parts import decision

DISPATCHER = Dispatcher({}, SignalDetector().mask)
PLAIN = Outbound("POST", "/pay", [(b"content-type", b"application/json")], b"{}")
MASK = Obligation("mask_body")


async def streaming() -> AsyncIterator[bytes]:
    yield b"{}"


def masked(body: bytes | AsyncIterator[bytes], content_type: str = "application/json") -> bytes:
    out = DISPATCHER.oblige(decision(MASK, content_type=content_type), replace(PLAIN, body=body)).body
    assert isinstance(out, bytes)
    return out


def refused(made: Decision, outbound: Outbound = PLAIN) -> str:
    with pytest.raises(PolicyError) as caught:
        DISPATCHER.oblige(made, outbound)
    return caught.value.code


def added(headers: Any) -> Decision:
    return decision(Obligation("add_headers", {"headers": headers}))


def test_without_obligations_nothing_changes() -> None:
    """The request goes out as it is."""
    assert DISPATCHER.oblige(decision(), PLAIN) is PLAIN


@pytest.mark.parametrize(("name", "params"), [("require_review", {}), ("log", {"fields": ["a"]}), ("tag", {"tags": ["a"]})])
def test_obligations_for_others_change_nothing(name: str, params: dict[str, Any]) -> None:
    """What another part meets is left alone here."""
    assert DISPATCHER.oblige(decision(Obligation(name, params)), PLAIN) is PLAIN


def test_an_unknown_obligation_stops_the_request() -> None:
    """What cannot be met is never skipped."""
    assert refused(decision(Obligation("encrypt"))) == "obligation_unknown"


def test_headers_are_added() -> None:
    """In lower case, behind the caller's."""
    out = DISPATCHER.oblige(added({"X-Purpose": "refund", "x-limit": "5"}), PLAIN)
    assert out.headers == [*PLAIN.headers, (b"x-purpose", b"refund"), (b"x-limit", b"5")]
    assert PLAIN.headers == [(b"content-type", b"application/json")]


def test_policys_header_takes_the_place_of_the_callers() -> None:
    """Of two fields with one name an upstream might take the caller's."""
    out = DISPATCHER.oblige(
        added({"x-limit": "5"}), replace(PLAIN, headers=[(b"x-limit", b"5000"), (b"x-other", b"1"), (b"x-limit", b"9")])
    )
    assert out.headers == [(b"x-other", b"1"), (b"x-limit", b"5")]


@pytest.mark.parametrize("problem", ["encoded_body", "charset_unsupported", "malformed_json", "undecodable"])
def test_a_body_that_was_not_understood_is_not_masked(problem: str) -> None:
    """Packed or in another character set, what looks harmless may be personal data to the upstream."""
    made = decision(MASK, content_type="text/plain; charset=utf-7")
    made = replace(made, request=replace(made.request, body=BodyView(b"+AEA-", problem=problem)))
    assert refused(made, replace(PLAIN, body=b"jane+AEA-acme.io")) == "obligation_failed"


class Sockets:
    """Remembers how it was connected to."""

    def __init__(self) -> None:
        self.headers: Headers = []

    async def connect(self, target: str, headers: Headers, subprotocols: Any) -> str:
        self.headers = headers
        return target


async def test_obligations_bind_websockets_too() -> None:
    """Fields are added to the handshake; what cannot be done to messages, or at all, stops it."""
    sockets = Sockets()
    dispatcher = Dispatcher({"pay": sockets}, SignalDetector().mask)  # type: ignore[dict-item]  # the one method that is asked
    assert await dispatcher.connect(added({"x-limit": "5"}), "/chat", [], []) == "/chat"  # type: ignore[comparison-overlap]  # as above
    assert sockets.headers == [(b"x-limit", b"5")]
    for name, code in (("mask_body", "obligation_failed"), ("encrypt", "obligation_unknown")):
        with pytest.raises(PolicyError) as caught:
            await dispatcher.connect(decision(Obligation(name)), "/chat", [], [])
        assert caught.value.code == code


@pytest.mark.parametrize(
    "headers",
    [
        {"x-lockgate-intent": "a"}, {"Host": "a"}, {"content-length": "1"}, {"transfer-encoding": "chunked"}, {"connection": "close"},
        {"bad name": "a"}, {"a:b": "a"}, {"": "a"}, {"ä": "a"}, {"x-a": "a\r\nx-b: c"}, {"x-a": "ä"},
        {"x_lockgate_intent": "a"}, ["x-a"], None, "x",
    ],
)  # fmt: skip
def test_headers_that_policy_may_not_set_stop_the_request(headers: Any) -> None:
    """Names of ours, framing, hop-by-hop fields, and anything that is no plain header field."""
    assert refused(added(headers)) == "obligation_failed"


def test_a_json_body_is_masked() -> None:
    """Strings, keys and numbers, wherever they stand; the rest keeps its value."""
    body = {
        "text": "pay to DE89 3704 0044 0532 0130 00",
        "to": [{"mail": "jane@acme.io"}, 4111111111111111],
        "jane@acme.io": True,
        "amount": 12.5,
        "big": 123456789012345678901234567890,
        "none": None,
        "name": "Grüße",
    }
    assert json.loads(masked(json.dumps(body).encode())) == {
        "text": "pay to [iban]",
        "to": [{"mail": "[email]"}, "[card]"],
        "[email]": True,
        "amount": 12.5,
        "big": 123456789012345678901234567890,
        "none": None,
        "name": "Grüße",
    }


@pytest.mark.parametrize("value", ["swordfish", "two words", 'with "quotes" inside', "x", 1234, ["a", "b"]])
@pytest.mark.parametrize("key", ["password", "client_secret", "apiKey", "user-password", "newPassword", "DB_PASSWD"])
def test_a_key_says_that_its_value_is_a_credential(key: str, value: Any) -> None:
    """A password is masked by its key, whatever it looks like."""
    expected = ["[password]"] * len(value) if isinstance(value, list) else "[password]"
    assert json.loads(masked(json.dumps({key: value}).encode())) == {key: expected}


@pytest.mark.parametrize(
    "document", [{"password": ""}, {"password": None}, {"password": True}, {"password_reset": "requested"}, {"passwords": "policy"}]
)
def test_a_key_that_holds_no_credential_is_left_alone(document: Any) -> None:
    """Nothing, flags, and members that only talk about passwords."""
    assert json.loads(masked(json.dumps(document).encode())) == document


def test_a_text_body_is_masked() -> None:
    """As text, in UTF-8."""
    assert masked("grüß jane@acme.io".encode(), "text/plain; charset=utf-8") == "grüß [email]".encode()


def test_an_empty_body_has_nothing_to_mask() -> None:
    """It goes out as it is, whatever its type."""
    assert masked(b"", "image/png") == b""


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/json"), (b"\xff", "application/json"), (b'{"a": NaN}', "application/json"),
        (b'{"a": 1e999}', "application/json"),
        (b"[" * 100_000, "application/json"), (b'{"a": "\\ud800"}', "application/json"), (b"\xff", "text/plain"),
        (b"x", "image/png"), (b"x", ""),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_a_body_that_cannot_be_masked_stops_the_request(body: bytes, content_type: str) -> None:
    """What could not be read could not be masked, and is not sent."""
    assert refused(decision(MASK, content_type=content_type), replace(PLAIN, body=body)) == "obligation_failed"


def test_a_streamed_body_cannot_be_masked() -> None:
    """It was not read whole."""
    assert refused(decision(MASK), replace(PLAIN, body=streaming())) == "obligation_failed"


@given(st.recursive(st.none() | st.booleans() | st.integers(-999, 999) | st.sampled_from(["a", "jane@acme.io"]), st.lists, max_leaves=6))
def test_masking_keeps_the_shape(document: Any) -> None:
    """Only values change; a masked body masked again is the same."""
    once = masked(json.dumps(document).encode())
    assert b"jane" not in once
    assert masked(once) == once


def test_a_decision_without_a_known_destination_is_an_error() -> None:
    """No route, or one that nothing is configured for."""
    for made in (decision(route=None), decision()):
        with pytest.raises(DestinationError) as caught:
            DISPATCHER.destination(made)
        assert caught.value.code == "destination_unknown"


@pytest.mark.parametrize("status", [0, 100, 199, 600, 999])
async def test_a_status_that_is_none_is_a_failure(status: int) -> None:
    """Whatever kind of destination answers with it; its answer is not read."""

    async def answer(outbound: Outbound) -> Answer:
        return Answer(status, [], b"no")

    destination = MemoryDestination(answer)
    await destination.open()
    with pytest.raises(DestinationError) as caught:
        await Dispatcher({"pay": destination}, SignalDetector().mask).send(decision(), PLAIN)
    error = caught.value
    assert (error.code, error.status, error.sent, error.attempts, error.upstream) == ("upstream_protocol", 502, True, 1, "memory")


def test_a_failure_is_an_outcome() -> None:
    """Status, code, upstream and attempts of the error are kept."""
    outcome = failure(DestinationError("late", "upstream_timeout", 504, attempts=3, upstream="a:1"), 7)
    assert (outcome.result, outcome.status, outcome.reason, outcome.upstream, outcome.attempts, outcome.total_ns, outcome.complete) == (
        Result.FAILED, 504, "upstream_timeout", "a:1", 3, 7, False,
    )  # fmt: skip


VARIED = [
    replace(PLAIN, method="PUT"),
    replace(PLAIN, target="/pay?x=1"),
    replace(PLAIN, headers=[(b"content-type", b"text/plain")]),
    replace(PLAIN, headers=[*PLAIN.headers, (b"a", b"b")]),
    replace(PLAIN, headers=[]),
    replace(PLAIN, body=b"{ }"),
    replace(PLAIN, headers=[], body=b"content-type:application/json"),
]


def test_the_content_digest_covers_everything_that_is_sent() -> None:
    """Another method, target, header or body is another content; the same is the same."""
    digests = [content_digest(each) for each in (PLAIN, *VARIED)]
    assert len(set(digests)) == len(digests)
    assert content_digest(replace(PLAIN)) == digests[0]


def test_a_streamed_body_has_no_content_digest() -> None:
    """Only a request that was read whole can be bound to an approval."""
    with pytest.raises(PolicyError) as caught:
        content_digest(replace(PLAIN, body=streaming()))
    assert caught.value.code == "body_truncated"
