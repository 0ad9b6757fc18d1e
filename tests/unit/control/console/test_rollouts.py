"""The page of a rollout, without a rollout's minutes: a real one is in tests/e2e/test_console.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from router.control.app import create_app
from router.control.services import ControlServices
from tests.unit.control.conftest import Credential
from tests.unit.control.console import parts
from tests.unit.control.console.parts import DIGEST, HOSTILE, Rolling

PAGE = "/console/policy/rollouts/r1"


@pytest.fixture
def rolling() -> Rolling:
    return Rolling()


@pytest.fixture
def client(services: ControlServices, rolling: Rolling) -> Iterator[TestClient]:
    app = create_app(replace(services, rollouts=rolling))
    with TestClient(app, base_url="http://127.0.0.1:8081", follow_redirects=False) as opened:
        yield opened


@pytest.mark.parametrize(
    ("state", "role", "buttons"),
    [
        ("proposed", "policy_approver", {"approve", "reject"}),
        ("proposed", "policy_author", {"withdraw"}),
        ("running", "policy_approver", {"advance", "rollback"}),
        ("running", "operator", {"rollback"}),
        ("running", "viewer", set()),
        ("promoted", "admin", set()),
    ],
)
def test_buttons_are_for_who_may_use_them_when_they_can(
    client: TestClient, credential: Credential, rolling: Rolling, state: str, role: str, buttons: set[str]
) -> None:
    """By state and permission."""
    rolling.state = state
    text = client.get(PAGE, headers=credential(role)).text
    every = {"approve", "reject", "withdraw", "advance", "rollback"}
    assert {each for each in every if f'data-confirm="{each}"' in text} == buttons


def test_what_people_wrote_is_text(client: TestClient, credential: Credential) -> None:
    """A comment and an intent's name."""
    text = client.get(PAGE, headers=credential("viewer")).text
    assert HOSTILE not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2


def test_what_people_wrote_is_read_as_it_stands(client: TestClient, credential: Credential, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not backwards, by orders of Unicode, for who has to approve it, nor numbers in another order; what languages need stays as it is."""
    monkeypatch.setattr(parts, "HOSTILE", "looser \u202eretxirts\u2066 \x9b8m \U000e0041 \u200fשלום\u200f! \u200f10 20\u061c ünd 日本 a\nb")
    text = client.get(PAGE, headers=credential("viewer")).text
    assert "looser \\u202eretxirts\\u2066 \\u009b8m \\ue0041 \u200fשלום\u200f! \\u200f10 20\\u061c ünd 日本 a\nb" in text


@pytest.mark.parametrize(
    ("order", "role", "told"),
    [
        ("approve", "policy_approver", "rollout_approved"),
        ("reject", "policy_approver", "rollout_rejected"),
        ("withdraw", "policy_author", "rollout_withdrawn"),
        ("advance", "policy_approver", "rollout_advanced"),
        ("rollback", "operator", "rollout_rolled_back"),
    ],
)
def test_an_order_is_given_once_and_then_a_page_is_shown(
    client: TestClient, credential: Credential, rolling: Rolling, order: str, role: str, told: str
) -> None:
    """With who gives it and why; a reload repeats nothing."""
    answer = client.post(f"{PAGE}/{order}", headers=credential(role), data={"comment": "so it is", "digest": DIGEST})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PAGE}?done={told}")
    assert rolling.moves == [("roll_back" if order == "rollback" else order, "olga", "so it is")]
    assert 'role="status"' in client.get(answer.headers["location"], headers=credential("viewer")).text


def test_what_stands_in_the_way_is_a_sentence_on_the_page(client: TestClient, credential: Credential, rolling: Rolling) -> None:
    """With the status that the API has for it; nothing was ordered."""
    headers = credential("policy_approver")
    answer = client.post(f"{PAGE}/approve", headers=headers, data={"digest": "0" * 64})
    assert (answer.status_code, "another than the one that was looked at" in answer.text) == (409, True)
    assert client.post(f"{PAGE}/advance", headers=headers, data={"comment": "x" * 2001}).status_code == 422
    assert client.post(f"{PAGE}/advance", headers=headers, json={"comment": "x"}).status_code == 422
    assert client.post(f"{PAGE}/advance", headers={**headers, "origin": "https://elsewhere.example"}, data={}).status_code == 403
    assert rolling.moves == []


def test_an_address_puts_no_words_on_a_page(client: TestClient, credential: Credential) -> None:
    """`done` names a sentence of ours, or nothing."""
    assert 'role="status"' not in client.get(f"{PAGE}?done=You+are+hacked", headers=credential("viewer")).text


def test_a_refusal_is_a_page_for_who_takes_pages_and_a_problem_for_others(client: TestClient, credential: Credential) -> None:
    """Same status and code."""
    headers = credential("viewer")
    page = client.get("/console/policy/rollouts/r2", headers={**headers, "accept": "text/html,*/*"})
    problem = client.get("/console/policy/rollouts/r2", headers=headers)
    assert (page.status_code, problem.status_code) == (404, 404)
    assert "rollout_unknown" in page.text
    assert problem.json()["code"] == "rollout_unknown"
    assert "default-src 'none'; script-src 'self'" in page.headers["content-security-policy"]
