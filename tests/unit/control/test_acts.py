"""Every change in the control API is on record before it takes effect, and what was refused is counted there; break-glass is loud."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from router.control.acts import ACTION, BEYOND, MOST, OTHERWISE, REFUSED, Acts
from router.control.app import create_app
from router.control.judging import Judge
from router.control.permissions import Permission
from router.control.services import ControlServices, Json
from router.control.sign_in.browser import NAME
from router.control.sign_in.routes import GLASS as SUBJECT
from router.control.sign_in.routes import signed_in
from router.decision import Subject
from router.errors import AuditError, PolicyError, ReviewError
from router.identity.break_glass import METHOD, BreakGlass, is_break_glass
from router.identity.sessions import SignedIn
from router.ports import Session
from router.processes.acts import look
from tests.unit.control.conftest import Credential
from tests.unit.control.test_permissions import PUBLIC, call, routes
from tests.unit.control.test_sign_in import code, sign_in_of
from tests.unit.identity.parts import HandClock

GLASS = "/console/sign-in/break-glass"


class Book:
    """Records, or refuses to."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Json]] = []
        self.down = False
        self.names: list[str] = []

    async def record(self, event: str, details: Json) -> None:
        if self.down:
            raise AuditError("The ledger does not answer.")
        self.told.append((event, details))

    async def pseudonym(self, subject: str) -> str:
        self.names.append(subject)
        return f"key-of-{len(subject)}"

    def of(self, event: str) -> list[Json]:
        return [details for each, details in self.told if each == event]


class Broken:
    digest = "broken"

    def judge(self, question: Any) -> Any:
        raise PolicyError("It is broken.", "control_policy_error")


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def recorded(services: ControlServices, book: Book, clock: HandClock) -> ControlServices:
    sign_in = replace(sign_in_of(services), break_glass=BreakGlass(b"k" * 32, clock))
    return replace(services, acts=Acts(book.record, book.pseudonym), record=book.record, sign_in=sign_in)


@pytest.fixture
def control(recorded: ControlServices) -> Iterator[TestClient]:
    with TestClient(create_app(recorded), base_url="http://127.0.0.1:8081", raise_server_exceptions=False) as client:
        yield client


def test_a_change_is_on_record_before_it_is_made(control: TestClient, credential: Credential, book: Book) -> None:
    """Who by their pseudonym, what, and to which; nothing of the body, and no name."""
    control.post("/v1/reviews/r1/reject", headers=credential("reviewer"), json={"comment": "secret words"})
    (told,) = book.of(ACTION)
    assert {name: told[name] for name in ("permission", "method", "path", "target", "by")} == {
        "permission": "reviews.decide",
        "method": "POST",
        "path": "/v1/reviews/{review_id}/reject",
        "target": {"review_id": "r1"},
        "by": "key-of-4",
    }
    assert re.fullmatch(r"[a-z0-9]{8}", told["by_key"])
    assert "secret" not in json.dumps(book.told)
    assert "olga" not in json.dumps(book.told)


def test_nothing_is_changed_that_cannot_be_recorded(
    control: TestClient, credential: Credential, book: Book, recorded: ControlServices
) -> None:
    """Of every endpoint that changes something, but those that end a stolen key or session: 503, and nothing done."""
    headers = credential("admin")
    book.down = True
    tried = 0
    for route in routes(recorded):
        methods = (route.methods or set()) - {"GET", "HEAD"}
        if not methods or route.path in PUBLIC or route.permission in OTHERWISE or methods == {"DELETE"}:
            continue
        assert call(control, route, headers) == 503, route.path
        tried += 1
    assert tried > 15
    assert recorded.reviews.state == "pending"  # type: ignore[attr-defined]  # the test's own desk
    assert len(recorded.keys.all()) == 1


def test_a_stolen_key_is_revoked_without_the_ledger(
    control: TestClient, credential: Credential, book: Book, recorded: ControlServices
) -> None:
    """The act comes first there."""
    headers = credential("admin")
    (key,) = recorded.keys.all()
    book.down = True
    assert control.delete(f"/v1/keys/{key.id}", headers=headers).status_code == 503
    assert recorded.keys.all()[0].revoked_ns is not None


def test_reading_is_no_change(control: TestClient, credential: Credential, book: Book) -> None:
    """What is read of the trail is recorded by the trail."""
    control.get("/v1/keys", headers=credential("auditor"))
    assert book.told == []


