"""An outcome that cannot be recorded now is recorded as soon as it can be; nothing else waits."""

import asyncio
from dataclasses import replace

import orjson
import pytest

from adapters.memory_ledger import MemorySubjectKeys
from router.audit import recorder as patient
from router.audit.recorder import NOT_YET, Late, LedgerRecorder
from router.audit.records.canonical import timestamp
from router.decision import Outcome, Result
from router.errors import AuditError
from router.ports import Arrival, Delivery, Due, Entry, Settled
from router.system import SystemClock
from tests.unit.audit.samples import numbered

OUTCOME = Outcome(Result.ROUTED, 200)
DECISION = numbered(1)


class Ledger:
    """Refuses so many times, with these codes one after the other."""

    def __init__(self, *codes: str) -> None:
        self.codes = list(codes)
        self.recorded: list[Entry] = []
        self.asked: list[Entry] = []

    async def append(self, entry: Entry) -> int:
        self.asked.append(entry)
        if self.codes:
            raise AuditError("no", self.codes.pop(0))
        self.recorded.append(entry)
        return 0

    async def ping(self) -> None:
        return None


class Keys(MemorySubjectKeys):
    """As a ledger: refuses so many times."""

    def __init__(self, *codes: str) -> None:
        super().__init__()
        self.codes = list(codes)

    async def key_for(self, subject: str) -> tuple[str, bytes]:
        if self.codes:
            raise AuditError("no", self.codes.pop(0))
        return await super().key_for(subject)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(patient, "LONGEST_PAUSE_S", 0.002)


class Tried:
    """One outcome over this ledger and these keys, whose caller has gone on."""

    def __init__(self, ledger: Ledger, keys: Keys | None = None, patience_s: float = 60.0) -> None:
        self.late, self.lost = Late(patience_s), 0
        self.recorder = LedgerRecorder(ledger, keys or Keys(), SystemClock(), None, self.late, self._count)

    def _count(self) -> None:
        self.lost += 1


@pytest.mark.parametrize("code", sorted(NOT_YET))
async def test_an_outcome_is_recorded_once_it_can_be(code: str) -> None:
    """Its caller has the answer by then; who ends waits for it. It is the same entry each time, by which a ledger that may have written it
    knows it."""
    ledger = Ledger(code, code, code)
    tried = Tried(ledger)
    await tried.recorder.ended(DECISION, OUTCOME)
    assert (len(ledger.asked), len(tried.late)) == (1, 1)
    await tried.late.recorded()
    assert len(ledger.recorded) == 1
    assert ledger.asked == ledger.recorded * 4
    assert (len(tried.late), tried.lost) == (0, 0)


async def test_so_is_one_whose_subjects_key_was_not_to_be_had() -> None:
    """It says when the request ended, and not when it could be sealed."""
    ledger, keys = Ledger(), Keys("audit_keys_unconfirmed", "audit_keys_unconfirmed")
    tried = Tried(ledger, keys)
    await tried.recorder.ended(DECISION, OUTCOME)
    before = SystemClock().now_ns()
    assert ledger.asked == []
    await tried.late.recorded()
    (entry,) = ledger.recorded
    assert timestamp(before) > orjson.loads(entry.leaf)["time"]


@pytest.mark.parametrize("code", ["audit_unavailable", "audit_tree_broken"])
async def test_what_never_will_be_recorded_is_not_tried_again(code: str, caplog: pytest.LogCaptureFixture) -> None:
    """A ledger that is broken stays so. Either at once, and its caller counts that, or once it says so."""
    tried = Tried(Ledger(code))
    with pytest.raises(AuditError) as raised:
        await tried.recorder.ended(DECISION, OUTCOME)
    assert (raised.value.code, tried.lost) == (code, 0)
    ledger = Ledger("audit_store_unavailable", code)
    tried = Tried(ledger)
    await tried.recorder.ended(DECISION, OUTCOME)
    await tried.late.recorded()
    assert (ledger.recorded, len(ledger.asked), tried.lost) == ([], 2, 1)
    assert f"no outcome recorded for decision {DECISION.id}: no" in caplog.messages


async def test_patience_ends(caplog: pytest.LogCaptureFixture) -> None:
    """And is told."""
    ledger = Ledger(*["audit_disk_full"] * 1_000_000)
    tried = Tried(ledger, patience_s=0.02)
    await tried.recorder.ended(DECISION, OUTCOME)
    await tried.late.recorded()
    assert len(ledger.asked) >= 2
    assert tried.lost == 1
    assert f"no outcome recorded for decision {DECISION.id}: no" in caplog.messages


