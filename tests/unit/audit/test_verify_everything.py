"""One ledger in which everything has happened that a ledger can say of itself; and each of these records tampered with."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.place import SqlitePlace
from adapters.sqlite.subject_keys import KeyFile
from router.audit.checking.verify import Plan, Report, _check_claims, verify
from router.audit.governance.pruning import Pruning
from router.audit.governance.retention import DAY_NS, Retention, RetentionClass
from router.audit.journal import Checkpointing, Journal
from router.audit.keys.files import ensure_sealing_key, ensure_signing_key
from router.audit.keys.rotation import hand_over, vouched
from router.audit.records.canonical import canonical
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import Checkpoint, NoteSigner, every_note, latest_published, split_note
from router.cli.main import run as lockgate
from router.wiring import recovery
from tests.unit.audit.governed import OFFICER, Clock, running
from tests.unit.audit.ledgers import SIGNER, entries, reader, records_of, rehash, replace_records, run
from tests.unit.audit.samples import DECISION, SUBJECT, numbered
from tests.unit.audit.witnesses import START_S, cosigner, policy_of

DAILY = Retention((RetentionClass("rest", 184 * DAY_NS),))
BEFORE = NoteSigner("ledger.old", Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32))
POLICY = policy_of("all", 1, 2)
_made: list[tuple[Path, NoteSigner]] = []


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A copy of it."""
    if not _made:
        _made.append(await made(Path(tempfile.mkdtemp())))
        atexit.register(shutil.rmtree, _made[0][0])
    return Path(shutil.copytree(_made[0][0], tmp_path / "state"))


def second() -> NoteSigner:
    return _made[0][1]


async def made(folder: Path) -> tuple[Path, NoteSigner]:
    """It begins after a ledger that was restored; decisions of a year ago are pruned but for one on hold; somebody is erased; the key is
    handed over; what either key signed last is witnessed."""
    (folder / "keys").mkdir()
    (folder / "keys" / "sealing.key").write_text("00" * 32)
    (folder / "keys" / "sealing.key").chmod(0o600)
    assert ensure_sealing_key(folder / "keys" / "sealing.key") == bytes(32)
    old = Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(BEFORE, folder / "checkpoints"))
    old.open()
    old.append(entries(6))
    old.close()
    recovery.recover(recovery.Place(folder, folder / "checkpoints"), SIGNER, "restored")
    async with running(folder, Clock(DECISION.decided_ns + 365 * DAY_NS)) as place:
        await place.decide(*range(8))
        await place.decide(8, subject="bo")
        for day in range(14, 365, 14):
            await place.ledger.append(system_entry("refused", DECISION.decided_ns + day * DAY_NS, {"rate_limited": 1}))
        await place.holding.add("decision", numbered(3).id, OFFICER)
        await place.decide(31_000_000, subject="mia")
        await Pruning(place.orders, DAILY).prune(OFFICER)
        await place.erasing.erase("bo", "gdpr_art_17", OFFICER)
        await cosigned(place.ledger, place.journal)
    new = NoteSigner("ledger.test", ensure_signing_key(folder / "keys" / "ledger.key"))
    plan = Checkpointing(new, folder / "checkpoints", 3600, 1000)
    hand_over(SqliteStore(folder / "ledger.sqlite"), plan, vouched(SIGNER, new), "scheduled", 1)
    async with running(folder, Clock(DECISION.decided_ns + 366 * DAY_NS), signer=new) as place:
        await place.decide(31_000_100)
        await place.erasing.erase("mia", "gdpr_art_17", OFFICER)
        await cosigned(place.ledger, place.journal)
    return folder, new


async def cosigned(ledger: Any, journal: Journal) -> None:
    await ledger.call(Journal.sign_checkpoint)
    note = latest_published(journal._plan.directory or Path()) or ""
    lines = "".join(cosigner(number).cosign(split_note(note)[0], START_S + number) for number in (1, 2))
    await ledger.keep_cosigned(note + lines, witnessed=True)


def checked(folder: Path, **named: Any) -> Report:
    keys = partial(SqlitePlace(folder).kept_keys, lambda: bytes(32))
    plan = {"verifier": SIGNER.verifier, "open_keys": keys, "policy": POLICY, "beside": lambda: every_note(folder / "checkpoints")}
    return verify(Plan(partial(reader, folder), processes=1, **{**plan, **named}))


