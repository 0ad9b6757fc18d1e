"""What is told of the objectives: from a real ledger, of workers that end and limits that are passed, from a file after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from adapters.sqlite.index import INDEX_FILE
from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.subject_keys import KeyFile
from router.audit.journal import Checkpointing, Journal
from router.audit.keys.files import ensure_sealing_key, ensure_signing_key
from router.audit.tree.checkpoint import NoteSigner
from router.config.objectives import DecisionsObjective, ObjectivesConfig
from router.decision import Effect, Outcome, Reason, Result, Status, Verdict
from router.errors import AuditError
from router.processes.refusals import Refusals
from router.telemetry.objectives.history import History
from router.telemetry.objectives.rules import HOUR_S, WINDOWS
from router.wiring import objective_ledger
from router.wiring import objectives as module
from router.wiring.objective_keeping import FILE
from router.wiring.objective_ledger import LedgerCounts
from router.wiring.objectives import Objectives, Sources
from tests.unit.audit.ledgers import reader
from tests.unit.docs.asked_ledger import HOUR, Ledger
from tests.unit.identity.parts import HandClock

NS = 1_000_000_000
STOPPED = Verdict(Effect.DENY, (Reason("policy_error"),), revision="r7", digest="f0" * 32, engine="embedded")
DENIED = Outcome(Result.DENIED, 403, "policy_denied", total_ns=5_000_000)
ASKED_BACK = Outcome(Result.ABSTAINED, 422, "ambiguous", total_ns=5_000_000)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    state = tmp_path / "state"
    keys = KeyFile(state / "keys.sqlite", ensure_sealing_key(state / "keys" / "sealing.key"))
    keys.open()
    signer = NoteSigner("lockgate.example/ledger", ensure_signing_key(state / "keys" / "ledger.key"))
    journal = Journal(SqliteStore(state / "ledger.sqlite"), Checkpointing(signer, state / "checkpoints", 3600, 10_000))
    journal.open()
    yield Ledger(state, keys, journal)
    journal.close()
    keys.close()


def counts(ledger: Ledger) -> LedgerCounts:
    return LedgerCounts(partial(reader, ledger.folder), ledger.folder, lambda: None)


def totals(history: History, now: float) -> list[tuple[int, int]]:
    found = (history.window(now, seconds) for seconds in WINDOWS.values())
    return [(each.total, each.bad) for each in found]


def some_traffic(ledger: Ledger) -> None:
    """Of one hour: ten judged, of which three were asked back; four that were not; nine refused, of which two by Lockgate's own fault."""
    for number in range(7):
        ledger.decide(f"well{number}", later=number % 2 == 0)
    for number in range(3):
        ledger.decide(f"asked{number}", outcome=ASKED_BACK, later=False)
    for number in range(3):
        ledger.decide(f"stopped{number}", outcome=DENIED, later=False, verdict=STOPPED)
    ledger.decide("unclassified", classified={"status": Status.UNAVAILABLE, "reason": "encoder_failed", "intent": None})
    ledger.system("refused", {"credential_missing": 7, "overloaded": 1, "audit_disk_full": 1})


def test_the_ledger_is_counted_as_counters_are(ledger: Ledger) -> None:
    """Decisions without a verdict or a class, refusals by reason, abstentions; what came since is added, and a count that begins anew,
    with an index that is made anew, finds the same."""
    made = counts(ledger)
    some_traffic(ledger)
    ledger.now += HOUR
    assert made.read(ledger.now / NS)
    assert (made.judged.window(ledger.now / NS, 86_400).total, made.judged.window(ledger.now / NS, 86_400).bad) == (23, 6)
    assert (made.ended.window(ledger.now / NS, 86_400).total, made.ended.window(ledger.now / NS, 86_400).bad) == (14, 3)
    some_traffic(ledger)
    now = ledger.now / NS
    assert made.read(now)
    assert made.read(now)  # nothing is counted twice
    assert made.judged.window(now, 86_400).total == 46
    for gone in ledger.folder.glob(f"{INDEX_FILE}*"):
        gone.unlink()
    again = counts(ledger)
    assert again.read(now)
    assert totals(again.judged, now) == totals(made.judged, now)
    assert totals(again.ended, now) == totals(made.ended, now)
    assert again.judged.since == made.judged.since
    for each in (made, again):
        each.close()


