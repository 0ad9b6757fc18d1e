from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from adapters.messaging.destination import failure
from adapters.sqlite.following import OpenWork
from router.audit.records.record import outcome_entry
from router.decision import Outcome, Result
from router.errors import ConfigError
from router.ports import Ended
from router.registry import Adapter, Registry
from router.system import SystemRandom
from router.wiring.following import AT_ONCE, FOLLOWING_FILE, Following
from tests.unit.audit.ledgers import reader
from tests.unit.audit.samples import DECISION
from tests.unit.identity.parts import HandClock
from tests.unit.wiring.test_evidence_in import ANNA, Desk, desk, event

Answers = list[Ended | Exception | None]
LATER = 10**20


class Nothing(BaseModel):
    pass


@dataclass
class Engine:
    """Answers what it is told to, one for each question, the last one for all further ones."""

    answers: Answers
    asked: list[str] = field(default_factory=list)
    opened: int = 0
    broken: bool = False

    async def open(self) -> None:
        if self.broken:
            raise ConfigError("no file")
        self.opened += 1

    async def close(self) -> None:
        self.opened -= 1

    async def ended(self, work: str) -> Ended | None:
        self.asked.append(work)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class At:
    desk: Desk
    engine: Engine
    following: Following
    clock: HandClock
    make: Callable[[], Following]

    def phases(self) -> list[tuple[str, str | None]]:
        leaves = [self.desk.leaf(index) for index in range(self.desk.ledger.size)]
        return [(leaf["evidence"]["phase"], leaf["evidence"]["destination"]) for leaf in leaves if "evidence" in leaf]

    async def dispatched(self, work: str = "run 1") -> None:
        key_id, key = await self.desk.keys.key_for(ANNA)
        outcome = Outcome(Result.ROUTED, 202, work=work)
        await self.desk.ledger.append(outcome_entry(DECISION.id, outcome, self.clock.now_ns(), key_id, key))

    async def rounds(self, count: int) -> None:
        for _ in range(count):
            self.clock.forward(3600)
            await self.following.round()


