"""Reports of Envoy's access log between nodes: none is lost, none is invented, and none is kept for ever."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import astuple

import pytest

from router.doors.envoy.outcomes import Report
from router.errors import AuditError
from router.processes import envoy_reports
from router.processes.envoy_reports import EnvoyReports, Reports

KEY = b"k" * 32


class Between:
    """What nodes leave for each other."""

    def __init__(self) -> None:
        self.left: defaultdict[str, list[bytes]] = defaultdict(list)
        self.away = ""

    def of(self, node: str) -> Store:
        return Store(self, node)


class Store:
    def __init__(self, between: Between, node: str) -> None:
        self._between, self._node = between, node

    def open(self) -> None: ...

    def prune(self) -> None: ...

    def close(self) -> None: ...

    def exchange(self, sealed: Sequence[tuple[str, bytes]]) -> Sequence[bytes]:
        if self._between.away:
            raise AuditError("away", self._between.away)
        for node, each in sealed:
            self._between.left[node].append(each)
        return self._between.left.pop(self._node, [])


def report(number: int, node: str) -> list[object]:
    return list(astuple(Report(f"d{number}", 200, "", True, "192.0.2.9:80", 1, 5, 7, 9, node)))


async def joined(between: Between, node: str, key: bytes = KEY) -> tuple[EnvoyReports, list[Sequence[object]]]:
    told: list[Sequence[object]] = []

    async def here(reports: Reports) -> None:
        told.extend(reports)

    made = EnvoyReports(between.of(node), node, lambda: key)
    made.here = here
    await made.open()
    return made, told


def counted(made: EnvoyReports) -> dict[str, float]:
    return {each.labels["result"]: each.value for family in made.figures() for each in family.samples}


async def test_each_reaches_the_node_that_decided() -> None:
    """What was decided here, or by nobody who says so, is told here at once; the rest comes to its node whole, in its order."""
    between = Between()
    (one, at_one), (two, at_two) = await joined(between, "one"), await joined(between, "two")
    await one.ended([report(1, "one"), report(2, "two"), report(3, ""), report(4, "two")])
    assert at_one == [report(1, "one"), report(3, "")]
    await one.turn()
    await two.turn()
    assert at_two == [report(2, "two"), report(4, "two")]
    assert (counted(one)["sent"], counted(two)["taken"]) == (2, 2)
    for each in (one, two):
        await each.close()
        await each.close()


async def test_what_could_not_be_left_waits_in_its_order_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envoy_reports, "MOST", 3)
    between = Between()
    (one, _), (two, at_two) = await joined(between, "one"), await joined(between, "two")
    between.away = "audit_store_unavailable"
    await one.ended([report(number, "two") for number in range(3)])
    with pytest.raises(AuditError):
        await one.turn()
    await one.ended([report(3, "two")])
    between.away = ""
    await one.turn()
    await two.turn()
    assert at_two == [report(number, "two") for number in (1, 2, 3)]
    assert counted(one)["lost"] == 1
    for each in (one, two):
        await each.close()


async def test_many_go_in_several_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envoy_reports, "EACH", 2)
    between = Between()
    (one, _), (two, at_two) = await joined(between, "one"), await joined(between, "two")
    await one.ended([report(number, "two") for number in range(5)])
    await one.turn()
    assert len(between.left["two"]) == 3
    await two.turn()
    assert at_two == [report(number, "two") for number in range(5)]
    for each in (one, two):
        await each.close()


async def test_who_writes_to_the_database_can_invent_none(caplog: pytest.LogCaptureFixture) -> None:
    """Bytes of another key, for another node, or changed on the way are ignored, counted, and logged once."""
    between = Between()
    (one, _), (two, at_two), (other, _) = (
        await joined(between, "one"),
        await joined(between, "two"),
        await joined(between, "other", b"x" * 32),
    )
    await other.ended([report(1, "two")])
    await other.turn()
    await one.ended([report(2, "three")])
    await one.turn()
    between.left["two"] += [between.left["three"][0], b"", b"short"]
    await one.ended([report(3, "two")])
    await one.turn()
    between.left["two"].append(bytes([between.left["two"][-1][0] ^ 1]) + between.left["two"][-1][1:])
    await two.turn()
    assert at_two == [report(3, "two")]
    assert counted(two)["forged"] == 5
    assert sum("was not sealed" in each.message for each in caplog.records) == 1
    for each in (one, two, other):
        await each.close()


async def test_who_stops_tells_the_others_first() -> None:
    between = Between()
    (one, _), (two, at_two) = await joined(between, "one"), await joined(between, "two")
    await one.ended([report(1, "two")])
    await one.close()
    await two.turn()
    assert at_two == [report(1, "two")]
    await two.close()


async def test_what_cannot_be_left_does_not_keep_what_comes_after_it() -> None:
    between = Between()
    (one, _), (two, at_two) = await joined(between, "one"), await joined(between, "two")
    between.away = "audit_store_denied"
    await one.ended([report(1, "two")])
    with pytest.raises(AuditError):
        await one.turn()
    between.away = ""
    await one.ended([report(2, "two")])
    await one.turn()
    await two.turn()
    assert (at_two, counted(one)["lost"]) == ([report(2, "two")], 1)
    for each in (one, two):
        await each.close()


async def test_another_releases_reports_are_left_alone(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Nodes of two releases may run beside each other; that is no forgery."""
    between = Between()
    (one, _), (two, at_two) = await joined(between, "one"), await joined(between, "two")
    monkeypatch.setattr(envoy_reports, "FORMAT", 2)
    await one.ended([report(1, "two")])
    await one.turn()
    monkeypatch.undo()
    await two.turn()
    assert (at_two, counted(two)["forged"], caplog.records) == ([], 0, [])
    for each in (one, two):
        await each.close()
