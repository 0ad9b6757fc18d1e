"""A worker serves or is replaced; there is nothing in between."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from router.errors import ConfigError, UnpreparedError
from router.ipc import RemoteError, connect
from router.processes import messages
from router.processes import supervisor as supervising
from router.processes.supervisor import Assignment, Supervisor, Worker, _within
from router.rollout.stage import NOBODY, Stage

PATIENCE_S = 20.0


async def test_a_worker_that_cannot_take_its_configuration_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alive without a configuration it would count as a worker, serve nobody and never be replaced. Nor does it import anything from the
    folder that Lockgate was started in."""
    (tmp_path / "msgpack.py").write_text("raise SystemExit('imported from the working directory')")
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        supervisor = Supervisor({"gateway": listening}, dict)
        try:
            await supervisor.launch(1)
            with pytest.raises(ConfigError, match="failed"):
                await supervisor.start(Assignment("d" * 64, b"rubbish", None))
            async with asyncio.timeout(PATIENCE_S):
                while supervisor.alive:  # noqa: ASYNC110  # the supervisor tells nobody
                    await asyncio.sleep(0.01)
        finally:
            await supervisor.end()


async def test_a_worker_that_ends_before_there_is_a_configuration_is_replaced() -> None:
    """Training may take minutes; what happens to an idle worker meanwhile must not cost the start."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        supervisor = Supervisor({"gateway": listening}, dict)
        try:
            await supervisor.launch(1)
            (launched,) = supervisor._workers.values()
            launched.process.kill()
            await launched.process.wait()
            with pytest.raises(ConfigError, match="failed"):  # the next one's answer, not that the first is gone
                await supervisor.start(Assignment("d" * 64, b"rubbish", None))
        finally:
            await supervisor.end()


async def test_a_worker_that_does_not_answer_is_not_waited_for() -> None:
    """Others wait for what it was asked."""

    async def silent() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RemoteError) as late:
        await _within(0.01, silent())
    assert late.value.code == "worker_silent"


class Peers:
    """A worker that takes what it is given, and notes the stages of a rollout; `preparing` happens while it prepares."""

    def __init__(self) -> None:
        self.stages: list[Any] = []
        self.heard = asyncio.Event()
        self.preparing: Callable[[], Awaitable[None]] | None = None
        self._prepared: Any = None

    async def call(self, kind: str, payload: Any) -> None:
        if kind == messages.PREPARE:
            self._prepared = payload[3]["stage"]
            if self.preparing is not None:
                await self.preparing()
        elif kind == messages.STEP:
            self.stages.append(payload[1])
            self._prepared = payload[1]
            self.heard.set()
        elif kind == messages.ACTIVATE:
            self.stages.append(self._prepared)


def candidate(share: float) -> Assignment:
    return Assignment("d" * 64, b"", None, None, {"rollout": "r1", "stage": Stage(share).to_json()})


def one_worker() -> tuple[Supervisor, Peers]:
    supervisor, peers = Supervisor({}, dict), Peers()
    supervisor._workers[0] = Worker(0, None, peers)  # type: ignore[arg-type]  # no process is asked
    return supervisor, peers


async def test_a_configuration_that_was_made_before_a_step_does_not_take_it_back() -> None:
    """Making one takes seconds, in which a rollout may be rolled back."""
    supervisor, peers = one_worker()
    await supervisor.change(candidate(0.1))
    made = candidate(0.1)
    await supervisor.step("r1", NOBODY.to_json())
    await supervisor.change(made)
    assert peers.stages[-1] == NOBODY.to_json()
    assert supervisor.current is not None
    assert supervisor.current.candidate == {"rollout": "r1", "stage": NOBODY.to_json()}


async def test_a_step_while_workers_prepare_is_heard_at_once_and_stays() -> None:
    """Preparing may take a minute, and a roll back does not wait for it."""
    supervisor, peers = one_worker()
    await supervisor.change(candidate(0.1))
    stepping: list[asyncio.Task[None]] = []

    async def step() -> None:
        stepping.append(asyncio.create_task(supervisor.step("r1", NOBODY.to_json())))
        async with asyncio.timeout(PATIENCE_S):
            await peers.heard.wait()
        peers._prepared = candidate(0.1).candidate["stage"]  # type: ignore[index]  # as one that is still being built

    peers.preparing = step
    await supervisor.change(candidate(0.1))
    await stepping[0]
    heard = peers.stages.index(NOBODY.to_json())
    assert all(stage == NOBODY.to_json() for stage in peers.stages[heard:])


class Closing(Peers):
    def close(self) -> None: ...


class Running:
    """A process that ends when the test says so."""

    def __init__(self) -> None:
        self.returncode: int | None = None
        self.gone = asyncio.Event()

    async def wait(self) -> int:
        await self.gone.wait()
        self.returncode = 0
        return 0


async def test_workers_that_end_hear_when_none_waits_for_envoy_any_more() -> None:
    """Those that said so are answered when the last one did, or has ended; one that ends by itself at once."""
    supervisor, processes = Supervisor({}, dict), [Running() for _ in range(3)]
    for index, process in enumerate(processes):
        supervisor._workers[index] = Worker(index, process, Closing())  # type: ignore[arg-type]
    await supervisor._envoy_over(0)  # nobody was told to end
    ending = asyncio.create_task(supervisor.end())
    await asyncio.sleep(0)
    over = [asyncio.create_task(supervisor._envoy_over(index)) for index in (0, 1)]
    await asyncio.sleep(0.05)
    assert not any(each.done() for each in over)
    processes[2].gone.set()
    await asyncio.wait_for(asyncio.gather(*over), 30)
    for each in processes:
        each.gone.set()
    await ending


class Noting:
    """A worker's end that notes what it is told, and answers when the test lets it."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.stages: list[Any] = []
        self.gone = self.faulty = False
        self.free = asyncio.Event()
        self.free.set()
        self.preparing: Callable[[], None] | None = None

    async def call(self, kind: str, payload: Any) -> None:
        if self.gone:
            raise RemoteError("the other process is gone")
        self.told.append(kind)
        await self.free.wait()
        if kind == messages.STEP:
            self.stages.append(payload[1])
        if kind == messages.PREPARE:
            if self.faulty:
                raise RemoteError("it does not compile", "config_invalid")
            if self.preparing is not None:
                self.preparing()

    def close(self) -> None: ...