@asynccontextmanager
async def at(folder: Path, *answers: Ended | Exception | None, follow: bool = True) -> AsyncIterator[At]:
    assert DECISION.route is not None
    engine, clock = Engine(list(answers)), HandClock(LATER // 100)
    module = ModuleType("an_engine_for_tests")
    module.follower = lambda settings, *, name: engine  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    name = DECISION.route.destination
    routes = {DECISION.route.name: SimpleNamespace(evidence=SimpleNamespace(follow=follow))}
    catalog = SimpleNamespace(routes=routes, destinations={name: SimpleNamespace(adapter="engine")})
    workspace: Any = SimpleNamespace(catalog=catalog, destinations={name: Nothing()})
    registry = Registry({("destination", "engine"): Adapter(module.__name__)})
    async with desk(folder) as made:
        make = lambda: Following(  # noqa: E731  # made a second time by one test
            partial(reader, folder), folder, made.keys, made.intake, lambda: workspace, clock, SystemRandom(), registry
        )
        found = At(made, engine, make(), clock, make)
        yield found
        await found.following.close()


async def test_how_work_ended_is_recorded_once(tmp_path: Path) -> None:
    async with at(tmp_path, None, None, Ended("completed", True)) as here:
        await here.dispatched("run 1")
        await here.rounds(2)
        assert (here.phases(), here.following.count) == ([], 1)
        await here.rounds(3)
        assert here.phases() == [("completed", "payments-service")]
        assert (here.engine.asked, here.following.count) == (["run 1"] * 3, 0)
        personal = await here.desk.personal(here.desk.ledger.size - 1)
        assert json.loads(personal["event"])["type"] == "lockgate.work.completed"


async def test_what_did_not_end_well_is_a_failure(tmp_path: Path) -> None:
    async with at(tmp_path, Ended("timed_out", False)) as here:
        await here.dispatched()
        await here.rounds(1)
        assert [phase for phase, _ in here.phases()] == ["failed"]


async def test_an_engine_that_does_not_say_is_asked_again_and_complained_about_once(tmp_path: Path, caplog: Any) -> None:
    away = failure("connect_failed", "nobody there")
    async with at(tmp_path, away, away, Ended("completed", True)) as here:
        await here.dispatched()
        await here.rounds(3)
        assert [phase for phase, _ in here.phases()] == ["completed"]
    assert [record.getMessage() for record in caplog.records if record.name == "lockgate.following"] == [
        f"{DECISION.route and DECISION.route.destination} does not say how work ended: nobody there"
    ]


async def test_others_need_not_wait_for_an_engine_that_is_silent(tmp_path: Path) -> None:
    """Those who ask at the same time find it out together."""
    async with at(tmp_path, failure("connect_failed", "nobody there")) as here:
        for number in range(3 * AT_ONCE):
            await here.dispatched(f"run {number}")
        await here.rounds(1)
        assert (len(here.engine.asked), here.following.count) == (AT_ONCE, 3 * AT_ONCE)


async def test_an_engine_that_cannot_be_asked_as_it_is_configured_is_one_later(tmp_path: Path, caplog: Any) -> None:
    async with at(tmp_path, Ended("completed", True)) as here:
        here.engine.broken = True
        await here.dispatched()
        await here.rounds(1)
        assert (here.phases(), here.following.count) == ([], 1)
        here.engine.broken = False
        await here.rounds(1)
        assert [phase for phase, _ in here.phases()] == ["completed"]
    assert "cannot be asked how work ended: no file" in caplog.text


async def test_an_end_that_is_recorded_already_stays_the_end(tmp_path: Path, caplog: Any) -> None:
    """Another node was told another one."""
    async with at(tmp_path, Ended("completed", True)) as here:
        await here.dispatched()
        await here.following.round()
        assert DECISION.route is not None
        await here.desk.ledger.append(outcome_entry(DECISION.id, Outcome(Result.ROUTED, 202), here.clock.now_ns()))
        name = DECISION.route.destination
        work = OpenWork(here.desk.ledger.size, DECISION.id, DECISION.route.name, name, 0, 0)
        await here.following._record(work, Ended("failed", False))
        await here.following._record(work, Ended("completed", True))
        assert [phase for phase, _ in here.phases()] == ["completed", "failed"]
    assert "recorded already, in another way: evidence_conflict" in caplog.text


async def test_work_that_is_young_is_not_asked_about_all_the_time(tmp_path: Path) -> None:
    async with at(tmp_path, None) as here:
        await here.dispatched()
        for _ in range(5):
            await here.following.round()
        assert len(here.engine.asked) == 1


async def test_what_was_recorded_before_a_crash_is_not_recorded_again(tmp_path: Path) -> None:
    """Asked and recorded, and ended before it was noted; what is derived is gone as well."""
    async with at(tmp_path, Ended("completed", True)) as here:
        await here.dispatched()
        await here.rounds(1)
        size = here.desk.ledger.size
        await here.following.close()
        for ending in ("", "-wal", "-shm"):
            (tmp_path / f"{FOLLOWING_FILE}{ending}").unlink(missing_ok=True)
        here.following = here.make()
        await here.rounds(2)
        assert (here.desk.ledger.size, len(here.engine.asked), here.following.count) == (size, 1, 0)


async def test_open_work_is_found_again_after_a_restart(tmp_path: Path) -> None:
    async with at(tmp_path, None, Ended("completed", True)) as here:
        await here.dispatched()
        await here.rounds(1)
        await here.following.close()
        here.following = here.make()
        await here.rounds(1)
        assert [phase for phase, _ in here.phases()] == ["completed"]


async def test_evidence_of_the_services_own_ends_the_asking(tmp_path: Path) -> None:
    async with at(tmp_path, None) as here:
        await here.dispatched()
        await here.desk.take(event(lockgatephase="started"))
        await here.rounds(1)
        assert here.following.count == 1
        await here.desk.take(event(2, lockgatephase="completed"))
        await here.rounds(1)
        assert here.following.count == 0


async def test_nobody_asks_about_the_work_of_somebody_who_was_erased(tmp_path: Path) -> None:
    async with at(tmp_path, None) as here:
        await here.dispatched()
        key_id, _ = await here.desk.keys.key_for(ANNA)
        await here.desk.keys.destroy(key_id)
        await here.rounds(2)
        assert (here.engine.asked, here.following.count, here.phases()) == ([], 0, [])


async def test_of_work_that_the_engine_has_forgotten_nothing_is_claimed(tmp_path: Path, caplog: Any) -> None:
    async with at(tmp_path, Ended("unknown", False)) as here:
        await here.dispatched()
        await here.rounds(2)
        assert (here.phases(), here.following.count) == ([], 0)
    assert "knows nothing (any more)" in caplog.text


@pytest.mark.parametrize(("follow", "work"), [(False, "run 1"), (True, "")])
async def test_only_work_of_routes_that_want_it_is_followed(tmp_path: Path, follow: bool, work: str) -> None:
    async with at(tmp_path, None, follow=follow) as here:
        await here.dispatched(work)
        await here.rounds(2)
        assert here.following.count == 0
    assert here.engine.asked == []
