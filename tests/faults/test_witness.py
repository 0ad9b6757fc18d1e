"""A witness that is killed, whose disk fails, that is started twice, or whose state is gone or old."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from http.client import HTTPException
from pathlib import Path

import pytest

from adapters.witness_http import WitnessHttp
from adapters.witness_state_file import WitnessStateFile
from examples.halden.demo.company import free_ports
from router.audit.witnesses.cosignature import Cosigner
from router.audit.witnesses.desk import Seen, WitnessDesk
from router.errors import AuditError
from tests.e2e.processes import ROOT, until
from tests.faults.witness_processes import make_certificate, witness
from tests.unit.audit.witnesses import START_S, Clock, Log, cosigner

LOG, FORK = Log(), Log("other")


def test_a_witness_killed_before_it_answers_remembers_what_it_did_not_sign(tmp_path: Path) -> None:
    """`kill -9` between state and answer: no cosignature comes; the next start knows the size, refuses a fork of it, and cosigns the same
    checkpoint when it is brought again."""
    (port,) = free_ports(1)
    with witness(tmp_path, "w.example", port, [LOG.signer.verifier], "tests.faults.witness_that_dies") as dying:
        dying.start()
        with pytest.raises((OSError, HTTPException)):
            dying.bring(LOG.request(0, 5))
        assert dying.process.wait() == -9
    with witness(tmp_path, "w.example", port, [LOG.signer.verifier]) as again:
        again.start()
        assert again.bring(LOG.request(0, 5)) == (409, "text/x.tlog.size", "5\n")
        assert again.bring(FORK.request(5, 5))[0] == 409
        status, _, line = again.bring(LOG.request(5, 5))
        assert status == 200
        assert again.verifier.find(LOG.note(5) + line) is not None


def test_what_was_cosigned_survives_a_kill(tmp_path: Path) -> None:
    """After an answer the state is on disk: a witness killed at once refuses the other history."""
    (port,) = free_ports(1)
    with witness(tmp_path, "w.example", port, [LOG.signer.verifier]) as running:
        running.start()
        assert running.bring(LOG.request(0, 5))[0] == 200
        running.process.kill()
        running.start()
        assert running.bring(FORK.request(5, 8))[0] == 422
        assert running.bring(LOG.request(5, 8))[0] == 200


def test_a_second_witness_on_one_state_is_refused(tmp_path: Path) -> None:
    """Two that answer from one file could each sign another history."""
    (port,) = free_ports(1)
    with witness(tmp_path, "w.example", port, [LOG.signer.verifier]) as running:
        running.start()
        config = running.folder / "second.yaml"
        config.write_text((running.folder / "witness.yaml").read_text().replace(str(port), "0"))
        second = started(config)
        assert second.returncode == 2
        assert "already in use by another process" in second.stderr


def test_a_witness_that_lost_its_state_does_not_begin_again_by_itself(tmp_path: Path) -> None:
    """The key alone is no memory. Told `--new-state` it begins anew, and would then cosign the other history: its operator's decision."""
    (port,) = free_ports(1)
    with witness(tmp_path, "w.example", port, [LOG.signer.verifier]) as running:
        running.start()
        assert running.bring(LOG.request(0, 5))[0] == 200
        running.process.stop()
        running.state.unlink()
        refused = started(running.folder / "witness.yaml")
        assert refused.returncode == 2
        assert refused.stderr.count("\n") == 1
        assert "has a key but no state" in refused.stderr
        running.process.command = [*running.process.command, "--new-state"]
        running.start()
        assert running.bring(FORK.request(0, 5))[0] == 200


def test_an_old_copy_of_the_state_cosigns_a_fork_of_what_came_after_it(tmp_path: Path) -> None:
    """What the documentation warns of: the witness cannot know what it has forgotten."""
    (port,) = free_ports(1)
    with witness(tmp_path, "w.example", port, [LOG.signer.verifier]) as running:
        running.start()
        assert running.bring(LOG.request(0, 1))[0] == 200
        shutil.copy(running.state, tmp_path / "old")
        assert running.bring(LOG.request(1, 5))[0] == 200
        running.process.stop()
        shutil.copy(tmp_path / "old", running.state)
        running.start()
        assert running.bring(FORK.request(1, 5))[0] == 200


def test_key_and_state_are_nobody_elses(tmp_path: Path) -> None:
    """Both are made with mode 0600, and `--print-key` says the line that the start said."""
    (port,) = free_ports(1)
    with witness(tmp_path, "w.example", port, [LOG.signer.verifier]) as running:
        running.start()
        assert {stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("witness.key", "witness.state")} == {0o600}
        printed = started(tmp_path / "witness.yaml", "--print-key")
        assert printed.stdout.strip() == running.line


def test_hostile_calls_are_refused(tmp_path: Path) -> None:
    """Other paths, other methods, bodies that are too large or nothing of the kind; the witness serves on."""
    (port,) = free_ports(1)
    with witness(tmp_path, "w.example", port, [LOG.signer.verifier]) as running:
        running.start()
        assert running.bring(b"", path="/")[0] == 404
        assert running.bring(b"", "PUT")[0] == 405
        assert running.bring(b"old 0\n\n" + b"x" * 200_000)[0] == 413
        assert running.bring(b"\x00" * 1000)[0] == 400
        assert running.bring(LOG.request(0, 5))[0] == 200


