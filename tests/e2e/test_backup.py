"""Backups of a node's files while it serves, by the commands of the operations page: lost, restored, recovered, and practised elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from examples.halden.demo.company import free_ports
from router.audit.tree.checkpoint import latest_published, note_checkpoint
from tests.e2e.load import load
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli, company, serve
from tests.e2e.test_reviews import approve, held, shown
from tests.e2e.yard import Yard, merged, save
from tests.e2e.yard import load as configured
from tests.unit.docs.pages import page

DOORS = ("gateway", "decide", "control")
RECORDS = ("reviews.sqlite", "identity.sqlite", "learning.sqlite", "notices.sqlite", "ledger.sqlite")
FOLDERS = ("checkpoints", "policies")
ORIGIN = "yard.example/ledger"


def backed_up(file: Path, copy: Path) -> None:
    """`sqlite3 FILE ".backup COPY"`."""
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def vacuumed(file: Path, copy: Path) -> None:
    """`sqlite3 FILE "VACUUM INTO 'COPY'"`."""
    with closing(sqlite3.connect(file)) as source:
        source.execute("VACUUM INTO ?", (str(copy),))


WAYS: dict[str, Callable[[Path, Path], None]] = {".backup": backed_up, "VACUUM INTO": vacuumed}


@dataclass(frozen=True, slots=True)
class Backup:
    """`records` and `keys` are kept apart. `before` are decisions that were acknowledged before the copy was begun."""

    records: Path
    keys: Path
    before: frozenset[str]


@dataclass(frozen=True, slots=True)
class Served:
    """A node whose files were copied under load, the first time so that bob was erased after the keys and before the ledger.

    `early` is the checkpoint of then, `note` the last one, which covers all; `waiting` and `paid` were held before the backup, `late` after
    it, and `paid` was approved after it."""

    lockgate: Lockgate
    backups: dict[str, Backup]
    early: Path
    note: Path
    key: str
    size: int
    waiting: str
    paid: str
    late: str


def copied(state: Path, to: Path, way: Callable[[Path, Path], None], before: frozenset[str], between: Callable[[], object]) -> Backup:
    """In the order of the page: the keys, then `between` happens, then the rest, the ledger last."""
    records, keys = to / "records", to / "keys"
    for folder in (records, keys):
        folder.mkdir(parents=True)
    way(state / "keys.sqlite", keys / "keys.sqlite")
    shutil.copytree(state / "keys", keys / "keys")
    between()
    for name in FOLDERS:
        if (state / name).exists():
            shutil.copytree(state / name, records / name, ignore=shutil.ignore_patterns("*.draft", ".*.part"))  # gone before one looks
    for name in RECORDS:
        if (state / name).exists():
            way(state / name, records / name)
    return Backup(records, keys, before)


def erase(lockgate: Lockgate) -> None:
    answer = lockgate.control("POST", "/v1/audit/erasures", {"subject": "bob", "authority": "Olga", "reason": "gdpr_art_17"})
    assert answer.status == 200, answer


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("backup")
    with company(folder, audit={"checkpoint": {"every": "200ms", "records": 5}}) as lockgate:
        waiting, paid = held(lockgate, "/pay/1"), held(lockgate, "/pay/2")
        assert lockgate.ask("bob", "GET", "/echo/1").status == 200
        assert lockgate.control("POST", "/v1/audit/holds", {"on": "intent", "target": "pay", "case": "Case 7"}).status == 201
        backups: dict[str, Backup] = {}
        between: Callable[[], object] = partial(erase, lockgate)
        with load(lockgate, callers=2) as seen:
            until(lambda: seen.answered > 20, "there was some load")
            early = kept(lockgate, 20, folder / "early")
            for name, way in WAYS.items():
                backups[name] = copied(lockgate.state, folder / name.strip("."), way, frozenset(seen.acknowledged), between)
                between = bool
        late = held(lockgate, "/pay/3")
        assert approve(lockgate, paid).status == 200
        until(lambda: shown(lockgate, paid)["state"] == "done", "it was sent")
        size = len(lockgate.indexes())
        note = kept(lockgate, size, folder / "note")
        key = re.search(r"public key (\S+)", lockgate.verify().stdout)
        assert key is not None
        yield Served(lockgate, backups, early, note, key[1], size, waiting, paid, late)


def kept(lockgate: Lockgate, size: int, file: Path) -> Path:
    """A checkpoint that covers so many records, copied off the machine."""

    def covering() -> str | None:
        note = lockgate.control("GET", "/v1/audit/checkpoint").json.get("note")
        return note if note and note_checkpoint(note).size >= size else None

    file.write_text(until(covering, "a checkpoint covered all"))
    return file


def put_back(backup: Backup, state: Path) -> None:
    """Into a folder that is not there yet."""
    shutil.copytree(backup.records, state, ignore=shutil.ignore_patterns("index.sqlite*", "readings"))  # of other tests' questions
    shutil.copytree(backup.keys, state, dirs_exist_ok=True)
    state.chmod(0o700)


def decided(state: Path) -> set[str]:
    with closing(sqlite3.connect(state / "ledger.sqlite")) as file:
        leaves = [json.loads(leaf) for (leaf,) in file.execute("SELECT leaf FROM records")]
    return {leaf["id"] for leaf in leaves if leaf["schema"] == "lockgate.decision.v1"}


def origin(yard: Yard, name: str) -> None:
    save(yard.config, merged(configured(yard.config), {"audit": {"origin": name}}))


def command(lockgate: Lockgate, *arguments: str) -> subprocess.CompletedProcess[str]:
    return cli(*arguments, "--config", str(lockgate.yard.config))


def found(*arguments: str) -> list[Any]:
    done = cli("audit", "query", "--json", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def files(state: Path) -> set[str]:
    return {re.sub(r"-(wal|shm)$|\.lock$", "", each.name) for each in state.iterdir()}


def documented() -> set[str]:
    table = page("operations.md").partition("## Files")[2].partition("## Backups")[0]
    return set(re.findall(r"^\| `([^`/]+)", table, re.MULTILINE))


def test_every_file_of_a_node_is_on_the_page(served: Served) -> None:
    """Whatever a node that served has in its state folder is in the table of files, so that nobody misses what to copy."""
    there = files(served.lockgate.state)
    assert there >= {"ledger.sqlite", "keys.sqlite", "keys", "reviews.sqlite", "identity.sqlite", "checkpoints"}
    assert there <= documented()


@pytest.mark.parametrize("way", list(WAYS))
def test_a_copy_that_was_made_under_load_verifies_by_itself(served: Served, way: str) -> None:
    """Without a running Lockgate and without a key file: whole, from a checkpoint of before on, with all that was acknowledged
    before."""
    backup = served.backups[way]
    arguments = ("audit", "verify", "--state", str(backup.records), "--key", served.key, "--json")
    whole = cli(*arguments, "--checkpoint", str(served.early))
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert json.loads(whole.stdout)["records"] < served.size
    assert backup.before
    assert backup.before <= decided(backup.records)


def personal(state: Path, decision: str) -> list[Any]:
    return [each["personal"] for each in found("--personal", "--decision", decision, "--state", str(state))]


def test_the_ledgers_backup_says_nothing_of_persons_without_the_keys(served: Served, tmp_path: Path) -> None:
    """Where it lies alone its sealed parts stay closed; put together with the keys' backup they are opened."""
    backup = served.backups[".backup"]
    alone = cli("audit", "query", "--personal", "--state", str(backup.records))
    assert (alone.returncode, "There are no subject keys" in alone.stderr) == (2, True), alone.stderr
    assert all(b'"ann"' not in (backup.records / name).read_bytes() for name in ("ledger.sqlite", "reviews.sqlite"))
    put_back(backup, tmp_path / "both")
    assert {each["subject"] for each in personal(tmp_path / "both", served.waiting)} == {"ann"}


