"""Texts that are understood by what their sender said before, and by nobody else's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.test_halden import Halden, company
from tests.e2e.wire import Answer, ask


@pytest.fixture(scope="module")
def halden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halden]:
    with company(tmp_path_factory.mktemp("halden"), gateway={"conversation": {"turns": 2}}, workers=2) as made:
        yield made


def said(halden: Halden, who: str, text: Any, conversation: str | None = None) -> Answer:
    fields = {} if conversation is None else {"x-conversation-id": conversation}
    return ask(halden.company.ports["gateway"], "POST", "/ask", None, text, authorization=halden.credentials[who], **fields)


UNCLEAR = "locked out, password forgotten"


def offered(answer: Answer) -> list[str]:
    assert answer.status == 422, answer.body
    return [each["intent"] for each in answer.json["candidates"]]


def test_a_choice_of_what_was_offered_is_understood_and_judged_like_any_request(halden: Halden) -> None:
    names = offered(said(halden, "jonas.weber", UNCLEAR, "c-1"))
    assert len(names) > 1
    answer = said(halden, "jonas.weber", "yes, the second one", "c-1")
    decision = halden.story(answer.decision)[0]
    assert decision["classification"]["intent"] == names[1]
    assert (decision["classification"]["tier"], decision["classification"]["reason"]) == ("conversation", "in_conversation")
    assert decision["verdict"]["effect"] in ("allow", "review", "deny")
    assert "locked out" not in str(halden.story(answer.decision))


def test_without_its_conversation_a_choice_means_nothing(halden: Halden) -> None:
    offered(said(halden, "jonas.weber", UNCLEAR, "c-2"))
    for who, conversation in (("jonas.weber", None), ("jonas.weber", "c-3"), ("marta.kovacs", "c-2")):
        assert said(halden, who, "yes, the second one", conversation).status in (404, 422)


def test_more_of_the_same_is_understood(halden: Halden) -> None:
    following = "what about the one to Kaufmann?"
    assert said(halden, "anna.lind", following).status == 422
    assert said(halden, "anna.lind", "where is payment 4711, has it been executed?", "c-4").json["intent"] == "payment_status"
    answer = said(halden, "anna.lind", following, "c-4")
    assert (answer.status, answer.json.get("intent")) == (200, "payment_status"), answer.body


def test_the_id_may_stand_in_the_body(halden: Halden) -> None:
    names = offered(said(halden, "jonas.weber", {"message": UNCLEAR, "conversation_id": "c-5"}))
    answer = said(halden, "jonas.weber", {"message": "the first one", "conversation_id": "c-5"})
    assert halden.story(answer.decision)[0]["classification"]["intent"] == names[0]


def test_an_offer_is_over_once_something_else_was_said(halden: Halden) -> None:
    names = offered(said(halden, "jonas.weber", UNCLEAR, "c-6"))
    assert said(halden, "jonas.weber", "how many vacation days do I have left?", "c-6").status == 200
    answer = said(halden, "jonas.weber", "the second one", "c-6")
    assert halden.story(answer.decision)[0]["classification"]["intent"] not in names
