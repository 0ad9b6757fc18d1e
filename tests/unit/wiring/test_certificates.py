"""Certificates over HTTP, from the control API down to the ledger's files."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from router.control.key_orders import key_order
from router.identity.key_service import KeyService
from router.wiring import questions
from tests.unit.docs.test_questions_page import Recorded, control, ledger  # noqa: F401 - fixtures

Control = tuple[TestClient, KeyService, Recorded]
URL = "/v1/audit/certificate?kind=decision&intent=payment.cancel"


def asked(control: Control) -> tuple[int, bytes]:  # noqa: F811 - a fixture
    client, keys, _ = control
    plain = keys.create(key_order("page", "audrey", roles=("auditor",), scopes=("control",)), "test")[1]
    answer = client.get(URL, headers={"authorization": f"Bearer {plain}"})
    return answer.status_code, answer.content


def test_a_certificate_is_recorded_before_it_is_given(control: Control) -> None:  # noqa: F811 - a fixture
    """Who asked, for what, and how much it was."""
    status, content = asked(control)
    assert (status, content.startswith(b'{"schema":"lockgate.certificate.v1"')) == (200, True)
    ((event, details),) = control[2].records
    assert (event, details["what"], details["rows"]) == ("audit_read", "certificate", content.count(b"\n"))


def test_one_that_is_too_large_is_refused_whole(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811 - a fixture
    """Nothing of it was shown, so nothing was read."""
    monkeypatch.setattr(questions, "MOST_BYTES", 1000)
    status, content = asked(control)
    assert (status, b"certificate_too_large" in content) == (413, True)
    assert control[2].records == []