def elsewhere(lockgate: Lockgate, folder: Path) -> Lockgate:
    """The same workspace on another machine."""
    shutil.copytree(lockgate.yard.folder, folder, ignore=shutil.ignore_patterns("state", "*.log", "early", "note", "backup", "VACUUM INTO"))
    return on_free_ports(replace(lockgate.yard, folder=folder, state=folder / "state"), lockgate.keys)


def on_free_ports(yard: Yard, keys: Mapping[str, str]) -> Lockgate:
    ports = {**yard.ports, **dict(zip(DOORS, free_ports(len(DOORS)), strict=True))}
    doors = {door: {"listen": f"127.0.0.1:{ports[door]}"} for door in DOORS}
    save(yard.config, merged(configured(yard.config), {"state": str(yard.state), **doors}))
    return serve(replace(yard, ports=ports), yard.folder, keys)


def test_a_restored_copy_is_practised_elsewhere_under_another_name(served: Served, tmp_path: Path) -> None:
    """With only another name it does not start; recovered it says that nothing is missing, serves who has a key and has what was held."""
    there = elsewhere(served.lockgate, tmp_path / "practice")
    put_back(served.backups["VACUUM INTO"], there.state)
    origin(there.yard, "yard.example/practice")
    there.process.start()
    try:
        assert there.process.wait() == 2
        assert "is the ledger of yard.example/ledger, not of yard.example/practice" in there.process.said
        recovered = command(there, "audit", "recover", "--checkpoint", str(served.early))
        assert recovered.returncode == 0, recovered.stderr
        assert "are those that the last known checkpoint was signed for" in recovered.stdout
        there = on_free_ports(there.yard, there.keys)  # those of before may be somebody else's by now
        there.start()
        assert there.ask("ann", "GET", "/echo/practised").status == 200
        assert shown(there, served.waiting)["state"] == "pending"
        assert files(there.state) <= documented()
    finally:
        there.process.kill()


