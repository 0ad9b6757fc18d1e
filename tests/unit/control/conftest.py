from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from adapters.sqlite.sessions import SqliteSessions
from router.control.app import create_app
from router.control.key_orders import key_order
from router.control.services import ControlServices
from router.control.sign_in.parts import SignIn
from router.identity.key_service import KeyService
from router.identity.local_links import LocalLinks
from router.identity.sessions import SessionLimits, SessionService
from tests.unit.control.parts import Desk, Process, Trail
from tests.unit.identity.parts import HandClock, open_keys

Credential = Callable[..., dict[str, str]]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def services(tmp_path: Path, clock: HandClock) -> Iterator[ControlServices]:
    store, sessions = open_keys(tmp_path, clock), SqliteSessions(tmp_path / "state" / "sessions.sqlite")
    sessions.open()
    sign_in = SignIn(SessionService(sessions, clock, SessionLimits()), secure=False, local=LocalLinks(b"k" * 32, clock))
    yield ControlServices(Trail(), Desk(), KeyService(store, clock), Process(), sign_in=sign_in)
    sessions.close()
    store.close()


@pytest.fixture
def client(services: ControlServices) -> Iterator[TestClient]:
    with TestClient(create_app(services), base_url="http://127.0.0.1:8081", raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def credential(services: ControlServices) -> Credential:
    """Headers of a fresh key with the given roles; scope `control` unless told otherwise."""

    def make(*roles: str, scopes: tuple[str, ...] = ("control",), subject: str = "olga") -> dict[str, str]:
        _, plain = services.keys.create(key_order("test", subject, roles=roles, scopes=scopes), "test")
        return {"authorization": f"Bearer {plain}"}

    return make
