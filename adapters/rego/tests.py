"""Tests of policies, as OPA has them: rules named `test_…`, which pass when they are true. Run in the embedded engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import regorus

from adapters.rego.syntax import read_module
from router.errors import ConfigError

PREFIX = "test_"


@dataclass(frozen=True, slots=True)
class Tested:
    """`why` is None when it passed."""

    file: str
    line: int
    name: str
    why: str | None


def run_tests(policies: Mapping[str, str], tests: Mapping[str, str], data: Mapping[str, Any]) -> list[Tested]:
    """In order of files and lines. Raises ConfigError for a test file that does not compile."""
    engine = regorus.Engine()
    for path, text in sorted({**policies, **tests}.items()):
        _add(engine, path, text)
    engine.add_data_json(orjson.dumps(data).decode())
    found: dict[tuple[str, int, str], str] = {}
    for tree in orjson.loads(engine.get_ast_as_json()):
        module = read_module(tree)
        if module.file in tests:
            named = (rule for rule in module.rules if len(rule.path) == 1 and rule.path[0].startswith(PREFIX))
            found |= {(module.file, rule.line, rule.path[0]): ".".join((*module.package, rule.path[0])) for rule in named}
    return [Tested(*place, _why(engine, found[place])) for place in sorted(found)]


def _add(engine: Any, path: str, text: str) -> None:
    try:
        engine.add_policy(path, text)
    except RuntimeError as error:
        raise ConfigError(f"{path}:1: The file does not compile: {str(error).splitlines()[-1][:200]}.") from None


def _why(engine: Any, rule: str) -> str | None:
    """On a copy: a test that stops half-way may leave something behind."""
    try:
        answer = engine.clone().eval_rule_as_json(rule)
    except RuntimeError as error:
        return f"it stopped with an error: {str(error).strip().splitlines()[-1][:200]}"
    return None if answer == "true" else "it is not true"