def test_what_is_older_than_thirty_days_is_left_out(ledger: Ledger) -> None:
    """And the time that is known is that of the window, not of the ledger."""
    some_traffic(ledger)
    ledger.now += 40 * 24 * HOUR
    some_traffic(ledger)
    made, now = counts(ledger), ledger.now / NS
    assert made.read(now)
    assert made.judged.window(now, WINDOWS["30d"]).total == 23
    assert made.judged.since == pytest.approx(now - WINDOWS["30d"])
    made.close()


def test_an_index_that_is_far_behind_is_for_others_to_make(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is told from it meanwhile."""
    monkeypatch.setattr(objective_ledger, "FAR", 3)
    some_traffic(ledger)
    made = counts(ledger)
    assert not made.read(ledger.now / NS)
    made.close()


@dataclass
class Around:
    """What the service asks, as it is set by hand."""

    waiting: int = 0
    unsigned: int = 0
    size: int = 0
    age: float | None = None
    refused: dict[str, int] = field(default_factory=dict)
    told: list[tuple[int, Any]] = field(default_factory=list)

    async def workers(self) -> list[tuple[int, object]]:
        return list(self.told)

    def counted(self, requests: int, unjudged: int = 0, slow: int = 0, born: int = 1) -> None:
        durations = {"within_0.1": requests - slow, "within_0.25": requests, "within_inf": requests}
        told = {"requests": requests, "unjudged": unjudged, "ended": requests, "abstained": 0, **durations}
        self.told = [(0, {"born": born, "counts": told})]


@dataclass
class House:
    made: Objectives
    around: Around
    clock: HandClock
    settings: list[ObjectivesConfig | None]

    async def look(self, seconds: float = 30.0) -> Mapping[str, Any]:
        self.clock.forward(seconds)
        settings = self.settings[0]
        assert settings is not None
        await self.made.round(settings)
        return self.objectives()

    def objectives(self) -> Mapping[str, Any]:
        found = self.made.document()
        assert found is not None
        return {each["name"]: each for each in found["objectives"]}


def house(state: Path, clock: HandClock, counted: LedgerCounts | None = None) -> House:
    around, settings = Around(), list[ObjectivesConfig | None]([ObjectivesConfig()])
    sources = Sources(around.workers, around, lambda: around.refused, lambda: around.age, counted)
    state.mkdir(exist_ok=True)
    return House(Objectives(sources, lambda: settings[0], state / FILE, clock), around, clock, settings)


async def test_a_ledger_that_takes_nothing_is_seen_at_once_and_counted_once(ledger: Ledger) -> None:
    """Refusals that are not recorded yet count as of now; once they are recorded they count then, and as often."""
    some_traffic(ledger)
    clock = HandClock(ledger.now)
    made = house(ledger.folder, clock, counts(ledger))
    before = (await made.look())["judged"]
    made.around.refused = {"audit_disk_full": 100, "credential_missing": 5}
    during = (await made.look(HOUR_S))["judged"]
    assert (during["state"], during["source"]) == ("burning_fast", "ledger")
    assert (during["windows"][0]["total"], during["windows"][0]["bad"]) == (105, 100)
    assert "100 of" in during["said"]
    ledger.now = clock.now
    ledger.system("refused", made.around.refused, after=0)
    made.around.refused = {}
    after = (await made.look(30))["judged"]
    assert after["windows"][-1]["bad"] == during["windows"][-1]["bad"] == before["windows"][-1]["bad"] + 100
    await made.made.close()


async def test_where_the_ledger_cannot_be_read_this_node_tells(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """After two minutes, and until it can be; by then the last word is good."""
    some_traffic(ledger)
    counted = counts(ledger)
    made = house(ledger.folder, HandClock(ledger.now), counted)
    assert (await made.look())["judged"]["source"] == "ledger"

    def away(_: LedgerCounts, now: float) -> bool:
        raise AuditError("The database does not answer.", "audit_unavailable")

    made.around.counted(50, unjudged=50)
    with monkeypatch.context() as patched:
        patched.setattr(LedgerCounts, "read", away)
        assert (await made.look(60))["judged"]["source"] == "ledger"
        judged = (await made.look(90))["judged"]
        assert (judged["source"], judged["state"], judged["windows"][0]["bad"]) == ("node", "burning_fast", 50)
    assert (await made.look())["judged"]["source"] == "ledger"
    await made.made.close()


async def test_what_a_node_saw_is_there_after_a_restart(tmp_path: Path) -> None:
    """Whatever its workers counted before; since when it says; and what was counted by another limit is not taken for this one's."""
    clock = HandClock()
    first = house(tmp_path, clock)
    first.around.counted(1000, slow=200)
    seen = await first.look()
    assert (seen["decisions"]["state"], seen["decisions"]["windows"][0]["bad"]) == ("burning_fast", 200)
    await first.made.close()
    second = house(tmp_path, clock)
    second.around.counted(10, born=2)
    again = await second.look()
    assert (again["decisions"]["windows"][0]["total"], again["decisions"]["windows"][0]["bad"]) == (1010, 200)
    assert again["decisions"]["since"] == seen["decisions"]["since"]
    second.settings[0] = ObjectivesConfig(decisions=DecisionsObjective(within="250ms"))
    changed = (await second.look())["decisions"]
    assert (changed["windows"][-1]["total"], changed["state"], changed["sentence"]) == (
        0,
        "no_data",
        "99 % of decisions are durable within 250 ms.",
    )
    assert (await second.look())["judged"]["windows"][-1]["total"] == 1010
    await second.made.close()


@pytest.mark.parametrize("written", [b"", b"{}", b"[]", b"\xff", b'{"version":1,"terms":{},"histories":{"judged":{"since":0,"rings":[]}}}'])
async def test_a_file_that_cannot_be_read_is_as_good_as_none(tmp_path: Path, written: bytes) -> None:
    """It is no evidence, and nothing stops for it."""
    (tmp_path / FILE).write_bytes(written)
    made = house(tmp_path, HandClock())
    made.around.counted(3)
    assert (await made.look())["judged"]["windows"][-1]["total"] == 3
    await made.made.close()
    assert (tmp_path / FILE).stat().st_size > 1000


def test_what_was_counted_in_part_is_counted_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, after whatever stopped it; until then what was told before stands."""
    some_traffic(ledger)
    made, now = counts(ledger), (ledger.now + HOUR) / NS
    assert made.read(now)
    some_traffic(ledger)

    def gone(*_: Any) -> Any:
        raise AuditError("The database went away.", "audit_unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(objective_ledger, "_leaves", gone)
        for _ in range(3):
            with pytest.raises(AuditError):
                made.read(now)
    assert made.read(now)
    assert made.judged.window(now, WINDOWS["1d"]).total == 46
    made.close()


async def test_what_was_while_it_was_off_is_not_taken_for_now(tmp_path: Path) -> None:
    """It begins anew, from when it is on again."""
    made = house(tmp_path, HandClock())
    made.around.counted(3)
    first = (await made.look())["judged"]
    made.made._forget()  # as the rounds do where nothing is configured
    made.around.counted(500, unjudged=400)
    assert (await made.look(3600))["judged"]["windows"][-1]["total"] == 0
    made.around.counted(510, unjudged=400)
    again = (await made.look())["judged"]
    assert (again["windows"][-1]["total"], again["windows"][-1]["bad"]) == (10, 0)
    assert again["since"] > first["since"]
    await made.made.close()


def test_refusals_that_are_being_recorded_still_wait() -> None:
    """Until they are recorded; those that could not be wait on."""
    refusals = Refusals()
    refusals.add("overloaded", 2)
    taken = refusals.take()
    refusals.add("overloaded")
    assert refusals.waiting() == {"overloaded": 3}
    refusals.put(taken)
    assert refusals.waiting() == {"overloaded": 3}
    assert refusals.take() == {"overloaded": 3}
    refusals.done()
    assert refusals.waiting() == {}


async def test_nobody_waits_for_months_to_be_counted(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile this node tells what it saw, and a stop ends the counting."""
    some_traffic(ledger)
    under_way = Event()
    counted = counts(ledger)

    def giving_way() -> None:
        under_way.set()
        counted.stopping.wait(30)

    counted.way = giving_way
    monkeypatch.setattr(module, "COUNTING_S", 0.01)
    made = house(ledger.folder, HandClock(ledger.now), counted)
    made.around.counted(5)
    assert (await made.look())["judged"]["source"] == "node"
    assert await asyncio.to_thread(under_way.wait, 10)
    assert (await made.look())["judged"]["windows"][-1]["total"] == 5
    await made.made.close()


def test_a_clock_that_is_ahead_pushes_nothing_out(ledger: Ledger) -> None:
    """A record from a node whose clock is years ahead counts as of now."""
    some_traffic(ledger)
    now = ledger.now / NS
    ledger.now += 1000 * 24 * HOUR
    some_traffic(ledger)
    made = counts(ledger)
    assert made.read(now)
    assert made.judged.window(now, WINDOWS["1d"]).total == 46
    made.close()


async def test_a_clock_that_is_put_back_begins_anew(tmp_path: Path) -> None:
    """Otherwise nothing would be counted until it has caught up."""
    clock = HandClock()
    made = house(tmp_path, clock)
    made.around.counted(3)
    await made.look(10 * 86_400)
    made.around.counted(5)
    assert (await made.look(-9 * 86_400))["judged"]["windows"][-1]["total"] == 2
    await made.made.close()


async def test_limits_are_at_risk_first_and_missed_when_it_lasts(tmp_path: Path) -> None:
    """Records that wait, records that nobody signs, policies that nobody confirms: each as long as its alert waits."""
    made = house(tmp_path, HandClock())
    made.around.size, made.around.age = 100, 30.0
    quiet = await made.look()
    assert {quiet[name]["state"] for name in ("audit_lag", "policy_age")} == {"met"}
    made.around.waiting, made.around.age = 300, 901.0
    risky = await made.look()
    assert {risky[name]["state"] for name in ("audit_lag", "policy_age")} == {"at_risk"}
    for _ in range(10):
        missed = await made.look()
    assert {missed[name]["state"] for name in ("audit_lag", "policy_age")} == {"missed"}
    assert missed["audit_lag"]["said"] == "Records waiting for their commit: 300, more than 256, for 5 min."
    made.around.waiting, made.around.age, made.around.unsigned = 0, None, 7
    states = [(await made.look(60))["audit_lag"]["state"] for _ in range(24)]
    assert states[:17] == ["met"] * 17  # it may wait a quarter of an hour, and then a little
    assert states[-1] == "missed"
    assert made.objectives()["policy_age"]["state"] == "no_data"
    made.around.size, made.around.unsigned = 107, 0
    assert (await made.look())["audit_lag"]["state"] == "met"
    await made.made.close()


async def test_figures_are_those_of_what_has_a_budget(tmp_path: Path) -> None:
    """And none once all is switched off."""
    made = house(tmp_path, HandClock())
    made.around.counted(1000, unjudged=1)
    await made.look()
    left, rates = made.made.figures()
    assert [sample.labels["objective"] for sample in left.samples] == ["judged", "decisions"]
    assert {round(sample.value, 6) for sample in rates.samples if sample.labels["objective"] == "judged"} == {1.0}
    made.settings[0] = None
    assert [family.samples for family in made.made.figures()] == [[], []]
    assert made.made.document() is None
    await made.made.close()
