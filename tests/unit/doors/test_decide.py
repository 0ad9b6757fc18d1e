"""The decide API refuses in RFC 9457 problems, before it has taken up more than it can hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient

from router.acting import MADE_BY, acting_claims, actors, key_claims, maker
from router.decision import Subject
from router.doors.decide import DecideDoor, on_behalf
from router.doors.decide_api import create_app
from router.doors.decide_models import SubjectIn
from router.doors.runtime import DoorOptions, Runtime
from router.errors import IdentityError, RefusedError
from router.system import SystemClock, SystemRandom, UuidV7
from tests.faults.gateway_harness import Seen

MAX_BODY = 10_000


class Stranger:
    async def identify(self, headers: Any, now_ns: int, certificate: Any = None) -> Any:
        raise IdentityError("No credential was sent.", "credential_missing")


class Broken:
    async def identify(self, headers: Any, now_ns: int, certificate: Any = None) -> Any:
        raise ZeroDivisionError("private detail")


def client(authenticator: Any, seen: Seen) -> TestClient:
    class Bare:
        decide_authenticator = delegate_authenticator = authenticator
        options = DoorOptions()

    @contextmanager
    def using() -> Iterator[Runtime]:
        yield Bare()  # type: ignore[misc]  # nothing else is asked

    door = DecideDoor(using, SystemClock(), UuidV7(), SystemRandom(), seen)
    return TestClient(create_app(door, lambda: True, MAX_BODY), raise_server_exceptions=False)


def test_a_body_is_bounded_before_its_sender_is_known() -> None:
    """Announced or not, what nobody vouches for does not fill the memory."""
    asked = client(Stranger(), Seen())
    for body in (b"x" * (MAX_BODY + 1), iter([b"x" * MAX_BODY, b"x"])):
        answer = asked.post("/v1/decide", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(("method", "path", "code"), [("GET", "/v1/nothing", "not_found"), ("GET", "/v1/decide", "method_not_allowed")])
def test_what_is_not_there_is_a_problem(method: str, path: str, code: str) -> None:
    """As every other refusal."""
    answer = client(Stranger(), Seen()).request(method, path)
    assert (answer.headers["content-type"], answer.json()["code"]) == ("application/problem+json", code)


def test_an_unforeseen_failure_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """The caller hears that it failed, the operator hears why."""
    answer = client(Broken(), Seen()).post("/v1/decide", json={"text": "hello"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "private detail" not in answer.text
    assert "private detail" in caplog.text


def test_a_refusal_is_counted() -> None:
    """Unauthenticated calls are recorded as counts, at this door too."""
    seen = Seen()
    assert client(Stranger(), seen).post("/v1/decide", json={"text": "hello"}).status_code == 401
    assert seen.refusals == [("credential_missing", 401)]


def test_everybody_who_acts_stays_visible() -> None:
    """The service that asks, who acts for it, and who acted for the one it asks for: none of them may decide about what they asked for."""
    service = Subject("desk", "service", claims={"act": {"sub": "ada"}})
    wanted = SubjectIn(id="pat", claims={"act": {"sub": "robot"}, "level": 3})
    subject = on_behalf(wanted, service)
    assert (actors(subject), subject.claims["level"], subject.authenticated_by) == (("desk", "ada", "robot"), 3, "delegated")


def test_who_made_the_key_of_who_asks_stays_visible() -> None:
    """They could ask with it. What the service says about a key of its own is not believed."""
    made = on_behalf(SubjectIn(id="pat", claims={MADE_BY: "robot"}), Subject("desk", "service", claims=key_claims("k", "ada")))
    assert maker(made.claims) == "ada"
    assert maker(on_behalf(SubjectIn(id="pat", claims={MADE_BY: "robot"}), Subject("desk", "service")).claims) is None


def chain(*names: str) -> dict[str, Any]:
    return acting_claims(names)


@pytest.mark.parametrize(
    "claims",
    [{"act": "robot"}, {"act": {}}, {"act": {"sub": 3}}, {"act": {"sub": "robot", "act": ["ada"]}}, chain(*"abcdefg"), chain(*"abcdefghi")],
)
def test_who_acts_for_somebody_is_told_whole_or_not_at_all(claims: dict[str, Any]) -> None:
    """Who is left out could approve what they asked for. A token that says it so is refused, too."""
    service = Subject("desk", "service", claims={"act": {"sub": "ada"}})
    with pytest.raises(RefusedError) as caught:
        on_behalf(SubjectIn(id="pat", claims=claims), service)
    assert (caught.value.code, caught.value.status) == ("request_invalid", 422)
    assert len(actors(on_behalf(SubjectIn(id="pat", claims=chain(*"abcdef")), service))) == 8
