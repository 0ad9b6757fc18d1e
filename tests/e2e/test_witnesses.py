"""A ledger and its witnesses, all of them real processes: what is confirmed, what is found, and what happens when they are not there."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from examples.halden.demo.company import free_ports
from router.audit.keys.files import ensure_signing_key
from router.audit.tree.checkpoint import NoteSigner, note_checkpoint
from router.audit.witnesses.policy import Witnessed, parse_policy
from tests.e2e import load
from tests.e2e import yard as yards
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli
from tests.e2e.yard import Settings
from tests.faults.witness_processes import RunningWitness, witness
from tests.unit.audit.witnesses import Log, cosigner

ORIGIN = "yard.example/ledger"
OTHER = Log().signer.verifier
PREPARE = Callable[..., Lockgate]


@dataclass(slots=True)
class Watched:
    """A Lockgate that is not started yet, and two witnesses that serve."""

    lockgate: Lockgate
    witnesses: list[RunningWitness]
    policy: Path

    def write_policy(self, quorum: str) -> None:
        lines = [each.line.replace(f" w{at}.example ", f" w{at} ", 1) for at, each in enumerate(self.witnesses, 1)]
        self.policy.write_text("\n".join([*lines, f"group both {quorum} w1 w2", "quorum both"]) + "\n")

    def latest(self) -> str | None:
        file = self.lockgate.state / "checkpoints" / "latest.witnessed"
        return file.read_text() if file.exists() else None

    def witnessed(self) -> Witnessed | None:
        """What the policy says about the note that was published as witnessed."""
        note, policy = self.latest(), parse_policy(self.policy.read_bytes(), "policy")
        return None if note is None else policy.witnessed(policy.cosignatures(note))

    def covers(self, size: int) -> bool:
        note = self.latest()
        return note is not None and note_checkpoint(note).size >= size

    def refused(self) -> str:
        """What a start said that ended with status 2."""
        self.lockgate.process.log.write_bytes(b"")
        self.lockgate.process.start()
        assert self.lockgate.process.wait() == 2, self.lockgate.process.said
        return self.lockgate.process.said


@pytest.fixture
def watched(tmp_path: Path, prepare: PREPARE) -> Iterator[Callable[..., Watched]]:
    with ExitStack() as stack:

        def make(quorum: str, **settings: Settings) -> Watched:
            audit = {"origin": ORIGIN, "checkpoint": {"every": "1s", "records": 200}}
            witnesses = {"policy": "witnesses.policy", "timeout": "2s", **settings}
            lockgate = prepare(audit={**audit, "witnesses": witnesses})
            key = NoteSigner(ORIGIN, ensure_signing_key(lockgate.state / "keys" / "ledger.key")).verifier
            running = [
                stack.enter_context(witness(tmp_path / f"w{at}", f"w{at}.example", port, [key])) for at, port in enumerate(free_ports(2), 1)
            ]
            for each in running:
                each.start()
            made = Watched(lockgate, running, tmp_path / "witnesses.policy")
            made.write_policy(quorum)
            return made

        yield make


@pytest.mark.slow
def test_two_of_two_witnesses_confirm_what_is_recorded(watched: Callable[..., Watched]) -> None:
    """A request's record comes under a checkpoint that both cosigned, in the directory and in the ledger; figures and the verification say
    so; the ledger is whole."""
    yard = watched("all")
    yard.lockgate.start()
    assert [each["cosigned"] for each in yard.lockgate.system("witnessed")] == [["w1", "w2"]]
    yard.lockgate.ask("ann", "GET", "/echo/hello")
    size = len(yard.lockgate.leaves())
    until(lambda: yard.covers(size), "the record was witnessed")
    found = yard.witnessed()
    assert found is not None
    assert found.names == ("w1", "w2")
    assert yard.latest() in stored(yard.lockgate)
    told = yard.lockgate.control("GET", "/v1/audit/checkpoint").json["witnessed"]
    assert told["note"].startswith(ORIGIN)
    assert told["size"] >= size
    metrics = yard.lockgate.control("GET", "/metrics").body.decode()
    assert f"lockgate_audit_witnessed_records {float(note_checkpoint(yard.latest() or '').size)}" in metrics
    verified = verify(yard, "--policy", str(yard.policy))
    assert verified["ok"]
    assert verified["witnessed"]["records"] >= size


@pytest.mark.slow
def test_without_one_of_two_the_ledger_goes_on_and_nothing_is_confirmed(watched: Callable[..., Watched]) -> None:
    """A witness is killed: requests are answered as before, its reason is in the figures, what was witnessed stays behind; when it is
    back, the newest checkpoint is confirmed."""
    yard = watched("all")
    yard.lockgate.start()
    second = yard.witnesses[1]
    until(lambda: yard.covers(1), "the beginning was witnessed")
    second.process.kill()
    before = len(yard.lockgate.leaves())
    assert [yard.lockgate.ask("ann", "GET", "/echo/on").status for _ in range(20)] == [200] * 20
    failing = 'lockgate_audit_witness_failures_total{reason="witness_unreachable",witness="w2"}'
    until(lambda: failing in yard.lockgate.control("GET", "/metrics").body.decode(), "the failure was counted")
    assert not yard.covers(before + 20)
    assert yard.lockgate.ready()
    second.start()
    until(lambda: yard.covers(before + 20), "the newest checkpoint was witnessed", 60)


@pytest.mark.slow
def test_a_witness_that_hangs_holds_nobody_up(watched: Callable[..., Watched]) -> None:
    """It takes connections and says nothing: requests are answered and recorded, and it is counted as late; when it goes on, so does
    the witnessing."""
    yard = watched("all")
    yard.lockgate.start()
    until(lambda: yard.covers(1), "the beginning was witnessed")
    yard.witnesses[0].process.signal(signal.SIGSTOP)
    try:
        before = len(yard.lockgate.leaves())
        assert [yard.lockgate.ask("ann", "GET", "/echo/on").status for _ in range(20)] == [200] * 20
        late = 'lockgate_audit_witness_failures_total{reason="witness_late",witness="w1"}'
        until(lambda: late in yard.lockgate.control("GET", "/metrics").body.decode(), "it was counted as late")
        assert not yard.covers(before + 20)
    finally:
        yard.witnesses[0].process.signal(signal.SIGCONT)
    until(lambda: yard.covers(before + 20), "the newest checkpoint was witnessed", 60)


@pytest.mark.slow
def test_a_killed_lockgate_goes_on_under_its_witnesses(watched: Callable[..., Watched]) -> None:
    """`kill -9` under load, whatever was under way to a witness: what is stored here is never behind what a witness saw."""
    yard = watched("all")
    for _ in range(3):
        yard.lockgate.start()
        with load.load(yard.lockgate, callers=4) as seen:
            until(partial(answered, seen, 300), "there was some load")
            yard.lockgate.process.kill()
    yard.lockgate.start()
    size = len(yard.lockgate.leaves())
    until(lambda: yard.covers(size), "everything was witnessed")
    assert verify(yard, "--policy", str(yard.policy))["ok"]


@pytest.mark.slow
def test_one_of_two_is_enough_where_the_policy_says_so(watched: Callable[..., Watched]) -> None:
    """Also for a start."""
    yard = watched("any")
    yard.witnesses[0].process.kill()
    yard.lockgate.start()
    yard.lockgate.ask("ann", "GET", "/echo/hello")
    size = len(yard.lockgate.leaves())
    until(lambda: yard.covers(size), "the record was witnessed")
    found = yard.witnessed()
    assert found is not None
    assert found.names == ("w2",)


@pytest.mark.slow
def test_an_old_copy_of_the_ledger_does_not_start(watched: Callable[..., Watched], tmp_path: Path) -> None:
    """The whole state is put back, checkpoints included, so that nothing on the machine tells; a witness does, in one sentence."""
    yard = watched("any")
    yard.lockgate.start()
    until(lambda: yard.covers(1), "the beginning was witnessed")
    yard.lockgate.process.stop()
    shutil.copytree(yard.lockgate.state, tmp_path / "old")
    yard.lockgate.start()
    size = len(yard.lockgate.leaves()) + 1
    yard.lockgate.ask("ann", "GET", "/echo/lost")
    until(lambda: yard.covers(size), "the record was witnessed")
    yard.lockgate.process.stop()
    shutil.rmtree(yard.lockgate.state)
    shutil.copytree(tmp_path / "old", yard.lockgate.state)
    before = len(yard.lockgate.leaves())
    said = yard.refused()
    assert "contradicts this ledger (audit_rolled_back): It saw a checkpoint of" in said
    assert said.count("lockgate: ") == 1
    assert len(yard.lockgate.leaves()) == before


@pytest.mark.slow
def test_another_history_under_the_same_key_does_not_start(watched: Callable[..., Watched], tmp_path: Path) -> None:
    """Who holds the key goes on from an old copy without witnesses, with as many records, and signs that; the witnesses have seen the
    other history."""
    yard = watched("all")
    yard.lockgate.start()
    until(lambda: yard.covers(1), "the beginning was witnessed")
    yard.lockgate.process.stop()
    shutil.copytree(yard.lockgate.state, tmp_path / "old")
    yard.lockgate.start()
    yard.lockgate.ask("ann", "GET", "/echo/true")
    size = len(yard.lockgate.leaves())
    until(lambda: yard.covers(size), "the record was witnessed")
    yard.lockgate.process.stop()
    shutil.rmtree(yard.lockgate.state)
    shutil.copytree(tmp_path / "old", yard.lockgate.state)
    whole = yards.load(yard.lockgate.yard.config)
    yards.save(
        yard.lockgate.yard.config, {**whole, "audit": {name: value for name, value in whole["audit"].items() if name != "witnesses"}}
    )
    yard.lockgate.start()
    for _ in range(10):
        yard.lockgate.ask("ann", "GET", "/echo/false")
    yard.lockgate.process.stop()
    assert len(yard.lockgate.leaves()) > size
    yards.save(yard.lockgate.yard.config, whole)
    said = yard.refused()
    assert "contradicts this ledger (audit_forked): It saw another history of the first" in said


def test_without_witnesses_nothing_starts(watched: Callable[..., Watched]) -> None:
    """By default: the sentence names them and why each did not confirm."""
    yard = watched("all")
    for each in yard.witnesses:
        each.process.kill()
    said = yard.refused()
    assert "Too few witnesses confirm where the ledger ends" in said
    assert said.count("witness_unreachable") >= 2
    assert yard.lockgate.leaves() == []


@pytest.mark.slow
def test_a_start_without_witnesses_is_on_record_where_it_is_allowed(watched: Callable[..., Watched]) -> None:
    """The first record says who was missing, and by which policy; readiness says no where it was asked to."""
    yard = watched("all", unreachable="sign_unwitnessed", ready_within="1h")
    for each in yard.witnesses:
        each.process.kill()
    yard.lockgate.process.start()
    until(lambda: accepts_control(yard.lockgate), "the control API answered")
    first = yard.lockgate.leaves()[0]
    assert first["event"] == "unwitnessed"
    assert {each["witness"]: each["reason"] for each in first["details"]["failed"]} == dict.fromkeys(("w1", "w2"), "witness_unreachable")
    ready = yard.lockgate.control("GET", "/readyz")
    assert ready.status == 503
    assert "witness_stale" in ready.body.decode()
    yard.witnesses[0].start()
    yard.witnesses[1].start()
    until(yard.lockgate.ready, "both witnesses were back, and it was ready", 60)


def test_a_policy_that_cannot_be_used_ends_the_start(watched: Callable[..., Watched]) -> None:
    """With the line that is wrong."""
    yard = watched("all")
    for policy, says in (
        ("quorum none\n", "asks for no witness"),
        ("witness w1 x\nquorum w1\n", "witnesses.policy:1: Witness 'w1'"),
        ("", "witnesses.policy:1: There is no quorum line"),
        (f"log {OTHER}\nwitness w {cosigner().verifier} https://w.example\nquorum w\n", "is about other logs"),
    ):
        yard.policy.write_text(policy)
        assert says in yard.refused()


def answered(seen: load.Load, many: int) -> bool:
    return seen.answered > many


def accepts_control(lockgate: Lockgate) -> bool:
    try:
        return lockgate.control("GET", "/healthz").status == 200
    except (OSError, http.client.HTTPException):
        return False


def stored(lockgate: Lockgate) -> list[str]:
    with closing(sqlite3.connect(f"{(lockgate.state / 'ledger.sqlite').as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        return [note for (note,) in connection.execute("SELECT note FROM checkpoints")]


def verify(yard: Watched, *more: str) -> dict:
    done = cli("audit", "verify", "--state", str(yard.lockgate.state), "--json", *more)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def with_next_key(yard: Watched) -> str:
    """Configures a new key beside the one that signed until now; its verifier line."""
    keys = yard.lockgate.state / "keys"
    line = NoteSigner(ORIGIN, ensure_signing_key(keys / "next.key")).verifier
    whole = yards.load(yard.lockgate.yard.config)
    changed = {"key": {"file": str(keys / "next.key")}, "previous_key": {"file": str(keys / "ledger.key")}}
    yards.save(yard.lockgate.yard.config, {**whole, "audit": {**whole["audit"], **changed}})
    return line


def know_as_well(each: RunningWitness, line: str) -> None:
    """The witness's operator adds a key and restarts it."""
    assert each.process.stop() == 0
    config = each.folder / "witness.yaml"
    document = yards.load(config)
    yards.save(config, {**document, "logs": [*document["logs"], line]})
    each.start()


