"""No text costs more than it is long: what is searched for in callers' and upstreams' texts is not tried anew from each character."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.backtracking import LINEAR, growth, named

ROOT = Path(__file__).parents[2]
SEARCHING = frozenset({"finditer", "findall", "search", "split", "sub", "subn"})
WRITTEN_BY_OPERATORS = {
    "adapters.nats.login:_BLOCK": "a file of credentials",
    "adapters.nats.peer:_EXPRESSION": "a template of the workspace",
    "adapters.webhook.endpoint:_EXPRESSION": "a template of the workspace",
    "router.library_reference:BLOCK": "the library's own policies",
}


def searched() -> dict[str, re.Pattern[Any]]:
    """By module and name, or line: what is searched for anywhere in a text. A `fullmatch` or `match` begins once."""
    found = dict[str, re.Pattern[Any]]()
    for folder in ("router", "adapters"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            source = file.read_text("utf-8")
            if any(f".{each}(" in source for each in SEARCHING):
                module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
                found.update(_searches(module, ast.parse(source)))
    return found


def _searches(module: str, tree: ast.Module) -> Iterator[tuple[str, re.Pattern[Any]]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in SEARCHING:
            continue
        place = node.func.value
        if isinstance(place, ast.Name) and place.id == "re" and isinstance(node.args[0], ast.Constant):
            yield f"{module}:{node.lineno}", re.compile(node.args[0].value)
        elif isinstance(place, ast.Name) and isinstance(known := getattr(import_module(module), place.id, None), re.Pattern):
            yield f"{module}:{place.id}", known


SEARCHED = searched()


def worst(pattern: re.Pattern[Any]) -> float:
    return max(growth(pattern, text) for text in named(pattern))


@pytest.mark.parametrize("name", sorted(SEARCHED.keys() - WRITTEN_BY_OPERATORS.keys()))
def test_a_search_takes_as_many_steps_as_its_text_is_long(name: str) -> None:
    """Of whatever the pattern has in it, again and again."""
    assert worst(SEARCHED[name]) < LINEAR


@pytest.mark.parametrize("name", sorted(WRITTEN_BY_OPERATORS))
def test_what_only_operators_write_is_known_to_take_more(name: str) -> None:
    """One that is mended, or gone, is no exception any more."""
    assert worst(SEARCHED[name]) > LINEAR


def test_searches_are_found_wherever_they_stand() -> None:
    """In modules of both folders, by name and in place, of texts and of bytes."""
    assert SEARCHED.keys() >= {"router.stages.negation:_NEGATED", "router.doors.held:PREFERENCE", "adapters.bundle_oci:PARAMETER"}
    assert any(name.rpartition(":")[2].isdigit() for name in SEARCHED)
    assert any(isinstance(pattern.pattern, bytes) for pattern in SEARCHED.values())
