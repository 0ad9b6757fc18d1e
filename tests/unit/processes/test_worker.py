"""A worker lets go of every configuration that it does not serve, and of none that somebody still uses."""

from __future__ import annotations

import asyncio
import threading
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from router.errors import LockgateError
from router.processes import worker as module
from router.processes.sockets import most_connections
from router.processes.worker import Worker
from router.rollout.figures import Figures
from router.rollout.rolling import Rolling
from router.rollout.stage import NOBODY, Stage

PATIENCE_S = 30.0


class Part:
    """A configuration that notes when it is closed, and with which others it shares."""

    def __init__(self, name: str, closed: list[tuple[str, str | None]]) -> None:
        self.name = name
        self._closed = closed
        self.runtime = SimpleNamespace()
        self.rolling: Any = None
        self.workspace = SimpleNamespace(digests=SimpleNamespace(config=name))
        self.itself = self  # as a part whose method is one of its values

    async def close(self, keeping: Part | None = None) -> None:
        self._closed.append((self.name, keeping.name if keeping is not None else None))


class Users:
    """A gate whose configurations are idle when the test says so."""

    def __init__(self) -> None:
        self.left: dict[int, asyncio.Event] = {}

    def of(self, runtime: Any) -> asyncio.Event:
        return self.left.setdefault(id(runtime), asyncio.Event())

    async def idle(self, runtime: Any) -> None:
        await self.of(runtime).wait()


async def test_configurations_are_closed_in_the_order_in_which_they_served() -> None:
    """One that is idle waits for those before it: a stream under the first may run over a destination of the second."""
    closed: list[tuple[str, str | None]] = []
    first, second, third = (Part(name, closed) for name in ("first", "second", "third"))
    worker, users = Worker(0, 1), Users()
    worker._doors = SimpleNamespace(gate=users)  # type: ignore[assignment]  # of the doors only the gate is asked
    worker._retire(first, second)  # type: ignore[arg-type]  # parts that note their closing
    worker._retire(second, third)  # type: ignore[arg-type]  # as above
    users.of(second.runtime).set()
    await asyncio.sleep(0.01)
    assert closed == []
    users.of(first.runtime).set()
    assert worker._retiring is not None
    async with asyncio.timeout(PATIENCE_S):
        await worker._retiring
    assert closed == [("first", "second"), ("second", "third")]


async def test_what_was_prepared_in_vain_is_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker could not prepare it: the next preparation closes it, but for what the serving one shares with it."""
    closed: list[tuple[str, str | None]] = []
    worker = Worker(0, 1)
    serving = Part("serving", closed)
    worker._serving = serving  # type: ignore[assignment]  # a part that notes its closing
    worker._services = worker._telemetry = SimpleNamespace()  # type: ignore[assignment]  # passed on unseen

    async def build(workspace: Any, *_: Any) -> Part:
        return Part(workspace, closed)

    monkeypatch.setattr(module, "_parsed", lambda content, _: content.decode())
    monkeypatch.setattr(module, "build", build)
    await worker._prepare([b"one", None, None, None])
    await worker._prepare([b"two", None, None, None])
    assert closed == [("one", "serving")]


@pytest.mark.parametrize("hangs", ["reading", "building"])
async def test_what_was_asked_for_last_is_what_is_prepared(monkeypatch: pytest.MonkeyPatch, hangs: str) -> None:
    """Whoever asked before was refused for waiting in vain, and its policies are not taken up now that they are there; both have one
    digest, where only the policies' plan or a rollout's candidate is another."""
    closed: list[tuple[str, str | None]] = []
    worker, begun, slow, read = Worker(0, 1), asyncio.Event(), asyncio.Event(), threading.Event()
    serving = Part("serving", closed)
    worker._serving = serving  # type: ignore[assignment]  # a part that notes its closing
    worker._services = worker._telemetry = SimpleNamespace()  # type: ignore[assignment]  # passed on unseen
    loop = asyncio.get_running_loop()

    def parsed(content: bytes, _: Any) -> str:
        if content == b"refused" and hangs == "reading":
            loop.call_soon_threadsafe(begun.set)
            read.wait(PATIENCE_S)
        return content.decode()

    async def build(workspace: Any, *_: Any) -> Part:
        if workspace == "refused" and hangs == "building":
            begun.set()
            await slow.wait()
        return Part(workspace, closed)

    monkeypatch.setattr(module, "_parsed", parsed)
    monkeypatch.setattr(module, "build", build)
    before = asyncio.create_task(worker._prepare([b"refused", None, None, None]))
    await begun.wait()
    await worker._prepare([b"wanted", None, None, None])
    slow.set()
    read.set()
    with pytest.raises(LockgateError, match="meanwhile"):
        await before
    assert worker._prepared is not None
    assert worker._prepared.name == "wanted"  # type: ignore[attr-defined]  # a part
    assert closed == ([("refused", "serving")] if hangs == "building" else [])


async def test_what_no_longer_serves_is_let_go_of() -> None:
    """Also what holds itself, which nobody else would look at for hours."""
    worker, users = Worker(0, 1), Users()
    worker._doors = SimpleNamespace(gate=users)  # type: ignore[assignment]  # of the doors only the gate is asked
    first, second = Part("first", []), Part("second", [])
    users.of(first.runtime).set()
    gone = weakref.ref(first)
    worker._retire(first, second)  # type: ignore[arg-type]  # parts that note their closing
    del first
    assert worker._retiring is not None
    async with asyncio.timeout(PATIENCE_S):
        await worker._retiring
    assert gone() is None


async def test_requests_go_on_while_a_configuration_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading ends when the event loop has done something else meanwhile; it would never, if the loop waited for it."""
    worker, served, waited = Worker(0, 1), threading.Event(), list[bool]()
    worker._services = worker._telemetry = SimpleNamespace()  # type: ignore[assignment]  # passed on unseen

    async def build(workspace: Any, *_: Any) -> Part:
        return Part(workspace, [])

    monkeypatch.setattr(module, "parse", lambda *_: waited.append(served.wait(PATIENCE_S)))
    read = SimpleNamespace(root=None, digest=None, secrets=None)
    monkeypatch.setattr(module, "Snapshot", SimpleNamespace(from_bytes=lambda _: read))
    monkeypatch.setattr(module, "build", build)
    preparing = asyncio.create_task(worker._prepare([b"one", None, None, None]))
    await asyncio.sleep(0)
    served.set()
    await preparing
    assert waited == [True]