def name_logs(yard: Watched, *lines: str) -> None:
    named = "".join(f"log {line}\n" for line in lines)
    yard.policy.write_text(named + "".join(line for line in yard.policy.read_text().splitlines(True) if not line.startswith("log ")))


def rotate(yard: Watched) -> tuple[int, str]:
    done = cli("audit", "rotate-key", "--config", str(yard.lockgate.yard.config))
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize("by", [pytest.param("restart", marks=pytest.mark.slow), "command"])
def test_a_key_is_rotated_under_witnesses_as_the_guide_says(watched: Callable[..., Watched], by: str) -> None:
    """The witnesses learn the new key first, the policy names both, then the ledger is handed over: everything before and after it is
    witnessed, for who trusts either key."""
    yard = watched("all")
    yard.lockgate.start()
    until(lambda: yard.covers(1), "the beginning was witnessed")
    assert yard.lockgate.process.stop() == 0
    old = NoteSigner(ORIGIN, ensure_signing_key(yard.lockgate.state / "keys" / "ledger.key")).verifier
    new = with_next_key(yard)
    for each in yard.witnesses:
        know_as_well(each, new)
    name_logs(yard, old, new)
    if by == "command":
        assert rotate(yard)[0] == 0
    yard.lockgate.start()
    assert len(yard.lockgate.system("key_rotated")) == 1
    yard.lockgate.ask("ann", "GET", "/echo/after")
    size = len(yard.lockgate.leaves())
    until(lambda: yard.covers(size), "what the new key signed was witnessed")
    assert yard.lockgate.process.stop() == 0
    for key in (old, new):
        verified = verify(yard, "--policy", str(yard.policy), "--key", key)
        assert verified["ok"]
        assert verified["witnessed"]["records"] >= size


