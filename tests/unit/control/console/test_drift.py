"""The page of drift: what is asked for stands in the address, numbers stand in text, and a part that cannot be told says so."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from router.control.app import create_app
from router.control.console.charts import intervals, overlaid
from router.control.console.words import points
from router.control.services import AuditFilters, ControlServices, Json
from tests.unit.control.conftest import Credential
from tests.unit.control.parts import Trail

UNTIL = "2026-11-08T00:00"


class Counting(Trail):
    """Twice as many of an intent now as before, and half as sure."""

    async def statistics(self, filters: AuditFilters, by: tuple[str, ...], bucket: str | None, reader: str) -> Json:  # type: ignore[override]
        late = (filters.since_ns or 0) >= 1_794_000_000 * 10**9
        counts = {"pay": 800 if late else 400, "<b>": 200 if late else 600}
        groups = [{"intent": name, "classification": "classified", "count": count} for name, count in counts.items()]
        return {"records": 1000, "complete_to": 7, "groups": groups}

    async def distribution(self, filters: AuditFilters, by: str, bins: int, reader: str) -> Json:
        return {"records": 1000, "complete_to": 7, "groups": [{"classification": "classified", "counts": [0] * (bins - 1) + [1000]}]}


@pytest.fixture
def shown(services: ControlServices, credential: Credential) -> str:
    with TestClient(create_app(replace(services, audit=Counting())), base_url="http://127.0.0.1:8081") as client:
        query = f"span=24h&reference=7d&until={UNTIL}&samples=weighted"
        frame = client.get(f"/console/drift?{query}", headers=credential("auditor"))
        load = re.search(r'data-load="([^"]+)"', frame.text)
        assert load is not None
        answer = client.get(load[1].replace("&amp;", "&"), headers=credential("auditor"))
    assert (frame.status_code, answer.status_code) == (200, 200)
    return answer.text


def test_numbers_stand_beside_the_pictures(shown: str) -> None:
    """Shares of both, the distance, what chance would be, and that it moved; names are escaped."""
    assert "40.0 % of decisions would have to be about something else" in shown
    assert re.search(r"What is asked for <span class=\"badge wait\">moved</span>", shown)
    assert re.search(r"How sure it is </h2>", shown)
    assert re.search(r"pay.*?80\.0 %.*?40\.0 %", shown, re.DOTALL)
    assert "<b>" not in shown
    assert "nobody labels samples" in shown


def test_the_form_shows_what_was_asked_for(shown: str) -> None:
    """So that the address says everything."""
    assert f'name="until" value="{UNTIL}"' in shown
    assert '<option value="7d" selected>' in shown
    assert '<option value="weighted" selected>' in shown


def test_a_time_that_is_none_is_said_at_once(services: ControlServices, credential: Credential) -> None:
    """By the page, not only by what it loads."""
    with TestClient(create_app(services), base_url="http://127.0.0.1:8081") as client:
        answer = client.get("/console/drift?until=soon", headers=credential("auditor", subject="nora"))
        assert (answer.status_code, "A time is written as" in answer.text) == (422, True)
        assert client.get("/console/drift", headers=credential("operator")).status_code == 403


def test_pictures_of_nothing_are_pictures() -> None:
    """And none of them divides by nothing."""
    bins = [{"confidence": 0.9, "right": {"value": 0.5, "low": 0.2, "high": 0.8, "count": 4}}]
    for picture in (overlaid("<n>", [], []), overlaid("<n>", [0, 0], [0, 3]), intervals("<n>", []), intervals("<n>", bins)):
        assert 'role="img"' in picture
        assert "<n>" not in picture
    assert [points(each) for each in (0.0321, -0.05, None)] == ["+3.2", "−5.0", "–"]
