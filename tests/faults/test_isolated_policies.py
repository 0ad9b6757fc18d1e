"""Policies that hang, eat memory or break the interpreter off, in the engine that has them in processes of their own: their own request is
denied, and no other one is hurt."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.rego import helpers, isolated
from adapters.rego.helpers import Helper
from adapters.rego.isolated import IsolatedRego
from router.config.isolated import IsolatedEngine
from router.decision import Effect
from router.errors import ConfigError
from router.stages.policy import judge

ADMIT = 'package lockgate.admission\n\nresult := {"effect": "allow"}\n'
DECIDE = """package lockgate.decision

default result := {"effect": "allow"}

result := {"effect": "deny"} if {
	input.hang
	count([1 | some a in numbers.range(1, 9000); some b in numbers.range(1, 9000); a * b == 7]) > 1000000
}

result := {"effect": "deny"} if {
	input.eat
	count(numbers.range(1, 900000000)) == 3
}

result := {"effect": "allow", "reasons": [{"code": "seen", "message": input.echo}]} if input.echo
"""
TEXTS = {"admission.rego": ADMIT, "decision.rego": DECIDE}


class Told:
    """What became of the processes, and when one is gone."""

    def __init__(self) -> None:
        self.processes: list[str] = []
        self.healthy: list[bool] = []
        self._news = asyncio.Event()

    def policy_asked(self, result: str) -> None:
        pass

    def policy_health(self, healthy: bool) -> None:
        self.healthy.append(healthy)

    def policy_compared(self, result: str) -> None:
        raise AssertionError("nothing is compared here")

    def policy_process(self, what: str) -> None:
        self.processes.append(what)
        self._news.set()

    async def hears(self, what: str, times: int = 1) -> None:
        async with asyncio.timeout(30):
            while self.processes.count(what) < times:
                self._news.clear()
                await self._news.wait()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def engine(told) -> AsyncIterator[IsolatedRego]:
    made = isolated.load(IsolatedEngine(), TEXTS, {}, deadline_s=0.3, observer=told)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that gives a process little CPU makes nobody late who waits for one."""
    monkeypatch.setattr(helpers, "PATIENCE", 100)


async def answer(engine: IsolatedRego, **document: Any) -> str:
    verdict = await judge(engine, "decision", None, document)
    return verdict.reasons[0].code if verdict.effect is Effect.DENY else "allowed"


def processes(engine: IsolatedRego) -> list[Helper]:
    return sorted(engine._helpers._living, key=lambda each: each.pid)


async def test_a_policy_that_loops_is_ended_and_its_request_denied(engine, told):
    """The process is killed and replaced, and the next request is judged."""
    before = {each.pid for each in processes(engine)}
    assert await answer(engine, hang=True) == "policy_late"
    await told.hears("late")
    await told.hears("started", times=3)
    assert await answer(engine, other=1) == "allowed"
    assert len({each.pid for each in processes(engine)} - before) == 1


async def test_others_are_judged_while_one_hangs(patient, engine):
    """All of them have their answers before the one that hangs is given up."""
    hanging = asyncio.create_task(answer(engine, hang=True))
    await asyncio.sleep(0)
    others = [await answer(engine, echo=f"text {number}") for number in range(20)]
    assert not hanging.done()
    assert others == ["allowed"] * 20
    assert await hanging == "policy_late"


async def test_others_wait_where_all_processes_hang_and_are_then_judged(patient, engine):
    """They lose time and nothing else."""
    hanging = [asyncio.create_task(answer(engine, hang=number)) for number in (1, 2)]
    await asyncio.sleep(0)
    assert await asyncio.gather(*(answer(engine, echo=f"text {number}") for number in range(5))) == ["allowed"] * 5
    assert await asyncio.gather(*hanging) == ["policy_late"] * 2


async def test_nobody_waits_for_a_free_process_for_ever(engine):
    """Where everything that comes hangs, who waited several deadlines is denied."""
    hanging = [asyncio.create_task(answer(engine, hang=number)) for number in range(12)]
    assert set(await asyncio.gather(*hanging)) == {"policy_late"}


async def test_a_process_has_none_of_its_workers_descriptors(told):
    """Over its worker's socket it could have records written, and ask for subjects' keys; the event loop closes nothing for it."""
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as door:
        for sock in (theirs, door):
            sock.set_inheritable(True)
        engine = isolated.load(IsolatedEngine(), TEXTS, {}, deadline_s=0.3, observer=told)
        await engine.open()
        try:
            assert [sorted(os.listdir(f"/proc/{each.pid}/fd")) for each in processes(engine)] == [["0", "1", "2"]] * 2
        finally:
            await engine.close()