@pytest.mark.slow
def test_before_a_hand_over_the_witnesses_are_asked(watched: Callable[..., Watched], tmp_path: Path) -> None:
    """An old copy of the ledger is not handed over, neither by the command nor by a start, nor is one of which the witnesses say nothing;
    a policy that does not name the new key ends it as well. Nothing is signed or recorded."""
    yard = watched("all")
    yard.lockgate.start()
    until(lambda: yard.covers(1), "the beginning was witnessed")
    assert yard.lockgate.process.stop() == 0
    shutil.copytree(yard.lockgate.state, tmp_path / "old")
    yard.lockgate.start()
    yard.lockgate.ask("ann", "GET", "/echo/lost")
    size = len(yard.lockgate.leaves())
    until(lambda: yard.covers(size), "the record was witnessed")
    assert yard.lockgate.process.stop() == 0
    shutil.rmtree(yard.lockgate.state)
    shutil.copytree(tmp_path / "old", yard.lockgate.state)
    before = len(yard.lockgate.leaves())
    old = NoteSigner(ORIGIN, ensure_signing_key(yard.lockgate.state / "keys" / "ledger.key")).verifier
    new = with_next_key(yard)
    name_logs(yard, old)
    status, said = rotate(yard)
    assert (status, "is about other logs" in said) == (2, True), said
    name_logs(yard, old, new)
    status, said = rotate(yard)
    assert (status, "audit_rolled_back" in said) == (2, True), said
    assert "audit_rolled_back" in yard.refused()
    for each in yard.witnesses:
        each.process.kill()
    status, said = rotate(yard)
    assert (status, "Too few witnesses" in said) == (2, True), said
    assert len(yard.lockgate.leaves()) == before
