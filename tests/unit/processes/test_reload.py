"""No change of the workspace is missed, and a workspace that cannot be watched is looked at."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
import watchfiles

from router.config import Config
from router.errors import ConfigError, LockgateError, UnpreparedError
from router.processes import reload
from router.processes.reload import Reloader
from router.workspace import Snapshot

PATIENCE_S = 30.0


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0.01)


class Counting(Reloader):
    """Counts reloads instead of making them; each waits for `going`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "lockgate.yaml", Snapshot(folder, "", {}), None, None, None, None, lambda *_: None, None, None)  # type: ignore[arg-type]  # none is asked
        self.begun = 0
        self.going = asyncio.Event()

    async def reload(self, downloaded: bytes | None = None, *, secrets: bool = True) -> str:
        self.begun += 1
        await self.going.wait()
        return ""

    async def until(self, begun: int) -> None:
        await eventually(lambda: self.begun >= begun)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "lockgate.yaml"
    made.write_text("a")
    monkeypatch.setattr(reload, "watched", lambda _: [made])
    return made


async def ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_change_during_a_reload_is_taken_up_after_it(file: Path) -> None:
    """Training takes seconds, in which people go on editing."""
    reloader = Counting(file.parent)
    watching = asyncio.create_task(reloader.watch())
    try:
        await reloader.until(1)
        await asyncio.to_thread(file.write_text, "b")
        await eventually(reloader._woken.is_set)
        reloader.going.set()
        await reloader.until(2)
    finally:
        await ended(watching)


class Failing(Reloader):
    """Fails with the first of these, then with the next, then no more."""

    def __init__(self, folder: Path, *faults: LockgateError) -> None:
        workspace = SimpleNamespace(digests=SimpleNamespace(config=""))
        super().__init__(folder / "lockgate.yaml", Snapshot(folder, "", {}), workspace, None, None, None, lambda *_: None, None, None)  # type: ignore[arg-type]  # none is asked
        self.faults = list(faults)
        self.begun = 0

    async def _reload(self, downloaded: bytes | None, secrets: bool) -> None:
        self.begun += 1
        self._tried = SimpleNamespace(digest=self._seen())  # type: ignore[assignment]  # of which no more is asked
        if self.faults:
            raise self.faults.pop(0)


async def test_what_nobody_could_look_at_is_looked_at_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that hung, say: the change would have come into force at the next one, or never."""
    monkeypatch.setattr(reload, "LOOK_S", 0.05)
    reloader = Failing(file.parent, UnpreparedError("no worker was there"), UnpreparedError("no worker was there"))
    watching = asyncio.create_task(reloader.watch())
    try:
        await eventually(lambda: reloader.begun == 3)
        assert reloader.problem is None
    finally:
        await ended(watching)


async def test_what_was_refused_is_not_looked_at_again(file: Path) -> None:
    """Until it changes, or somebody asks for it."""
    reloader = Failing(file.parent, ConfigError("a word too many"))
    await reloader._quietly()
    await reloader._quietly()
    assert (reloader.begun, reloader.problem) == (1, "a word too many")
    reloader.wake()
    await reloader._quietly()
    assert (reloader.begun, reloader.problem) == (2, None)


async def test_what_others_change_beside_the_workspace_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace in a folder where others write all the time would be read again and again; one that is put there anew must be."""
    root = tmp_path / "workspace"
    root.mkdir()
    (root / "lockgate.yaml").write_text("a")
    monkeypatch.setattr(reload, "watched", lambda _: [root / "lockgate.yaml", root])
    reloader = Counting(root)
    reloader.going.set()
    watching = asyncio.create_task(reloader.watch())
    try:
        await reloader.until(1)
        beside = asyncio.Event()
        matters = reloader._matters

        def noted(path: Path) -> bool:
            if path.name == "others":
                beside.set()
            return matters(path)

        monkeypatch.setattr(reloader, "_matters", noted)
        await asyncio.to_thread((tmp_path / "others").write_text, "b")
        await asyncio.wait_for(beside.wait(), PATIENCE_S)
        assert reloader.begun == 1
        assert not reloader._woken.is_set()
        await asyncio.to_thread(root.rename, tmp_path / "former")
        await reloader.until(2)
    finally:
        await ended(watching)


