"""Rules of a recorded request, of which the text was kept and the body was not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from router.decision import ANONYMOUS, BodyView, Classification, Request, RuleMatch, Status
from router.stages.rule import Rule, json_path
from router.stages.rules import RuleIndex
from router.stages.signals import SignalDetector
from router.wiring.classifying import RecordedRequests

PATH = Rule("by_path", "a", None, frozenset(), "/status", (), (), None)
TEXT = Rule("by_text", "b", None, frozenset(), "/ask", (), (), "refund")
JSON = Rule("by_json", "c", None, frozenset(), "/more/{rest...}", (), ((json_path("$.kind"), "x"),), None)


class Cascade:
    """Says which rule it was told of."""

    async def classify(self, request: Request, rule: RuleMatch | None, undecided: bool, language: Any) -> Classification:
        assert not undecided
        return Classification(Status.CLASSIFIED if rule else Status.UNDETERMINED, rule=rule)


def recorded(*rules: Rule) -> RecordedRequests:
    of_json = RuleIndex([rule for rule in rules if rule.json])
    return RecordedRequests(RuleIndex(rules), of_json, SignalDetector(), cast("Any", Cascade()))


def request(path: str, text: str | None = "a refund", content_type: str = "application/json; charset=utf-8", size: int = 9) -> Request:
    return Request("1", 0, "gateway", ANONYMOUS, "POST", "", path, content_type=content_type, body=BodyView(bytes(size), text=text))


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        (request("/status"), "by_path"),
        (request("/ask"), "by_text"),
        (request("/ask", "something else"), None),
        (request("/more/1", content_type="text/plain"), None),
        (request("/more/1", text=None, size=0), None),
        (request("/elsewhere"), None),
    ],
    ids=["by its path", "by its text", "no text of a rule", "no JSON", "no body", "no path of a rule"],
)
async def test_rules_are_judged_by_what_was_kept(asked: Request, rule: str | None) -> None:
    """Path, header and text are there; a rule that looks into JSON does not hold of what is none."""
    said = await recorded(PATH, TEXT, JSON).classify(asked, no_rule=False)
    assert said is not None
    assert (said.rule and said.rule.rule) == rule


@pytest.mark.parametrize("asked", [request("/more/1"), request("/ask", text=None)], ids=["JSON", "a body that is no text"])
async def test_what_was_not_kept_is_not_guessed(asked: Request) -> None:
    """Nobody knows whether the rule held."""
    assert await recorded(PATH, TEXT, JSON).classify(asked, no_rule=False) is None


async def test_where_no_rule_held_then_none_is_looked_for() -> None:
    """The same rules said so, of the whole body."""
    said = await recorded(JSON).classify(request("/more/1"), no_rule=True)
    assert said is not None
    assert said.status is Status.UNDETERMINED
