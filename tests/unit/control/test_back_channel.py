"""What the provider tells of somebody who signed out there, with real logout tokens: sessions end first, also if it is told twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from router.control.app import create_app
from router.control.services import ControlServices
from router.control.sign_in.browser import OIDC
from router.control.sign_in.parts import SignIn
from router.decision import Subject
from router.errors import AuditError, StateError
from router.identity.sessions import SessionService, SignedIn
from router.ports import Which
from tests.unit.identity.test_oidc import ISSUER, LOGOUT, Wire, client, token

TOLD = {"logout_token": token(header={"typ": "logout+jwt"}, **LOGOUT).decode()}


class Steps:
    """What is done, in order; the step named in `fails` is where Lockgate is lost: neither it nor anything after it happens."""

    def __init__(self) -> None:
        self.fails, self.records = "", 0

    async def record(self, event: str, details: Any) -> None:
        self.here("record", AuditError("The ledger does not answer."))
        self.records += event == "sessions_ended"

    def here(self, step: str, error: Exception) -> None:
        if step == self.fails:
            raise error


class Lost(SessionService):
    steps: Steps

    async def end(self, which: Which) -> Any:
        self.steps.here("end", StateError("The sessions do not answer."))
        return await super().end(which)

    async def spend(self, mark: bytes, until_ns: int) -> bool:
        self.steps.here("spend", StateError("The sessions do not answer."))
        return await super().spend(mark, until_ns)


Told = tuple[TestClient, Lost, Steps]


@pytest.fixture
def told(services: ControlServices) -> Iterator[Told]:
    assert services.sign_in is not None
    before, steps = services.sign_in.sessions, Steps()
    sessions = Lost(before._store, before._clock, before.limits)
    sessions.steps = steps
    made = replace(services, sign_in=SignIn(sessions, False, None, client(Wire())), record=steps.record)
    with TestClient(create_app(made), base_url="http://127.0.0.1:8081") as browser:
        yield browser, sessions, steps


def begin(sessions: SessionService) -> None:
    asyncio.run(sessions.begin(SignedIn(Subject("alice", "user"), issuer=ISSUER, issuer_session="s1")))


def open_sessions(sessions: SessionService) -> int:
    return len(sessions._store.all())


@pytest.mark.parametrize(("step", "left"), [("end", 1), ("record", 0), ("spend", 0)])
def test_lost_at_any_step_the_repeat_ends_and_records_it(told: Told, step: str, left: int) -> None:
    """The provider hears that it failed, and tells it again: then no session is left, and it is on record. Nothing was spent before."""
    browser, sessions, steps = told
    begin(sessions)
    steps.fails = step
    assert browser.post(f"{OIDC}/logout", data=TOLD).status_code == 503
    assert open_sessions(sessions) == left
    steps.fails = ""
    assert browser.post(f"{OIDC}/logout", data=TOLD).status_code == 200
    assert open_sessions(sessions) == 0
    assert steps.records >= 1


def test_a_token_that_was_heard_ends_no_later_session(told: Told) -> None:
    """Who keeps a logout token cannot sign the same person out again with it; it is answered as the first time."""
    browser, sessions, steps = told
    begin(sessions)
    assert browser.post(f"{OIDC}/logout", data=TOLD).status_code == 200
    begin(sessions)
    assert browser.post(f"{OIDC}/logout", data=TOLD).status_code == 200
    assert (open_sessions(sessions), steps.records) == (1, 1)
