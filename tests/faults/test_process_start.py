"""Starting on damaged, missing or foreign state: one sentence and an exit status, never a start on evidence that is not whole."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from examples.halden.demo.company import free_ports
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, company, make_keys, serve
from tests.e2e.yard import NAMES, Settings, Yard, load, save

MAKE = Callable[..., Lockgate]
MISTAKE = 2


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MAKE]:
    """Not started yet, and without the service behind it: nobody asks for anything."""
    with ExitStack() as stack:

        def made(**changes: Settings) -> Lockgate:
            yard = Yard(tmp_path, tmp_path / "state", dict(zip(NAMES, free_ports(len(NAMES)), strict=True)))
            yard.write(**changes)
            lockgate = serve(yard, tmp_path, make_keys(yard.state), anew=True)
            stack.callback(lockgate.process.kill)
            return lockgate

        yield made


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of one that has served, and has stopped in order."""
    with company(tmp_path_factory.mktemp("history")) as lockgate:
        assert [lockgate.ask("ann", "GET", "/echo/x").status for _ in range(5)] == [200] * 5
        assert lockgate.process.stop() == 0
        return lockgate.state


@pytest.fixture
def used(make: MAKE, history: Path) -> Lockgate:
    """One that is about to go on with a copy of that state."""
    lockgate = make()
    shutil.rmtree(lockgate.state)
    shutil.copytree(history, lockgate.state)
    return lockgate


def refusal(lockgate: Lockgate) -> str:
    """What it says when it does not start: a few words, no stack trace, and no process left."""
    lockgate.process.start()
    status = lockgate.process.wait()
    said = lockgate.process.said
    assert status == MISTAKE, said
    assert "Traceback" not in said
    assert lockgate.workers() == []
    return said


def assert_failed(lockgate: Lockgate) -> None:
    """Its end is on record, and that nobody asked for it: whoever reads the ledger does not take it for a crash."""
    assert [(leaf["event"], leaf["details"].get("failed")) for leaf in lockgate.leaves()] == [
        ("started", None),
        ("stopped", "config_invalid"),
    ]


def test_an_address_in_use_is_told(make: MAKE) -> None:
    """A port that somebody else has is named."""
    lockgate = make()
    with socket.socket() as other:
        other.bind(("127.0.0.1", lockgate.gateway))
        other.listen()
        assert f"cannot listen on 127.0.0.1:{lockgate.gateway} (gateway.listen): address already in use" in refusal(lockgate)
    assert_failed(lockgate)


@pytest.mark.parametrize("setting", ["control.listen", "control.probes", "audit.tiles.listen"])
def test_an_address_of_the_control_process_in_use_is_told_before_anything_is_served(make: MAKE, setting: str) -> None:
    """Otherwise the gateway would decide requests for a moment, at each try, beside a control API that is somebody else's."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        where = f"127.0.0.1:{other.getsockname()[1]}"
        lockgate = make(**{"audit" if "tiles" in setting else "control": _at(setting, where)})
        assert f"cannot listen on {where} ({setting}): address already in use" in refusal(lockgate)
    assert_failed(lockgate)
    assert not (lockgate.state / "reviews.sqlite").exists()  # which is opened before any worker begins


def _at(setting: str, where: str) -> Settings:
    _, *between, last = setting.split(".")
    return {between[0]: {last: where, "public": True}} if between else {last: where}


def test_a_faulty_workspace_is_told_with_its_line(make: MAKE) -> None:
    """A configuration that cannot be used is refused as `lockgate check` would."""
    lockgate = make()
    save(lockgate.yard.config, load(lockgate.yard.config) | {"surprise": 1})
    assert "lockgate.yaml:" in refusal(lockgate)


def test_a_state_that_is_a_file_is_told(make: MAKE) -> None:
    """Such as a volume that was mounted as a file."""
    lockgate = make()
    wrong = lockgate.yard.folder / "wrong"
    wrong.write_text("")
    lockgate.yard.move(wrong)
    assert f"The folder of 'state', {wrong}, cannot be made: {wrong}: File exists." in refusal(lockgate)


def test_a_policy_that_does_not_compile_is_told(make: MAKE) -> None:
    """Rego with a fault is refused at the start, by file."""
    lockgate = make()
    (lockgate.yard.folder / "policies/lockgate/decision.rego").write_text("package lockgate.decision\n\nresult := {")
    assert "decision.rego" in refusal(lockgate)


def test_records_that_were_cut_off_are_noticed(used: Lockgate) -> None:
    """A ledger that is shorter than its checkpoint is not continued."""
    with closing(sqlite3.connect(used.yard.ledger)) as connection, connection:
        size = connection.execute("SELECT max(idx) + 1 FROM records").fetchone()[0]
        for table, column in (("records", "idx"), ("leaf_hashes", "idx"), ("commits", "size"), ("checkpoints", "size")):
            connection.execute(f"DELETE FROM {table} WHERE {column} > ?", (size - 6,))
    assert "ledger" in refusal(used).lower()


def test_a_record_that_was_changed_is_found_by_verification(used: Lockgate) -> None:
    """An edit inside the ledger is named by `audit verify`, by its record."""
    with closing(sqlite3.connect(used.yard.ledger)) as connection, connection:
        connection.execute("UPDATE records SET leaf = replace(leaf, 'routed', 'denied') WHERE idx = 3")
        connection.execute("UPDATE records SET leaf = CAST(replace(CAST(leaf AS TEXT), '\"GET\"', '\"PUT\"') AS BLOB) WHERE idx = 3")
    verified = used.verify()
    assert verified.returncode == 1
    assert "3" in verified.stdout + verified.stderr


def test_a_ledger_of_another_origin_is_not_continued(used: Lockgate) -> None:
    """A ledger belongs to the name on its checkpoints."""
    config = load(used.yard.config)
    config["audit"]["origin"] = "other.example/ledger"
    save(used.yard.config, config)
    assert "yard.example/ledger" in refusal(used)


def test_a_broken_ledger_file_is_told(used: Lockgate) -> None:
    """A file that is no database is refused."""
    used.yard.ledger.write_bytes(b"this is no database" * 1000)
    for beside in used.state.glob("ledger.sqlite-*"):
        beside.unlink()
    assert "ledger.sqlite" in refusal(used)


@pytest.mark.parametrize("name", ["keys/ledger.key", "keys/sealing.key"])
def test_a_damaged_key_is_told(used: Lockgate, name: str) -> None:
    """Without the key that signs or seals nothing starts."""
    (used.state / name).write_bytes(b"not a key")
    assert Path(name).name in refusal(used)


def test_a_lost_sealing_key_is_not_silently_replaced(used: Lockgate) -> None:
    """Subjects' keys are wrapped by it: a new one would make a ledger whose personal data nobody can open."""
    (used.state / "keys/sealing.key").unlink()
    assert "seal" in refusal(used).lower()


