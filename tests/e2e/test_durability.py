"""Nothing happens that is not on record, and nothing on record is lost: full disks, killed workers, killed machines."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.load import load
from tests.e2e.processes import until
from tests.e2e.running import Lockgate
from tests.e2e.wire import Answer

START = Callable[..., Lockgate]
TINY_DISK = ("unshare", "--mount", "--map-root-user", "sh", "-c")
ENOUGH = 200


def decisions(lockgate: Lockgate) -> list[str]:
    return [leaf["id"] for leaf in lockgate.leaves() if leaf["schema"] == "lockgate.decision.v1"]


def assert_whole(lockgate: Lockgate) -> None:
    """No gap in the ledger, and a verification without a fault."""
    indexes = lockgate.indexes()
    assert indexes == list(range(len(indexes)))
    verified = lockgate.verify()
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_the_record_is_there_before_the_service_is_asked(lockgate: Lockgate) -> None:
    """At the moment at which a request arrives at the service, the ledger's file already holds its decision; under load as well."""
    with load(lockgate, callers=6) as seen:
        until(lambda: seen.answered > ENOUGH, "there was some load")
    arrivals = lockgate.arrivals()
    assert len(arrivals) > ENOUGH
    assert {each["recorded"] for each in arrivals} == {True}
    assert set(seen.acknowledged) <= set(decisions(lockgate))


def test_without_a_writable_ledger_nothing_is_dispatched(start: START) -> None:
    """When the ledger's file cannot grow, requests are answered 503 and reach nothing; a restart with room goes on where it was."""
    lockgate = start()
    before = lockgate.ask("ann", "GET", "/echo/before")
    lockgate.outcome(before.decision)
    limit_files(lockgate, 0)
    refused = [lockgate.ask("ann", "GET", "/echo/during") for _ in range(3)]
    assert {(each.status, each.fields.get("content-type")) for each in refused} == {(503, "application/problem+json")}
    assert lockgate.arrived("/echo/during") == []
    assert lockgate.ready() is False
    lockgate.process.kill()
    lockgate.start()
    assert lockgate.ask("ann", "GET", "/echo/after").status == 200
    assert before.decision in decisions(lockgate)
    assert_whole(lockgate)


def limit_files(lockgate: Lockgate, size: int) -> None:
    """No file of the process that owns the ledger may grow over `size` bytes; the kernel then fails its writes."""
    hard = resource.prlimit(lockgate.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(lockgate.process.pid, resource.RLIMIT_FSIZE, (size, hard))


def may_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*TINY_DISK, "mount -t tmpfs none /mnt"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(
    "LOCKGATE_NOTHING_MISSING" not in os.environ and not may_mount(),
    reason="a small disk needs a mount namespace of its own; CI must have one",
)
def test_a_full_disk_refuses_until_there_is_room(prepare: START, tmp_path: Path) -> None:
    """On a full disk every request is answered 503 and reaches nothing; once there is room again they pass, and what was refused while
    nothing could be written is in the ledger, which verifies."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size=16m,mode=700 none "{disk}" && cp -a "{tmp_path / "state"}" "{disk}/" && exec "$@"'
    lockgate = prepare(prefix=(*TINY_DISK, script, "sh"))
    lockgate.yard.move(disk / "state")
    lockgate.start()
    with only_seen_by(lockgate, disk) as seen:
        assert lockgate.ask("ann", "GET", "/echo/before").status == 200
        fill(seen / "filler")
        refused = until(lambda: first_refused(lockgate), "the disk was full")
        assert (refused.status, refused.code) == (503, "audit_disk_full")
        lockgate.forget()
        during = [lockgate.ask("ann", "GET", "/echo/during").status for _ in range(20)]
        assert set(during) == {503}
        assert lockgate.arrivals() == []
        (seen / "filler").unlink()
        until(lambda: lockgate.ask("ann", "GET", "/echo/after").status == 200, "there was room again")
        assert lockgate.process.stop() == 0
        lockgate.state = tmp_path / "copy"
        shutil.copytree(seen / "state", lockgate.state)
    assert sum(each.get("audit_disk_full", 0) for each in lockgate.system("refused")) > len(during)
    assert_whole(lockgate)


@contextmanager
def only_seen_by(lockgate: Lockgate, folder: Path) -> Iterator[Path]:
    """A folder in the mount namespace of the process, also after the process has ended."""
    handle = os.open(f"/proc/{lockgate.process.pid}/root{folder}", os.O_PATH | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            return


def first_refused(lockgate: Lockgate) -> Answer | None:
    answer = lockgate.ask("ann", "GET", "/echo/filling")
    return answer if answer.status != 200 else None


def test_a_killed_worker_is_replaced(start: START) -> None:
    """`kill -9` of a worker under load: another one serves soon, every acknowledged request is on record, and the ledger is whole."""
    lockgate = start()
    (worker,) = lockgate.workers()
    with load(lockgate) as seen:
        until(lambda: seen.answered > ENOUGH, "there was some load")
        os.kill(worker, signal.SIGKILL)
        answered = until(lambda: lockgate.workers() not in ([], [worker]) and seen.answered, "another worker had started")
        until(lambda: seen.answered > answered + ENOUGH, "it served")
    assert set(seen.acknowledged) <= set(decisions(lockgate))
    assert {each["recorded"] for each in lockgate.arrivals()} == {True}
    assert_whole(lockgate)


def killed_under_load(lockgate: Lockgate, enough: int) -> None:
    with load(lockgate, callers=8) as seen:
        until(lambda: seen.answered > enough, "there was some load")
        lockgate.process.kill()
    assert lockgate.workers() == []
    lockgate.start()
    assert set(seen.acknowledged) <= set(decisions(lockgate))
    assert lockgate.ask("ann", "GET", "/echo/after").status == 200
    assert_whole(lockgate)


def test_a_killed_machine_loses_nothing_acknowledged(start: START) -> None:
    """`kill -9` of every process at once under load: after a restart all that was acknowledged is on record, and the ledger verifies."""
    killed_under_load(start(), ENOUGH)


@pytest.mark.slow
def test_a_machine_killed_again_and_again_loses_nothing_acknowledged(start: START) -> None:
    """The same ten times over, on the same ledger, with two workers."""
    lockgate = start("--workers", "2")
    for round_ in range(10):
        killed_under_load(lockgate, ENOUGH * (1 + round_ % 3))


def test_workers_end_with_the_process_that_records(start: START) -> None:
    """`kill -9` of the control process alone: workers could record nothing any more, so they accept nothing and end."""
    lockgate = start("--workers", "2")
    assert len(lockgate.workers()) == 2
    lockgate.process.signal(signal.SIGKILL)
    lockgate.process.wait()
    until(lambda: lockgate.workers() == [], "the workers had ended")
    assert not lockgate.accepts()
    assert_whole(lockgate)