async def test_refusals_are_counted(control: TestClient, credential: Credential, book: Book, recorded: ControlServices) -> None:
    """Together, by code, permission and person; strangers as nobody. What could not be recorded goes with the next."""
    for _ in range(3):
        control.post("/v1/config/reload", headers=credential("viewer"))
    control.post("/v1/config/reload")
    assert book.told == []
    book.down = True
    await recorded.acts.flush()
    book.down = False
    await recorded.acts.flush()
    await recorded.acts.flush()
    (told,) = book.of(REFUSED)
    assert told["refused"] == [
        {"code": "permission_missing", "permission": "config.reload", "by": "key-of-4", "count": 3},
        {"code": "credential_missing", "permission": "config.reload", "by": "", "count": 1},
    ]


async def test_failed_sign_ins_are_counted(control: TestClient, book: Book, recorded: ControlServices) -> None:
    """By the reason they failed for."""
    for path in ("/console/sign-in/local", GLASS):
        control.post(path, data={"token": "made-up"})
    await recorded.acts.flush()
    (told,) = book.of(REFUSED)
    assert told["refused"] == [{"code": "sign_in_link_unknown", "permission": "public", "by": "", "count": 2}]


async def test_no_flood_of_refusals_fills_a_record(book: Book) -> None:
    """Beyond some hundred kinds they are counted together; a record stays a record."""
    acts = Acts(book.record, book.pseudonym)
    for number in range(MOST + 500):
        await acts.refused(None, Permission.KEYS_READ, f"code_{number}")
    await acts.flush()
    (told,) = book.of(REFUSED)
    assert len(told["refused"]) == MOST + 1
    assert [each["count"] for each in told["refused"] if each["permission"] == BEYOND[1]] == [500]
    assert len(json.dumps(told)) < 65_535


def token(services: ControlServices, case: str = "INC-7", minutes: int = 30) -> str:
    glass = sign_in_of(services).break_glass
    assert glass is not None
    return glass.token(case, minutes)


