"""What one workspace says that another one does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.snapshot import Snapshot
from router.workspace import Workspace, parse, read
from router.workspace_diff import Difference, differences
from tests.golden.config.conftest import ENVIRONMENT, GOOD, REGISTRY

CATALOG = GOOD["catalog.yaml"]


def made(folder: Path, **files: str) -> tuple[Snapshot, Workspace]:
    named = {"config": "lockgate.yaml", "catalog": "catalog.yaml", "policy": "policies/decision.rego"}
    for name, text in {**GOOD, **{named[each]: text for each, text in files.items()}}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    snapshot = read(folder, ENVIRONMENT)
    return snapshot, parse(snapshot, ENVIRONMENT, REGISTRY)


def told(tmp_path: Path, before: dict[str, str], after: dict[str, str]) -> list[Difference]:
    return differences(made(tmp_path / "one", **before), made(tmp_path / "two", **after), ENVIRONMENT)


def test_nothing_is_nothing(tmp_path: Path) -> None:
    """Nor are a comment, and a default that is written down."""
    assert told(tmp_path, {}, {"config": "version: 1 # first\ngateway: {listen: '127.0.0.1:8080'}\n"}) == []


def limits(*rates: tuple[str, int]) -> str:
    return f"version: 1\nlimits: [{', '.join(f'{{name: {name}, by: all, rate: {rate}/s}}' for name, rate in rates)}]\n"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            {},
            {"config": "version: 1\ngateway: {limits: {body: 20MiB}, deny: [10.0.0.0/8]}\n"},
            [Difference("gateway.deny", "[]", '["10.0.0.0/8"]'), Difference("gateway.limits.body", "10MiB", "20MiB")],
        ),
        (
            {},
            {"catalog": CATALOG.replace("path: /ask", "path: /question")},
            [Difference("catalog.routes.ask.path", "/ask", "/question")],
        ),
        (
            {},
            {"catalog": CATALOG.replace("9000", "9001")},
            [Difference("catalog.destinations.desk.url", "http://127.0.0.1:9000", "http://127.0.0.1:9001")],
        ),
        (
            {},
            {"policy": "package lockgate.decision\n\ndefault allow := false\n"},
            [Difference("policies/policies/decision.rego", "1 lines", "3 lines")],
        ),
        (
            {"config": limits(("a", 1), ("b", 2))},
            {"config": limits(("new", 9), ("a", 1), ("b", 3))},
            [
                Difference("limits[b].rate", "2/s", "3/s"),
                Difference("limits[new].burst", None, "1"),
                Difference("limits[new].by", None, "all"),
                Difference("limits[new].intents", None, "[]"),
                Difference("limits[new].name", None, "new"),
                Difference("limits[new].rate", None, "9/s"),
            ],
        ),
    ],
)
def test_what_differs_is_told_by_its_key(tmp_path: Path, before: dict[str, str], after: dict[str, str], expected: list[Difference]) -> None:
    """Of configuration, catalog, a destination's own settings, policies; entries by name, so that a new one moves no other."""
    assert told(tmp_path, before, after) == expected


def test_what_comes_from_the_environment_is_not_shown(tmp_path: Path) -> None:
    """But as it is written."""
    found = told(tmp_path, {}, {"config": "version: 1\naudit: {origin: '${LEDGER_NAME}'}\n"})
    assert [(each.key, each.after) for each in found] == [("audit.origin", "${LEDGER_NAME}")]
    assert ENVIRONMENT["LEDGER_NAME"] not in str(found)


def test_a_secret_is_not_shown_and_that_it_is_another_one_is(tmp_path: Path) -> None:
    """Written in the file itself, which nobody should."""
    text = "version: 1\nclassifier: {{llm: {{url: 'http://127.0.0.1:8000/v1', model: small, api_key: {}, response_format: json_schema}}}}\n"
    found = told(tmp_path, {"config": text.format("hunter2")}, {"config": text.format("hunter3")})
    assert found == [Difference("classifier.llm.api_key", "(secret)", "(secret) (changed)")]


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    """And still said to be another one."""
    texts = [CATALOG.replace("Where it is.", "x" * 500 + end) for end in ("a", "b")]
    (found,) = told(tmp_path, {"catalog": texts[0]}, {"catalog": texts[1]})
    assert len(found.after or "") < 200
    assert (found.after or "").endswith("(changed)")
