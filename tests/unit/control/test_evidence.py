from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from router.control.app import create_app
from router.control.cloud_events import STRUCTURED, CloudEvent
from router.control.services import ControlServices, Json
from tests.unit.control.conftest import Credential
from tests.unit.control.test_app import refused

EVENT = {"specversion": "1.0", "id": "e-1", "source": "payments", "type": "refunded"}


class Desk:
    def __init__(self) -> None:
        self.taken: list[tuple[str, str, str]] = []

    async def take(self, events: Sequence[CloudEvent], sender: str, key_id: str) -> Sequence[Json]:
        self.taken += [(event.id, sender, key_id) for event in events]
        return [{"source": event.source, "id": event.id, "record": 7, "decision_id": None, "reference": "none"} for event in events]


@pytest.fixture
def desk(services: ControlServices) -> Desk:
    return Desk()


@pytest.fixture
def taking(services: ControlServices, desk: Desk) -> Iterator[TestClient]:
    with TestClient(
        create_app(replace(services, evidence=desk)), base_url="http://127.0.0.1:8081", raise_server_exceptions=False
    ) as opened:
        yield opened


def send(client: TestClient, headers: dict[str, str], body: bytes):
    return client.post("/v1/evidence", content=body, headers={**headers, "content-type": STRUCTURED})


def test_a_service_needs_one_scope_and_gets_a_receipt(taking: TestClient, desk: Desk, credential: Credential) -> None:
    """201 with the record, and the desk learns whose key it was."""
    headers = credential(scopes=("control:evidence.write",), subject="till")
    response = send(taking, headers, json.dumps(EVENT).encode())
    receipt = {"source": "payments", "id": "e-1", "record": 7, "decision_id": None, "reference": "none"}
    assert (response.status_code, response.json()) == (201, {"events": [receipt]})
    key_id = headers["authorization"].split("_")[1]
    assert desk.taken == [("e-1", "till", key_id)]


@pytest.mark.parametrize("role", ["viewer", "operator", "auditor", "policy_author", "reviewer"])
def test_who_reads_the_trail_may_not_write_into_it(taking: TestClient, credential: Credential, role: str) -> None:
    """Evidence has a permission of its own."""
    assert refused(send(taking, credential(role), json.dumps(EVENT).encode())) == (403, "permission_missing")


def test_refusals_are_problems(taking: TestClient, desk: Desk, credential: Credential) -> None:
    """An invalid event, another form, too much, and too much without saying how much."""
    headers = credential("admin")
    assert refused(send(taking, headers, b"{}")) == (422, "evidence_invalid")
    assert refused(taking.post("/v1/evidence", json=EVENT, headers=headers)) == (415, "evidence_media_type")
    large = json.dumps({**EVENT, "data": "x" * 70_000}).encode()
    assert refused(send(taking, headers, large)) == (413, "body_too_large")
    pieces = (large[start : start + 1000] for start in range(0, len(large), 1000))
    untold = taking.post("/v1/evidence", content=pieces, headers={**headers, "content-type": STRUCTURED})
    assert refused(untold) == (413, "body_too_large")
    assert desk.taken == []


def test_without_a_ledger_nothing_is_taken(client: TestClient, credential: Credential) -> None:
    """503, so that the sender tries again."""
    assert refused(send(client, credential("admin"), json.dumps(EVENT).encode())) == (503, "audit_closed")
