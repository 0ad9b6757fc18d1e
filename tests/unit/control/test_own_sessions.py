"""People see their own sessions, and end them; nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from router.control.app import create_app
from router.control.services import ControlServices
from router.decision import Subject
from router.errors import AuditError
from router.identity.sessions import SignedIn
from tests.unit.control.conftest import Credential
from tests.unit.control.test_sign_in import sign_in_of
from tests.unit.identity.parts import HandClock

OWN, PAGE = "/v1/identity/sessions", "/console/your-sessions"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
NAME = "lockgate_session"


class Desk:
    """Browsers by what they hold; `recorded` is what went into the ledger."""

    def __init__(self, services: ControlServices, clock: HandClock) -> None:
        self.clock = clock
        self.recorded: list[tuple[str, Any]] = []
        self.down = False

        async def record(event: str, details: Any) -> None:
            if self.down:
                raise AuditError("The ledger does not answer.")
            self.recorded.append((event, details))

        self.services = replace(services, record=record)
        self.client = TestClient(create_app(self.services), base_url="http://127.0.0.1:8081", raise_server_exceptions=False)

    async def signed_in(self, who: str = "olga", issuer: str = "https://id.example") -> str:
        self.clock.forward(1)
        subject = Subject(who, "user", ("viewer",), authenticated_by="session")
        _, secret, _ = await sign_in_of(self.services).sessions.begin(SignedIn(subject, issuer=issuer, methods=("pwd", "otp")))
        return secret

    def ask(self, secret: str, method: str = "GET", path: str = OWN, **more: Any) -> Any:
        fields = {"cookie": f"{NAME}={secret}"}
        if method != "GET":
            fields["x-lockgate-csrf"] = self.ask(secret, path="/v1/identity").json()["csrf"]
        return self.client.request(method, path, headers={**fields, **more})

    def ids(self, secret: str) -> list[str]:
        return [each["id"] for each in self.ask(secret).json()["sessions"]]


@pytest.fixture
def desk(services: ControlServices, clock: HandClock) -> Iterator[Desk]:
    made = Desk(services, clock)
    with made.client:
        yield made


async def test_people_see_their_own_sessions_and_nobody_elses(desk: Desk) -> None:
    """The one that asks is marked; another provider's person of the same name is another person."""
    first, second = await desk.signed_in(), await desk.signed_in()
    others = [await desk.signed_in("bert"), await desk.signed_in(issuer="https://other.example")]
    listed = desk.ask(second).json()["sessions"]
    assert [(each["current"], each["methods"]) for each in listed] == [(True, ["pwd", "otp"]), (False, ["pwd", "otp"])]
    assert set(desk.ids(first)) == set(desk.ids(second))
    assert all(len(desk.ids(other)) == 1 and not set(desk.ids(other)) & set(desk.ids(first)) for other in others)
    assert not any(secret in desk.ask(second).text for secret in (first, second, *others))


async def test_one_session_is_ended_at_once_and_on_record(desk: Desk) -> None:
    """And somebody else's is not there to be ended, for an administrator's browser neither."""
    mine, stolen, other = await desk.signed_in(), await desk.signed_in(), await desk.signed_in("bert")
    (strange,) = desk.ids(other)
    (wanted,) = set(desk.ids(mine)) - {next(each["id"] for each in desk.ask(mine).json()["sessions"] if each["current"])}
    assert desk.ask(mine, "DELETE", f"{OWN}/{strange}").json()["code"] == "not_found"
    assert desk.ask(mine, "DELETE", f"{OWN}/{wanted}").status_code == 204
    assert desk.ask(stolen).json()["code"] == "session_unknown"
    assert desk.ask(other).status_code == 200
    (event, details) = desk.recorded[-1]
    assert (event, details["sessions"], details["own"]) == ("sessions_ended", [wanted], True)
    assert details["by_key"].startswith("session:")


async def test_all_others_are_ended_and_this_one_goes_on(desk: Desk) -> None:
    """Also while the ledger is down: what ends a stolen session does not wait."""
    elsewhere = [await desk.signed_in() for _ in range(3)]
    here, other = await desk.signed_in(), await desk.signed_in("bert")
    ended = desk.ask(here, "DELETE").json()["ended"]
    assert len(ended) == 3
    assert desk.recorded[-1][1]["sessions"] == ended
    assert [desk.ask(secret).status_code for secret in elsewhere] == [401] * 3
    assert (desk.ask(here).status_code, desk.ask(other).status_code) == (200, 200)
    stolen = await desk.signed_in()
    desk.down = True
    assert desk.ask(here, "DELETE").status_code == 503
    assert desk.ask(stolen).status_code == 401


async def test_ending_takes_the_sessions_token(desk: Desk) -> None:
    """Another site's page has none."""
    here, elsewhere = await desk.signed_in(), await desk.signed_in()
    for path in (OWN, f"{OWN}/{desk.ids(elsewhere)[0]}"):
        answer = desk.client.delete(path, headers={"cookie": f"{NAME}={here}"})
        assert answer.json()["code"] == "csrf_missing"
    assert desk.ask(elsewhere).status_code == 200


def test_a_key_has_no_sessions(client: TestClient, credential: Credential) -> None:
    """It may be in anybody's name."""
    for method, path in (("GET", OWN), ("DELETE", OWN), ("DELETE", f"{OWN}/0123456789abcdef")):
        answer = client.request(method, path, headers=credential("admin"))
        assert (answer.status_code, answer.json()["code"]) == (409, "session_needed")


async def test_the_page_shows_and_ends_them(desk: Desk) -> None:
    """Where from and with what as our own words; whoever ends the session they are in signs in again."""
    token = sign_in_of(desk.services).local
    assert token is not None
    sent = desk.client.post("/console/sign-in/local", data={"token": token.token()}, headers={"user-agent": AGENT}, follow_redirects=False)
    here = sent.cookies[NAME]
    desk.client.cookies.clear()
    elsewhere = await desk.signed_in("local", issuer="")
    shown = desk.ask(here, path=PAGE)
    assert shown.status_code == 200
    assert "Firefox on Linux" in shown.text
    assert AGENT not in shown.text
    assert "this one" in shown.text
    current = next(each["id"] for each in desk.ask(here).json()["sessions"] if each["current"])
    csrf = desk.ask(here, path="/v1/identity").json()["csrf"]

    def post(path: str) -> Any:
        return desk.client.post(f"{PAGE}/{path}/end", data={"csrf": csrf}, headers={"cookie": f"{NAME}={here}"}, follow_redirects=False)

    assert post("others").headers["location"] == f"{PAGE}?done=sessions_ended"
    assert desk.ask(elsewhere).status_code == 401
    assert post(current).headers["location"] == "/console/sign-in"
    assert desk.ask(here).status_code == 401