def test_a_lost_node_comes_back_from_its_backup(served: Served, tmp_path: Path) -> None:
    """Under its old name it does not start beside its newest checkpoint. Recovered, the new ledger's first record embeds that and says how
    many records are missing; callers keep their keys; what was held is approved and sent once; what was approved after the backup waits
    again, what was held after it is gone; whose key came back is erased still, and legal holds stand; old and new ledger answer and verify,
    personal parts included."""
    node, backup = served.lockgate, served.backups[".backup"]
    node.process.kill()
    node.state.rename(tmp_path / "lost")
    put_back(backup, node.state)
    shutil.copytree(tmp_path / "lost/checkpoints", node.state / "checkpoints", dirs_exist_ok=True)
    node.process.start()
    assert node.process.wait() == 2
    assert "it was cut or is an old copy" in node.process.said
    newest = latest_published(node.state / "checkpoints") or ""
    origin(node.yard, "yard.example/ledger-2")
    size = len(node.indexes())
    recovered = command(node, "audit", "recover", "--checkpoint", str(served.note))
    assert recovered.returncode == 0, recovered.stderr
    signed = note_checkpoint(newest).size
    assert signed >= note_checkpoint(served.note.read_text()).size
    assert f"signed for {signed} records: {signed - size} are missing from it" in recovered.stdout
    assert "Carried over: 1 erasures, 1 legal holds." in recovered.stdout
    assert "1 keys that were erased had come back" in recovered.stdout
    assert f"{signed - size} records ({size}–{signed - 1}) are missing" in recovered.stdout
    node.start()
    first = node.leaves()[0]
    assert (first["event"], first["details"]["predecessor"]["checkpoint"]) == ("recovered", newest)
    states = {
        review: node.control("GET", f"/v1/reviews/{review}").json.get("state") for review in (served.waiting, served.paid, served.late)
    }
    assert states == {served.waiting: "pending", served.paid: "pending", served.late: None}
    assert len(node.arrived("/pay/2")) == 1
    assert approve(node, served.waiting).status == 200
    until(lambda: shown(node, served.waiting)["state"] == "done", "it was sent")
    assert len(node.arrived("/pay/1")) == 1
    assert node.ask("ann", "GET", "/echo/after").status == 200
    (hold,) = node.control("GET", "/v1/audit/holds").json["holds"]
    assert (hold["on"], hold["target"]) == ("intent", "pay")
    again = node.control("POST", "/v1/audit/erasures", {"subject": "bob", "authority": "Olga", "reason": "gdpr_art_17"})
    assert (again.status, again.json["code"]) == (404, "subject_unknown")
    held_back = node.control("POST", "/v1/audit/erasures", {"subject": "ann", "authority": "Olga", "reason": "gdpr_art_17"})
    assert (held_back.status, held_back.json["code"]) == (409, "audit_on_hold")
    assert files(node.state) <= documented()
    assert node.process.stop() == 0
    verified = command(node, "audit", "verify", "--personal")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    (old,) = (node.state / "predecessors").iterdir()
    assert str(old) in recovered.stdout
    assert decided(old) >= backup.before
    assert len(found("--kind", "system", "--result", "subject_erased", "--state", str(old))) == 1
    assert len(found("--kind", "decision", "--state", str(old))) == len(decided(old))
    for name in ("keys.sqlite", "keys"):
        (old / name).symlink_to(Path("../..") / name)
    assert {each["subject"] for each in personal(old, served.waiting)} == {"ann"}
    assert not [each for each in found("--personal", "--state", str(old)) if "bob" in json.dumps(each.get("personal"))]
    verified = cli("audit", "verify", "--personal", "--state", str(old), "--checkpoint", str(served.note), "--json")
    report = json.loads(verified.stdout)
    assert (verified.returncode, report["records"], {fault["kind"] for fault in report["faults"]}) == (1, size, {"records_cut"})