class Ended(Running):
    """A process that is gone already, and takes no signal."""

    def kill(self) -> None:
        raise ProcessLookupError


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[Noting]:
    """The ends of the workers that a supervisor launches, none of which is a process."""
    ends: list[Noting] = []

    async def process(*_: Any, **__: Any) -> Running:
        return Ended()

    async def connected(sock: socket.socket, _: Any) -> Noting:
        sock.close()
        ends.append(Noting())
        return ends[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", process)
    monkeypatch.setattr(supervising, "connect", connected)
    return ends


SERVES = [messages.CERTIFICATES, messages.POLICY_UNTIL, messages.DRAIN, messages.PREPARE, messages.ACTIVATE]
PLAIN = Assignment("d" * 64, b"", None)


async def test_workers_that_ended_by_themselves_say_nothing_of_those_after_them(launched: list[Noting]) -> None:
    """Both had heard all from Envoy, and were replaced: at a stop the new ones still wait for each other."""
    supervisor = Supervisor({}, dict)
    await supervisor.launch(2)
    for index in (0, 1):
        await supervisor._envoy_over(index)
    await supervisor.launch(2)
    supervisor._ending = True
    over = asyncio.create_task(supervisor._envoy_over(0))
    await asyncio.sleep(0.01)
    assert not over.done()
    await supervisor._envoy_over(1)
    await over


async def test_a_change_that_a_starting_worker_is_met_by_tells_it_first_what_holds(launched: list[Noting]) -> None:
    """Until when the policies may be used, and that nothing new is taken up: else it would serve for a while without knowing."""
    supervisor = Supervisor({}, dict)
    await supervisor.launch(2)
    await supervisor.start(PLAIN)
    launched[0].free.clear()
    first = asyncio.create_task(supervisor.change(PLAIN))
    second = asyncio.create_task(supervisor.change(PLAIN))
    await asyncio.sleep(0.01)
    respawning = asyncio.create_task(supervisor._spawn(1))  # behind both
    await asyncio.sleep(0.01)
    launched[0].free.set()
    await asyncio.gather(first, second, respawning)
    assert launched[2].told == SERVES


async def test_a_change_while_no_worker_is_there_waits_for_one_that_can_say(launched: list[Noting]) -> None:
    """A configuration that no worker has prepared is not taken up, or the next could only fail with it, and the one after that."""
    supervisor = Supervisor({}, dict)
    await supervisor.launch(1)
    await supervisor.start(PLAIN)
    launched[0].gone = True
    changing = asyncio.create_task(supervisor.change(Assignment("e" * 64, b"", None)))
    await asyncio.sleep(0.01)
    await supervisor._launched(0)
    launched[1].faulty = True
    with pytest.raises(ConfigError, match="does not compile"):
        await changing
    assert supervisor.current is PLAIN
    launched[1].faulty = False
    await supervisor._assign(supervisor._workers[0])
    assert launched[1].told[-1] == messages.ACTIVATE


async def test_a_change_while_no_worker_comes_is_refused(launched: list[Noting], monkeypatch: pytest.MonkeyPatch) -> None:
    """And is not waited for without end."""
    monkeypatch.setattr(supervising, "PREPARE_S", 0.0)
    supervisor = Supervisor({}, dict)
    await supervisor.launch(1)
    launched[0].gone = True
    with pytest.raises(UnpreparedError, match="No worker was there"):
        await supervisor.change(PLAIN)


@pytest.mark.parametrize(
    ("code", "elsewhere"), [("worker_silent", True), ("state_unavailable", True), ("config_invalid", False), ("internal", False)]
)
async def test_what_keeps_a_worker_from_looking_is_no_fault_of_what_it_looks_at(launched: list[Noting], code: str, elsewhere: bool) -> None:
    """A new bundle would be refused for it, and not asked for again."""
    supervisor = Supervisor({}, dict)
    await supervisor.launch(1)
    await supervisor.start(PLAIN)

    def fails() -> None:
        raise RemoteError("no", code)

    launched[0].preparing = fails
    with pytest.raises(ConfigError) as caught:
        await supervisor.change(PLAIN)
    assert isinstance(caught.value, UnpreparedError) is elsewhere


async def test_a_step_while_a_worker_starts_is_heard_before_it_serves(launched: list[Noting]) -> None:
    """It prepares what was current when it began, by which a candidate that was rolled back would decide."""
    supervisor = Supervisor({}, dict)
    await supervisor.launch(1)
    await supervisor.start(candidate(0.1))
    worker = await supervisor._launched(0)
    launched[1].preparing = lambda: setattr(supervisor, "_stepped", ("r1", NOBODY.to_json()))
    await supervisor._assign(worker)
    assert launched[1].told[-2:] == [messages.STEP, messages.ACTIVATE]
    assert launched[1].stages == [NOBODY.to_json()]


async def test_a_worker_that_starts_has_no_key_to_forget(launched: list[Noting], monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers nothing yet, and while many keys are destroyed none would ever come to serve."""
    monkeypatch.setattr(supervising, "ANSWER_S", 0.01)
    supervisor = Supervisor({}, dict)
    await supervisor.launch(1)
    launched[0].free.clear()
    async with asyncio.timeout(PATIENCE_S):
        await supervisor.forget_key("k1")
    assert launched[0].told == []


async def test_a_worker_that_has_ended_is_told_by_its_fault(launched: list[Noting]) -> None:
    """Not by that of the signal that finds nobody."""
    supervisor = Supervisor({}, dict)
    await supervisor.launch(1)
    launched[0].gone = True
    with pytest.raises(ConfigError, match="gone"):
        await supervisor.start(PLAIN)


async def test_reports_for_a_worker_that_takes_nothing_are_not_kept_without_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They come for as long as the others serve, and the process that keeps them is the ledger's."""
    monkeypatch.setattr(supervising, "MOST_UNHEARD", 1 << 20)
    ours, theirs = socket.socketpair()
    with theirs:
        peer, supervisor = await connect(ours, {}), Supervisor({}, dict)
        supervisor._workers[0] = Worker(0, None, peer)  # type: ignore[arg-type]  # no process is asked
        for _ in range(100):
            await supervisor.envoy_told([b"x" * 100_000])
            await asyncio.sleep(0)
        assert 0 < peer.unsent < 2 << 20
        assert len(peer._waiting) < 50
        assert caplog.text.count("takes nothing any more") == 1
        peer.close()