async def test_a_decision_that_may_be_on_record_is_and_so_is_that_nothing_came_of_it() -> None:
    """Its maker is refused at once. Both are recorded, in this order and once each, whichever of them it takes longer for."""
    ledger = Ledger("audit_unsettled", "audit_store_unavailable", "audit_unsettled")
    tried = Tried(ledger)
    with pytest.raises(AuditError, match="no"):
        await tried.recorder.decided(DECISION, {})
    assert len(tried.late) == 1
    await tried.late.recorded()
    decided, ended = ledger.recorded
    assert ledger.asked == [decided] * 4 + [ended]
    assert [orjson.loads(each.leaf)["id"] for each in (decided, ended)] == [DECISION.id] * 2
    outcome = orjson.loads(ended.leaf)["outcome"]
    assert (outcome["result"], outcome["status"], outcome["reason"]) == ("denied", 503, "audit_unsettled")
    assert (outcome["attempts"], outcome["complete"], tried.lost) == (0, False, 0)


async def test_an_end_that_takes_longer_than_its_decision_leaves_that_alone() -> None:
    """What was recorded in the second place is not recorded again."""

    class Slow(Ledger):
        async def append(self, entry: Entry) -> int:
            if self.recorded and not self.codes and len(self.asked) == 2:
                self.codes = ["audit_store_unavailable", "audit_keys_unconfirmed"]
            return await super().append(entry)

    ledger = Slow("audit_unsettled")
    tried = Tried(ledger)
    with pytest.raises(AuditError):
        await tried.recorder.decided(DECISION, {})
    await tried.late.recorded()
    decided, ended = ledger.recorded
    assert ledger.asked == [decided, decided, ended, ended, ended]


HELD = Outcome(Result.HELD, 202, "risk.high")
DENIED = Outcome(Result.DENIED, 403, "risk.high")


@pytest.mark.parametrize(
    ("outcome", "beside", "told"),
    [
        (HELD, None, 1),
        (DENIED, None, 0),
        (None, Entry(b"{}", arrival=Arrival(b"k", b"")), 0),
        (None, Entry(b"{}", delivery=Delivery("d", "route", "desk", Due.DISPATCH, "", b"", 0, 0, 1)), 0),
        (None, Entry(b"{}"), 1),
    ],
)
async def test_what_is_told_of_an_unsettled_decision_is_true(outcome: Outcome | None, beside: Entry | None, told: int) -> None:
    """One that is delivered ends by itself if it is there, a known event is answered with its decision, and what was denied has ended."""
    tried = Tried(Ledger("audit_unsettled"))
    with pytest.raises(AuditError):
        await tried.recorder.decided(replace(DECISION, outcome=outcome), {}, None if beside is None else lambda *_: beside)
    assert len(tried.late) == told
    await tried.late.recorded()


async def test_decisions_and_ends_of_deliveries_are_never_late() -> None:
    """Somebody waits for the one, and the other is delivered again."""
    tried = Tried(Ledger("audit_store_unavailable", "audit_store_unavailable"))
    with pytest.raises(AuditError):
        await tried.recorder.decided(DECISION, {})
    with pytest.raises(AuditError):
        await tried.recorder.ended(DECISION, OUTCOME, Settled("id"))
    assert (len(tried.late), tried.lost) == (0, 0)


async def test_that_outcomes_wait_is_said_once_for_all(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands may be under way when a database goes away."""
    tried = Tried(Ledger(*["audit_store_unavailable"] * 40))
    await asyncio.gather(*(tried.recorder.ended(DECISION, OUTCOME) for _ in range(20)))
    await tried.late.recorded()
    assert len([line for line in caplog.messages if line.startswith("outcomes wait")]) == 1


async def test_what_cannot_be_written_is_not_decided() -> None:
    """A decision that no record can be made of, such as one at no time that there is, is refused under its own code: no dispatch."""
    ledger = Ledger()
    with pytest.raises(AuditError) as refused:
        await LedgerRecorder(ledger, Keys(), SystemClock()).decided(replace(DECISION, decided_ns=-(10**20)), {})
    assert (refused.value.code, ledger.asked) == ("audit_unwritable", [])
