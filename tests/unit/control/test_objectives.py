"""Objectives over HTTP and on the page, as the service told them last."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from router.config.objectives import ObjectivesConfig
from router.control.app import create_app
from router.control.console.charts import spark
from router.control.services import ControlServices, Json
from router.telemetry.objectives.judging import percent
from tests.unit.control.conftest import Credential
from tests.unit.control.parts import DIGEST, Process
from tests.unit.identity.parts import HandClock
from tests.unit.wiring.test_objectives import House, house

BOOKS = "https://wiki.example.com/runbooks"


class Described(Process):
    def describe(self) -> Json:
        counts = dict.fromkeys(("workers", "records", "intents", "routes"), 1)
        return {"version": "1", **counts, **dict.fromkeys(("config_digest", "catalog_digest", "policy_digest"), DIGEST)}


@pytest.fixture
def looked(tmp_path: Path, clock: HandClock) -> House:
    return house(tmp_path / "state", clock)


@pytest.fixture
def client(services: ControlServices, looked: House) -> Iterator[TestClient]:
    services = replace(services, objectives=looked.made, status=Described())
    with TestClient(create_app(services), base_url="http://127.0.0.1:8081") as opened:
        yield opened


def look(made: House, unjudged: int, **settings: Any) -> None:
    made.settings[0] = ObjectivesConfig(**settings)
    made.around.counted(1000, unjudged=unjudged)
    asyncio.run(made.look())


def test_all_is_told_as_it_was_found_last(client: TestClient, looked: House, credential: Credential) -> None:
    """Nothing before the first look; then every window that the alerts have, the pace, the budget and the state."""
    headers = credential("viewer")
    assert client.get("/v1/objectives", headers=headers).json() == {"at": None, "every_s": 30.0, "objectives": []}
    look(looked, 20)
    found = client.get("/v1/objectives", headers=headers).json()
    judged = found["objectives"][0]
    assert [each["name"] for each in found["objectives"]] == ["judged", "decisions", "audit_lag", "policy_age", "abstention"]
    assert [each["window"] for each in judged["windows"]] == ["5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d"]
    assert (judged["state"], judged["target"], judged["measured"], len(judged["trend"])) == ("burning_fast", 0.999, 0.98, 48)
    assert judged["burn_rate"] == pytest.approx(20)
    assert not judged["windows"][0]["whole"]
    assert client.get("/v1/objectives", headers=credential("reviewer")).json()["code"] == "permission_missing"
    looked.settings[0] = None
    refused = client.get("/v1/objectives", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (404, "objectives_off")


def test_the_page_says_it_in_words(client: TestClient, looked: House, credential: Credential) -> None:
    """The worst in its heading; runbooks are linked where it is known where they are, and their names are text where it is not."""
    assert "They are looked at for the first time." in client.get("/console/health", headers=credential("viewer")).text
    look(looked, 20)
    page = client.get("/console/health", headers=credential("viewer")).text
    assert "1 of 5 burning fast" in page
    assert "20 of 1,000 requests so far were not judged, 2 %: 20 times what the budget bears." in page
    assert "<code>LockgateRequestsUnjudgedFast</code>" in page
    assert "style=" not in page
    look(looked, 20, runbooks=BOOKS, abstention=None)
    page = client.get("/console/health", headers=credential("viewer")).text
    assert f'href="{BOOKS}#lockgaterequestsunjudgedfast"' in page
    assert "Requests understood" not in page
    assert "Objectives" not in client.get("/console/health", headers=credential(scopes=("control:config.read",))).text


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"decisions": {"within": "120ms"}}, "must be a bound of the histogram: 0.5ms, 1ms, 2.5ms"),
        ({"judged": {"share": 1}}, "less than 1"),
        ({"judged": {"share": "0%"}}, "greater than 0"),
        ({"judged": {"target": 0.9}}, "Extra inputs"),
        ({"every": "10m"}, "must be from 1s to 1m"),
        ({"audit_lag": {"waiting": 0}}, "greater than or equal to 1"),
        ({"runbooks": "http://wiki.example.com"}, "must be an https:// URL"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], sentence: str) -> None:
    """Before anything serves by it."""
    with pytest.raises(ValidationError, match=sentence):
        ObjectivesConfig.model_validate(settings)


def test_a_share_is_never_told_better_than_it_is() -> None:
    """Nothing that was missed reads as whole, nothing bad as nothing."""
    assert [percent(share) for share in (1.0, 0.9999999, 0.999, 0.98, 0.9849, 0.0)] == [
        "100 %",
        "99.999 %",
        "99.9 %",
        "98 %",
        "98.4 %",
        "0 %",
    ]
    assert [percent(share, up=True) for share in (0.0, 1e-9, 0.001, 0.0144, 1.0)] == ["0 %", "0.001 %", "0.1 %", "1.5 %", "100 %"]


def test_a_spark_line_shows_nothing_where_there_was_nothing() -> None:
    """No bar; a small one where all was good; and it says in words what there was."""
    drawn = str(spark("Requests", [None, 0.0, 0.5, 7.0], "bad", marked=True))
    assert drawn.count("<rect") == 3
    assert "3 of 4 half hours had something" in drawn
    assert "none of it bad" not in drawn
    assert 'height="40.00"' in drawn