def test_an_address_may_call_only_so_often(tmp_path: Path) -> None:
    """Beyond the burst calls are 429 until time has passed."""
    (port,) = free_ports(1)
    with witness(tmp_path, "w.example", port, [LOG.signer.verifier]) as running:
        config = tmp_path / "witness.yaml"
        config.write_text(config.read_text().replace("burst: 1000", "burst: 3\nrate: 1/h"))
        running.start()
        assert [running.bring(b"")[0] for _ in range(5)] == [400, 400, 400, 429, 429]


async def test_a_witness_may_be_served_over_tls(tmp_path: Path) -> None:
    """With a certificate it answers https and nothing else; its line for policy files says so."""
    certificate = make_certificate(tmp_path)
    with witness(tmp_path, "w.example", 0, [LOG.signer.verifier]) as running:
        config = tmp_path / "witness.yaml"
        config.write_text(config.read_text() + "tls: {certificate: certificate.pem, key: key.pem}\n")
        running.process.start()
        until(lambda: "https://" in running.process.said, "it listened")
        calls = WitnessHttp(5.0, certificate)
        reply = await calls.post(f"{running.line.split(' ')[3]}/add-checkpoint", LOG.request(0, 5))
        await calls.close()
        assert reply.status == 200
        assert running.verifier.find(LOG.note(5) + reply.body.decode()) is not None


def test_a_certificate_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    """The witness does not start."""
    with witness(tmp_path, "w.example", 0, [LOG.signer.verifier]):
        config = tmp_path / "witness.yaml"
        config.write_text(config.read_text() + "tls: {certificate: certificate.pem, key: key.pem}\n")
        done = started(config)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "certificate.pem" in done.stderr


def started(config: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lockgate", "witness", "--config", str(config), *more],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Disk:
    """Syncs until `good` are spent; then each fails, as a broken disk's does."""

    def __init__(self, good: int) -> None:
        self.good = good

    def __call__(self, descriptor: int) -> None:
        if self.good <= 0:
            raise OSError(5, "Input/output error")
        self.good -= 1
        os.fsync(descriptor)


def desk_on(path: Path, disk: Disk) -> tuple[WitnessDesk, WitnessStateFile]:
    state = WitnessStateFile(path, disk)
    state.open(new=True)
    return WitnessDesk(cosigner(), [LOG.signer.verifier], state, Clock()), state


@pytest.mark.parametrize("good", [0, 1])
def test_a_failed_fsync_ends_the_cosigning(tmp_path: Path, good: int) -> None:
    """Of the file or of its folder, whichever: no cosignature, and none after it although later syncs would say that all is well."""
    disk = Disk(2)
    desk, state = desk_on(tmp_path / "state", disk)
    disk.good = good
    first = desk.add_checkpoint(LOG.request(0, 5))
    disk.good = 1000
    second = desk.add_checkpoint(LOG.request(0, 5))
    state.close()
    assert [(answer.status, "—" in answer.body) for answer in (first, second)] == [(500, False)] * 2


@pytest.mark.parametrize("good", [0, 1])
def test_after_a_failed_fsync_either_state_is_safe(tmp_path: Path, good: int) -> None:
    """The next start finds the old state or the new one, whole; both know of nothing less than was signed."""
    disk = Disk(1000)
    desk, state = desk_on(tmp_path / "state", disk)
    assert desk.add_checkpoint(LOG.request(0, 3)).status == 200
    disk.good = good
    assert desk.add_checkpoint(LOG.request(3, 5)).status == 500
    state.close()
    desk, state = desk_on(tmp_path / "state", Disk(1000))
    assert desk.add_checkpoint(LOG.request(0, 8)).body in ("3\n", "5\n")
    assert desk.add_checkpoint(FORK.request(3, 8)).status in (409, 422)
    state.close()


def test_a_full_disk_leaves_the_old_state(tmp_path: Path) -> None:
    """What cannot be written is not answered, and what was remembered before is still there."""
    desk, state = desk_on(tmp_path / "state", Disk(1000))
    assert desk.add_checkpoint(LOG.request(0, 3)).status == 200
    (tmp_path / "state.draft").mkdir()
    assert desk.add_checkpoint(LOG.request(3, 5)).status == 500
    state.close()
    (tmp_path / "state.draft").rmdir()
    _, again = desk_on(tmp_path / "state", Disk(1000))
    assert again.last(LOG.name) == Seen(LOG.note(3), START_S)
    again.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"{",
        b'{"format": 2, "logs": {}}',
        b'{"format": 1, "logs": {"a": 1}}',
        b'{"format": 1, "logs": {"a": {"note": "x"}}}',
    ],
)
def test_a_state_that_is_none_is_no_beginning(tmp_path: Path, content: bytes) -> None:
    """A damaged file is a reason not to start, and never taken for an empty one."""
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(AuditError) as caught:
        WitnessStateFile(tmp_path / "state").open(new=True)
    assert caught.value.code == "witness_state_invalid"


def test_a_state_that_somebody_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """Compare and set: the caller says what it has seen."""
    state = WitnessStateFile(tmp_path / "state")
    state.open(new=True)
    seen = Seen(LOG.note(3), START_S)
    state.replace(LOG.name, None, seen)
    with pytest.raises(AuditError, match="is not what it was"):
        state.replace(LOG.name, None, Seen(LOG.note(5), START_S))
    assert state.last(LOG.name) == seen
    state.close()


def test_a_name_that_cannot_stand_in_a_note_is_refused() -> None:
    """A witness's name must survive the format."""
    with pytest.raises(AuditError, match="must not be empty"):
        Cosigner("a b", cosigner()._key)
