"""Signing out by the form: the session ends first, and that it did is on record whatever becomes of Lockgate then."""

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
from router.control.sign_in.parts import SignIn
from router.processes.ended_sessions import look
from tests.e2e.processes import inherited
from tests.unit.control.test_back_channel import Lost, Steps
from tests.unit.control.test_sign_in import OUT, code, sign_in

Out = tuple[TestClient, Lost, Steps, dict[str, str], ControlServices]


@pytest.fixture
def out(services: ControlServices) -> Iterator[Out]:
    """Somebody is signed in."""
    assert services.sign_in is not None
    before, steps = services.sign_in.sessions, Steps()
    sessions = Lost(before._store, before._clock, before.limits)
    sessions.steps = steps
    made = replace(services, sign_in=SignIn(sessions, False, services.sign_in.local, None), record=steps.record)
    with TestClient(create_app(made), base_url="http://127.0.0.1:8081") as browser:
        steps.fails = "nothing"
        made_in = replace(made, record=services.record)
        browser.app.state.services = made_in  # type: ignore[attr-defined]  # signing in is recorded elsewhere
        header = sign_in(made_in, browser)
        browser.app.state.services = made  # type: ignore[attr-defined]
        yield browser, sessions, steps, header, made


@pytest.mark.parametrize("step", ["record", "end"])
@pytest.mark.parametrize("everywhere", [False, True])
def test_lost_at_any_step_it_has_ended_and_is_recorded_by_name_later(out: Out, step: str, everywhere: bool) -> None:
    """Whoever signed out cannot do it again, for the session counts no more; what has ended at two looks is put on record, once."""
    browser, sessions, steps, header, services = out
    (which,) = [each.id for each in asyncio.run(sessions.all())]
    steps.fails = step
    form = {"everywhere": "yes"} if everywhere else {}
    assert browser.post(OUT, data=form, headers=header).status_code == 503
    assert code(browser) == (401, "session_unknown")
    seen = asyncio.run(look(services, sessions, frozenset()))
    assert (seen, steps.named) == (frozenset([which]), set() if step == "record" else {which})
    assert asyncio.run(look(services, sessions, seen)) == seen  # it does not answer yet
    steps.fails = ""
    assert asyncio.run(look(services, sessions, seen)) == frozenset()
    assert steps.named == {which}
    assert sessions._store.all() == []


def test_what_is_recorded_in_time_is_left_alone(out: Out) -> None:
    """No second record of it."""
    browser, sessions, steps, header, services = out
    assert browser.post(OUT, data={}, headers=header).status_code == 200
    seen = asyncio.run(look(services, sessions, frozenset()))
    assert asyncio.run(look(services, sessions, seen)) == frozenset()
    assert steps.records == 0


MORTAL = """
import asyncio, os, sys
from pathlib import Path
from types import SimpleNamespace
from adapters.sqlite.sessions import SqliteSessions
from router.decision import Subject
from router.identity.sessions import SessionLimits, SessionService, SignedIn
from router.processes.ended_sessions import look
from router.system import SystemClock

store = SqliteSessions(Path(sys.argv[1]))
store.open()
sessions = SessionService(store, SystemClock(), SessionLimits())


async def killed(ended):
    os.kill(os.getpid(), 9)


async def recorded(event, details):
    print(*details["sessions"])


async def run():
    if sys.argv[2] == "dies":
        session, secret, _ = await sessions.begin(SignedIn(Subject("alice", "user")))
        print(session.id, flush=True)
        await sessions.end_recorded([sessions.held(secret.encode())], killed)
    assert not await sessions.all()
    services = SimpleNamespace(record=recorded)
    seen = await look(services, sessions, frozenset())
    await look(services, sessions, seen)
    assert not store.all()

asyncio.run(run())
"""


def test_killed_between_ending_and_recording_the_next_process_records_it(tmp_path: Path) -> None:
    """`kill -9` where the record would have been written."""

    def run(how: str) -> subprocess.CompletedProcess[Any]:
        command = [sys.executable, "-c", MORTAL, str(tmp_path / "state" / "sessions.sqlite"), how]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=inherited({}))

    died = run("dies")
    assert died.returncode == -9, died.stderr
    after = run("starts")
    assert (after.returncode, after.stdout) == (0, died.stdout), after.stderr
    assert died.stdout.strip()