def test_break_glass_opens_what_a_broken_policy_closed(
    recorded: ControlServices, book: Book, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Under the incident's id, on record first, in the log, for as long as was said and no longer."""
    with TestClient(create_app(replace(recorded, judge=Judge(Broken()))), base_url="http://127.0.0.1:8081") as client:
        assert "30 minutes" in client.get(GLASS, params={"token": token(recorded)}).text
        with caplog.at_level(logging.CRITICAL, "lockgate.control"):
            assert client.post(GLASS, data={"token": token(recorded)}, follow_redirects=False).status_code == 303
        assert "incident INC-7" in caplog.text
        assert [event for event, _ in book.told] == ["break_glass", "signed_in"]
        assert book.told[0][1] == {"case": "INC-7", "minutes": 30, "notified": []}
        assert book.told[1][1]["by"] == f"key-of-{len('break-glass')}"
        who = client.get("/v1/identity").json()
        assert (who["subject"], "keys.write" in who["permissions"]) == ("break-glass", True)
        assert client.post("/v1/config/reload", headers={"x-lockgate-csrf": who["csrf"]}).status_code == 200
        clock.forward(1799)
        assert client.get("/v1/identity").status_code == 200
        clock.forward(1)
        assert code(client) == (401, "session_expired")


def test_break_glass_makes_no_keys(recorded: ControlServices, control: TestClient, credential: Credential) -> None:
    """They would outlast it, and say yes in names of their own to what it may not. It ends those of others."""
    control.post(GLASS, data={"token": token(recorded)})
    headers = {"x-lockgate-csrf": control.get("/v1/identity").json()["csrf"]}
    wanted = {"name": "n", "subject": "pat", "roles": ["policy_approver"], "scopes": ["control"]}
    for scopes in (["control"], ["gateway"]):
        assert code(control, "POST", "/v1/keys", json={**wanted, "scopes": scopes}, headers=headers) == (403, "privilege_escalation")
    known = {key.id for key in recorded.keys.all()}
    credential("viewer")
    (key,) = {key.id for key in recorded.keys.all()} - known
    assert control.delete(f"/v1/keys/{key}", headers=headers).status_code == 204


async def test_who_signs_in_for_somebody_is_on_record(recorded: ControlServices, book: Book) -> None:
    """An auditor sees that it was not the person alone."""
    request = Request({"type": "http", "headers": [], "client": None})
    pat = Subject("pat", "user", ("reviewer",), claims={"act": {"sub": "robot"}})
    await signed_in(recorded, request, SignedIn(pat), None)
    ((_, told),) = book.told
    assert (told["by"], told["acting"]) == ("key-of-3", ["key-of-5"])


class Denying:
    digest = "denying"

    def judge(self, question: Any) -> Any:
        return ("deny", (("hours.closed", "nobody reads at night"),))


def test_what_an_own_rule_refuses_is_refused_with_its_words(services: ControlServices, credential: Credential) -> None:
    """Under one code for all such rules; which one it was stands in the detail."""
    with TestClient(create_app(replace(services, judge=Judge(Denying()))), base_url="http://127.0.0.1:8081") as client:
        answer = client.get("/v1/config", headers=credential("admin"))
    assert (answer.status_code, answer.json()["code"]) == (403, "control_policy_denied")
    assert "hours.closed" in answer.json()["detail"]


def test_the_glass_breaks_once(recorded: ControlServices, control: TestClient) -> None:
    """Like the link of this machine, and neither is good for the other."""
    told = token(recorded)
    assert control.post(GLASS, data={"token": told}, follow_redirects=False).status_code == 303
    control.cookies.clear()
    assert code(control, "POST", GLASS, data={"token": told}) == (403, "sign_in_link_spent")
    links = sign_in_of(recorded).local
    assert links is not None
    assert code(control, "POST", GLASS, data={"token": links.token()}) == (403, "sign_in_link_unknown")
    assert code(control, "POST", "/console/sign-in/local", data={"token": token(recorded)}) == (403, "sign_in_link_unknown")


def test_no_glass_is_broken_off_the_record(recorded: ControlServices, control: TestClient, book: Book) -> None:
    """A ledger that is down lets nobody in by this either."""
    book.down = True
    assert code(control, "POST", GLASS, data={"token": token(recorded)}) == (503, "audit_unavailable")
    assert control.cookies.get(NAME) is None


def test_who_cannot_be_told_keeps_nobody_out(recorded: ControlServices, book: Book) -> None:
    """The channels' store is down: the session begins, and the record says that nobody was told, and why."""

    async def alarm(mark: str, case: str, until_ns: int) -> list[str]:
        assert (len(mark), case) == (32, "INC-7")
        raise ReviewError("The notices' store does not answer.", "review_store_unavailable")

    with TestClient(create_app(replace(recorded, alarm=alarm)), base_url="http://127.0.0.1:8081") as client:
        assert client.post(GLASS, data={"token": token(recorded)}, follow_redirects=False).status_code == 303
        assert client.get("/v1/identity").json()["subject"] == "break-glass"
    (told,) = book.of("break_glass")
    assert (told["notified"], told["notice_failed"]) == ([], "review_store_unavailable")


@pytest.mark.parametrize(("case", "minutes"), [("", 5), ("a b", 5), ("x" * 41, 5), ("ü", 5), ("INC", 0), ("INC", 241)])
def test_an_incident_has_an_id_and_an_end(recorded: ControlServices, case: str, minutes: int) -> None:
    """Nothing else gets into the ledger, and nobody is in for days."""
    with pytest.raises(ValueError, match="must be"):
        token(recorded, case, minutes)


def test_every_part_of_the_token_is_signed(recorded: ControlServices, control: TestClient) -> None:
    """Nobody makes it last longer, or gives it another incident."""
    told = token(recorded)
    for place in range(0, len(told) - 1, 5):
        altered = told[:place] + ("A" if told[place] != "A" else "B") + told[place + 1 :]
        assert code(control, "POST", GLASS, data={"token": altered}) == (403, "sign_in_link_unknown")


def test_a_provider_cannot_make_it_one() -> None:
    """Whatever it says of how somebody signed in there."""
    session = Session(b"d", SUBJECT, 0, 0, 1, 0, 0, methods=(METHOD,))
    assert is_break_glass(session)
    assert not is_break_glass(replace(session, issuer="https://id.example"))


async def test_an_open_glass_is_told_all_the_time(recorded: ControlServices, control: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """By the metric and, again and again, by the log, until the session ends."""
    control.post(GLASS, data={"token": token(recorded)})
    sign_in_of(recorded).open_glass[0] = 0
    with caplog.at_level(logging.CRITICAL, "lockgate.control"):
        await look(recorded, loud=True)
    assert sign_in_of(recorded).open_glass == [1]
    assert "1 session(s) of an administrator are open" in caplog.text
    csrf = control.get("/v1/identity").json()["csrf"]
    control.post("/console/sign-out", data={"csrf": csrf})
    await look(recorded, loud=True)
    assert sign_in_of(recorded).open_glass == [0]
