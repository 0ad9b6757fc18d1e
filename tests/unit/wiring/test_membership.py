"""What is said of nodes that differ."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from router.bundle.content import Bundle
from router.errors import BundleError
from router.wiring.membership import COMPARED, Membership, skew
from tests.unit.docs.pages import page


@dataclass(frozen=True, slots=True)
class Told:
    """A node, as the database tells of it."""

    name: str
    told: dict[str, Any] = field(default_factory=dict)
    alive: bool = True
    node: str = "id"
    started: float = 0.0
    seen: float = 0.0


def node(name: str, policy: str | None, since: float, *, alive: bool = True) -> Told:
    same = {each: {"is": "same", "since": 1.0} for each in COMPARED}
    return Told(name, {**same, "policy_digest": {"is": policy, "since": since}, "clock": since}, alive)


def test_nodes_that_run_the_same_do_not_differ() -> None:
    """However long each of them has."""
    assert skew([node("a", "x", 10.0), node("b", "x", 20.0)]) == []
    assert skew([node("a", "x", 10.0)]) == []
    assert skew([]) == []


def test_who_differs_is_told_with_the_newest_value_last_and_since_when() -> None:
    """Since the first of them took up something newer."""
    (found,) = skew([node("a", "x", 10.0), node("b", "y", 70.0), node("c", "y", 90.0), node("d", "x", 30.0)])
    assert (found["property"], found["since"]) == ("policy_digest", "1970-01-01T00:01:10Z")
    assert [(each["value"], each["nodes"]) for each in found["values"]] == [("x", ["a", "d"]), ("y", ["b", "c"])]


def test_what_is_missing_on_one_is_a_difference() -> None:
    """A node without a bundle does not run what one with a bundle does."""
    (found,) = skew([node("a", None, 10.0), node("b", "y", 20.0)])
    assert [each["value"] for each in found["values"]] == [None, "y"]


def test_a_node_that_is_gone_differs_from_nobody() -> None:
    """Nor does one of a release that does not tell everything."""
    assert skew([node("a", "x", 10.0), node("b", "y", 20.0, alive=False)]) == []
    older = Told("c", {"version": {"is": "same", "since": 1.0}})
    assert skew([node("a", "x", 10.0), older]) == []


def runs(sequence: Any, override: str | None = None, *, alive: bool = True) -> Told:
    return Told("other", {"bundle_sequence": {"is": sequence, "since": 1.0}, "override": {"is": override, "since": 1.0}}, alive)


def bundle_of(sequence: int | None) -> Bundle:
    return Bundle("r", "d" * 64, ("",), sequence, {}, {}, {}, None, None)


class Known:
    """Stands for the database with the nodes."""

    def __init__(self, *others: Told) -> None:
        self.others = others

    def members(self, node: str, name: str) -> Any:
        return SimpleNamespace(node=node, all=lambda: self.others)


@pytest.mark.parametrize(
    "others",
    [(runs(7),), (runs(5), runs(7, alive=False)), (runs(7), runs(None), Told("old"))],
    ids=["serves", "was lost", "beside others"],
)
async def test_a_new_node_takes_no_older_bundle_than_others_had(others: tuple[Told, ...]) -> None:
    """It remembers nothing by itself, and whoever gives bundles may be behind, or want to be."""
    membership = Membership(Known(*others))  # type: ignore[arg-type]  # all that is asked of it
    for sequence in (6, None):
        with pytest.raises(BundleError) as caught:
            await membership.refuse_older(bundle_of(sequence))
        assert caught.value.code == "bundle_rolled_back"
    for sequence in (7, 8):
        await membership.refuse_older(bundle_of(sequence))


async def test_what_others_put_over_their_sources_bundle_bars_nothing() -> None:
    """A rollout's candidate is in force on the nodes that were told so, and its source has it later; nor do nodes without a number."""
    for others in ((), (runs(7, "a" * 64),), (runs(None),), (runs("x"),)):
        membership = Membership(Known(*others))  # type: ignore[arg-type]  # as above
        await membership.refuse_older(bundle_of(1))
        await membership.refuse_older(None)


def test_every_figure_that_is_compared_is_documented() -> None:
    """By the name that the metric's label has."""
    text = page("telemetry.md").split("### `lockgate.nodes.skew`")[1].split("\n### ")[0]
    assert set(COMPARED) <= set(re.findall(r"`([a-z_]+)`", text))
