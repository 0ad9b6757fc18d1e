from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from router.audit.keys.files import ensure_signing_key
from router.cli.main import run
from router.errors import AuditError
from router.processes.evidence import open_evidence
from router.system import SystemClock
from router.workspace import parse, read
from tests.unit.audit.ledgers import reader

OLD, NEW = "state/keys/ledger.key", "state/keys/next.key"
Lockgate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A starter workspace whose ledger has run, and signed, with its first key."""
    made = tmp_path / "gate"
    assert run(["init", str(made)]) == 0
    started(made)
    capsys.readouterr()
    return made


@pytest.fixture
def lockgate(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Lockgate]:
    monkeypatch.setenv("COLUMNS", "400")

    def call(*arguments: str) -> tuple[int, str, str]:
        status = run(["audit", *arguments, "--config", str(folder / "lockgate.yaml")])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def started(folder: Path) -> None:
    """As `serve` opens the ledger, records something, and closes it."""

    async def once() -> None:
        evidence = await open_evidence(parse(read(folder, {}), {}), SystemClock())
        await evidence.system("started", {})
        await evidence.close()

    asyncio.run(once())


def configure(folder: Path, **keys: dict[str, str]) -> None:
    file = folder / "lockgate.yaml"
    kept = [line for line in file.read_text().splitlines() if not line.startswith(("  key:", "  previous_key:"))]
    place = kept.index("audit:") + 1
    kept[place:place] = [f"  {name}: {json.dumps(reference)}" for name, reference in keys.items()]
    file.write_text("\n".join(kept) + "\n")


def events(folder: Path) -> list[str]:
    found = reader(folder / "state")
    try:
        return [json.loads(stored.leaf)["event"] for stored in found.records(0, found.size())]
    finally:
        found.close()


def test_a_stopped_ledger_is_handed_over(folder: Path, lockgate: Lockgate) -> None:
    """The new key is made, the record has the reason, and the next start goes on with the new key, the old one being gone."""
    _, before, _ = lockgate("verify", "--json")
    old = json.loads(before)["public_key"]
    configure(folder, key={"file": NEW}, previous_key={"file": OLD})
    status, said, _ = lockgate("rotate-key", "--reason", "chg-4711")
    assert status == 0
    assert "The ledger is handed over. Record 1 says so, and the checkpoint of 2 records is it." in said
    (folder / OLD).unlink()
    started(folder)
    assert events(folder) == ["started", "key_rotated", "started"]
    _, after, _ = lockgate("verify", "--json")
    new = json.loads(after)["public_key"]
    assert new != old
    assert new in said
    for key in (old, new):
        status, found, _ = lockgate("verify", "--json", "--key", key)
        assert status == 0
        assert [(term["after"], term["until"]) for term in json.loads(found)["keys"]] == [(0, 1), (1, None)]


def test_a_start_hands_over_by_itself_and_only_once(folder: Path) -> None:
    """Where both keys are configured; the third start no longer looks at the old one."""
    configure(folder, key={"file": NEW}, previous_key={"file": OLD})
    started(folder)
    (folder / OLD).unlink()
    started(folder)
    assert events(folder) == ["started", "key_rotated", "started", "started"]


def test_a_start_with_another_key_is_refused(folder: Path, lockgate: Lockgate) -> None:
    """Whoever exchanged it: one sentence says what to do, and nothing is recorded."""
    configure(folder, key={"file": NEW})
    with pytest.raises(AuditError, match=r"set `audit\.previous_key`") as refused:
        started(folder)
    assert refused.value.code == "audit_key_changed"
    status, _, said = lockgate("rotate-key")
    assert status == 2
    assert "Set `audit.previous_key` to the key that signed until now" in said
    assert events(folder) == ["started"]


def test_a_hand_over_by_anything_but_the_key_in_force_is_refused(folder: Path, lockgate: Lockgate) -> None:
    """A key that is in force already, one that never signed, and one that is gone; nothing is recorded."""
    configure(folder, key={"file": OLD}, previous_key={"file": "state/keys/none.key"})
    assert lockgate("rotate-key")[1].startswith("This key is in force already; nothing was done.")
    ensure_signing_key(folder / "state/keys/third.key")
    for previous, why in (("third.key", "The last checkpoint of"), ("none.key", "none.key cannot be read: No such file")):
        configure(folder, key={"file": NEW}, previous_key={"file": f"state/keys/{previous}"})
        status, _, said = lockgate("rotate-key")
        assert (status, why in said) == (2, True)
    assert events(folder) == ["started"]


def test_a_lost_key_is_a_named_act(folder: Path, lockgate: Lockgate) -> None:
    """The record says that nobody vouches; `verify` with the old key only finds that, with the new one says it."""
    old = json.loads(lockgate("verify", "--json")[1])["public_key"]
    (folder / OLD).unlink()
    configure(folder, key={"file": NEW})
    status, _, said = lockgate("rotate-key", "--old-key", old)
    assert status == 2
    assert "only for --old-key-lost" in said
    status, said, _ = lockgate("rotate-key", "--old-key-lost", "--old-key", old, "--json")
    assert (status, json.loads(said)["record"]) == (0, 1)
    started(folder)
    status, said, _ = lockgate("verify", "--key", old)
    assert status == 1
    assert "key_not_vouched" in said
    assert lockgate("verify", "--key", old, "--key", json.loads(lockgate("verify", "--json")[1])["public_key"])[0] == 0
    status, said, _ = lockgate("verify")
    assert status == 0
    assert "no key vouches: record 1 says that the one before it was lost" in said


def test_a_running_ledger_is_not_handed_over(folder: Path, lockgate: Lockgate) -> None:
    """Its lock holds, and the sentence says so."""

    async def meanwhile() -> tuple[int, str, str]:
        evidence = await open_evidence(parse(read(folder, {}), {}), SystemClock())
        configure(folder, key={"file": NEW}, previous_key={"file": OLD})
        answer = await asyncio.to_thread(lockgate, "rotate-key")
        await evidence.close()
        return answer

    status, _, said = asyncio.run(meanwhile())
    assert status == 2
    assert "already open in another process" in said
