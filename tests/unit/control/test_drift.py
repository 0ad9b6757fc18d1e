"""Drift over HTTP: two times, asked of the trail and of labelled samples."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from adapters.memory_lessons import MemoryLessons
from router.config.learning import LearningConfig, WatchConfig
from router.control.app import create_app
from router.control.services import AuditFilters, ControlServices
from router.ports import Lesson
from router.wiring.watching import QualityDesk, Watch
from tests.unit.adaptation.test_measuring import task
from tests.unit.control.conftest import Credential
from tests.unit.control.parts import Trail
from tests.unit.identity.parts import HandClock

UNTIL = "2026-11-08T00:00:00Z"
DAY_NS = 86_400 * 1_000_000_000
BEGIN_NS = 1_793_491_200 * 1_000_000_000
"""2026-11-01, UTC."""


async def _labelled() -> MemoryLessons:
    store = MemoryLessons()
    await store.open()
    for number, label in enumerate(("cancel", "pay", "pay", "pay")):
        made = task(label, decided=None)
        await store.put(Lesson(made.kind, f"t{number}", "d", made.state, BEGIN_NS + (number + 3) * DAY_NS, made.terms), [], "", 0)
    return store


@pytest.fixture
def client(services: ControlServices, clock: HandClock) -> Iterator[TestClient]:
    settings = LearningConfig(watch=WatchConfig(least=2))
    quality = QualityDesk(Watch(asyncio.run(_labelled()), clock, lambda: settings))
    with TestClient(create_app(replace(services, quality=quality)), base_url="http://127.0.0.1:8081") as opened:
        yield opened


def test_two_times_are_asked_for_one_after_the_other(client: TestClient, services: ControlServices, credential: Credential) -> None:
    """The earlier one ends where the other begins, unless it is told when; the trail is asked for decisions of just these."""
    found = client.get(f"/v1/drift?span=3d&reference=2d&until={UNTIL}", headers=credential("auditor")).json()
    assert (found["present"], found["reference"]) == (
        {"since": "2026-11-05T00:00:00Z", "until": UNTIL},
        {"since": "2026-11-03T00:00:00Z", "until": "2026-11-05T00:00:00Z"},
    )
    assert isinstance(services.audit, Trail)
    filters = [each[0] for each in services.audit.asked]
    assert [(each.since_ns - BEGIN_NS) // DAY_NS for each in filters] == [4, 4, 2, 2]
    assert all(isinstance(each, AuditFilters) and each.kind == "decision" for each in filters)
    query = f"span=1d&reference=1d&until={UNTIL}&reference_until=2026-11-02T00:00:00Z"
    assert client.get(f"/v1/drift?{query}", headers=credential("auditor")).json()["reference"]["since"] == "2026-11-01T00:00:00Z"


def test_labelled_samples_of_both_are_measured(client: TestClient, credential: Credential) -> None:
    """By the time of their decisions; where too few were labelled there is no figure."""
    found = client.get(f"/v1/drift?span=2d&reference=3d&until={UNTIL}", headers=credential("auditor")).json()
    now, before = found["quality"]
    assert (now["counted"], now["accuracy"]["value"], before["counted"], before["accuracy"]["value"]) == (2, 1.0, 2, 0.5)
    assert before["basis"] == "random"
    one = client.get(f"/v1/drift?span=1d&reference=1d&until={UNTIL}&samples=weighted", headers=credential("auditor")).json()["quality"][1]
    assert (one["basis"], one["counted"], one["accuracy"], one["calibration"]) == ("weighted", 1, None, None)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("span=soon", "The span must be a duration"),
        ("reference=400d", "The reference is a year at most."),
        (f"until={UNTIL}&reference_until={UNTIL}", "The time that it is compared with has to end before the other begins."),
        ("until=1970-01-03T00:00:00Z", "That was before any time that can be asked for."),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(client: TestClient, credential: Credential, query: str, sentence: str) -> None:
    answer = client.get(f"/v1/drift?{query}", headers=credential("auditor"))
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(sentence)


def test_it_takes_what_reading_the_trail_takes(client: TestClient, services: ControlServices, credential: Credential) -> None:
    """And says where nothing is learnt."""
    assert client.get("/v1/drift", headers=credential("operator")).status_code == 403
    with TestClient(create_app(services), base_url="http://127.0.0.1:8081") as plain:
        assert plain.get("/v1/drift", headers=credential("auditor")).json()["quality"] is None
