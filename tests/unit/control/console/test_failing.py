"""What somebody sees whose session had ended while they wrote."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from tests.unit.control.console.parts import HOSTILE

PAGE = "http://127.0.0.1:8081/console/reviews/r1"
ASKS = {"accept": "text/html", "referer": PAGE}


def test_what_was_written_is_shown_and_was_not_sent(client: TestClient) -> None:
    """As text, whatever it is; and signing in leads back to the page that had the form."""
    answer = client.post("/console/reviews/r1/approve", data={"comment": f"a\r\n{HOSTILE}", "csrf": "old"}, headers=ASKS)
    assert answer.status_code == 401
    assert "a\n&lt;script&gt;" in answer.text
    assert HOSTILE not in answer.text
    assert 'href="/console/reviews/r1">Sign in' in answer.text
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("referer", "back"),
    [
        (f"{PAGE}/modify", "/console/reviews/r1/modify"),
        (f"{PAGE}/approve", "/console/reviews/r1"),
        (f"{PAGE}/attempt/ask", "/console/reviews/r1"),
        ("http://127.0.0.1:8081/console/audit?effect=deny", "/console/audit?effect=deny"),
        ("http://127.0.0.1:8081/v1/keys", "/console/sign-in"),
        ("http://127.0.0.1:8081/console//evil.example/", "/console/"),
        ("https://evil.example/console/reviews/r1", "/console/sign-in"),
        ("not an address", "/console/sign-in"),
        ("http://[", "/console/sign-in"),
        ("", "/console/sign-in"),
    ],
)
def test_signing_in_leads_to_a_page_of_the_console_and_nowhere_else(client: TestClient, referer: str, back: str) -> None:
    """Whatever a browser says where it came from."""
    answer = client.post("/console/reviews/r1/approve", data={"comment": "x"}, headers={**ASKS, "referer": referer})
    assert re.findall(r'href="([^"]*)">Sign in', answer.text) == [back]


def test_another_sites_form_shows_nothing_of_what_it_sent(client: TestClient) -> None:
    """It is refused before it is read."""
    headers = {**ASKS, "sec-fetch-site": "cross-site"}
    answer = client.post("/console/reviews/r1/approve", data={"comment": "call this number"}, headers=headers)
    assert (answer.status_code, "call this number" in answer.text) == (403, False)


def test_what_is_no_form_is_refused_as_ever(client: TestClient) -> None:
    """Also where it is none that can be read."""
    for content in (b"\xff\xfe", b"comment=%zz&a", b""):
        told = client.post(
            "/console/reviews/r1/approve", content=content, headers={**ASKS, "content-type": "application/x-www-form-urlencoded"}
        )
        assert told.status_code == 401
    assert "data-unsent" not in client.get("/console/nowhere", headers=ASKS).text
