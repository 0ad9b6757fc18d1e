from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient

from examples.halden.services import backoffice
from tests.unit.examples.inside import SERVICES, Inside

HALDEN = Path(__file__).parents[3] / "examples" / "halden"
CATALOG: dict[str, Any] = yaml.safe_load((HALDEN / "catalog.yaml").read_text(encoding="utf-8"))
FILES = {name: intent["examples_file"] for name, intent in CATALOG["intents"].items()}
ALL_FILES = {**FILES, "out of scope": CATALOG["out_of_scope"]["examples_file"]}


def utterances(file: str) -> list[str]:
    lines = (HALDEN / file).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def plain(text: str) -> str:
    """Case and punctuation do not make an utterance another one, unless nothing else is in it."""
    return " ".join(re.findall(r"\w+", text.lower())) or text


def test_there_are_enough_intents() -> None:
    """The catalog has at least 25 intents."""
    assert len(FILES) >= 25


@pytest.mark.parametrize("intent", FILES)
def test_an_intent_has_enough_distinct_examples(intent: str) -> None:
    """Each intent has at least 20 examples that differ in more than punctuation."""
    assert len({plain(text) for text in utterances(FILES[intent])}) >= 20


def test_there_are_enough_background_texts() -> None:
    """At least 100 texts show what no intent should take."""
    assert len({plain(text) for text in utterances(ALL_FILES["out of scope"])}) >= 100


def test_no_utterance_belongs_to_two_places() -> None:
    """A text is an example of one intent, or background, once."""
    owners: dict[str, list[str]] = {}
    for name, file in ALL_FILES.items():
        for text in utterances(file):
            owners.setdefault(plain(text), []).append(name)
    assert {text: names for text, names in owners.items() if len(names) > 1} == {}


def test_every_utterance_file_is_used() -> None:
    """No file lies about that no intent reads."""
    assert {f"utterances/{path.name}" for path in (HALDEN / "utterances").iterdir()} == set(ALL_FILES.values())


@pytest.mark.parametrize("intent", FILES)
def test_an_intent_is_defined_and_leads_to_a_route(intent: str) -> None:
    """Description, owner, risk, boundaries and an existing route are there."""
    entry = CATALOG["intents"][intent]
    assert entry["description"]
    assert entry["owner"]
    assert entry["boundaries"]
    assert entry["risk"] in {"low", "medium", "high", "critical"}
    assert entry["route"] in CATALOG["routes"]


@pytest.mark.parametrize("rule", CATALOG["rules"], ids=lambda rule: rule["name"])
def test_a_rule_names_what_exists(rule: dict[str, Any]) -> None:
    """A rule has an intent of the catalog or none on purpose, and an existing route."""
    assert rule["route"] in CATALOG["routes"]
    assert (rule.get("intent") in FILES) != (rule.get("no_intent") is True)


def test_routes_lead_to_destinations() -> None:
    """Each route's destination is configured."""
    assert {route["destination"] for route in CATALOG["routes"].values()} == set(CATALOG["destinations"])


@pytest.mark.parametrize("intent", FILES)
def test_every_intent_is_answered_by_the_service_it_is_routed_to(intent: str) -> None:
    """The destination of the intent's route knows the intent, or the path that stands for it."""
    route = CATALOG["routes"][CATALOG["intents"][intent]["route"]]
    client = TestClient(backoffice.build(Inside()) if route["destination"] == "backoffice" else SERVICES[route["destination"]].build())
    headers = {"x-lockgate-intent": intent, "x-lockgate-subject": "lee.marsh", "x-lockgate-decision-id": "d-1"}
    answer = client.post(route["path"], content=utterances(FILES[intent])[0], headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json().get("done", True) or "needs" in answer.json()
