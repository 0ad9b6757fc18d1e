"""`lockgate backup` beside a node that serves: verified from a checkpoint that was kept elsewhere, put back, and recovered from."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from router.audit.tree.checkpoint import latest_published, note_checkpoint
from tests.e2e.load import load
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli, company, inherited
from tests.e2e.test_backup import command, decided, kept, origin


def archived(lockgate: Lockgate, what: str, to: Path) -> None:
    """`lockgate backup --records - | tar -x`, as through `kubectl exec`."""
    arguments = [sys.executable, "-m", "lockgate", "backup", what, "-", "--config", str(lockgate.yard.config)]
    done = subprocess.run(arguments, capture_output=True, env=inherited({}), check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(to, filter="data")


def test_a_backup_of_a_node_under_load_is_verified_and_recovered_from(tmp_path: Path) -> None:
    """As folders and as archives: all that was acknowledged before is in it; put back it does not start under its old name, and with the
    keys' backup beside it a new ledger goes on after it; the node has taken no harm."""
    with company(tmp_path / "node", audit={"checkpoint": {"every": "200ms", "records": 5}}) as lockgate:
        with load(lockgate, callers=2) as seen:
            until(lambda: seen.answered > 20, "there was some load")
            note = kept(lockgate, 20, tmp_path / "note")
            before = frozenset(seen.acknowledged)
            both = command(lockgate, "backup", "--keys", str(tmp_path / "keys"), "--records", str(tmp_path / "records"))
            assert both.returncode == 0, both.stderr
            assert re.search(r"ledger.sqlite: [0-9,]+ bytes, [0-9,]+ records, of which the last checkpoint covers", both.stdout)
            archived(lockgate, "--records", tmp_path / "streamed")
            answered = seen.answered
            until(lambda: seen.answered > answered + 20, "it serves on")
        assert seen.broken == {}
        key = re.search(r"public key (\S+)", lockgate.verify().stdout)
        assert key is not None
        verified = cli("audit", "verify", "--state", str(tmp_path / "streamed"), "--checkpoint", str(note), "--key", key[1])
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert before
        for copy in (tmp_path / "records", tmp_path / "streamed"):
            assert before <= decided(copy)
            assert not list(copy.rglob("*key*"))
        assert lockgate.process.stop() == 0
        assert not (lockgate.state / ".backup.part").exists()
        lockgate.state.rename(tmp_path / "lost")
        for copy in (tmp_path / "records", tmp_path / "keys"):
            shutil.copytree(copy, lockgate.state, dirs_exist_ok=True)
        os.chmod(lockgate.state, 0o700)
        lockgate.process.start()
        assert lockgate.process.wait() == 2
        assert "is a backup's copy of" in lockgate.process.said
        newest = note_checkpoint(latest_published(lockgate.state / "checkpoints") or "").size
        assert newest > note_checkpoint(note.read_text()).size
        origin(lockgate.yard, "yard.example/ledger-2")
        recovered = command(lockgate, "audit", "recover", "--checkpoint", str(note))
        assert recovered.returncode == 0, recovered.stderr
        lockgate.start()
        first = lockgate.leaves()[0]
        said = first["details"]["predecessor"]
        assert (first["event"], said["relation"]) == ("recovered", "covered")
        assert note_checkpoint(said["checkpoint"]).size >= newest
        assert lockgate.ask("ann", "GET", "/echo/after").status == 200
        assert lockgate.verify().returncode == 0