def test_a_broken_key_store_is_told(used: Lockgate) -> None:
    """API keys that cannot be read let nobody in; it does not start."""
    (used.state / "identity.sqlite").write_bytes(b"this is no database" * 1000)
    for beside in used.state.glob("identity.sqlite-*"):
        beside.unlink()
    assert "key store" in refusal(used)


def test_sigterm_during_the_start_ends_it(make: MAKE) -> None:
    """Told to end while it starts, it ends, and leaves nothing behind."""
    lockgate = make()
    lockgate.process.start()
    until(lambda: lockgate.yard.ledger.exists(), "it had begun")
    lockgate.process.signal(signal.SIGTERM)
    assert lockgate.process.wait() in (0, -signal.SIGTERM)
    until(lambda: lockgate.workers() == [], "its workers had ended")


def test_a_hang_up_during_the_start_does_not_end_it(make: MAKE) -> None:
    """Whoever rotates certificates reloads services whether they serve already or not, and a start that SIGHUP ends looks like a crash."""
    lockgate = make()
    lockgate.process.start()
    until(lambda: bool(lockgate.workers()), "it had begun")
    lockgate.process.signal(signal.SIGHUP)
    until(lambda: lockgate.yard.ledger.exists(), "it went on")
    lockgate.process.signal(signal.SIGHUP)
    until(lambda: _listens(lockgate.ports["control"]), "it serves")
    for worker in lockgate.workers():
        assert _ignores(worker, signal.SIGHUP), "what a terminal sends to the whole group would end it"
    assert lockgate.process.stop() == 0
    assert (lockgate.leaves()[0]["event"], lockgate.leaves()[-1]["event"]) == ("started", "stopped")


def _ignores(pid: int, number: int) -> bool:
    (mask,) = [line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn:")]
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_sigterm_while_it_loads_is_not_lost(make: MAKE) -> None:
    """In a container the first process does not get a signal that it has no handler for: it would start, and serve until it is killed."""
    lockgate = make()
    lockgate.process.start()
    until(lambda: bool(lockgate.workers()), "its first worker loads while it does")
    lockgate.process.signal(signal.SIGTERM)
    assert lockgate.process.wait() == 0
    assert lockgate.workers() == []


def test_ctrl_c_in_the_terminal_drains(used: Lockgate) -> None:
    """SIGINT reaches the whole group, workers included: it still drains and says that it stopped."""
    used.start()
    os.killpg(used.process.pid, signal.SIGINT)
    assert used.process.wait() == 0
    assert used.leaves()[-1]["event"] == "stopped"


def test_a_worker_that_hangs_before_it_serves_does_not_keep_a_start_from_ending(make: MAKE) -> None:
    """It has nothing to finish, and whoever stops a start does not wait for the minutes that a worker may take for its configuration."""
    lockgate = make()
    lockgate.process.start()
    until(lambda: bool(lockgate.workers()), "there was a worker")
    os.kill(lockgate.workers()[0], signal.SIGSTOP)
    until(lambda: _listens(lockgate.gateway), "it waited for the worker")
    lockgate.process.signal(signal.SIGTERM)
    assert lockgate.process.wait(60) == 0
    assert [(leaf["event"], leaf["details"].get("failed")) for leaf in lockgate.leaves()] == [("started", None), ("stopped", None)]
    assert lockgate.workers() == []


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0
