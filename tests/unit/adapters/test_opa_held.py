"""What an OPA server says that it holds."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.opa.held import bundles_of, held
from router.bundle.content import text_digest


def terms(*path: Any) -> list[dict[str, Any]]:
    return [{"type": "string" if place else "var", "value": part} for place, part in enumerate(path)]


def listed(*package: str, rules: tuple[Any, ...] = (), text: str = "") -> dict[str, Any]:
    return {"id": ".".join(package), "raw": text, "ast": {"package": {"path": terms("data", *package)}, "rules": list(rules)}}


@pytest.mark.parametrize(
    ("provenance", "expected"),
    [
        ({"version": "1.20.2"}, {}),
        ({"bundles": None}, {}),
        ({"bundles": {"main": {"revision": "r1"}, "data": {}}}, {"main": "r1", "data": ""}),
        ({"revision": "r1"}, {"": "r1"}),  # of one bundle, before they had names
    ],
)
def test_bundles_are_revisions_by_name(provenance: Any, expected: dict[str, str]) -> None:
    """None where policies were put there one by one."""
    assert bundles_of(provenance) == expected


@pytest.mark.parametrize("provenance", [None, [], "r1"])
def test_without_provenance_nobody_knows(provenance: Any) -> None:
    """It is not the same as having no bundles."""
    with pytest.raises(ValueError, match=r"^$"):
        bundles_of(provenance)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (listed("lockgate", "intents", "pay"), {"pay"}),
        (listed("lockgate", "intents", "pay", "more"), {"pay"}),
        (listed("lockgate", "intents", rules=({"head": {"name": "pay", "ref": terms("pay", "result")}},)), {"pay"}),
        (listed("lockgate", "intents", rules=({"head": {"name": "pay"}},)), {"pay"}),  # before OPA 0.46
        (listed("lockgate", rules=({"head": {"ref": terms("intents", "pay", "result")}},)), {"pay"}),
        (listed("lockgate", "decision", rules=({"head": {"ref": terms("intents", "pay")}},)), set()),
        (listed("elsewhere", "intents", "pay"), set()),
    ],
)
def test_intents_packages_are_read_off_the_syntax_trees(policy: dict[str, Any], expected: set[str]) -> None:
    """By the package, or by a rule's own path below it."""
    assert held([policy], None, {}).intents == expected


def test_the_digest_is_of_policies_data_and_bundles() -> None:
    """Without bundles it is that of any engine which holds the same; nothing can change without it."""
    policy = listed("a", text="package a")
    plain = held([policy], {"x": 1}, {})
    assert plain.digest == text_digest({"a": "package a"}, '{"lockgate":{"config":{"x":1}}}')
    others = [
        held([policy], {"x": 2}, {}),
        held([listed("a", text="package a\n")], {"x": 1}, {}),
        held([policy], {"x": 1}, {"main": "r1"}),
        held([policy], {"x": 1}, {"main": "r2"}),
        held([policy], {"x": 1}, {"other": "r1"}),
    ]
    assert len({each.digest for each in (plain, *others)}) == 6


@pytest.mark.parametrize(
    ("bundles", "revision"),
    [
        ({"main": "r1"}, "main=r1"),
        ({"b": "2", "a": "1"}, "a=1,b=2"),
        ({"": "r1"}, "r1"),
        ({"main": "a\nb"}, None),
        ({"m": "x" * 200}, None),
    ],
)
def test_a_revision_is_short_and_printable(bundles: dict[str, str], revision: str | None) -> None:
    """It stays in the ledger for ever; what is not so is left to the digest."""
    found = held([], None, bundles)
    assert found.revision == (revision or found.digest[:12])


@pytest.mark.parametrize("answer", [None, {}, [1], [{"id": "a", "raw": "package a"}], [{"id": 1, "raw": "package a", "ast": {}}]])
def test_a_list_of_another_form_is_no_list(answer: Any) -> None:
    """Then nobody knows what the server holds."""
    with pytest.raises(ValueError, match=r"^$"):
        held(answer, None, {})
