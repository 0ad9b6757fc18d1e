"""The languages' model in the state: left by the first start, mapped by every worker, and nothing that a start depends on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from router.wiring.prepared_models import VARIABLE
from tests.e2e.running import Lockgate

PREPARE = Callable[..., Lockgate]
GERMAN = "ich habe mein Passwort vergessen und möchte es neu setzen"


def mapping(lockgate: Lockgate, file: Path) -> list[bool]:
    """Of each worker, whether it has that very file in memory."""
    return [f" {file.stat().st_ino} " in Path(f"/proc/{pid}/maps").read_text() for pid in lockgate.workers()]


def judged(lockgate: Lockgate) -> bool:
    """A request whose language could not be found would be refused."""
    return lockgate.ask("ann", "POST", "/echo/7", {"text": GERMAN}).status == 200


def test_workers_share_what_the_first_start_leaves(prepare: PREPARE) -> None:
    """Both map one file, which a start finds again; one that was torn meanwhile is replaced, and requests are judged as ever."""
    lockgate = prepare("--workers", "2")
    lockgate.process.environment = {VARIABLE: ""}
    lockgate.start()
    (file,) = (lockgate.state / "models" / "languages").iterdir()
    written = file.stat()
    assert mapping(lockgate, file) == [True, True]
    assert judged(lockgate)
    lockgate.process.stop()
    lockgate.start()
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert mapping(lockgate, file) == [True, True]
    lockgate.process.stop()
    with file.open("r+b") as content:
        content.truncate(written.st_size // 2)
    lockgate.start()
    assert mapping(lockgate, file) == [True, True]
    assert file.stat().st_size == written.st_size
    assert judged(lockgate)
