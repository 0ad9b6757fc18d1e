"""What is said of nodes that differ, and of which one started and stopped."""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from router.bundle.content import Bundle
from router.cli.main import run
from router.errors import BundleError, ConfigError
from router.processes import control
from router.processes.control import ControlProcess
from router.wiring.membership import COMPARED, Membership, said_of_node, skew
from router.workspace import parse, read
from tests.unit.audit.ledgers import reader
from tests.unit.docs.pages import page

STORE = "\naudit:\n  store: {adapter: postgres, url: '${URL}', keys: '${URL}'}\n"


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


class Unasked:
    async def system(self, event: str, details: object) -> None:
        raise AssertionError(event)

    afterwards = system


unrecorded = Unasked()


@pytest.mark.parametrize(
    "others",
    [(runs(7),), (runs(5), runs(7, alive=False)), (runs(7), runs(None), Told("old"))],
    ids=["serves", "was lost", "beside others"],
)
async def test_a_new_node_takes_no_older_bundle_than_others_had(others: tuple[Told, ...]) -> None:
    """It remembers nothing by itself, and whoever gives bundles may be behind, or want to be."""
    membership = Membership(Known(*others), unrecorded)  # type: ignore[arg-type]  # all that is asked of it
    for sequence in (6, None):
        with pytest.raises(BundleError) as caught:
            await membership.refuse_older(bundle_of(sequence))
        assert caught.value.code == "bundle_rolled_back"
    for sequence in (7, 8):
        await membership.refuse_older(bundle_of(sequence))


async def test_what_others_put_over_their_sources_bundle_bars_nothing() -> None:
    """A rollout's candidate is in force on the nodes that were told so, and its source has it later; nor do nodes without a number."""
    for others in ((), (runs(7, "a" * 64),), (runs(None),), (runs("x"),)):
        membership = Membership(Known(*others), unrecorded)  # type: ignore[arg-type]  # as above
        await membership.refuse_older(bundle_of(1))
        await membership.refuse_older(None)


def test_every_figure_that_is_compared_is_documented() -> None:
    """By the name that the metric's label has."""
    text = page("telemetry.md").split("### `lockgate.nodes.skew`")[1].split("\n### ")[0]
    assert set(COMPARED) <= set(re.findall(r"`([a-z_]+)`", text))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    assert run(["init", str(tmp_path / "bank")]) == 0
    return tmp_path / "bank/lockgate.yaml"


def test_a_node_whose_ledger_others_can_write_to_says_which_it_is(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has it alone says nothing of the machine that it runs on."""
    environment = {"URL": "postgresql://me@db.example/ledger?sslmode=verify-full"}
    monkeypatch.setenv("LOCKGATE_NODE", "node-a")
    assert said_of_node(parse(read(config, {}), {})) == {}
    config.write_text(config.read_text().replace("\naudit:\n", STORE))
    assert said_of_node(parse(read(config, environment), environment)) == {"name": "node-a"}


async def test_a_start_and_an_end_say_whose_they_are(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the end of one that failed."""

    async def fails(*_: object) -> None:
        raise ConfigError("Nobody can use this.")

    monkeypatch.setattr(control, "said_of_node", lambda _: {"name": "node-a"})
    monkeypatch.setattr(ControlProcess, "_with_evidence", fails)
    with pytest.raises(ConfigError):
        await ControlProcess(config, 1, lambda *_: None, lambda _: None).run()
    with closing(reader(config.parent / "state")) as ledger:
        leaves = [json.loads(stored.leaf) for stored in ledger.records(0, ledger.size())]
    assert [(leaf["event"], leaf["details"]["name"], leaf["details"].get("failed")) for leaf in leaves] == [
        ("started", "node-a", None),
        ("stopped", "node-a", "config_invalid"),
    ]
