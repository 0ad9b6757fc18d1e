"""Settings that name what the catalog has not are told, wherever policies look it up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router.library import packages
from router.library_reference import described
from router.library_settings import schema_of
from router.policy.folder import PolicyFolder
from router.policy.misnamed import PLACES, misnamed

WORDS = ("intents", "routes", "destinations", "kept_from", "second_person")
KNOWN = {"intent": {"pay"}, "route": {"api"}, "destination": {"bank"}}


def told(config: dict[str, Any]) -> list[str]:
    folder = PolicyFolder(Path("policies"), {}, {}, {"lockgate": {"config": config}}, "data.yaml")
    return [each.sentence.partition(",")[0] for each in misnamed(folder, KNOWN)]


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"access": {"intents": {"pay": {}, "x": {}}}}, "intent"),
        ({"confidence": {"abstained": {"ambiguous": ["api"], "out_of_scope": ["x"]}}}, "route"),
        ({"abac": {"rules": [{"intents": ["pay", "*"]}, {"groups": ["g"]}, {"intents": ["x"]}]}}, "intent"),
        ({"break_glass": {"ask": {"intents": ["*"]}, "grants": [{"intents": ["x"]}]}}, "intent"),
        ({"geo_isolation": {"destinations": {"bank": ["eu"]}, "everywhere": ["x"]}}, "destination"),
        ({"pii_egress": {"regions": {"bank": "eu"}, "rules": [{"kinds": ["*"], "destinations": ["x"]}]}}, "destination"),
        ({"route_choice": {"unsure": {"routes": {"api": "x"}}}}, "route"),
        ({"separation_of_duties": {"kept_from": {"pay": ["a"]}, "second_person": {"x": {"quorum": 1}}}}, "intent"),
        ({"working_hours": {"intents": ["pay", "x"]}}, "intent"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_a_name_that_the_catalog_has_not_is_told(config: dict[str, Any], kind: str) -> None:
    """A second person for an intent that was renamed is asked of nobody."""
    assert told(config) == [f"The catalog has no {kind} 'x'"]


@pytest.mark.parametrize(
    "config", [{}, {"abac": None}, {"abac": {"rules": "x"}}, {"access": {"intents": []}}, {"working_hours": {"intents": 1}}]
)
def test_other_data_names_nothing(config: dict[str, Any]) -> None:
    """What has another form is for others to tell."""
    assert told(config) == []


def test_every_setting_of_the_library_that_is_called_so_is_looked_at() -> None:
    """A package that is added names its places here, too."""
    found = {path for name in packages() for path in _called(schema_of(name), (described(name).settings,))}
    known = {tuple(part for part in path if part != "*") for path in PLACES}
    assert {path for path in found if path not in known} == set()


def _called(schema: dict[str, Any], at: tuple[str, ...]) -> list[tuple[str, ...]]:
    found = []
    for name, below in schema.get("properties", {}).items():
        found += [(*at, name)] if name in WORDS else []
        found += _called(below, (*at, name))
    for below in (schema.get("items"), schema.get("additionalProperties")):
        found += _called(below, at) if isinstance(below, dict) else []
    return found