def test_connections_leave_files_for_others() -> None:
    """A listener never takes all the files that a process may open."""
    assert 0 < most_connections() <= 100_000


def rolling(rollout: str, share: float) -> Rolling:
    """Of a worker's stage, which is all that is asked of it here."""
    nothing: Any = None
    return Rolling(rollout, Stage(share), nothing, Figures(), nothing, nothing)


async def test_a_candidate_that_is_taken_back_decides_no_request_that_began_before() -> None:
    """A slow request keeps the parts that it began with, over any number of reloads."""
    worker = Worker(0, 1)
    former, prepared, serving, other = rolling("a", 0.5), rolling("a", 0.5), rolling("a", 0.5), rolling("b", 0.5)
    worker._rollings.update((former, prepared, serving, other))
    worker._serving = SimpleNamespace(rolling=serving)  # type: ignore[assignment]  # a configuration with a candidate
    await worker._step(["a", NOBODY.to_json()])
    assert [each.stage for each in (former, prepared, serving)] == [NOBODY] * 3
    assert other.stage == Stage(0.5)


async def test_a_candidate_that_is_left_out_decides_no_request_that_began_before() -> None:
    """A changed workspace was taken up without it; and one that goes on is at one stage everywhere."""
    worker = Worker(0, 1)
    former, serving, other = rolling("a", 0.1), rolling("a", 0.5), rolling("b", 0.5)
    worker._rollings.update((former, serving, other))
    worker._step_everywhere(serving)
    assert (former.stage, serving.stage, other.stage) == (Stage(0.5), Stage(0.5), NOBODY)
    worker._step_everywhere(None)
    assert (former.stage, serving.stage) == (NOBODY, NOBODY)


async def test_a_worker_without_the_candidate_does_not_say_that_it_knows_its_stage() -> None:
    """It would be taken for one that does."""
    worker = Worker(0, 1)
    with pytest.raises(LockgateError, match="not under way here") as refused:
        await worker._step(["a", NOBODY.to_json()])
    assert refused.value.code == "not_prepared"


async def test_a_configuration_that_was_not_prepared_does_not_serve() -> None:
    """What serves goes on serving."""
    with pytest.raises(LockgateError) as refused:
        await Worker(0, 1)._activate("d" * 64)
    assert refused.value.code == "not_prepared"


class Candidate:
    """Of a rollout, noting that it was closed."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def close(self) -> None:
        self.closed.set()


async def test_a_candidate_is_closed_though_something_before_it_is_still_used() -> None:
    """One socket that is open for days would otherwise keep the engines of all rollouts of these days."""
    closed: list[tuple[str, str | None]] = []
    first, second, third = (Part(name, closed) for name in ("first", "second", "third"))
    second.rolling = Candidate()
    worker, users = Worker(0, 1), Users()
    worker._doors = SimpleNamespace(gate=users)  # type: ignore[assignment]  # of the doors only the gate is asked
    worker._retire(first, second)  # type: ignore[arg-type]  # parts that note their closing
    worker._retire(second, third)  # type: ignore[arg-type]  # as above
    await asyncio.sleep(0)
    assert not second.rolling.closed.is_set()
    users.of(second.runtime).set()
    async with asyncio.timeout(PATIENCE_S):
        await second.rolling.closed.wait()
    assert closed == []
    users.of(first.runtime).set()
    assert worker._retiring is not None
    await worker._retiring
    assert closed == [("first", "second"), ("second", "third")]
