"""Erasures, holds, prunings and restarts in any order, held against a model of what must be readable afterwards."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable
from functools import partial
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sqlite.subject_keys import KeyFile
from router.audit.governance.pruning import Pruning
from router.audit.governance.retention import DAY_NS, Retention, RetentionClass
from router.audit.questions.query import Trail
from router.audit.records.record import system_entry
from router.errors import AuditError
from tests.unit.audit.governed import OFFICER, SEALING_KEY, Clock, Counted, Place, running
from tests.unit.audit.ledgers import verified
from tests.unit.audit.samples import DECISION

KEPT = Retention((RetentionClass("rest", 184 * DAY_NS),))
PEOPLE = ("anna", "bo", "cleo")
ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["decide", "erase", "hold", "release"]), st.sampled_from(PEOPLE)),
    st.tuples(st.sampled_from(["prune", "restart", "half a year"]), st.just("")),
)


class Model:
    """By decision: whose it is, since when it is there (days), and whether its personal part should be readable."""

    def __init__(self) -> None:
        self.day = 0
        self.number = 0
        self.holds: dict[str, list[int]] = {person: [] for person in PEOPLE}
        self.decisions: dict[str, tuple[str, int, str]] = {}

    def set(self, state: str, person: str | None = None, before: int | None = None) -> None:
        for decision, (whose, day, old) in self.decisions.items():
            if (
                old in ("opened", *(["pruned"] if state == "erased" else []))
                and person in (None, whose)
                and (before is None or day <= before)
                and not self.holds[whose]
            ):
                self.decisions[decision] = (whose, day, state)

    @property
    def readable(self) -> dict[str, str]:
        return {decision: state for decision, (_, _, state) in self.decisions.items()}


async def act(place: Place, model: Model, action: str, person: str) -> None:
    if action == "decide":
        model.number += 1
        (made,) = await place.decide(model.day * 86_400 + model.number, subject=person)
        model.decisions[made.id] = (person, model.day, "opened")
    elif action == "half a year":
        for _ in range(7):
            model.day += 27
            place.clock.now += 27 * DAY_NS
            await place.ledger.append(system_entry("refused", place.clock.now_ns(), {"rate_limited": 1}))
    elif action == "prune":
        await Pruning(place.orders, KEPT).prune(OFFICER)
        model.set("pruned", before=model.day - 184)
    else:
        await order(place, model, action, person)


async def order(place: Place, model: Model, action: str, person: str) -> None:
    known, holds = await place.keys.find(person) is not None, model.holds[person]
    if action == "erase":
        refusal = await refused(place.erasing.erase(person, "gdpr_art_17", OFFICER))
        assert refusal == ("audit_on_hold" if holds else "" if known else "subject_unknown")
        model.set("erased", person)
    elif action == "hold":
        refusal = await refused(place.holding.add("subject", person, OFFICER))
        assert refusal == ("" if known else "subject_unknown")
        holds += [place.ledger.size - 1] if known else []
    elif holds:
        assert await refused(place.holding.release(holds.pop(), OFFICER)) == ""


async def refused(attempt: Awaitable[object]) -> str:
    """The code of a refusal, empty where there is none."""
    try:
        await attempt
    except AuditError as error:
        return error.code
    return ""


def keys(folder: Path) -> KeyFile:
    file = KeyFile(folder / "keys.sqlite", SEALING_KEY)
    file.open()
    return file


async def played(folder: Path, actions: list[tuple[str, str]]) -> None:
    clock, ids, model = Clock(DECISION.decided_ns), Counted(), Model()
    left = list(actions)
    while True:
        async with running(folder, clock, ids) as place:
            assert await place.erasing.finish() == []
            while left and left[0][0] != "restart":
                await act(place, model, *left.pop(0))
            await agrees(place, model)
        report = verified(folder, open_keys=partial(keys, folder))
        assert report.faults == []
        if not left:
            return
        left.pop(0)


async def agrees(place: Place, model: Model) -> None:
    file = keys(place.folder)
    trail = Trail(place.facts.reader, place.facts.index, file.key)
    for decision, state in model.readable.items():
        assert {proven.found.sealed for proven in trail.show(decision)} == {state}, decision
    file.close()
    in_force = {hold.record for hold in await place.holding.all()}
    assert in_force == {record for records in model.holds.values() for record in records}


@settings(max_examples=15, deadline=None)
@given(st.lists(ACTIONS, max_size=14))
def test_whatever_is_ordered_the_ledger_is_whole_and_says_what_is_readable(actions: list[tuple[str, str]]) -> None:
    """What nobody erased and no class outlived opens; the rest says why not; nothing on hold went; and everything verifies."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(played(Path(folder), actions))