@pytest.mark.parametrize("personal", [True, False], ids=["personal", "sealed"])
@pytest.mark.parametrize("policy", [True, False], ids=["policy", "no policy"])
@pytest.mark.parametrize("key", ["first", "second", "none"])
def test_everything_in_one_ledger_verifies(folder: Path, personal: bool, policy: bool, key: str) -> None:
    """However much of it is looked at, and whichever of its keys is trusted."""
    named: dict[str, Any] = {"verifier": {"first": SIGNER.verifier, "second": second().verifier, "none": None}[key]}
    named |= {} if personal else {"open_keys": None}
    named |= {} if policy else {"policy": None}
    report = checked(folder, **named)
    assert report.faults == []
    assert report.predecessor is not None
    assert (report.predecessor.origin, report.predecessor.size) == ("ledger.old", 6)
    assert (report.pruned, len(report.rotations)) == (16, 1)
    assert bool(report.witnessed) is policy
    assert (report.erased > 0) is personal


def test_the_command_says_all_of_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was pruned, erased, handed over and witnessed, and after what it begins."""
    policy = folder / "witnesses.policy"
    lines = [f"witness w{number} {cosigner(number).verifier}\n" for number in (1, 2)]
    policy.write_text("".join([*lines, "group both all w1 w2\n", "quorum both\n"]))
    for more in ((), ("--personal",), ("--policy", str(policy)), ("--key", SIGNER.verifier, "--personal", "--policy", str(policy))):
        assert lockgate(["audit", "verify", "--state", str(folder), *more]) in (0, None)
        said = " ".join(capsys.readouterr().out.split())
        for part in ("16 personal parts pruned", "begins after ledger.old of 6 records", second().verifier, SIGNER.verifier):
            assert part in said, (more, part)
        assert ("erased" in said) is ("--personal" in more)
        assert ("witnessed: the first" in said) is ("--policy" in more)
    lockgate(["audit", "verify", "--state", str(folder), "--json"])
    assert json.loads(capsys.readouterr().out)["predecessor"]["relation"] == "covered"


def place_of(folder: Path, event: str, nth: int = 0) -> int:
    return [at for at, (leaf, _, _) in enumerate(records_of(folder)) if orjson.loads(leaf).get("event") == event][nth]


EVENTS = ("recovered", "hold_added", "pruned", "erasure_ordered", "subject_erased", "key_rotated")


def changed(folder: Path, event: str) -> None:
    """Another time, in canonical form."""
    records, at = records_of(folder), place_of(folder, event)
    leaf, sealed, key_id = records[at]
    records[at] = canonical({**orjson.loads(leaf), "time": "2020-01-01T00:00:00.000000Z"}), sealed, key_id
    replace_records(folder, records)


def replaced(folder: Path, event: str) -> None:
    """By a record that says nothing."""
    records, at = records_of(folder), place_of(folder, event)
    records[at] = (system_entry("started", 1).leaf, b"", "")
    replace_records(folder, records)


def taken_out(folder: Path, event: str) -> None:
    records = records_of(folder)
    del records[place_of(folder, event)]
    replace_records(folder, records)


def unsealed(folder: Path, event: str) -> None:
    """Who ordered it is removed, or put where nothing was."""
    records, at = records_of(folder), place_of(folder, event)
    leaf, sealed, _ = records[at]
    records[at] = (leaf, b"" if sealed else b"x", "")
    replace_records(folder, records)


@pytest.mark.parametrize("hashes", [False, True], ids=["alone", "with every hash made to agree"])
@pytest.mark.parametrize("tamper", [changed, replaced, taken_out, unsealed])
@pytest.mark.parametrize("event", EVENTS)
def test_each_record_tampered_with_is_found(folder: Path, event: str, tamper: Callable[[Path, str], None], hashes: bool) -> None:
    """Also by who looks at no personal part and has no policy, with either key."""
    tamper(folder, event)
    if hashes:
        rehash(folder)
    for verifier in (SIGNER.verifier, second().verifier):
        assert not checked(folder, open_keys=None, policy=None, verifier=verifier).ok


def sql(statement: str, *parameters: Any) -> Callable[[Path], None]:
    return lambda folder: run(folder, (statement, parameters))


def key_back(folder: Path) -> None:
    """The erased person's key, as from an old copy of the keys."""
    put_back(folder, lambda keys, name: keys._wrapping.encrypt(bytes(12), bytes(32), name))


def key_forged(folder: Path) -> None:
    """The same, by who has not the sealing key."""
    put_back(folder, lambda keys, name: bytes(48))


