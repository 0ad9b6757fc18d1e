"""What the provider tells of somebody who signed out there, with real logout tokens: sessions end first, also if it is told twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
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
from tests.e2e.processes import inherited
from tests.unit.identity.test_oidc import ISSUER, LOGOUT, Wire, client, token

TOLD = {"logout_token": token(header={"typ": "logout+jwt"}, **LOGOUT).decode()}


class Steps:
    """What is done, in order; the step named in `fails` is where Lockgate is lost: neither it nor anything after it happens."""

    def __init__(self) -> None:
        self.fails, self.records, self.named = "", 0, set[str]()

    async def record(self, event: str, details: Any) -> None:
        self.here("record", AuditError("The ledger does not answer."))
        self.records += event == "sessions_ended"
        self.named |= set(details["sessions"])

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
    return len(asyncio.run(sessions.all()))


@pytest.mark.parametrize("step", ["record", "end", "spend"])
def test_lost_at_any_step_the_repeat_ends_and_records_it_by_name(told: Told, step: str) -> None:
    """The session has ended all the same; the provider hears that it failed, and tells it again: then it is on record which it was."""
    browser, sessions, steps = told
    begin(sessions)
    (which,) = [each.id for each in asyncio.run(sessions.all())]
    steps.fails = step
    assert browser.post(f"{OIDC}/logout", data=TOLD).status_code == 503
    assert open_sessions(sessions) == 0
    steps.fails = ""
    assert browser.post(f"{OIDC}/logout", data=TOLD).status_code == 200
    assert sessions._store.all() == []
    assert steps.named == {which}


def test_a_token_that_was_heard_ends_no_later_session(told: Told) -> None:
    """Who keeps a logout token cannot sign the same person out again with it; it is answered as the first time."""
    browser, sessions, steps = told
    begin(sessions)
    assert browser.post(f"{OIDC}/logout", data=TOLD).status_code == 200
    begin(sessions)
    assert browser.post(f"{OIDC}/logout", data=TOLD).status_code == 200
    assert (open_sessions(sessions), steps.records) == (1, 1)


MORTAL = """
import asyncio, os, sys
from pathlib import Path
from adapters.sqlite.sessions import SqliteSessions
from router.decision import Subject
from router.identity.sessions import SessionLimits, SessionService, SignedIn
from router.ports import Which
from router.system import SystemClock

store = SqliteSessions(Path(sys.argv[1]))
store.open()
sessions = SessionService(store, SystemClock(), SessionLimits())


async def recorded(ended):
    if sys.argv[2] == "dies":
        os.kill(os.getpid(), 9)
    print(*ended)


async def run():
    if sys.argv[2] == "dies":
        session, _, _ = await sessions.begin(SignedIn(Subject("alice", "user"), issuer="i", issuer_session="s1"))
        print(session.id, flush=True)
    await sessions.end_on_record([Which(issuer="i", issuer_session="s1")], recorded)
    assert not store.all()

asyncio.run(run())
"""


def test_killed_between_ending_and_recording_it_is_recorded_by_name(tmp_path: Path) -> None:
    """`kill -9` where the record would have been written: the next process knows which session had ended."""

    def run(how: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", MORTAL, str(tmp_path / "state" / "sessions.sqlite"), how]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=inherited({}))

    died = run("dies")
    assert died.returncode == -9, died.stderr
    repeated = run("repeats")
    assert (repeated.returncode, repeated.stdout) == (0, died.stdout), repeated.stderr
    assert died.stdout.strip()
