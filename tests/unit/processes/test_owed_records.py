"""What has come into force is on record, also where the ledger was away just then, and nobody says that it is not used."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from router.audit.journal import UNSETTLED
from router.audit.records.record import system_entry
from router.errors import AuditError, BundleError, ConfigError, UnpreparedError
from router.ports import Entry
from router.processes.bundles import Bundles
from router.processes.evidence import MOST_OWED, Evidence
from router.processes.outbox import packed_entry
from router.processes.reload import Reloader
from router.workspace import parse
from tests.unit.identity.parts import HandClock
from tests.unit.processes.test_versions import KEYS, OTHER, Place, bundle


class Ledger:
    """Takes records, or is away."""

    def __init__(self) -> None:
        self.away = False
        self.failing = 0  # so many times more
        self.taken: list[dict[str, Any]] = []
        self.asked = 0
        self.unsettled = 0  # times that a record is taken, and the answer lost
        self.answering = asyncio.Event()
        self.answering.set()

    async def append(self, entry: Entry) -> int:
        self.asked += 1
        if self.unsettled:
            self.unsettled -= 1
            self._take(entry)
            raise AuditError("taken, or not", UNSETTLED)
        if not self.away and not self.failing:
            self._take(entry)
            await self.answering.wait()
            return len(self.taken)
        await self.answering.wait()
        self.failing = max(0, self.failing - 1)
        raise AuditError("away")

    def _take(self, entry: Entry) -> None:
        """The same bytes are known again."""
        if orjson.loads(entry.leaf) not in self.taken:
            self.taken.append(orjson.loads(entry.leaf))

    async def append_many(self, entries: Sequence[Entry]) -> list[int]:
        return [await self.append(each) for each in entries]

    @property
    def events(self) -> list[str]:
        return [each["event"] for each in self.taken]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def evidence(ledger: Ledger) -> Evidence:
    nothing: Any = None
    return Evidence(cast(Any, ledger), nothing, nothing, HandClock())


async def test_what_has_happened_is_recorded_once_the_ledger_is_there(evidence: Evidence, ledger: Ledger) -> None:
    """In its order, with the time at which it was, and before what comes afterwards."""
    ledger.away = True
    await evidence.afterwards("config_changed", {"n": 1})
    cast(HandClock, evidence.clock).forward(60)
    await evidence.afterwards("config_changed", {"n": 2})
    evidence.refusals.add("shed")
    await evidence.record_refusals()
    assert ledger.taken == []
    ledger.away = False
    cast(HandClock, evidence.clock).forward(60)
    await evidence.record_refusals()
    await evidence.afterwards("config_changed", {"n": 3})
    assert [each["details"].get("n") for each in ledger.taken] == [1, 2, None, 3]
    first, second, third, _ = (each["time"] for each in ledger.taken)
    assert first < second < third
    assert ledger.events[2] == "refused"


async def test_a_decision_comes_behind_the_record_of_what_decided_it(evidence: Evidence, ledger: Ledger) -> None:
    """Whichever of the two meets a ledger that is there again."""
    ledger.away = True
    await evidence.afterwards("config_changed", {"n": 1})
    decided = packed_entry(system_entry("decided", 1))
    with pytest.raises(AuditError):
        await evidence.append([decided])
    ledger.away = False
    await evidence.append([decided])
    assert ledger.events == ["config_changed", "decided"]


async def test_a_ledger_that_is_there_again_a_moment_later_takes_no_decision_before_it(evidence: Evidence, ledger: Ledger) -> None:
    """The decision is refused as where the ledger is away, and the next comes behind what was owed."""
    ledger.failing = 2  # when it came into force, and when the decision met it
    await evidence.afterwards("config_changed", {"n": 1})
    with pytest.raises(AuditError):
        await evidence.append([packed_entry(system_entry("decided", 1))])
    assert ledger.events == []
    await evidence.append([packed_entry(system_entry("decided", 2))])
    assert ledger.events == ["config_changed", "decided"]


async def test_decisions_that_wait_for_what_is_owed_share_one_attempt(evidence: Evidence, ledger: Ledger) -> None:
    """Of a ledger that takes its time to fail each of them would otherwise wait for all before it."""
    ledger.away = True
    await evidence.afterwards("config_changed", {"n": 1})
    asked = ledger.asked
    ledger.answering.clear()
    waiting = asyncio.gather(*(evidence.append([packed_entry(system_entry("decided", n))]) for n in range(50)), return_exceptions=True)
    await asyncio.sleep(0)
    ledger.answering.set()
    assert {type(each) for each in await waiting} == {AuditError}
    assert ledger.asked == asked + 1


async def test_what_is_owed_is_recorded_once_also_where_whoever_asked_for_it_goes_away(evidence: Evidence, ledger: Ledger) -> None:
    """As what counts refusals does when the process stops: the last record comes behind it."""
    ledger.away = True
    await evidence.afterwards("config_changed", {"n": 1})
    ledger.away = False
    ledger.answering.clear()
    recording = asyncio.create_task(evidence.record_refusals())
    for _ in range(5):  # until it asks the ledger
        await asyncio.sleep(0)
    assert ledger.events == ["config_changed"]
    recording.cancel()
    await asyncio.gather(recording, return_exceptions=True)
    ledger.answering.set()
    await evidence.record_refusals()
    await evidence.system("stopped", {})
    assert ledger.events == ["config_changed", "stopped"]


async def test_refusals_whose_record_was_taken_unheard_are_told_once(evidence: Evidence, ledger: Ledger) -> None:
    """Also where the process stops in the middle of it. Those that come meanwhile have a record of their own."""
    clock = cast(HandClock, evidence.clock)
    evidence.refusals.add("shed", 3)
    ledger.unsettled = 2
    for _ in range(2):
        await evidence.record_refusals()
        clock.forward(5)
        evidence.refusals.add("shed", 2)
    ledger.answering.clear()
    recording = asyncio.create_task(evidence.record_refusals())
    for _ in range(9):  # until it asks the ledger
        await asyncio.sleep(0)
    recording.cancel()
    await asyncio.gather(recording, return_exceptions=True)
    ledger.answering.set()
    await evidence.record_refusals()
    await evidence.system("stopped", {})
    assert sum(each["details"].get("shed", 0) for each in ledger.taken) == 7
    assert (ledger.events[0], ledger.events[-1], evidence.refusals.waiting()) == ("refused", "stopped", {})


async def test_no_end_is_on_record_without_what_was_in_force(evidence: Evidence, ledger: Ledger) -> None:
    """Also where the ledger is there again a moment after what is owed was tried for the last time."""
    ledger.failing = 2
    await evidence.afterwards("config_changed", {"n": 1})
    await evidence.record_refusals()
    await evidence.system("stopped", {})
    assert ledger.events == ["config_changed", "stopped"]


async def test_no_more_is_owed_than_can_be_kept(evidence: Evidence, ledger: Ledger) -> None:
    """Whoever changes more hears of it."""
    ledger.away = True
    for _ in range(MOST_OWED):
        await evidence.afterwards("config_changed", {})
    with pytest.raises(AuditError):
        await evidence.afterwards("config_changed", {})


async def test_a_workspace_that_serves_is_not_said_to_be_unused(tmp_path: Path, evidence: Evidence, ledger: Ledger) -> None:
    """The workers have it when its record fails; both records come later."""
    place = Place(tmp_path, {"bundle": {"from": "b.tar.gz", "keys": KEYS, "attested": "optional"}})
    place.write("b.tar.gz", bundle(1))
    snapshot = place.snapshot()
    changed = list[Any]()

    async def change(assignment: Any) -> None:
        changed.append(assignment)

    async def follow(workspace: Any) -> None: ...

    supervisor: Any = SimpleNamespace(change=change, current=None, policy_until=lambda _: None)
    bundles = Bundles(evidence, supervisor.policy_until)
    await bundles.in_force(snapshot, parse(snapshot, {}), fresh=True)
    reloader = Quick(
        place.folder, snapshot, parse(snapshot, {}), evidence, supervisor, cast(Any, SimpleNamespace(follow=follow)), lambda *_: None,
        bundles, place.in_force,
    )  # fmt: skip
    place.write("b.tar.gz", bundle(2))
    ledger.away = True
    await reloader.reload()
    assert (len(changed), reloader.problem, bundles.bundle and bundles.bundle.sequence) == (1, None, 2)
    ledger.away = False
    await evidence.record_refusals()
    assert ledger.events == ["policy_activated", "config_changed", "policy_activated"]
    assert [each["details"].get("sequence") for each in ledger.taken] == [1, None, 2]


@pytest.mark.parametrize(
    ("error", "refused"), [(UnpreparedError("No worker was there."), False), (ConfigError("rego: no such builtin"), True)]
)
async def test_a_bundle_that_no_worker_could_look_at_is_not_said_to_be_refused(
    tmp_path: Path, evidence: Evidence, ledger: Ledger, error: ConfigError, refused: bool
) -> None:
    """It would stay refused, and never be asked for again; what the engine finds in it is another thing."""
    place = Place(tmp_path, {"bundle": {"from": "b.tar.gz", "keys": KEYS, "attested": "optional"}})
    place.write("b.tar.gz", bundle(1))
    snapshot = place.snapshot()

    async def change(assignment: Any) -> None:
        raise error

    supervisor: Any = SimpleNamespace(change=change, current=None, policy_until=lambda _: None)
    bundles = Bundles(evidence, supervisor.policy_until)
    await bundles.in_force(snapshot, parse(snapshot, {}), fresh=True)
    nothing: Any = None
    reloader = Quick(
        place.folder, snapshot, parse(snapshot, {}), evidence, supervisor, nothing, lambda *_: None, bundles, place.in_force,
    )  # fmt: skip
    place.write("b.tar.gz", bundle(2, OTHER))
    with pytest.raises(ConfigError) as caught:
        await reloader.reload()
    assert isinstance(caught.value, BundleError) is refused
    assert ("policy_refused" in ledger.events) is refused


class Quick(Reloader):
    async def _planned(self, workspace: Any) -> None:
        return None

    async def _model_for(self, snapshot: Any, workspace: Any) -> None:
        return None