def put_back(folder: Path, wrapped: Callable[[KeyFile, bytes], bytes]) -> None:
    key_id = orjson.loads(records_of(folder)[place_of(folder, "subject_erased")][0])["details"]["key_id"]
    keys = KeyFile(folder / "keys.sqlite", bytes(32))
    keys.open()
    place = keys._place("bo")
    keys._open.execute("INSERT INTO keys VALUES (?,?,?,1)", (place, key_id, bytes(12) + wrapped(keys, key_id.encode() + place)))
    keys.close()


def key_gone(folder: Path) -> None:
    """Of somebody who was not erased."""
    keys = KeyFile(folder / "keys.sqlite", bytes(32))
    keys.open()
    keys.destroy(keys.find(SUBJECT.id) or "")
    keys.close()


def part_back(folder: Path) -> None:
    """A part that was pruned, of bytes that fit nothing."""
    run(folder, "UPDATE records SET sealed = x'01' WHERE idx = 1")


def part_gone(folder: Path) -> None:
    """One that was on hold."""
    held = next(at for at, (leaf, sealed, _) in enumerate(records_of(folder)) if sealed and numbered(3).id.encode() in leaf)
    run(folder, ("UPDATE records SET sealed = x'' WHERE idx = ?", (held,)))


def old_key_signs(folder: Path) -> None:
    """A checkpoint of all that there is, by the key that has handed over."""
    source = reader(folder)
    size, root = source.last_commit()
    source.close()
    run(folder, ("INSERT OR REPLACE INTO checkpoints VALUES (?,?,1)", (size, SIGNER.sign(Checkpoint("ledger.test", size, root).text()))))


def without_cosignatures(folder: Path) -> None:
    source = reader(folder)
    notes = source.checkpoints()
    source.close()
    for file in (folder / "checkpoints").iterdir():
        if file.is_file():
            file.unlink()
    for note in notes:
        kept = "".join(line for line in note.splitlines(keepends=True) if not line.startswith("— w"))
        run(folder, ("UPDATE checkpoints SET note = ? WHERE note = ?", (kept, note)))


def handed_over_by_the_new_key_alone(folder: Path) -> None:
    """The old key's line is gone from the checkpoint that hands over."""
    size = place_of(folder, "key_rotated") + 1
    source = reader(folder)
    (note,) = [each for each in source.checkpoints() if f"\n{size}\n" in each.partition("\n\n")[0] + "\n"]
    source.close()
    text, lines = note.split("\n\n")
    (folder / "checkpoints" / f"{size:016d}.checkpoint").unlink()
    run(folder, ("UPDATE checkpoints SET note = ? WHERE note = ?", (f"{text}\n\n{lines.splitlines()[1]}\n", note)))


def key_id_without_a_part(folder: Path) -> None:
    """A record about nobody turns up among somebody's."""
    run(folder, ("UPDATE records SET key_id = 'somebody' WHERE idx = ?", (place_of(folder, "refused"),)))


TAMPERINGS = {
    key_id_without_a_part: "sealed_altered",
    key_back: "erased_present",
    key_forged: "erased_present",
    key_gone: "key_missing",
    part_back: "sealed_altered",
    part_gone: "sealed_missing",
    old_key_signs: "key_not_in_force",
    without_cosignatures: "not_witnessed",
    handed_over_by_the_new_key_alone: "key_not_in_force",
    sql("DELETE FROM checkpoints"): "sealed_missing",
}


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=[getattr(each, "__name__", "sql") for each in TAMPERINGS])
def test_what_lies_beside_the_records_tampered_with_is_found(folder: Path, tamper: Callable[[Path], None]) -> None:
    """Keys, personal parts, checkpoints and cosignatures, each by its finding."""
    tamper(folder)
    kept = tamper in (key_back, key_forged, key_gone, part_back, part_gone, key_id_without_a_part)
    beside = list(every_note(folder / "checkpoints")) if kept else []
    assert TAMPERINGS[tamper] in {fault.kind for fault in checked(folder, beside=lambda: beside).faults}


def test_each_checkpoint_is_looked_at_once() -> None:
    """A year has half a million of them: none may be held against all before it."""

    class Growing(list[int]):
        def __contains__(self, _: object) -> bool:
            pytest.fail("all before it were looked at")

        def __iter__(self) -> Iterator[int]:
            pytest.fail("all before it were looked at")

    report = Report("ledger.test", 3, held_against=Growing())
    claims = [Checkpoint("ledger.test", size, bytes(32)) for size in (0, 1, 1, 3, 0)]
    _check_claims(report, {size: bytes(32) for size in range(4)}, claims, signed=True)
    assert (len(report.held_against), report.faults) == (3, [])