async def test_a_policy_that_eats_memory_ends_its_process_only(engine, told):
    """The system gives it no more than was configured."""
    assert await answer(engine, eat=True) == "policy_error"
    await told.hears("ended")
    assert await answer(engine, other=1) == "allowed"


async def test_a_process_that_breaks_off_denies_what_it_was_asked(engine, told):
    """A crash of the interpreter is no answer."""
    asked = asyncio.create_task(answer(engine, hang=True))
    await asyncio.sleep(0.05)
    (busy,) = (each for each in processes(engine) if each not in engine._helpers._idle)
    os.kill(busy.pid, signal.SIGSEGV)
    assert await asked == "policy_error"
    await told.hears("ended")
    assert await answer(engine, other=1) == "allowed"


async def test_what_a_process_says_unasked_ends_it(engine, told):
    """One that is not under the policy's control any more might say anything."""
    processes(engine)[0].data_received(b"\x00\x00\x00\x01+")
    await told.hears("broken")
    assert await answer(engine, other=1) == "allowed"


@pytest.mark.parametrize(
    "said", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x00and more", b"\x00\x00\x00\x03+ab", b"\x00\x00\x00\x05?\x00\x00\x00\x00"]
)
async def test_an_answer_of_another_form_is_a_deny(engine, said):
    """Length, kind and number of the answers are looked at before what they say."""
    asked = asyncio.create_task(answer(engine, hang=True))
    await asyncio.sleep(0.05)
    (busy,) = (each for each in processes(engine) if each not in engine._helpers._idle)
    busy.data_received(said)
    assert await asked == "policy_malformed"


async def test_verdicts_are_forgotten_when_a_process_breaks_off(engine, told):
    """Some may be its own; ones that it was only too slow for are kept."""
    assert await answer(engine, echo="kept") == "allowed"
    remembered = engine._memories
    assert await answer(engine, hang=True) == "policy_late"
    await told.hears("late")
    assert engine._memories is remembered
    os.kill(processes(engine)[0].pid, signal.SIGKILL)
    await told.hears("ended")
    assert engine._memories is not remembered


async def test_a_caller_who_goes_away_blocks_nothing(patient, engine, told):
    """The process is looked after until it has answered or is ended."""
    for _ in range(2):
        asked = asyncio.create_task(answer(engine, hang=True))
        await asyncio.sleep(0.02)
        asked.cancel()
    assert await answer(engine, echo="still here") == "allowed"
    await told.hears("late", times=2)


async def test_without_a_process_there_is_a_problem(engine, told):
    """Which `/readyz` shows, until one is there again."""
    assert engine.problem is None
    for each in processes(engine):
        os.kill(each.pid, signal.SIGKILL)
    await told.hears("ended", times=2)
    assert not told.healthy[-1]
    await told.hears("started", times=4)
    assert engine.problem is None
    assert told.healthy[-1]


async def test_a_closed_engine_leaves_no_process_behind(told):
    """Also not where a policy hangs."""
    made = isolated.load(IsolatedEngine(), TEXTS, {}, deadline_s=30, observer=told)
    await made.open()
    asked = asyncio.create_task(answer(made, hang=True))
    await asyncio.sleep(0.02)
    pids = [each.pid for each in processes(made)]
    await made.close()
    assert await asked == "policy_error"
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_process_that_gets_no_cpu_is_waited_for(engine, told):
    """A machine that is busy with others is no fault of the policy's."""
    for each in processes(engine):
        os.kill(each.pid, signal.SIGSTOP)
    asked = asyncio.create_task(answer(engine, echo="slow machine"))
    await asyncio.sleep(0.5)
    for each in processes(engine):
        os.kill(each.pid, signal.SIGCONT)
    assert await asked == "allowed"
    assert told.processes == ["started", "started"]


async def test_a_process_that_never_gets_cpu_is_given_up(engine, told):
    """After several deadlines by the wall."""
    for each in processes(engine):
        os.kill(each.pid, signal.SIGSTOP)
    assert await answer(engine, echo="dead machine") == "policy_late"
    await told.hears("late")


async def test_too_little_memory_for_the_policies_is_one_sentence_at_the_start():
    """Nothing is served by an engine that cannot start."""
    data = {"lockgate": {"config": {"names": ["name"] * 5_000_000}}}
    made = isolated.load(IsolatedEngine(memory=64 << 20), TEXTS, data, deadline_s=0.3)
    with pytest.raises(ConfigError, match="did not come up"):
        await made.open()