async def test_files_outside_of_the_workspace_may_appear_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of policies that is put there anew, for one."""
    root = tmp_path / "workspace"
    monkeypatch.setattr(reload, "watched", lambda _: [root / "lockgate.yaml", root / ".." / "policies" / "a.rego"])
    assert Counting(root)._matters(tmp_path / "policies")


async def test_a_workspace_that_cannot_be_watched_is_looked_at(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Now and then, and not in a loop without a pause."""

    def refused(*_: Any, **__: Any) -> None:
        raise OSError("inotify watch limit reached")

    monkeypatch.setattr(watchfiles, "awatch", refused)
    monkeypatch.setattr(reload, "LOOK_S", 0.05)
    reloader = Counting(file.parent)
    reloader.going.set()
    watching = asyncio.create_task(reloader.watch())
    try:
        await reloader.until(3)
        assert caplog.text.count("watch limit reached") == 1
    finally:
        await ended(watching)


async def test_records_are_taken_in_while_the_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading ends when the event loop has done something else meanwhile; it would never, if the loop waited for it."""
    taken_in, waited = threading.Event(), list[bool]()

    def read(*_: Any) -> None:
        waited.append(taken_in.wait(PATIENCE_S))
        raise ConfigError("The files are as they were.")

    monkeypatch.setattr(reload, "read", read)
    workspace, in_force = SimpleNamespace(config=Config(version=1)), SimpleNamespace(settle=AsyncMock())
    parts: Any = (workspace, None, None, None, lambda *_: None, None, in_force)  # none but these two is asked
    reloader = Reloader(tmp_path, Snapshot(tmp_path, "", {}), *parts)
    reloading = asyncio.create_task(reloader.reload())
    await asyncio.sleep(0)
    taken_in.set()
    with pytest.raises(ConfigError, match="as they were"):
        await reloading
    assert waited == [True]


def test_the_previous_ledger_key_may_be_taken_out_while_it_serves() -> None:
    """It was used when the ledger was opened; any other change of the ledger's settings needs a restart."""
    handing = Config(version=1, audit={"previous_key": {"file": "old.key"}})
    reload.refuse_what_needs_a_restart(handing, Config(version=1))
    with pytest.raises(ConfigError, match="A change of audit needs a restart"):
        reload.refuse_what_needs_a_restart(handing, Config(version=1, audit={"key": {"file": "new.key"}}))


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (None, {}, "events.listen"),
        ({}, None, "events.listen"),
        ({}, {"listen": "127.0.0.1:18084"}, "events.listen"),
        ({}, {"listen": None}, "events.listen"),
        ({}, {"tls": {"certificate": "tls.crt", "key": "tls.key"}}, "events.tls"),
    ],
)
def test_the_listener_for_events_is_changed_by_a_restart(before: dict[str, Any] | None, after: dict[str, Any] | None, named: str) -> None:
    """Nothing would listen where the configuration that is live says so."""
    one, other = (Config(version=1, events=None if given is None else consumed(given)) for given in (before, after))
    with pytest.raises(ConfigError, match=f"A change of {named} needs a restart"):
        reload.refuse_what_needs_a_restart(one, other)


def test_what_else_is_said_of_events_is_taken_up_while_it_serves() -> None:
    """Sources, limits, and events of brokers alone, which need no listener."""
    brokers = consumed({"listen": None})
    for before, after in ((None, brokers), (brokers, None), (consumed({}), consumed({"most_pending": 5}))):
        reload.refuse_what_needs_a_restart(Config(version=1, events=before), Config(version=1, events=after))


def consumed(given: dict[str, Any]) -> dict[str, Any]:
    source = {"consume": {"adapter": "kafka", "servers": ["127.0.0.1:9092"], "topics": ["crm"], "group": "lockgate"}}
    return {"sources": {"crm": {**source, "speaks_for": {"subject": "crm"}}}, **given}
